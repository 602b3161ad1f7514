"""Proves the gradient penalty of wgan-gp on critics whose gradient is known."""

import math

import pytest
import torch
from torch import Tensor

from harness.parts import variants
from harness.testing.cells import make_trainer
from harness.testing.specs import make_spec
from harness.testing.stubs import FixedBatch, FixedGame
from harness.training.batch import Batch


class TestGradientPenalty:
    """The penalty of wgan-gp on critics whose gradient is known."""

    def penalty(self, formula, real, fake, alpha, **options) -> tuple[Tensor, FixedBatch]:
        batch = FixedBatch(real=real, fake=fake, noise={"penalty": alpha}, formula=formula)
        variant = variants.get("wgan-gp")(**options)
        none = torch.zeros(len(real), dtype=torch.float64)
        return variant.discriminator_objective(FixedGame(len(real)), batch, none), batch

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
        term = game.variant.discriminator_objective(game, batch, torch.zeros(2))
        assert term.shape == (2,)
        assert (term > 0).all()
