"""Proves each variant's formula against its paper, and that its steps follow it."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean as mean
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness.networks.base import Judgement
from harness.parts import Recipe as Reference
from harness.parts import Schedule, variants
from harness.planning.cohorts import updates
from harness.testing.cells import KitCell, make_trainer
from harness.testing.specs import make_spec
from harness.testing.stubs import FixedGame, logits_batch
from harness.training.batch import Batch
from tests.conformance.matrix import PLAIN
from tests.plain_loop import (
    PLAIN_RECIPES,
    Paired,
    PlainLoop,
    Recipe,
    Update,
    slopes_by_example,
    softplus,
)

Formula = Callable[[float], float]


def sp(t: float) -> float:
    return max(t, 0.0) + math.log1p(math.exp(-abs(t)))


# Real part and fake part of D's loss, and G's loss, per logit; RECIPES gives the papers.
CROSS_ENTROPY: tuple[Formula, Formula, Formula] = (lambda r: sp(-r), sp, lambda f: sp(-f))
WASSERSTEIN: tuple[Formula, Formula, Formula] = (lambda r: -r, lambda f: f, lambda f: -f)
FORMULAS: dict[str, tuple[Formula, Formula, Formula]] = {
    "gan": CROSS_ENTROPY,
    "gan-saturating": (lambda r: sp(-r), sp, lambda f: -sp(f)),
    "gan-original": CROSS_ENTROPY,
    "dcgan": CROSS_ENTROPY,
    "cgan": CROSS_ENTROPY,
    "dcgan-softmax": CROSS_ENTROPY,
    "dragan": CROSS_ENTROPY,
    "lsgan": (lambda r: (r - 1) ** 2 / 2, lambda f: f**2 / 2, lambda f: (f - 1) ** 2 / 2),
    "wgan": WASSERSTEIN,
    "wgan-gp": WASSERSTEIN,
    "wgan-lp": WASSERSTEIN,
    "sngan": (lambda r: max(0.0, 1 - r), lambda f: max(0.0, 1 + f), lambda f: -f),
}


def in_pairs(real: list[float], fake: list[float]) -> float:
    return mean([sp(f - r) for r, f in zip(real, fake, strict=True)])


def against_the_average(real: list[float], fake: list[float]) -> float:
    above = mean([sp(-(r - mean(fake))) for r in real])
    return above + mean([sp(f - mean(real)) for f in fake])


def told_apart(real: list[float], fake: list[float]) -> float:
    return mean([sp(-r) for r in real]) + mean([sp(f) for f in fake])


RELATIVE: dict[str, Callable[[list[float], list[float]], float]] = {
    "rsgan": in_pairs,
    "ragan": against_the_average,
    "r3gan": in_pairs,
}
EXCHANGED = {**RELATIVE, "gan-exchanged": told_apart}
"""D's loss on a batch of both; G's is the same with the roles exchanged."""


def losses_by_hand(name: str, real: list[float], fake: list[float]) -> tuple[float, float]:
    """Compute D's and G's loss on the logits of one run."""
    if name in EXCHANGED:
        return EXCHANGED[name](real, fake), EXCHANGED[name](fake, real)
    on_real, on_fake, fooling = FORMULAS[name]
    d_loss = mean([on_real(r) for r in real]) + mean([on_fake(f) for f in fake])
    return d_loss, mean([fooling(f) for f in fake])


BY_CROSS_ENTROPY = PLAIN_RECIPES["gan"]
WASSERSTEIN_LOOP = replace(PLAIN_RECIPES["wgan"], clip=0.0)


def of_class(logits: Tensor, label: int) -> Tensor:
    return cross_entropy(logits, torch.full((len(logits),), label))


def one_sided(update: Update) -> Tensor:
    alpha = update.batch.uniform("penalty", len(update.real))[0]
    steps = (update.fake - update.real) * alpha.reshape((-1,) + (1,) * (update.real.ndim - 1))
    slopes = slopes_by_example(lambda x: update.judge(x, "penalty"), update.real + steps)
    return 10 * sum((s.square().sum().sqrt() - 1).clip(min=0) ** 2 for s in slopes) / len(slopes)


def around_the_data(update: Update) -> Tensor:
    x, batch = update.real, update.batch
    spread = ((x - x.mean()) ** 2).mean().sqrt()
    delta = 0.5 * spread * batch.uniform("perturbation", *x.shape)[0]
    alpha = batch.uniform("penalty", len(x))[0].reshape((-1,) + (1,) * (x.ndim - 1))
    slopes = slopes_by_example(lambda x: update.judge(x, "penalty"), x + alpha * delta)
    return 10 * sum((s.square().sum().sqrt() - 1) ** 2 for s in slopes) / len(slopes)


def half_cosine(progress: float, first: float, last: float) -> float:
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * progress))


def r1_and_r2(update: Update) -> Tensor:
    gamma = half_cosine(update.progress, 0.05, 0.005)
    total = torch.zeros((), dtype=torch.float64)
    for label, data in (("r1", update.real), ("r2", update.fake)):
        slopes = slopes_by_example(lambda x, name=label: update.judge(x, name), data)
        total = total + sum(s.square().sum() for s in slopes) / len(slopes)
    return gamma / 2 * total


def r3gan_rates(group: dict[str, Any], first: dict[str, Any], progress: float) -> None:
    group["lr"] = half_cosine(progress, first["lr"], first["lr"] / 4)
    group["betas"] = (first["betas"][0], half_cosine(progress, first["betas"][1], 0.99))


def growing_momentum(group: dict[str, Any], first: dict[str, Any], progress: float) -> None:
    start = first["momentum"]
    group["momentum"] = start + (0.7 - start) * min(progress / 0.5, 1.0)


IN_PAIRS = {
    "critic": lambda r, f: softplus(-(r - f)).mean(),
    "relative": lambda r, f: softplus(-(f - r)).mean(),
}
RECIPES = {
    **PLAIN_RECIPES,
    "gan-saturating": Recipe(
        BY_CROSS_ENTROPY.critic, lambda f: torch.log(1 - torch.sigmoid(f)).mean()
    ),
    "gan-original": replace(BY_CROSS_ENTROPY, retune=growing_momentum),
    "gan-exchanged": Recipe(
        BY_CROSS_ENTROPY.critic, relative=lambda r, f: softplus(r).mean() + softplus(-f).mean()
    ),
    "cgan": replace(BY_CROSS_ENTROPY, join=True),
    "dcgan-softmax": Recipe(
        lambda r, f: of_class(r, 0) + of_class(f, 1),
        lambda f: of_class(f, 0),
        answer=lambda judgement: judgement.outputs["classes"],
    ),
    "dragan": replace(BY_CROSS_ENTROPY, regularizer=around_the_data),
    "rsgan": Recipe(**IN_PAIRS),
    "ragan": Recipe(
        critic=lambda r, f: softplus(f.mean() - r).mean() + softplus(f - r.mean()).mean(),
        relative=lambda r, f: softplus(r - f.mean()).mean() + softplus(r.mean() - f).mean(),
    ),
    "r3gan": Recipe(**IN_PAIRS, regularizer=r1_and_r2, retune=r3gan_rates),
    "wgan-lp": replace(WASSERSTEIN_LOOP, regularizer=one_sided),
}
REFERENCE = {
    "gan": Reference("adam", 2e-4, 2e-4, 0.5, 0.999),
    "gan-saturating": Reference("adam", 2e-4, 2e-4, 0.5, 0.999),
    "gan-original": Reference("sgd", 0.1, 0.05, 0.5, 0.0),
    "gan-exchanged": Reference("adam", 1e-4, 1e-4, 0.8, 0.999),
    "dcgan": Reference("adam", 2e-4, 2e-4, 0.5, 0.999),
    "cgan": Reference("adam", 2e-4, 2e-4, 0.5, 0.999),
    "dcgan-softmax": Reference("adam", 2e-4, 2e-4, 0.5, 0.999),
    "dragan": Reference("adam", 2e-4, 2e-4, 0.5, 0.999),
    "rsgan": Reference("adam", 2e-4, 2e-4, 0.5, 0.999),
    "ragan": Reference("adam", 2e-4, 2e-4, 0.5, 0.999),
    "r3gan": Reference("adam", 2e-4, 2e-4, 0.0, 0.9),
    "wgan-lp": Reference("adam", 1e-4, 1e-4, 0.5, 0.9),
    "lsgan": Reference("adam", 2e-4, 2e-4, 0.5, 0.999),
    "wgan": Reference("rmsprop", 5e-5, 5e-5, 0.0, 0.99),
    "wgan-gp": Reference("adam", 1e-4, 1e-4, 0.5, 0.9),
    "sngan": Reference("adam", 2e-4, 2e-4, 0.5, 0.999),
}
every_variant = pytest.mark.parametrize("name", REFERENCE)
"""Every variant whose losses are functions of logits; the others have a file of their own."""
PLAIN_CELLS = [cell for cell in PLAIN if cell.variant in RECIPES]


def fixed_logits(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    draws = torch.randn(2, *shape, generator=generator, dtype=torch.float64) * 3
    return draws[0], draws[1]


@every_variant
def test_reference_settings(name: str) -> None:
    assert variants.get(name).recipe == REFERENCE[name]


@every_variant
@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 2, 4)], ids=["logits", "maps"])
def test_losses_are_the_papers(name: str, shape: tuple[int, ...]) -> None:
    variant = variants.get(name)()
    real, fake = fixed_logits(*shape)
    batch, game = logits_batch(real, fake), FixedGame(3)
    d_loss, g_loss = variant.discriminator_loss(game, batch), variant.generator_loss(game, batch)
    assert d_loss.shape == g_loss.shape == (3,)
    for run in range(3):
        expected = losses_by_hand(name, real[run].flatten().tolist(), fake[run].flatten().tolist())
        found = float(d_loss[run]), float(g_loss[run])
        assert found == pytest.approx(expected, rel=1e-13, abs=1e-13)


@every_variant
def test_losses_are_the_papers_at_extreme_logits(name: str) -> None:
    variant = variants.get(name)()
    for value in (-300.0, -1.0, 0.0, 1.0, 300.0):
        for other in (value, 1.0):
            logits = torch.tensor([[[value] * 2], [[other] * 2]], dtype=torch.float64)
            batch, game = logits_batch(*logits), FixedGame(1)
            found = variant.discriminator_loss(game, batch), variant.generator_loss(game, batch)
            expected = losses_by_hand(name, [value] * 2, [other] * 2)
            assert tuple(float(loss) for loss in found) == pytest.approx(expected)


@every_variant
def test_losses_of_runs_are_apart(name: str) -> None:
    variant = variants.get(name)()
    real, fake = fixed_logits(3, 5)
    broken = [real.clone(), fake.clone()]
    for logits in broken:
        logits[1] = torch.nan
    for method in (variant.discriminator_loss, variant.generator_loss):
        loss = method(FixedGame(3), logits_batch(*broken))
        expected = method(FixedGame(3), logits_batch(real, fake))
        assert torch.equal(loss[[0, 2]], expected[[0, 2]])
        assert loss[1].isnan()


@every_variant
def test_targets_matter_exactly_where_a_variant_says_so(name: str) -> None:
    variant = variants.get(name)()
    real, fake = fixed_logits(1, 5)
    plain = variant.discriminator_loss(FixedGame(1), logits_batch(real, fake))
    for moved in ("real_target", "fake_target"):
        game = FixedGame(1, **{moved: torch.full((1, 5), 0.4, dtype=torch.float64)})
        loss = variant.discriminator_loss(game, logits_batch(real, fake))
        assert torch.equal(loss, plain) != variant.has_targets


def test_the_generator_of_gan_does_not_saturate() -> None:
    logits = torch.tensor([[-50.0]], dtype=torch.float64, requires_grad=True)
    loss = variants.get("gan")().generator_loss(FixedGame(1), logits_batch(logits, logits))
    (slope,) = torch.autograd.grad(loss.sum(), logits)
    assert float(slope) == pytest.approx(-1.0)


def test_lsgan_pulls_generated_data_to_c_not_away_from_a() -> None:
    logits = torch.tensor([[0.25]], dtype=torch.float64, requires_grad=True)
    loss = variants.get("lsgan")().generator_loss(FixedGame(1), logits_batch(logits, logits))
    (slope,) = torch.autograd.grad(loss.sum(), logits)
    assert float(slope) == pytest.approx(0.25 - 1)


@every_variant
def test_a_perfect_discriminator_is_counted_as_one(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What D is taught, or the margins that it is asked for.
    taught = {"lsgan": (1.0, 0.0)}.get(name, (1.0, -1.0))
    boundary = variants.get(name).boundary
    assert (boundary is None) == (name.startswith("wgan") or name in RELATIVE)
    assert boundary is None or taught[1] < boundary < taught[0]
    trainer = make_trainer([make_spec("ring8", name, network="toy2d", precision="float64")])
    inner = Batch.judge

    def perfect(batch: Batch, x: Tensor, label: str) -> Judgement:
        judged = inner(batch, x, label)
        return judged._replace(logits=judged.logits * 0 + taught[label == "fake"])

    monkeypatch.setattr(Batch, "judge", perfect)
    trainer.update("discriminator")
    trainer.update("generator")
    rows, _ = trainer.read()
    found = [rows[0].get("d_accuracy_real"), rows[0].get("d_accuracy_fake")]
    assert found == ([None, None] if boundary is None else [1.0, 1.0])


@pytest.mark.parametrize("cell", PLAIN_CELLS, ids=str)
def test_steps_equal_a_plain_loop(cell: KitCell) -> None:
    spec = cell.spec(precision="float64")
    trainer, recipe = make_trainer([spec]), RECIPES[cell.variant]
    source = Paired(make_trainer([spec]).game, join=recipe.join)
    loop = PlainLoop(spec, source, recipe)
    start = trainer.state(0)
    for _ in range(4):
        trainer.train_step()
        losses, fooling = loop.train_step()
        rows, _ = trainer.read()
        assert rows[0]["d_loss"] == pytest.approx(mean(losses), rel=1e-9, abs=1e-12)
        assert rows[0]["g_loss"] == pytest.approx(mean(fooling), rel=1e-9, abs=1e-12)
    found, expected = trainer.state(0), loop.state()
    assert expected.keys() <= found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-10, msg=name)
    moved = [name for name in expected if not torch.equal(start[name], found[name])]
    assert any(name.startswith("generator/") for name in moved)
    assert any(name.startswith("discriminator/") for name in moved)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gan", (1, 1)),
        ("dcgan", (1, 1)),
        ("cgan", (1, 1)),
        ("lsgan", (1, 1)),
        ("sngan", (1, 1)),
        ("wgan-gp", (5, 1)),
    ],
)
def test_schedules(name: str, expected: tuple[int, int]) -> None:
    schedule = variants.get(name)().schedule(Schedule())
    assert {schedule.updates(step) for step in range(1001)} == {expected}


def test_wgan_trains_its_critic_longer_at_the_start_and_every_500_steps() -> None:
    schedule = variants.get("wgan")().schedule(Schedule())
    long = [step for step in range(1600) if schedule.updates(step) == (100, 1)]
    assert long == [*range(25), 500, 1000, 1500]
    assert {schedule.updates(step) for step in range(1600) if step not in long} == {(5, 1)}
    assert updates(make_spec("ring8", "wgan", steps=502)) == (26 * 100 + 476 * 5, 502)


def test_wgan_trains_its_critic_as_often_as_its_schedule_says() -> None:
    trainer = make_trainer([make_spec("ring8", ("wgan", {"boost": True}))])
    trainer.train_step()
    assert (trainer.optimizer_d.updates, trainer.optimizer_g.updates) == (100, 1)
    trainer.step = 25
    trainer.train_step()
    assert (trainer.optimizer_d.updates, trainer.optimizer_g.updates) == (105, 2)


def test_wgan_clips_each_runs_critic_after_each_update_and_nothing_else() -> None:
    bounds = [0.01, 0.03]
    specs = [
        make_spec("ring8", ("wgan", {"boost": False, "clip": clip}), seed=seed, lr_d=0.01)
        for seed, clip in enumerate(bounds)
    ]
    trainer = make_trainer(specs)
    assert (trainer.game.D.theta.abs().amax(1) > 0.1).all()
    for _ in range(3):
        trainer.update("discriminator")
        largest = trainer.game.D.theta.abs().amax(1).tolist()
        assert largest == pytest.approx(bounds, rel=1e-6)
        trainer.update("generator")
    assert (trainer.game.G.theta.abs().amax(1) > 0.1).all()


def test_wgan_has_no_momentum_and_no_sigmoid() -> None:
    trainer = make_trainer([make_spec("ring8", "wgan")])
    assert set(trainer.optimizer_d.slot) == {"square"}
    logits = torch.tensor([[40.0, -60.0]], dtype=torch.float64)
    loss = variants.get("wgan")().generator_loss(FixedGame(1), logits_batch(logits, logits))
    assert float(loss) == 10.0


def test_dcgan_normalises_both_networks_but_not_their_rims() -> None:
    trainer = make_trainer([make_spec("digits", "dcgan")])
    means = {
        name
        for network in (trainer.game.G, trainer.game.D)
        for name in network.buffers
        if name.endswith("running_mean")
    }
    assert means == {"hidden.hidden1.1.running_mean", "hidden.hidden2.1.running_mean"}
    assert "hidden.hidden1.1.running_mean" not in trainer.game.D.buffers
    assert not any(name.startswith("output.1") for name in trainer.game.G.names)


def test_every_variant_is_proved_here_or_in_a_file_of_its_own() -> None:
    assert FORMULAS.keys().isdisjoint(EXCHANGED)
    assert FORMULAS.keys() | EXCHANGED.keys() == RECIPES.keys() == REFERENCE.keys()
    for name in set(variants.names()) - RECIPES.keys():
        file = Path(__file__).with_name(f"test_{name.replace('-', '_')}.py")
        assert file.exists(), f"write {file.name}: the formula, and that training follows it"
        assert "def test_reference_settings" in file.read_text()
