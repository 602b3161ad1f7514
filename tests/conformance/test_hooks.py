"""Proves that a game calls every hook of every part, in order, also those no built-in uses."""

from typing import Any

import pytest
import torch
from torch import Tensor

from harness.networks.blueprint import Blueprint
from harness.parts import Part, Schedule, Targets, Trick
from harness.parts.blueprint import blueprint_of
from harness.testing.cells import make_trainer
from harness.testing.specs import make_spec
from harness.training.batch import Batch
from harness.training.game import Game
from harness.training.trainer import Trainer


class Probe(Trick):
    """Multiplies by a factor, then adds 1, wherever it is asked; so that order can be seen."""

    factor: float
    calls: list[tuple[str, Any]]

    def changed(self, value: Any) -> Any:
        return value * self.factor + 1

    def show(self, game: Any, x: Tensor, batch: Any, label: str) -> Tensor:
        self.calls.append(("show", x))
        return self.changed(x)

    def targets(self, game: Any, batch: Any, targets: Targets) -> Targets:
        self.calls.append(("targets", targets))
        return Targets(self.changed(targets.real), self.changed(targets.fake))

    def discriminator_objective(self, game: Any, batch: Any, loss: Tensor) -> Tensor:
        self.calls.append(("discriminator_objective", batch.phase))
        return self.changed(loss)

    def generator_objective(self, game: Any, batch: Any, loss: Tensor) -> Tensor:
        self.calls.append(("generator_objective", loss))
        return self.changed(loss)

    def after_discriminator_update(self, game: Any, batch: Any) -> None:
        self.calls.append(("after_discriminator_update", game.D.theta.clone()))
        game.D.theta.mul_(self.factor)


@pytest.fixture
def probed() -> tuple[Trainer, list[Probe]]:
    """Make a trainer of two runs of lsgan with two probes laid over it."""
    specs = [make_spec("ring8", "lsgan", seed=seed, precision="float64") for seed in (0, 1)]
    trainer = make_trainer(specs)
    calls: list[tuple[str, Any]] = []
    probes = [Probe.model_construct(factor=factor, calls=calls) for factor in (2.0, 3.0)]
    trainer.game.parts = [*trainer.game.parts, *probes]
    return trainer, probes


def plain_game() -> Game:
    specs = [make_spec("ring8", "lsgan", seed=seed, precision="float64") for seed in (0, 1)]
    return make_trainer(specs).game


def twice(value: Any) -> Any:
    """Apply both probes in their order."""
    return (value * 2 + 1) * 3 + 1


@pytest.mark.parametrize("phase", ["discriminator", "generator"])
def test_real_and_generated_data_are_shown_alike(
    probed: tuple[Trainer, list[Probe]], phase: Any
) -> None:
    game, plain = probed[0].game, plain_game()
    batch, expected = Batch(game, phase, 0), Batch(plain, phase, 0)
    for judged, x in (
        (batch.judged_real, expected.real),
        (batch.judged_fake, expected.fake),
    ):
        torch.testing.assert_close(judged.logits, expected.judge(twice(x), "plain").logits)
    assert [name for name, _ in probed[1][0].calls] == ["show"] * 4
    assert batch.judged_real is batch.judged_real
    torch.testing.assert_close(
        batch.judge(batch.real, "raw").logits, expected.judge(expected.real, "raw").logits
    )
    assert len(probed[1][0].calls) == 4


def test_targets_pass_through_every_part(probed: tuple[Trainer, list[Probe]]) -> None:
    game = probed[0].game
    found = game.targets(Batch(game, "discriminator", 0))
    assert (found.real.item(), found.fake.item()) == (twice(1.0), twice(0.0))


def test_the_discriminators_loss_passes_through_every_part(
    probed: tuple[Trainer, list[Probe]],
) -> None:
    game = probed[0].game
    batch = Batch(game, "discriminator", 0)
    found = game.discriminator_loss(batch)
    r, f = batch.judged_real.logits, batch.judged_fake.logits
    own = ((r - twice(1.0)) ** 2).mean(1) / 2 + ((f - twice(0.0)) ** 2).mean(1) / 2
    torch.testing.assert_close(found, twice(own))
    assert ("discriminator_objective", "discriminator") in probed[1][0].calls


def test_the_generators_loss_passes_through_every_part(
    probed: tuple[Trainer, list[Probe]],
) -> None:
    game = probed[0].game
    batch = Batch(game, "generator", 0)
    found = game.generator_loss(batch)
    own = ((batch.judged_fake.logits - 1) ** 2).mean(1) / 2
    torch.testing.assert_close(found, twice(own))


def test_parts_act_on_the_discriminator_after_each_of_its_updates(
    probed: tuple[Trainer, list[Probe]],
) -> None:
    trainer, probes = probed
    trainer.game.schedule = Schedule(d=3, g=2)
    trainer.train_step()
    after = [seen for name, seen in probes[0].calls if name == "after_discriminator_update"]
    assert len(after) == 6
    for first, second in zip(after[::2], after[1::2], strict=True):
        assert torch.equal(second, first * 2)
    assert torch.equal(trainer.game.D.theta, after[-1] * 3)


def test_the_gradient_goes_through_what_was_shown(probed: tuple[Trainer, list[Probe]]) -> None:
    game = probed[0].game
    batch = Batch(game, "generator", 0)
    (gradient,) = torch.autograd.grad(batch.judged_fake.logits.sum(), game.G.theta)
    plain = plain_game()
    expected = Batch(plain, "generator", 0)
    logits = expected.judge(twice(expected.fake), "plain").logits
    torch.testing.assert_close(gradient, torch.autograd.grad(logits.sum(), plain.G.theta)[0])


def test_schedules_are_made_by_the_parts_in_order() -> None:
    class Twice(Trick):
        """Doubles D's updates."""

        def schedule(self, schedule: Schedule) -> Schedule:
            return Schedule(d=schedule.d * 2, g=schedule.g)

    plain = plain_game()
    game = Game(
        plain.variant,
        [Twice(), Twice()],
        plain.G,
        plain.D,
        blueprint=plain.blueprint,
        data=plain.data,
        streams=plain.streams,
    )
    assert game.schedule == Schedule(d=4, g=1)


def test_networks_are_planned_by_the_variant_first_and_then_by_each_trick() -> None:
    plan = blueprint_of(make_spec("digits", "sngan", ["patchgan", ("dropout-g", {"p": 0.3})]))
    assert isinstance(plan, Blueprint)
    assert plan.discriminator.network == "patch"
    assert plan.discriminator.spectral_norm
    assert plan.discriminator.normalization == "none"
    assert (plan.generator.network, plan.generator.dropout) == ("dcgan16", 0.3)


def test_a_part_that_overrides_nothing_changes_nothing() -> None:
    class Idle(Trick):
        """Does nothing."""

    specs = [make_spec("ring8", "lsgan", seed=seed, precision="float64") for seed in (0, 1)]
    trained, plain = make_trainer(specs), make_trainer(specs)
    trained.game.parts = [*trained.game.parts, Idle()]
    for trainer in (trained, plain):
        trainer.train_step()
    assert torch.equal(trained.game.G.theta, plain.game.G.theta)
    assert torch.equal(trained.game.D.theta, plain.game.D.theta)
    assert Idle().schedule(Schedule(2, 3)) == Schedule(2, 3)
    assert Part.inapplicable(Idle(), None) is None
