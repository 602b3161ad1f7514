"""Proves the gradient penalty on any objective: its formula, its place and its effect."""

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from harness.networks.base import build_discriminator
from harness.parts import tricks
from harness.parts.blueprint import blueprint_of
from harness.testing.cells import game_of, refusal, trainer_of
from harness.testing.specs import make_spec
from harness.testing.stubs import FixedBatch, FixedGame
from harness.training.batch import Batch
from harness.training.streams import seeded
from tests.plain_loop import slopes_by_example


def penalty_by_example(D: nn.Module, real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    """Compute the mean of (‖∇D(x̂)‖₂ − 1)² one example at a time."""
    share = alpha.reshape(-1, *[1] * (real.ndim - 1))
    slopes = slopes_by_example(lambda x: D(x).logits, real + share * (fake - real))
    return torch.stack([(slope.square().sum().sqrt() - 1) ** 2 for slope in slopes]).mean()


class TestGradientPenalty:
    """The penalty of wgan-gp, laid over other objectives."""

    def test_formula(self) -> None:
        generator = torch.Generator().manual_seed(3)
        draw = torch.randn(2, 2, 4, 3, 2, 2, generator=generator, dtype=torch.float64)
        alpha = torch.rand(2, 4, generator=generator, dtype=torch.float64)
        batch = FixedBatch(
            real=draw[0],
            fake=draw[1],
            noise={"gradient-penalty": alpha},
            formula=lambda x: x.flatten(2).pow(3).sum(2),
        )
        own = torch.tensor([0.25, -3.0], dtype=torch.float64)
        trick = tricks.get("gradient-penalty")(weight=0.7)
        found = trick.discriminator_objective(FixedGame(2), batch, own)
        for run in range(2):
            total = 0.0
            for example in range(4):
                a = alpha[run, example].item()
                pairs = zip(
                    draw[0, run, example].flatten().tolist(),
                    draw[1, run, example].flatten().tolist(),
                    strict=True,
                )
                slope = [3 * ((1 - a) * x + a * y) ** 2 for x, y in pairs]
                total += (sum(v * v for v in slope) ** 0.5 - 1) ** 2
            expected = own[run].item() + 0.7 * total / 4
            assert found[run].item() == pytest.approx(expected, rel=1e-12)
        assert batch.asked == [("gradient-penalty", (4,))]

    @pytest.mark.parametrize("variant", ["gan", "lsgan"])
    def test_its_term_in_a_game_is_that_of_plain_modules(self, variant: str) -> None:
        plain = game_of("ring8", variant)
        game = game_of("ring8", variant, "gradient-penalty")
        losses = [g.discriminator_loss(Batch(g, "discriminator", 1)) for g in (plain, game)]
        batch = Batch(game, "discriminator", 1)
        with seeded(0, "init/discriminator"):
            D = build_discriminator(blueprint_of(make_spec("ring8", variant))).double()
        alpha = batch.uniform("gradient-penalty", 8)[0]
        expected = 10 * penalty_by_example(D, batch.real[0], batch.fake[0], alpha)
        torch.testing.assert_close((losses[1] - losses[0])[0], expected, rtol=1e-9, atol=0)

    def test_on_a_wasserstein_critic_it_is_wgan_gp(self) -> None:
        """But for the draws of α: with those of wgan-gp the whole step is the same."""
        wasserstein = ("wgan", {"clip": 1e9, "boost": False, "d_steps": 1})
        rates = {"optimizer": "adam", "lr_g": 1e-3, "lr_d": 1e-3, "beta1": 0.5, "beta2": 0.9}
        built = trainer_of("ring8", wasserstein, "gradient-penalty", **rates)
        known = trainer_of("ring8", ("wgan-gp", {"d_steps": 1}), **rates)
        inner = built.game.streams.uniform
        built.game.streams.uniform = lambda name, *rest: inner(  # type: ignore[method-assign]
            name.replace("gradient-penalty", "penalty"), *rest
        )
        for trainer in (built, known):
            for _ in range(3):
                trainer.train_step()
        torch.testing.assert_close(built.game.D.theta, known.game.D.theta, rtol=1e-12, atol=0)
        torch.testing.assert_close(built.game.G.theta, known.game.G.theta, rtol=1e-12, atol=0)

    def test_it_takes_what_was_shown(self) -> None:
        noisy = game_of("ring8", "gan", ("instance-noise", {"sigma": 5.0}), "gradient-penalty")
        only_noise = game_of("ring8", "gan", ("instance-noise", {"sigma": 5.0}))
        batch = Batch(noisy, "discriminator", 0)
        alpha = batch.uniform("gradient-penalty", 8)[0]
        with seeded(0, "init/discriminator"):
            D = build_discriminator(blueprint_of(make_spec("ring8", "gan"))).double()
        expected = 10 * penalty_by_example(D, batch.shown_real[0], batch.shown_fake[0], alpha)
        losses = [g.discriminator_loss(Batch(g, "discriminator", 0)) for g in (only_noise, noisy)]
        torch.testing.assert_close((losses[1] - losses[0])[0], expected, rtol=1e-9, atol=1e-12)

    def test_batch_normalisation_stays(self) -> None:
        plain, held = (
            trainer_of("digits", "dcgan"),
            trainer_of("digits", "dcgan", "gradient-penalty"),
        )
        assert plain.game.D.names == held.game.D.names
        assert any("running_mean" in name for name in held.game.D.buffers)
        for trainer in (plain, held):
            trainer.train_step()
        assert not torch.equal(plain.game.D.theta, held.game.D.theta)

    def test_wgan_gp_has_it_already(self) -> None:
        reason = refusal(make_spec("ring8", "wgan-gp", ["gradient-penalty"]))
        assert reason == "wgan-gp has this penalty already; change its penalty_weight"
        for variant in ("gan", "lsgan", "wgan", "sngan"):
            assert refusal(make_spec("ring8", variant, ["gradient-penalty"])) is None

    @pytest.mark.parametrize("weight", [0, -1])
    def test_what_is_no_weight_is_refused(self, weight: float) -> None:
        with pytest.raises(ValidationError):
            tricks.get("gradient-penalty")(weight=weight)
