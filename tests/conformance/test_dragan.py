"""Proves where DRAGAN's penalty is taken, and what it costs."""

import math

import pytest
import torch

from harness.parts import variants
from harness.testing.cells import game_of
from harness.testing.stubs import FixedBatch, FixedGame
from harness.training.batch import Batch


def draws(*shape: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    return {
        "penalty": torch.rand(*shape[:2], generator=generator, dtype=torch.float64),
        "perturbation": torch.rand(*shape, generator=generator, dtype=torch.float64),
    }


def test_the_penalty_is_taken_around_the_real_data() -> None:
    shape = (2, 4, 1, 2, 2)
    generator = torch.Generator().manual_seed(5)
    real = torch.randn(*shape, generator=generator, dtype=torch.float64) * 2 + 1
    noise = draws(*shape)
    # D(x) = ½‖x‖² has the gradient x: the penalty shows the points.
    batch = FixedBatch(
        real=real,
        fake=torch.full_like(real, torch.nan),
        noise=noise,
        formula=lambda x: x.flatten(2).square().sum(2) / 2,
    )
    none = torch.zeros(2, dtype=torch.float64)
    variant = variants.get("dragan")(penalty_weight=3.0)
    found = variant.discriminator_objective(FixedGame(2), batch, none)
    for run in range(2):
        numbers = real[run].flatten().tolist()
        mean = sum(numbers) / len(numbers)
        spread = math.sqrt(sum((v - mean) ** 2 for v in numbers) / len(numbers))
        total = 0.0
        for i in range(4):
            alpha = noise["penalty"][run, i].item()
            pairs = zip(
                real[run, i].flatten().tolist(),
                noise["perturbation"][run, i].flatten().tolist(),
                strict=True,
            )
            point = [v + alpha * 0.5 * spread * u for v, u in pairs]
            total += (math.sqrt(sum(v * v for v in point)) - 1) ** 2
        assert found[run].item() == pytest.approx(3 * total / 4, rel=1e-12)
    assert dict(batch.asked) == {"penalty": (4,), "perturbation": (4, 1, 2, 2)}
    assert batch.judged == ["penalty"]


def test_runs_have_their_own_spread() -> None:
    shape = (2, 4, 2)
    real = torch.zeros(shape, dtype=torch.float64)
    real[1, :2] = 1.0
    noise = draws(*shape)
    seen: list[torch.Tensor] = []

    def formula(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.detach())
        return x.sum(2)

    batch = FixedBatch(real=real, fake=real, noise=noise, formula=formula)
    variants.get("dragan")().discriminator_objective(
        FixedGame(2), batch, torch.zeros(2, dtype=torch.float64)
    )
    moved = seen[0] - real
    assert (moved[0] == 0).all()  # all data alike: no spread
    expected = 0.25 * noise["penalty"][1, :, None] * noise["perturbation"][1]
    torch.testing.assert_close(moved[1], expected)


@pytest.mark.parametrize("dataset", ["ring8", "digits"])
def test_it_is_part_of_every_update_of_d_and_of_none_of_g(dataset: str) -> None:
    game = game_of(dataset, "dragan", runs=2)
    batch = Batch(game, "discriminator", 0)
    term = game.discriminator_loss(batch) - game.variant.discriminator_loss(game, batch)
    assert (term > 1e-3).all()
    batch = Batch(game, "generator", 0)
    assert torch.equal(game.generator_loss(batch), game.variant.generator_loss(game, batch))


def test_d_judges_each_example_alone() -> None:
    game = game_of("digits", "dragan")
    batch = Batch(game, "discriminator", 0)
    together = batch.judge(batch.real, "all").logits
    alone = batch.judge(batch.real[:, :1], "one").logits
    torch.testing.assert_close(together[:, :1], alone, rtol=1e-9, atol=1e-12)
