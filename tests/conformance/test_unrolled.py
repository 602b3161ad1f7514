"""Proves unrolling: G's gradient is the total derivative, and D is left as it was."""

import copy
import math
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from harness.errors import PartError
from harness.parts import Trick, tricks, variants
from harness.testing.cells import refusal, trainer_of
from harness.testing.specs import Named, make_spec
from harness.training.batch import Batch
from harness.training.trainer import Trainer
from tests.conformance.test_dirac_gan import RATE, Dirac


def sigmoid(t: float) -> float:
    return 1 / (1 + math.exp(-t))


def plain_value(trainer: Trainer, k: int) -> Tensor:
    """Return G's loss after k in-place steps of D on the generator batch; then put D back."""
    game = trainer.game
    batch = Batch(game, "generator", trainer.optimizer_g.updates)
    optimizer = copy.deepcopy(trainer.optimizer_d)
    theta = game.D.theta.detach().clone().requires_grad_()
    with game.D.preserved():
        for ahead in range(1, k + 1):
            inner = batch.against(theta, ahead)
            loss = game.discriminator_loss(inner)
            (gradient,) = torch.autograd.grad(loss.sum(), theta, retain_graph=True)
            optimizer.step(theta, game.gradient(inner, gradient))
            optimizer.updates += 1
        with torch.no_grad():
            for name, buffer in game.D.buffers.items():
                buffer.copy_(trainer.before[name])
        answered = Batch(game, "generator", trainer.optimizer_g.updates)
        answered.__dict__["opponent"] = theta.detach()
        return game.generator_loss(answered).detach()


SETTINGS: list[tuple[str, Named, list[Named], dict[str, Any]]] = [
    ("ring8", "gan", [], {}),
    ("ring8", "gan", [], {"optimizer": "sgd", "lr_d": 0.1, "beta1": 0.5}),
    ("ring8", "gan", [], {"optimizer": "rmsprop", "lr_d": 0.01}),
    ("ring8", "lsgan", ["label-smoothing"], {}),
    ("ring8", ("wgan-gp", {"d_steps": 1}), [], {"lr_d": 0.01}),
    ("ring8", "gan", ["r1", "r2", "packing"], {}),
    # Its distances |a − b| have kinks, which a normalised G meets within the step of this proof.
    ("ring8", "gan", ["minibatch-discrimination"], {"network": "toy2d"}),
    ("ring8", "gan", ["historical-averaging", "instance-noise"], {}),
    ("ring8", "gan", ["feature-matching"], {}),
    ("ring8", "gan", [("gradient-clipping", {"player": "D", "max_norm": 0.01})], {}),
    ("digits", "dcgan", [], {"lr_d": 1e-3}),
    ("digits", "dcgan", ["mixed-batches"], {"lr_d": 1e-3}),
]


