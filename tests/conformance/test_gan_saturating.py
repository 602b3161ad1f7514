"""Proves the minimax generator loss: its slope, and where it vanishes."""

import math

import pytest
import torch

from harness.parts import variants
from harness.testing.cells import game_of
from harness.testing.stubs import FixedGame, logits_batch
from harness.training.batch import Batch


def slope(name: str, value: float) -> float:
    logits = torch.tensor([[value]], dtype=torch.float64, requires_grad=True)
    loss = variants.get(name)().generator_loss(FixedGame(1), logits_batch(logits, logits))
    (found,) = torch.autograd.grad(loss.sum(), logits)
    return float(found)


@pytest.mark.parametrize("logit", [-30.0, -5.0, -1.0, 0.0, 2.0, 30.0])
def test_the_two_losses_slopes_are_those_of_the_probability(logit: float) -> None:
    p = 1 / (1 + math.exp(-logit))
    assert slope("gan-saturating", logit) == pytest.approx(-p, rel=1e-12)
    assert slope("gan", logit) == pytest.approx(-1 / (1 + math.exp(logit)), rel=1e-12)


def test_it_is_the_negative_of_what_d_minimises_on_generated_data() -> None:
    game = game_of("ring8", "gan-saturating")
    fake = torch.tensor([[0.3, -4.0, 11.0]], dtype=torch.float64)
    none = torch.full_like(fake, 800.0)  # D's term on real data is 0 there
    batch = logits_batch(none, fake)
    d_loss = game.variant.discriminator_loss(FixedGame(1), batch)
    g_loss = game.variant.generator_loss(FixedGame(1), batch)
    torch.testing.assert_close(g_loss, -d_loss, rtol=1e-14, atol=0)


def test_a_sure_discriminator_stops_the_generator() -> None:
    norms = {}
    for name in ("gan", "gan-saturating"):
        game = game_of("ring8", name)
        batch = Batch(game, "generator", 0)
        judged = batch.judged_fake
        batch.__dict__["judged_fake"] = judged._replace(logits=judged.logits - 20)
        loss = game.generator_loss(batch)
        (gradient,) = torch.autograd.grad(loss.sum(), game.G.theta)
        norms[name] = gradient.norm().item()
    assert norms["gan"] > 1e-3
    assert norms["gan-saturating"] < 1e-6 * norms["gan"]


def test_both_agree_on_d() -> None:
    losses = []
    for name in ("gan", "gan-saturating"):
        game = game_of("digits", name)
        losses.append(game.discriminator_loss(Batch(game, "discriminator", 1)))
    assert torch.equal(*losses)
