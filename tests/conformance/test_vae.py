"""Proves the variational auto-encoder, and that everything works without an update of D."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.jobs.job import Job
from harness.jobs.outcomes import warning_signs
from harness.networks.base import Judgement, build_discriminator, build_generator
from harness.parts import Recipe, Schedule, tricks, variants
from harness.parts.blueprint import blueprint_of
from harness.planning.cohorts import work_of
from harness.store.events import EvaluationRow, LossRow
from harness.store.folders import Store
from harness.store.reading import read_run
from harness.store.records import REACHED_THE_END
from harness.testing.cells import CPU, game_of, make_trainer, refusal
from harness.testing.specs import make_spec
from harness.testing.stubs import FixedBatch, FixedGame
from harness.training.batch import Batch
from harness.training.streams import seeded
from harness.variants.vae import divergence, posterior
from tests.conformance.matrix import OPTIONS


def test_reference_settings() -> None:
    variant = variants.get("vae")
    assert variant.recipe == Recipe("adam", 1e-3, 1e-3, 0.9, 0.999)
    assert variant().schedule(Schedule()) == Schedule(d=0, g=1)


class Decoder(FixedBatch):
    """A batch whose generator is an affine map of z."""

    def generate(self, z: Tensor, label: str) -> Tensor:
        return (2 * z - 0.5).flip(2)


def fixed_batch() -> Decoder:
    generator = torch.Generator().manual_seed(4)
    draws = torch.randn(4, 2, 3, 2, generator=generator, dtype=torch.float64)
    code = torch.cat([draws[0], draws[1]], dim=2)
    return Decoder(
        judged_real=Judgement(torch.zeros(2, 3), {}, {"code": code}),
        real=draws[2],
        noise={"posterior": draws[3]},
        phase="generator",
    )


@pytest.mark.parametrize("sigma", [None, 0.1, 2.0])
def test_formula(sigma: float | None) -> None:
    batch = fixed_batch()
    found = variants.get("vae")(sigma=sigma).generator_loss(FixedGame(2), batch)
    assert batch.asked == [("posterior", (3, 2))]
    for run in range(2):
        kl, errors = 0.0, []
        for example in range(3):
            code = batch.judged_real.outputs["code"][run, example].tolist()
            x = batch.real[run, example].tolist()
            noise = batch.noise["posterior"][run, example].tolist()
            z = [m + math.exp(v / 2) * e for m, v, e in zip(code[:2], code[2:], noise, strict=True)]
            made = [2 * z[1] - 0.5, 2 * z[0] - 0.5]
            errors.append([(a - b) ** 2 for a, b in zip(made, x, strict=True)])
            for m, v in zip(code[:2], code[2:], strict=True):
                kl += (m * m + math.exp(v) - 1 - v) / 2
        s2 = (sigma or 0.1) ** 2
        nll = sum(
            error / (2 * s2) + math.log(2 * math.pi * s2) / 2 for row in errors for error in row
        )
        assert found[run].item() == pytest.approx((nll + kl) / 3, rel=1e-12)


def test_the_divergence_is_that_of_two_gaussians() -> None:
    mean, log_variance = torch.randn(2, 2, 5, 3, dtype=torch.float64)
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(
        normal(mean, (log_variance / 2).exp()), normal(torch.zeros(1).double(), 1.0)
    )
    torch.testing.assert_close(divergence(mean, log_variance), expected.sum(2).mean(1))


def test_the_default_deviation_follows_the_kind_of_data() -> None:
    for dataset, sigma in (("ring8", 0.1), ("digits", 0.3)):
        losses = []
        for options in ({}, {"sigma": sigma}, {"sigma": 0.2}):
            game = game_of(dataset, ("vae", options))
            losses.append(game.generator_loss(Batch(game, "generator", 0)).item())
        assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("sigma", [None, 0.2])
@pytest.mark.parametrize(
    ("dataset", "network"), [("ring8", "toy2d"), ("digits", "mlp-small"), ("digits", "dcgan")]
)
def test_steps_equal_a_plain_loop(dataset: str, network: str, sigma: float | None) -> None:
    spec = make_spec(
        dataset,
        ("vae", {"sigma": sigma}),
        seed=5,
        network=network,
        precision="float64",
        lr_g=2e-3,
        lr_d=5e-4,
    )
    trainer, source = make_trainer([spec]), make_trainer([spec]).game
    with seeded(spec.seed, "init/generator"):
        decoder = build_generator(blueprint_of(spec)).double()
    with seeded(spec.seed, "init/discriminator"):
        encoder = build_discriminator(blueprint_of(spec)).double()
    optimizers = [
        torch.optim.Adam(decoder.parameters(), 2e-3, betas=(0.9, 0.999)),
        torch.optim.Adam(encoder.parameters(), 5e-4, betas=(0.9, 0.999)),
    ]
    for step in range(4):
        trainer.train_step()
        batch = Batch(source, "generator", step)
        x = batch.real[0]
        code = encoder(x).outputs["code"]
        q = torch.distributions.Normal(code[:, :4], (code[:, 4:] / 2).exp())
        z = q.loc + q.scale * batch.normal("posterior", 8, 4)[0]
        made = decoder(z)
        scale = sigma or {"ring8": 0.1, "digits": 0.3}[dataset]
        nll = -torch.distributions.Normal(made, scale).log_prob(x).flatten(1).sum(1)
        kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(1)
        loss = (nll + kl).mean()
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        (row,), _ = trainer.read()
        assert row["g_loss"] == pytest.approx(loss.item(), rel=1e-9)
        assert row["kl"] == pytest.approx(kl.mean().item(), rel=1e-9)
    found = trainer.state(0)
    for player, module in (("generator", decoder), ("discriminator", encoder)):
        for name, value in module.state_dict().items():
            torch.testing.assert_close(
                found[f"{player}/{name}"], value, rtol=1e-8, atol=1e-9, msg=name
            )


def test_both_networks_learn_in_the_same_update() -> None:
    trainer = make_trainer([make_spec("ring8", "vae")])
    game = trainer.game
    before = game.G.theta.detach().clone(), game.D.theta.detach().clone()
    trainer.train_step()
    assert (trainer.optimizer_d.updates, trainer.optimizer_g.updates) == (1, 1)
    assert trainer.kimg == 8 / 1000
    assert not torch.equal(game.G.theta, before[0])
    moved = game.D.parameters(game.D.theta.detach() != before[1])
    assert {name: bool(found.any()) for name, found in moved.items()} == {
        name: not name.startswith("head.output") for name in moved
    }


def test_the_posterior_narrows_while_it_trains() -> None:
    trainer = make_trainer([make_spec("ring8", "vae", width=32, batch=32, lr_g=1e-3, lr_d=1e-3)])
    game = trainer.game
    bounds = []
    for _ in range(300):
        trainer.train_step()
        (row,), _ = trainer.read()
        bounds.append(row["g_loss"])
    assert sum(bounds[-50:]) / 50 < sum(bounds[:50]) / 50 - 0.5
    _, log_variance = posterior(Batch(game, "generator", 999))
    assert log_variance.mean() < -0.5


@pytest.mark.parametrize("name", tricks.names())
def test_tricks_that_need_an_adversary_are_refused(name: str) -> None:
    trick = (name, OPTIONS.get(name, {}))
    reason = refusal(make_spec("digits", "vae", [trick], network="dcgan"))
    if tricks.get(name).needs_adversary:
        assert reason == f"{name} acts on the game of two players; vae has no adversary"
    else:
        assert reason is None or "no adversary" not in reason


def test_which_tricks_need_one() -> None:
    needing = {name for name in tricks.names() if tricks.get(name).needs_adversary}
    assert {"patchgan", "label-smoothing", "update-ratio", "feature-matching"} <= needing
    assert "dropout-g" not in needing
    assert refusal(make_spec("digits", "gan", ["update-ratio"])) is None


def test_rows_say_nothing_of_an_opponent() -> None:
    trainer = make_trainer([make_spec("ring8", "vae", seed=seed) for seed in (0, 1)])
    for _ in range(3):
        trainer.train_step()
    rows, divergences = trainer.read()
    assert divergences == [None, None]
    assert [set(row) for row in rows] == [{"g_loss", "g_grad_norm", "kl"}] * 2
    assert all(math.isfinite(value) for row in rows for value in row.values())


def test_a_diverging_encoder_is_noticed() -> None:
    trainer = make_trainer([make_spec("ring8", "vae", seed=seed) for seed in (0, 1)])
    with torch.no_grad():
        trainer.game.D.theta[0] = torch.nan
    trainer.train_step()
    _, divergences = trainer.read()
    assert divergences[0] is not None
    assert divergences[0].what == "generator loss"
    assert divergences[1] is None


def test_its_work_is_counted() -> None:
    work = work_of(make_spec("ring8", "vae"))
    assert (work.d_updates, work.g_updates) == (0, 20)
    assert work.flops > 0


def test_a_job_trains_and_judges_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = Store(tmp_path / "results")
    spec = make_spec("ring8", "vae")
    assert Job(store, CPU).train([spec]) == 0
    record = read_run(store.create(spec))
    assert record.outcome is not None
    assert record.outcome.outcome in REACHED_THE_END
    assert record.outcome.updates == {"d": 20, "g": 20}
    losses, evaluations = record.of_type(LossRow), record.of_type(EvaluationRow)
    assert [row.kimg for row in losses] == [0.04, 0.08, 0.12, 0.16]
    signs: dict[str, Any] = warning_signs(losses, evaluations, "none")
    assert signs == {}


def test_samples_are_the_decoders_means_at_latents_of_the_prior() -> None:
    game = game_of("ring8", "vae")
    drawn = game.sample(16, "evaluation")
    z = game.streams.normal("evaluation/latent", 0, (512, 4))[:, :16]
    torch.testing.assert_close(drawn, game.G(z, training=False))