class TestUnrolled:
    """The derivative through D's updates, and their undoing."""

    def trained(self, *arguments: Any, **settings: Any) -> Trainer:
        trainer = trainer_of(*arguments, **{"lr_d": 0.05, "lr_g": 0.01, **settings})
        for _ in range(2):
            trainer.train_step()
        trainer.update("discriminator")
        trainer.before = {name: value.clone() for name, value in trainer.game.D.buffers.items()}
        return trainer

    @pytest.mark.parametrize(("psi", "theta"), [(1.0, 1.0), (-0.4, 0.9), (2.0, -0.3)])
    def test_one_step_of_two_numbers_by_hand(self, psi: float, theta: float) -> None:
        """D(x) = ψx with data at 0; ψ' = ψ − η σ(ψθ) θ, and G minimises sp(−ψ'θ)."""
        game = Dirac(variants.get("gan")(), [(psi, theta)], [tricks.get("unrolled")(k=1)]).game
        loss = game.generator_loss(Batch(game, "generator", 0))
        (found,) = torch.autograd.grad(loss.sum(), game.G.theta)
        s = sigmoid(psi * theta)
        ahead = psi - RATE * s * theta
        slope = -RATE * (s + theta * psi * s * (1 - s))
        assert loss.item() == pytest.approx(math.log1p(math.exp(-ahead * theta)), rel=1e-12)
        expected = -sigmoid(-ahead * theta) * (ahead + theta * slope)
        assert found.item() == pytest.approx(expected, rel=1e-12)
        assert abs(found.item() + sigmoid(-ahead * theta) * ahead) > 1e-3

    @pytest.mark.parametrize("k", [1, 3])
    @pytest.mark.parametrize(("dataset", "variant", "laid_over", "settings"), SETTINGS)
    def test_the_gradient_is_the_total_derivative(
        self, dataset: str, variant: Named, laid_over: list[Named], settings: Any, k: int
    ) -> None:
        trainer = self.trained(dataset, variant, *laid_over, ("unrolled", {"k": k}), **settings)
        game = trainer.game
        loss = game.generator_loss(Batch(game, "generator", trainer.optimizer_g.updates))
        (gradient,) = torch.autograd.grad(loss.sum(), game.G.theta)
        for name, buffer in game.D.buffers.items():
            buffer.copy_(trainer.before[name])
        generator = torch.Generator().manual_seed(1)
        size = 1e-8  # so that no unit crosses its kink on the way
        torch.testing.assert_close(plain_value(trainer, k), loss.detach(), rtol=1e-9, atol=1e-12)
        for _ in range(2):
            direction = torch.randn(gradient.shape, generator=generator, dtype=torch.float64)
            values = []
            for sign in (1, -1):
                with torch.no_grad():
                    game.G.theta.add_(direction, alpha=sign * size)
                values.append(plain_value(trainer, k).item())
                with torch.no_grad():
                    game.G.theta.sub_(direction, alpha=sign * size)
            slope = (values[0] - values[1]) / (2 * size)
            assert (gradient * direction).sum().item() == pytest.approx(slope, rel=1e-5, abs=1e-7)

    def test_with_spectral_norm_the_singular_vectors_are_constants(self) -> None:
        """They are buffers, without gradient; where they have converged that is exact."""
        k = 2
        trainer = self.trained("ring8", "sngan", ("unrolled", {"k": k}))
        game = trainer.game
        for _ in range(500):
            game.D(Batch(game, "generator", 9).real)
        trainer.before = {name: value.clone() for name, value in game.D.buffers.items()}
        loss = game.generator_loss(Batch(game, "generator", trainer.optimizer_g.updates))
        (gradient,) = torch.autograd.grad(loss.sum(), game.G.theta)
        for name, buffer in game.D.buffers.items():
            buffer.copy_(trainer.before[name])
        torch.testing.assert_close(plain_value(trainer, k), loss.detach(), rtol=1e-9, atol=1e-12)
        assert gradient.isfinite().all()
        assert gradient.norm() > 0

    @pytest.mark.parametrize(
        ("dataset", "variant"), [("ring8", "gan"), ("ring8", "sngan"), ("digits", "dcgan")]
    )
    def test_d_its_buffers_and_its_optimiser_are_as_before(
        self, dataset: str, variant: str
    ) -> None:
        trainer = self.trained(dataset, variant, ("unrolled", {"k": 3}))
        game, optimizer = trainer.game, trainer.optimizer_d
        theta = game.D.theta.detach().clone()
        slots = {name: value.clone() for name, value in optimizer.slot.items()}
        updates = optimizer.updates
        batch = Batch(game, "generator", 7)
        assert not torch.equal(batch.opponent, theta)
        for name, value in game.D.buffers.items():
            assert torch.equal(value, trainer.before[name]), name
        assert bool(game.D.buffers) == (variant != "gan")
        trainer.update("generator")
        assert torch.equal(game.D.theta, theta)
        assert game.D.theta.is_leaf
        assert optimizer.updates == updates
        assert optimizer.slot.keys() == slots.keys()
        for name, value in slots.items():
            assert torch.equal(optimizer.slot[name], value)
            assert not optimizer.slot[name].requires_grad

    def test_the_discriminator_trains_as_before_and_the_generator_does_not(self) -> None:
        plain, ahead = trainer_of("ring8", "gan"), trainer_of("ring8", "gan", "unrolled")
        for trainer in (plain, ahead):
            trainer.update("discriminator")
        assert torch.equal(plain.game.D.theta, ahead.game.D.theta)
        for trainer in (plain, ahead):
            trainer.update("generator")
        assert torch.equal(plain.game.D.theta, ahead.game.D.theta)
        assert not torch.equal(plain.game.G.theta, ahead.game.G.theta)

    def test_all_updates_ahead_see_the_generators_batch(self) -> None:
        trainer = self.trained("ring8", "gan", ("unrolled", {"k": 3}))
        game, seen = trainer.game, []
        inner = game.discriminator_loss
        game.discriminator_loss = lambda batch: (seen.append(batch), inner(batch))[1]
        batch = Batch(game, "generator", 4)
        game.generator_loss(batch)
        assert len(seen) == 3
        for ahead in seen:
            assert ahead.real is batch.real
            assert ahead.fake is batch.fake
            assert ahead.fake.requires_grad
        logits = [ahead.judged_fake.logits for ahead in (*seen, batch)]
        assert all(not torch.equal(a, b) for a, b in pairwise(logits))

    def test_what_parts_do_to_gradients_is_done_ahead_too(self) -> None:
        class Still(Trick):
            """Takes every gradient away."""

            def gradient(self, game: Any, batch: Any, gradient: Tensor) -> Tensor:
                return gradient * 0

        game = Dirac(
            variants.get("gan")(), [(1.0, 1.0)], [tricks.get("unrolled")(k=2), Still()]
        ).game
        assert Batch(game, "generator", 0).opponent.item() == 1.0

    def test_whatever_acts_on_d_after_its_updates_is_refused(self) -> None:
        class Late(Trick):
            """Does something after each update of D, and says no more of it."""

            id = "late"

            def after_discriminator_update(self, game: Any, batch: Any) -> None:
                game.D.theta.mul_(0.5)

        reason = "the updates that G sees ahead would lack what {} does after each update of D"
        unrolled = tricks.get("unrolled")()
        for variant, part, name in (
            ("wgan", None, "wgan"),
            ("gan", tricks.get("weight-clipping")(), "weight-clipping"),
            ("gan", tricks.get("lecam")(), "lecam"),
            ("gan", Late(), "late"),
        ):
            made = variants.get(variant)()
            parts = (unrolled,) if part is None else (part, unrolled)
            context = SimpleNamespace(variant=made, tricks=parts)
            assert unrolled.inapplicable(context) == reason.format(name)
        for variant in ("gan", "lsgan", "wgan-gp", "sngan", "began"):
            assert refusal(make_spec("ring8", variant, ["unrolled"])) is None
            both: list[Named] = ["historical-averaging", "unrolled"]
            assert refusal(make_spec("ring8", variant, both)) is None

    def test_what_is_done_in_some_updates_only_is_refused(self) -> None:
        reason = "unrolled foresees updates that are all alike: set lazy to 1"
        for order in ([("r1", {"lazy": 2}), "unrolled"], ["unrolled", ("r2", {"lazy": 16})]):
            assert refusal(make_spec("ring8", "gan", order)) == reason
        game = trainer_of("ring8", "gan").game
        foreseen = Batch(game, "generator", 0).against(game.D.theta, 1)
        with pytest.raises(PartError, match="one of 4 updates of D cannot be foreseen"):
            foreseen.every(4)

    def test_a_number_of_an_update_ahead_is_that_of_ds_update(self) -> None:
        trainer = trainer_of("ring8", ("wgan-gp", {"d_steps": 3}))
        trainer.train_step()
        batch = Batch(trainer.game, "generator", trainer.optimizer_g.updates)
        for ahead in (1, 2, 5):
            inner = batch.against(trainer.game.D.theta, ahead)
            assert inner.number("count", float).item() == 3 + ahead - 1
            assert inner.phase == "discriminator"
        assert batch.number("count", float).item() == 1

    def test_a_penalty_on_a_batch_normalised_discriminator_is_refused(self) -> None:
        for name in ("r1", "r2", "gradient-penalty"):
            reason = refusal(make_spec("digits", "dcgan", [name, "unrolled"]))
            assert (
                reason == "PyTorch's batch normalisation has no third derivative, which this needs"
            )
            assert refusal(make_spec("digits", "gan", [name, "unrolled"])) is None
        assert refusal(make_spec("digits", "dcgan", ["unrolled"])) is None

    @pytest.mark.parametrize("k", [0, -1, 51, 1.5])
    def test_what_is_no_number_of_updates_is_refused(self, k: float) -> None:
        with pytest.raises(ValidationError):
            tricks.get("unrolled")(k=k)
