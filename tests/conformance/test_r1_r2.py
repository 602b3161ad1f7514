"""Proves R1 and R2: half the mean squared gradient of D on real, on generated data."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from harness.networks.base import build_discriminator
from harness.parts import tricks, variants
from harness.parts.blueprint import blueprint_of
from harness.testing.cells import game_of, refusal, trainer_of
from harness.testing.specs import make_spec
from harness.testing.stubs import FixedBatch, FixedGame
from harness.training.batch import Batch
from harness.training.streams import seeded


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    draw = torch.randn(2, 2, 5, 3, 2, 2, generator=generator, dtype=torch.float64)
    return draw[0], 3 * draw[1]


def cubes(x: Tensor) -> Tensor:
    """Judge by Σ x³, whose gradient is 3x²."""
    return x.flatten(2).pow(3).sum(2)


@pytest.mark.parametrize(("penalty", "where"), [("r1", "real"), ("r2", "fake")])
class TestPenalty:
    """The penalty, its place, its interval and its effect on a step."""

    def term(self, penalty: str, counter: int = 0, **options: Any) -> tuple[Tensor, FixedBatch]:
        real, fake = data()
        batch = FixedBatch(real=real, fake=fake, formula=cubes, counter=counter)
        own = torch.tensor([0.25, -3.0], dtype=torch.float64)
        trick = tricks.get(penalty)(**options)
        return trick.discriminator_objective(FixedGame(2), batch, own) - own, batch

    def test_formula(self, penalty: str, where: str) -> None:
        found, batch = self.term(penalty, gamma=0.7)
        for run, examples in enumerate(data()[where == "fake"].flatten(2).tolist()):
            squares = [sum((3 * value**2) ** 2 for value in one) for one in examples]
            assert found[run].item() == pytest.approx(0.7 / 2 * sum(squares) / 5, rel=1e-12)
        assert batch.judged == [penalty]
        assert batch.asked == []

    @pytest.mark.parametrize("lazy", [2, 16])
    def test_an_interval_is_made_up_for(self, penalty: str, where: str, lazy: int) -> None:
        every = self.term(penalty, gamma=0.7)[0]
        terms = [
            self.term(penalty, counter, gamma=0.7, lazy=lazy)[0] for counter in range(2 * lazy)
        ]
        for counter, found in enumerate(terms):
            expected = every * lazy if counter % lazy == 0 else torch.zeros_like(every)
            torch.testing.assert_close(found, expected)
        torch.testing.assert_close(torch.stack(terms).mean(0), every)

    @pytest.mark.parametrize("variant", ["gan", "wgan-gp"])
    def test_its_term_in_a_game_is_that_of_plain_modules(
        self, penalty: str, where: str, variant: str
    ) -> None:
        with_it = (penalty, {"gamma": 0.3})
        plain = game_of("ring8", variant, runs=2)
        game = game_of("ring8", variant, with_it, runs=2)
        losses = [g.discriminator_loss(Batch(g, "discriminator", 1)) for g in (plain, game)]
        batch = Batch(plain, "discriminator", 1)
        for run in range(2):
            spec = make_spec("ring8", variant, [with_it], seed=run)
            with seeded(run, "init/discriminator"):
                D = build_discriminator(blueprint_of(spec)).double()
            total = 0.0
            for example in getattr(batch, where)[run]:
                x = example.clone().requires_grad_()
                (slope,) = torch.autograd.grad(D(x[None]).logits.sum(), x)
                total += sum(value**2 for value in slope.tolist())
            expected = 0.3 / 2 * total / 8
            assert (losses[1] - losses[0])[run].item() == pytest.approx(expected, rel=1e-9)
            assert expected > 1e-6

    def test_it_changes_what_the_discriminator_learns_and_not_the_generators_loss(
        self, penalty: str, where: str
    ) -> None:
        plain, held = trainer_of("ring8", "gan"), trainer_of("ring8", "gan", penalty)
        for trainer in (plain, held):
            trainer.update("discriminator")
        assert not torch.equal(plain.game.D.theta, held.game.D.theta)
        held.game.D.load(0, plain.game.D.state(0))
        losses = [t.game.generator_loss(Batch(t.game, "generator", 0)) for t in (plain, held)]
        assert torch.equal(*losses)

    def test_a_skipped_update_is_the_plain_one(self, penalty: str, where: str) -> None:
        plain = trainer_of("ring8", "gan").game
        lazy = trainer_of("ring8", "gan", (penalty, {"lazy": 4})).game
        for counter in range(5):
            pair = [g.discriminator_loss(Batch(g, "discriminator", counter)) for g in (plain, lazy)]
            assert torch.equal(*pair) == (counter % 4 != 0)

    def test_a_map_of_logits_is_held_by_its_mean(self, penalty: str, where: str) -> None:
        game = game_of("digits", "lsgan", (penalty, {"gamma": 2.0}), "patchgan")
        plain = game_of("digits", "lsgan", "patchgan")
        losses = [g.discriminator_loss(Batch(g, "discriminator", 0)) for g in (plain, game)]
        x = getattr(Batch(plain, "discriminator", 0), where).clone().requires_grad_()
        value = plain.D(x).logits[0].flatten(1).mean(1).sum()
        (slope,) = torch.autograd.grad(value, x)
        expected = slope[0].flatten(1).square().sum(1).mean()
        torch.testing.assert_close((losses[1] - losses[0])[0], expected)

    def test_it_applies_to_every_objective(self, penalty: str, where: str) -> None:
        reasons = {
            name: refusal(make_spec("digits", name, [penalty]))
            for name in variants.names()
            if variants.get(name).adversarial
            if refusal(make_spec("digits", name)) is None
        }
        assert reasons.pop("r3gan") == "r3gan has this penalty already; change its gamma"
        assert len(reasons) > 8
        assert set(reasons.values()) == {None}

    @pytest.mark.parametrize("options", [{"gamma": 0}, {"gamma": -1}, {"lazy": 0}, {"lazy": 1.5}])
    def test_what_is_no_penalty_is_refused(
        self, penalty: str, where: str, options: dict[str, Any]
    ) -> None:
        with pytest.raises(ValidationError):
            tricks.get(penalty)(**options)
