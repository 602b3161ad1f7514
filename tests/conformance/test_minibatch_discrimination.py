"""Proves minibatch discrimination: its formula, its gradient, and that batches stay apart."""

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from harness.networks.blueprint import DiscriminatorPlan
from harness.networks.layers import Head
from harness.networks.layers import MinibatchDiscrimination as Layer
from harness.parts import tricks
from harness.testing.cells import game_of, refusal, trainer_of
from harness.testing.specs import make_spec
from harness.training.batch import Batch

SMALL = ("minibatch-discrimination", {"kernels": 4, "dimensions": 3})


class TestMinibatchDiscrimination:
    """Closeness of each example to the others of its batch."""

    def layer(self) -> Layer:
        torch.manual_seed(2)
        return Layer(6, 4, 3).double()

    def test_formula(self) -> None:
        layer = self.layer()
        h = torch.randn(5, 6, dtype=torch.float64)
        found = layer(h)
        assert torch.equal(found[:, :6], h)
        weight = layer.project.weight.tolist()
        M = [
            [
                [
                    sum(w * f for w, f in zip(weight[3 * kernel + c], row, strict=True))
                    for c in range(3)
                ]
                for kernel in range(4)
            ]
            for row in h.tolist()
        ]
        for i in range(5):
            for kernel in range(4):
                expected = 0.0
                for j in set(range(5)) - {i}:
                    gap = sum(abs(a - b) for a, b in zip(M[i][kernel], M[j][kernel], strict=True))
                    expected += math.exp(-gap)
                assert found[i, 6 + kernel].item() == pytest.approx(expected, rel=1e-12)

    def test_equal_examples_are_as_close_as_can_be(self) -> None:
        h = torch.ones(5, 6, dtype=torch.float64)
        assert torch.equal(self.layer()(h)[:, 6:], torch.full((5, 4), 4.0, dtype=torch.float64))

    def test_it_stands_before_the_output(self) -> None:
        head = Head(6, DiscriminatorPlan("toy2d", 8, minibatch=(4, 3))).double()
        h = torch.randn(5, 6, dtype=torch.float64)
        logits, _ = head(h)
        torch.testing.assert_close(logits, head.output(head.minibatch(h)).squeeze(1))
        assert head.output.in_features == 10

    @pytest.mark.parametrize("dataset", ["ring8", "digits"])
    def test_the_defaults_are_the_papers(self, dataset: str) -> None:
        shapes = {
            name: tuple(value.shape[1:])
            for name, value in game_of(dataset, "gan", "minibatch-discrimination")
            .D.parameters()
            .items()
        }
        plain = game_of(dataset, "gan").D.parameters()
        features = plain["head.output.weight"].shape[2]
        assert shapes["head.minibatch.project.weight"] == (500, features)
        assert shapes["head.output.weight"] == (1, features + 100)

    def test_real_and_generated_batches_are_judged_apart(self) -> None:
        game = game_of("ring8", "gan", SMALL, runs=2)
        batch = Batch(game, "discriminator", 0)
        logits = batch.judged_real.logits
        other = Batch(game, "discriminator", 0)
        other.__dict__["fake"] = torch.zeros_like(batch.fake)
        assert torch.equal(other.judged_real.logits, logits)
        swapped = batch.real.clone()
        swapped[:, 0] = swapped[:, 1]
        assert (batch.judge(swapped, "real").logits[:, 2:] != logits[:, 2:]).all()

    def test_one_example_says_nothing_of_another_without_it(self) -> None:
        game = game_of("ring8", "gan")
        batch = Batch(game, "discriminator", 0)
        swapped = batch.real.clone()
        swapped[:, 0] = swapped[:, 1]
        logits = batch.judged_real.logits
        assert torch.equal(batch.judge(swapped, "real").logits[:, 2:], logits[:, 2:])

    def test_the_generator_learns_to_spread_by_it(self) -> None:
        """G's gradient goes through the closeness: one example's loss moves with the others."""
        game = game_of("ring8", "gan", SMALL)
        batch = Batch(game, "generator", 0)
        x = batch.fake.detach().requires_grad_()
        (slope,) = torch.autograd.grad(batch.judge(x, "fake").logits[0, 0], x)
        assert (slope[0, 1:].abs().sum(1) > 0).all()

    def test_training_differs_from_training_without(self) -> None:
        plain, told = trainer_of("ring8", "gan"), trainer_of("ring8", "gan", SMALL)
        assert torch.equal(plain.game.G.theta, told.game.G.theta)
        for trainer in (plain, told):
            trainer.train_step()
        assert not torch.equal(plain.game.G.theta, told.game.G.theta)

    def test_a_discriminator_of_patches_has_no_place_for_it(self) -> None:
        reason = refusal(make_spec("digits", "dcgan", ["minibatch-discrimination", "patchgan"]))
        assert reason == "the discriminator patch cannot be built with another minibatch"
        for variant in ("gan", "dcgan", "lsgan", "wgan", "wgan-gp", "sngan"):
            assert refusal(make_spec("digits", variant, ["minibatch-discrimination"])) is None

    @pytest.mark.parametrize("options", [{"kernels": 0}, {"dimensions": 0}, {"kernels": 2.5}])
    def test_what_is_no_size_is_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            tricks.get("minibatch-discrimination")(**options)
