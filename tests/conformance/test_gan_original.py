"""Proves the momentum that grows, both generator losses, and dropout in maxout's discriminator."""

import pytest
import torch

from harness.parts import variants
from harness.testing.cells import game_of, make_trainer, refusal, train
from harness.testing.specs import make_spec
from harness.testing.stubs import FixedGame, logits_batch
from harness.training.batch import Batch


def momenta(steps: int, **options: float) -> list[float]:
    """Train with a spec's schedule and return the momentum of every step."""
    trainer = make_trainer([make_spec("ring8", ("gan-original", options), steps=steps)])
    found = []
    for _ in range(steps):
        trainer.train_step()
        assert torch.equal(trainer.optimizer_g.beta1, trainer.optimizer_d.beta1)
        found.append(trainer.optimizer_d.beta1.item())
    return found


def test_the_momentum_grows_linearly_and_then_stays() -> None:
    expected = [0.5, 0.54, 0.58, 0.62, 0.66, 0.7, 0.7, 0.7, 0.7, 0.7]
    assert momenta(10) == pytest.approx(expected)
    assert momenta(4, momentum=0.9, momentum_growth=1.0) == pytest.approx([0.5, 0.6, 0.7, 0.8])


def test_runs_of_a_cohort_have_their_own_momentum() -> None:
    specs = [
        make_spec("ring8", ("gan-original", {"momentum": m}), beta1=b, steps=10)
        for m, b in ((0.7, 0.5), (0.9, 0.1))
    ]
    trainer = train(specs, 4)  # the fourth step begins with 3/10 of training done
    found = trainer.optimizer_g.beta1.flatten().tolist()
    assert found == pytest.approx([0.5 + 0.6 * 0.2, 0.1 + 0.6 * 0.8])


def test_the_momentum_changes_the_step() -> None:
    plain, grown = (
        train([make_spec("ring8", ("gan-original", {"momentum": m}), precision="float64")], 6)
        for m in (0.5, 0.9)
    )
    assert not torch.equal(plain.game.G.theta, grown.game.G.theta)
    assert not torch.equal(plain.game.D.theta, grown.game.D.theta)


@pytest.mark.parametrize("loss", ["saturating", "non-saturating"])
def test_the_generators_loss_is_chosen(loss: str) -> None:
    other = {"saturating": "gan-saturating", "non-saturating": "gan"}[loss]
    logits = torch.tensor([[0.4, -7.0, 3.0]], dtype=torch.float64)
    batch = logits_batch(logits, logits)
    found, expected = (
        variant.generator_loss(FixedGame(1), batch)
        for variant in (variants.get("gan-original")(loss=loss), variants.get(other)())
    )
    assert torch.equal(found, expected)


def test_an_optimiser_without_momentum_is_refused() -> None:
    assert "momentum" in refusal(make_spec("ring8", "gan-original", optimizer="rmsprop"))
    for optimizer in ("sgd", "adam"):
        assert refusal(make_spec("ring8", "gan-original", optimizer=optimizer)) is None


def test_d_drops_units_afresh_for_every_question() -> None:
    game = game_of("digits", "gan-original", runs=2)
    assert sorted(game.D.dropouts) == [
        "drop.noise", "hidden.hidden1.0.noise", "hidden.hidden2.0.noise",
    ]  # fmt: skip
    batch, later = Batch(game, "discriminator", 0), Batch(game, "discriminator", 1)
    real = batch.real
    answers = [
        asked.judge(real, label).logits
        for asked, label in ((batch, "real"), (batch, "fake"), (later, "real"))
    ]
    assert torch.equal(answers[0], batch.judged_real.logits)
    for other in answers[1:]:
        assert not torch.equal(answers[0], other)


def test_its_images_are_in_the_data_sets_range() -> None:
    game = game_of("digits", "gan-original")
    made = game.sample(32, "evaluation")
    assert made.min() < 0 < made.max()
    assert made.abs().max() <= 1
