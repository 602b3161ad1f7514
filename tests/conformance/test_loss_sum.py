"""Proves the summed loss: per example, in D and G, and what stands before and after it."""

import math
from typing import Any

import pytest
import torch

from harness.parts import Trick
from harness.testing.cells import game_of, trainer_of
from harness.training.batch import Batch

SGD = {"optimizer": "sgd", "beta1": 0.0}


def sp(t: float) -> float:
    return max(t, 0.0) + math.log1p(math.exp(-abs(t)))


class TestLossSum:
    """Losses summed over the batch."""

    def test_formula(self) -> None:
        game = game_of("ring8", "gan", "loss-sum", runs=2)
        batch = Batch(game, "discriminator", 0)
        found = game.discriminator_loss(batch)
        for run in range(2):
            total = sum(sp(-r) for r in batch.judged_real.logits[run].tolist())
            total += sum(sp(f) for f in batch.judged_fake.logits[run].tolist())
            assert found[run].item() == pytest.approx(total, rel=1e-12)
        batch = Batch(game, "generator", 0)
        found = game.generator_loss(batch)
        for run in range(2):
            total = sum(sp(-f) for f in batch.judged_fake.logits[run].tolist())
            assert found[run].item() == pytest.approx(total, rel=1e-12)

    def test_a_map_of_logits_counts_by_its_mean(self) -> None:
        game = game_of("digits", "dcgan", "patchgan", "loss-sum")
        batch = Batch(game, "generator", 0)
        found = game.generator_loss(batch).item()
        logits = batch.judged_fake.logits[0]
        assert logits.shape == (8, 7, 7)
        total = sum(sum(sp(-f) for f in image.flatten().tolist()) / 49 for image in logits)
        assert found == pytest.approx(total, rel=1e-12)

    def test_for_gradient_descent_it_is_a_learning_rate_times_the_batch(self) -> None:
        summed = trainer_of("ring8", "lsgan", "loss-sum", lr_g=0.001, lr_d=0.002, **SGD)
        averaged = trainer_of("ring8", "lsgan", lr_g=0.008, lr_d=0.016, **SGD)
        start = summed.game.G.theta.detach().clone()
        for trainer in (summed, averaged):
            for _ in range(5):
                trainer.train_step()
        torch.testing.assert_close(summed.game.G.theta, averaged.game.G.theta)
        torch.testing.assert_close(summed.game.D.theta, averaged.game.D.theta)
        assert not torch.equal(summed.game.G.theta, start)

    def test_what_is_added_stays_a_mean_wherever_it_stands(self) -> None:
        class Penalty(Trick):
            """Adds 1 to D's loss."""

            id = "penalty"

            def discriminator_objective(self, game: Any, batch: Any, loss: Any) -> Any:
                return loss + 1

        game = game_of("ring8", "gan", "loss-sum")
        variant, summed = game.parts
        own = game_of("ring8", "gan").discriminator_loss(Batch(game, "discriminator", 0)).item()
        for parts in ([variant, summed, Penalty()], [variant, Penalty(), summed]):
            game.parts = parts
            found = game.discriminator_loss(Batch(game, "discriminator", 0)).item()
            assert found == pytest.approx(8 * own + 1, rel=1e-12)

    def test_the_penalty_of_a_variant_stays_a_mean(self) -> None:
        plain, summed = game_of("ring8", "wgan-gp"), game_of("ring8", "wgan-gp", "loss-sum")
        batch = Batch(plain, "discriminator", 0)
        own = plain.variant.discriminator_loss(plain, batch)
        penalty = plain.discriminator_loss(batch) - own
        found = summed.discriminator_loss(Batch(summed, "discriminator", 0))
        torch.testing.assert_close(found, 8 * own + penalty)

    def test_it_costs_no_pass_through_the_discriminator(self) -> None:
        game = game_of("digits", "dcgan", "loss-sum")
        batch = Batch(game, "generator", 0)
        game.generator_loss(batch)
        assert "judged_real" not in batch.__dict__
