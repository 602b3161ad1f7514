"""Proves the one-sided penalty on critics whose gradient is known."""

import math

import pytest
import torch

from harness.parts import variants
from harness.testing.cells import game_of
from harness.testing.stubs import FixedBatch, FixedGame
from harness.training.batch import Batch


def penalty(name: str, scale: float, **options: float) -> tuple[float, FixedBatch]:
    """Compute what a linear critic of a slope pays."""
    generator = torch.Generator().manual_seed(3)
    real, fake = torch.rand(2, 1, 4, 3, 2, 2, generator=generator, dtype=torch.float64)
    w = torch.ones(12, dtype=torch.float64) * scale / math.sqrt(12)
    alpha = torch.rand(1, 4, generator=generator, dtype=torch.float64)
    batch = FixedBatch(
        real=real, fake=fake, noise={"penalty": alpha}, formula=lambda x: x.flatten(2) @ w
    )
    none = torch.zeros(1, dtype=torch.float64)
    return variants.get(name)(**options).discriminator_objective(
        FixedGame(1), batch, none
    ).item(), batch


@pytest.mark.parametrize("slope", [0.0, 0.4, 0.999, 1.001, 1.5, 4.0])
def test_only_slopes_above_one_are_penalised(slope: float) -> None:
    found, batch = penalty("wgan-lp", slope, penalty_weight=5.0)
    assert found == pytest.approx(5 * max(0.0, slope - 1) ** 2, rel=1e-9, abs=1e-15)
    assert batch.asked == [("penalty", (4,))]
    two_sided, _ = penalty("wgan-gp", slope, penalty_weight=5.0)
    assert two_sided == pytest.approx(5 * (slope - 1) ** 2, rel=1e-9)


def test_each_example_counts_for_itself() -> None:
    # Slopes of ‖x‖: a mean over the batch before the comparison with 1 would give another number.
    real = torch.tensor([[[0.5, 0.0], [3.0, 4.0]]], dtype=torch.float64)
    alpha = torch.zeros(1, 2, dtype=torch.float64)
    batch = FixedBatch(
        real=real,
        fake=real,
        noise={"penalty": alpha},
        formula=lambda x: x.square().sum(2) / 2,
    )
    none = torch.zeros(1, dtype=torch.float64)
    found = variants.get("wgan-lp")().discriminator_objective(FixedGame(1), batch, none)
    assert found.item() == pytest.approx(10 * (0 + 16) / 2)


def test_a_gentle_critic_trains_on_the_plain_objective() -> None:
    game = game_of("ring8", "wgan-lp")
    batch = Batch(game, "discriminator", 0)
    with torch.no_grad():
        game.D.theta.mul_(0.1)
    plain = game.variant.discriminator_loss(game, batch)
    assert torch.equal(game.discriminator_loss(batch), plain)
    with torch.no_grad():
        game.D.theta.mul_(50)
    batch = Batch(game, "discriminator", 0)
    plain = game.variant.discriminator_loss(game, batch)
    assert game.discriminator_loss(batch).item() > plain.item() + 1
