"""Proves the paired relativistic objective: its pairs, and that both players see real data."""

import math

import pytest
import torch

from harness.parts import variants
from harness.testing.cells import game_of, refusal, train
from harness.testing.specs import make_spec
from harness.testing.stubs import FixedGame, logits_batch
from harness.training.batch import Batch


def losses(real: list[float], fake: list[float]) -> tuple[float, float]:
    batch = logits_batch(
        torch.tensor([real], dtype=torch.float64), torch.tensor([fake], dtype=torch.float64)
    )
    variant = variants.get("rsgan")()
    found = (
        loss(FixedGame(1), batch) for loss in (variant.discriminator_loss, variant.generator_loss)
    )
    d_loss, g_loss = (loss.item() for loss in found)
    return d_loss, g_loss


def test_examples_are_compared_in_pairs() -> None:
    d_loss, g_loss = losses([1.0, 5.0], [0.0, -2.0])
    assert d_loss == pytest.approx((math.log1p(math.exp(-1)) + math.log1p(math.exp(-7))) / 2)
    assert g_loss == pytest.approx((math.log1p(math.exp(1)) + math.log1p(math.exp(7))) / 2)
    assert losses([1.0, 5.0], [-2.0, 0.0]) != pytest.approx((d_loss, g_loss))


def test_only_differences_count() -> None:
    assert losses([1.0, 5.0], [0.0, -2.0]) == pytest.approx(losses([101.0, 105.0], [100.0, 98.0]))


def test_exchanging_the_roles_exchanges_the_losses() -> None:
    d_loss, g_loss = losses([0.3, -2.0], [4.0, 0.1])
    assert losses([4.0, 0.1], [0.3, -2.0]) == pytest.approx((g_loss, d_loss))


def test_a_generator_update_compares_with_fresh_real_data() -> None:
    game = game_of("ring8", "rsgan", runs=2)
    of_g, of_d = Batch(game, "generator", 0), Batch(game, "discriminator", 0)
    assert not torch.equal(of_g.real, of_d.real)
    found = game.generator_loss(of_g)
    gap = of_g.judge(of_g.real, "real").logits - of_g.judge(of_g.fake, "fake").logits
    expected = torch.log1p(torch.exp(gap)).mean(1)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    (gradient,) = torch.autograd.grad(found.sum(), game.G.theta)
    assert (gradient.norm(dim=1) > 0).all()


def test_d_learns_to_tell_a_pair_apart() -> None:
    trainer = train([make_spec("ring8", "rsgan", lr_d=0.01, lr_g=1e-9)], 60)
    batch = Batch(trainer.game, "discriminator", 1000)
    wins = (batch.judged_real.logits > batch.judged_fake.logits).double().mean()
    assert wins > 0.8


def test_no_target_can_be_smoothed() -> None:
    assert "no target" in refusal(make_spec("ring8", "rsgan", ["label-smoothing"]))
