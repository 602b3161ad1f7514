"""Proves each variant's formula against its paper, and that its steps follow it."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from harness.networks.base import Judgement
from harness.networks.spectral import SpectralNorm
from harness.parts import Recipe as Reference
from harness.parts import Schedule, variants
from harness.plan import updates
from harness.training.game import Batch
from tests.conformance.cells import CELLS, Cell, make_trainer
from tests.conformance.plain_loop import PlainLoop, Recipe
from tests.conformance.stubs import FixedBatch, FixedGame, logits_batch
from tests.specs import make_spec

Formula = Callable[[float], float]


def sp(t: float) -> float:
    return max(t, 0.0) + math.log1p(math.exp(-abs(t)))


# Real part and fake part of D's loss, and G's loss, per logit; RECIPES gives the papers.
CROSS_ENTROPY: tuple[Formula, Formula, Formula] = (lambda r: sp(-r), sp, lambda f: sp(-f))
WASSERSTEIN: tuple[Formula, Formula, Formula] = (lambda r: -r, lambda f: f, lambda f: -f)
FORMULAS: dict[str, tuple[Formula, Formula, Formula]] = {
    "gan": CROSS_ENTROPY,
    "dcgan": CROSS_ENTROPY,
    "lsgan": (lambda r: (r - 1) ** 2 / 2, lambda f: f**2 / 2, lambda f: (f - 1) ** 2 / 2),
    "wgan": WASSERSTEIN,
    "wgan-gp": WASSERSTEIN,
    "sngan": (lambda r: max(0.0, 1 - r), lambda f: max(0.0, 1 + f), lambda f: -f),
}

softplus = lambda t: torch.log1p(torch.exp(t))  # noqa: E731
BY_CROSS_ENTROPY = Recipe(
    lambda r, f: softplus(-r).mean() + softplus(f).mean(), lambda f: softplus(-f).mean()
)
RECIPES = {
    "gan": BY_CROSS_ENTROPY,
    "dcgan": BY_CROSS_ENTROPY,
    "lsgan": Recipe(
        lambda r, f: 0.5 * ((r - 1) ** 2).mean() + 0.5 * (f**2).mean(),
        lambda f: 0.5 * ((f - 1) ** 2).mean(),
    ),
    "wgan": Recipe(lambda r, f: f.mean() - r.mean(), lambda f: -f.mean(), clip=0.01),
    "wgan-gp": Recipe(lambda r, f: f.mean() - r.mean(), lambda f: -f.mean(), penalty=10.0),
    "sngan": Recipe(
        lambda r, f: (1 - r).clip(min=0).mean() + (1 + f).clip(min=0).mean(), lambda f: -f.mean()
    ),
}
REFERENCE = {
    "gan": Reference("adam", 2e-4, 2e-4, 0.5, 0.999),
    "dcgan": Reference("adam", 2e-4, 2e-4, 0.5, 0.999),
    "lsgan": Reference("adam", 2e-4, 2e-4, 0.5, 0.999),
    "wgan": Reference("rmsprop", 5e-5, 5e-5, 0.0, 0.99),
    "wgan-gp": Reference("adam", 1e-4, 1e-4, 0.5, 0.9),
    "sngan": Reference("adam", 2e-4, 2e-4, 0.5, 0.999),
}
every_variant = pytest.mark.parametrize("name", variants.names())
PLAIN_CELLS = [cell for cell in CELLS if not cell.tricks]


def fixed_logits(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    draws = torch.randn(2, *shape, generator=generator, dtype=torch.float64) * 3
    return draws[0], draws[1]


def mean_by_hand(formula: Formula, values: Tensor) -> float:
    numbers = values.flatten().tolist()
    return sum(formula(value) for value in numbers) / len(numbers)


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
    on_real, on_fake, fooling = FORMULAS[name]
    for run in range(3):
        expected = mean_by_hand(on_real, real[run]) + mean_by_hand(on_fake, fake[run])
        assert float(d_loss[run]) == pytest.approx(expected, rel=1e-13, abs=1e-13)
        expected = mean_by_hand(fooling, fake[run])
        assert float(g_loss[run]) == pytest.approx(expected, rel=1e-13, abs=1e-13)


@every_variant
def test_losses_are_the_papers_at_extreme_logits(name: str) -> None:
    variant = variants.get(name)()
    for value in (-300.0, -1.0, 0.0, 1.0, 300.0):
        logits = torch.full((1, 2), value, dtype=torch.float64)
        batch, game = logits_batch(logits, logits), FixedGame(1)
        on_real, on_fake, fooling = (formula(value) for formula in FORMULAS[name])
        assert float(variant.discriminator_loss(game, batch)) == pytest.approx(on_real + on_fake)
        assert float(variant.generator_loss(game, batch)) == pytest.approx(fooling)


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
def test_a_perfect_discriminator_is_counted_as_one(name: str) -> None:
    # What D is taught, or the margins that it is asked for.
    taught = {"lsgan": (1.0, 0.0)}.get(name, (1.0, -1.0))
    assert taught[1] < variants.get(name).boundary < taught[0]
    trainer = make_trainer([make_spec("ring8", name, network="toy2d", precision="float64")])
    inner = trainer.game.judge

    def perfect(x: Tensor, batch: Batch) -> Judgement:
        judged = inner(x, batch)
        return judged._replace(logits=judged.logits * 0 + taught[x is batch.fake])

    trainer.game.judge = perfect
    trainer._update_discriminator()
    trainer._update_generator()
    rows, _ = trainer.read()
    assert (rows[0]["d_accuracy_real"], rows[0]["d_accuracy_fake"]) == (1.0, 1.0)


@pytest.mark.parametrize("cell", PLAIN_CELLS, ids=str)
def test_steps_equal_a_plain_loop(cell: Cell) -> None:
    spec = cell.spec(precision="float64")
    trainer, loop = make_trainer([spec]), PlainLoop(spec, RECIPES[cell.variant])
    start = trainer.state(0)
    for _ in range(4):
        trainer.train_step()
        d_updates, g_updates = trainer.game.schedule.updates(trainer.step - 1)
        losses = [loop.update_discriminator() for _ in range(d_updates)]
        fooling = [loop.update_generator() for _ in range(g_updates)]
        rows, _ = trainer.read()
        assert rows[0]["d_loss"] == pytest.approx(sum(losses) / d_updates, rel=1e-9, abs=1e-12)
        assert rows[0]["g_loss"] == pytest.approx(sum(fooling) / g_updates, rel=1e-9, abs=1e-12)
    found, expected = trainer.state(0), loop.state()
    assert expected.keys() <= found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-10, msg=name)
    moved = [name for name in expected if not torch.equal(start[name], found[name])]
    assert any(name.startswith("generator/") for name in moved)
    assert any(name.startswith("discriminator/") for name in moved)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("gan", (1, 1)), ("dcgan", (1, 1)), ("lsgan", (1, 1)), ("sngan", (1, 1)), ("wgan-gp", (5, 1))],
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
        trainer._update_discriminator()
        largest = trainer.game.D.theta.abs().amax(1).tolist()
        assert largest == pytest.approx(bounds, rel=1e-6)
        trainer._update_generator()
    assert (trainer.game.G.theta.abs().amax(1) > 0.1).all()


def test_wgan_has_no_momentum_and_no_sigmoid() -> None:
    trainer = make_trainer([make_spec("ring8", "wgan")])
    assert set(trainer.optimizer_d.slot) == {"square"}
    logits = torch.tensor([[40.0, -60.0]], dtype=torch.float64)
    loss = variants.get("wgan")().generator_loss(FixedGame(1), logits_batch(logits, logits))
    assert float(loss) == 10.0


class TestGradientPenalty:
    """The penalty of wgan-gp on critics whose gradient is known."""

    def penalty(self, formula, real, fake, alpha, **options) -> tuple[Tensor, FixedBatch]:
        batch = FixedBatch(real=real, fake=fake, noise={"penalty": alpha})
        variant = variants.get("wgan-gp")(**options)
        return variant.discriminator_term(FixedGame(len(real), formula), batch), batch

    def data(self) -> tuple[Tensor, Tensor, Tensor]:
        generator = torch.Generator().manual_seed(3)
        draw = torch.rand(2, 2, 4, 3, 2, 2, generator=generator, dtype=torch.float64) * 2 - 1
        alpha = torch.rand(2, 4, generator=generator, dtype=torch.float64)
        return draw[0], draw[1], alpha

    def test_a_linear_critic(self) -> None:
        real, fake, alpha = self.data()
        w = torch.linspace(-1, 1, 12, dtype=torch.float64)
        found, _ = self.penalty(lambda x: x.flatten(2) @ w, real, fake, alpha)
        norm = math.sqrt(sum(value**2 for value in w.tolist()))
        assert found.tolist() == pytest.approx([10 * (norm - 1) ** 2] * 2, rel=1e-12)

    def test_a_quadratic_critic_shows_where_the_gradient_is_taken(self) -> None:
        real, fake, alpha = self.data()
        found, batch = self.penalty(
            lambda x: x.flatten(2).square().sum(2) / 2, real, fake, alpha, penalty_weight=0.5
        )
        for run in range(2):
            total = 0.0
            for example in range(4):
                a = float(alpha[run, example])
                x, generated = real[run, example].flatten(), fake[run, example].flatten()
                between = [
                    p + a * (q - p) for p, q in zip(x.tolist(), generated.tolist(), strict=True)
                ]
                total += (math.sqrt(sum(value**2 for value in between)) - 1) ** 2
            assert found[run].item() == pytest.approx(0.5 * total / 4, rel=1e-12)
        assert batch.asked == [("penalty", (4,))]

    def test_its_gradient_reaches_the_critics_weights(self) -> None:
        real, fake, alpha = self.data()
        w = torch.linspace(-1, 1, 12, dtype=torch.float64).requires_grad_()
        found, _ = self.penalty(lambda x: x.flatten(2) @ w, real, fake, alpha)
        (slope,) = torch.autograd.grad(found[0], w)
        norm = w.detach().norm()
        torch.testing.assert_close(slope, 20 * (norm - 1) * w.detach() / norm)

    def test_a_dead_critic_gives_a_finite_gradient(self) -> None:
        real, fake, alpha = self.data()
        w = torch.zeros(12, dtype=torch.float64, requires_grad=True)
        found, _ = self.penalty(lambda x: x.flatten(2) @ w, real, fake, alpha)
        (slope,) = torch.autograd.grad(found.sum(), w)
        assert found.tolist() == [10.0, 10.0]
        assert slope.isfinite().all()

    def test_weight_zero_leaves_the_wasserstein_objective(self) -> None:
        real, fake, alpha = self.data()
        found, _ = self.penalty(lambda x: x.flatten(2).sum(2), real, fake, alpha, penalty_weight=0)
        assert found.tolist() == [0.0, 0.0]

    def test_a_game_draws_one_fresh_number_per_example(self) -> None:
        game = make_trainer([make_spec("ring8", "wgan-gp", seed=seed) for seed in (0, 1)]).game
        draws = [Batch(game, "discriminator", counter).uniform("penalty", 8) for counter in (0, 1)]
        assert torch.stack(draws).unique().numel() == 32
        batch = Batch(game, "discriminator", 0)
        term = game.variant.discriminator_term(game, batch)
        assert term.shape == (2,)
        assert (term > 0).all()


class TestSpectralNorm:
    """Every weight of sngan's discriminator has a largest singular value of one."""

    @pytest.mark.parametrize("dataset", ["ring8", "digits"])
    def test_weights_have_norm_one_while_training(self, dataset: str) -> None:
        trainer = make_trainer([make_spec(dataset, "sngan", seed=seed) for seed in (0, 1)])
        for _ in range(30):
            trainer.train_step()
        for run in range(2):
            state = trainer.game.D.state(run)
            layers = [n.removesuffix(".original") for n in state if n.endswith(".original")]
            assert len(layers) == 3
            for layer in layers:
                matrix = state[f"{layer}.original"].flatten(1).double()
                u, v = state[f"{layer}.0.u"].double(), state[f"{layer}.0.v"].double()
                largest = torch.linalg.svdvals(matrix / (u @ matrix @ v))[0]
                assert float(largest) == pytest.approx(1.0, abs=0.02)

    def test_a_weight_is_divided_as_torch_divides_it(self) -> None:
        torch.manual_seed(0)
        ours, theirs = nn.Linear(7, 5).double(), nn.Linear(7, 5).double()
        theirs.load_state_dict(ours.state_dict())
        nn.utils.parametrize.register_parametrization(ours, "weight", SpectralNorm(ours.weight))
        nn.utils.parametrizations.spectral_norm(theirs)
        norm, expected = ours.parametrizations.weight[0], theirs.parametrizations.weight[0]
        expected._u.copy_(norm.u)
        expected._v.copy_(norm.v)
        ours.eval()
        theirs.eval()
        torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-14, atol=1e-14)
        x = torch.randn(4, 7, dtype=torch.float64)
        for layer in (ours, theirs):
            layer(x).square().sum().backward()
        torch.testing.assert_close(
            ours.parametrizations.weight.original.grad,
            theirs.parametrizations.weight.original.grad,
            rtol=1e-12,
            atol=1e-12,
        )

    @pytest.mark.parametrize(
        "layer", [nn.Linear(7, 5), nn.Conv2d(2, 6, 4)], ids=["linear", "convolution"]
    )
    def test_power_iteration_is_the_papers(self, layer: nn.Module) -> None:
        torch.manual_seed(1)
        norm = SpectralNorm(layer.weight.double()).double()
        matrix = layer.weight.detach().double().flatten(1).numpy()
        u = norm.u.numpy().copy()
        norm(layer.weight.double())
        v = matrix.T @ u
        v /= (v**2).sum() ** 0.5
        after = matrix @ v
        after /= (after**2).sum() ** 0.5
        torch.testing.assert_close(norm.v, torch.from_numpy(v), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(norm.u, torch.from_numpy(after), rtol=1e-12, atol=1e-12)
        norm.eval()
        kept = norm.u.clone(), norm.v.clone()
        norm(layer.weight.double())
        assert torch.equal(norm.u, kept[0])
        assert torch.equal(norm.v, kept[1])

    def test_the_start_is_a_good_estimate(self) -> None:
        torch.manual_seed(2)
        weight = torch.randn(64, 48, dtype=torch.float64)
        norm = SpectralNorm(weight).eval()
        found = torch.linalg.svdvals(norm(weight))[0]
        assert float(found) == pytest.approx(1.0, abs=0.05)

    def test_it_replaces_normalisation_of_activations(self) -> None:
        trainer = make_trainer([make_spec("digits", "sngan")])
        assert not any("running_mean" in name for name in trainer.game.D.buffers)
        assert any("running_mean" in name for name in trainer.game.G.buffers)


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


def test_every_variant_is_proved_here() -> None:
    names = set(variants.names())
    assert names == FORMULAS.keys() == RECIPES.keys() == REFERENCE.keys()
