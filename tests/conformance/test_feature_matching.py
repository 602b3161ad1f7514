"""Proves feature matching: batch means, in place of G's loss, on fresh real data."""

from typing import Any

import pytest
import torch
from torch import Tensor

from harness.networks.base import Judgement
from harness.parts import Trick, tricks
from harness.testing.cells import game_of, trainer_of
from harness.testing.stubs import FixedBatch, FixedGame
from harness.training.batch import Batch


def features_batch(real: Tensor, fake: Tensor) -> FixedBatch:
    """Make a batch with an early layer that must not matter and a last one that does."""
    early = torch.full((2, 4, 3), 7.0, dtype=torch.float64)
    none = torch.empty(0)
    return FixedBatch(
        Judgement(none, {"hidden1": early, "hidden2": real}),
        Judgement(none, {"hidden1": -early, "hidden2": fake}),
        phase="generator",
    )


def generator_loss(trick: Trick, batch: Any, own: Tensor) -> Tensor:
    """Return G's loss as the trick changes it, where the variant's own is given."""
    game: Any = FixedGame(2)
    replaced = trick.replaced_generator_loss(game, batch)
    return trick.generator_objective(game, batch, own if replaced is None else replaced)


class TestFeatureMatching:
    """Distance between batch means of D's features, instead of G's loss."""

    def features(self, *shape: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(9)
        draws = torch.randn(2, 2, 4, *shape, generator=generator, dtype=torch.float64)
        return draws[0], draws[1] + 0.5

    @pytest.mark.parametrize("shape", [(3,), (2, 3, 3)], ids=["units", "maps"])
    @pytest.mark.parametrize("norm", ["l2", "l1"])
    @pytest.mark.parametrize("mode", ["replace", "add"])
    def test_formula(self, shape: tuple[int, ...], norm: str, mode: str) -> None:
        real, fake = self.features(*shape)
        trick = tricks.get("feature-matching")(mode=mode, norm=norm, weight=2.5)
        own = torch.tensor([0.3, -4.0], dtype=torch.float64)
        found = generator_loss(trick, features_batch(real, fake), own)
        for run in range(2):
            distance = 0.0
            columns = real[run].flatten(1).T.tolist(), fake[run].flatten(1).T.tolist()
            for ours, theirs in zip(*columns, strict=True):
                gap = sum(ours) / 4 - sum(theirs) / 4
                distance += gap**2 if norm == "l2" else abs(gap)
            expected = 2.5 * distance + (own[run].item() if mode == "add" else 0.0)
            assert found[run].item() == pytest.approx(expected, rel=1e-12)

    def test_it_compares_batch_means_not_examples(self) -> None:
        real, _ = self.features(3)
        fake = real.flip(1)
        trick = tricks.get("feature-matching")()
        none = torch.zeros(2, dtype=torch.float64)
        found = generator_loss(trick, features_batch(real, fake), none)
        per_example = (real - fake).square().sum(2).mean(1)
        assert (per_example > 0.1).all()
        torch.testing.assert_close(found, torch.zeros(2, dtype=torch.float64))

    @pytest.mark.parametrize("variant", ["gan", "wgan-gp"])
    def test_it_replaces_the_generators_loss_in_training(self, variant: str) -> None:
        game = game_of("ring8", variant, "feature-matching", runs=2)
        batch = Batch(game, "generator", 1)
        loss = game.generator_loss(batch)
        (gradient,) = torch.autograd.grad(loss.sum(), game.G.theta, retain_graph=True)
        real = game.D(batch.real).features["hidden2"]
        fake = game.D(batch.fake).features["hidden2"]
        expected = (real.mean(1) - fake.mean(1)).square().sum(1)
        torch.testing.assert_close(loss, expected)
        (wanted,) = torch.autograd.grad(expected.sum(), game.G.theta)
        torch.testing.assert_close(gradient, wanted)
        assert not batch.judged_real.logits.requires_grad

    def test_a_non_finite_loss_of_the_variant_is_of_no_consequence(self) -> None:
        real, fake = self.features(3)
        trick = tricks.get("feature-matching")()
        own = torch.tensor([torch.nan, torch.inf], dtype=torch.float64)
        found = generator_loss(trick, features_batch(real, fake), own)
        assert found.isfinite().all()

    def test_the_discriminator_trains_as_before(self) -> None:
        plain, matched = trainer_of("ring8", "gan"), trainer_of("ring8", "gan", "feature-matching")
        for trainer in (plain, matched):
            trainer.update("discriminator")
        assert torch.equal(plain.game.D.theta, matched.game.D.theta)
        for trainer in (plain, matched):
            trainer.update("generator")
        assert not torch.equal(plain.game.G.theta, matched.game.G.theta)

    def test_its_real_data_are_not_those_that_taught_the_discriminator(self) -> None:
        game = game_of("ring8", "gan", "feature-matching")
        taught = [Batch(game, "discriminator", counter).real for counter in range(20)]
        matched = [Batch(game, "generator", counter).real for counter in range(20)]
        seen = {tuple(row) for batch in taught for row in batch[0].tolist()}
        fresh = [tuple(row) for batch in matched for row in batch[0].tolist()]
        assert len(set(fresh)) == 160
        assert len(seen & set(fresh)) < 8
