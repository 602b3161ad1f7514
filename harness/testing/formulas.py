"""Proof of an objective against functions of logits that its author writes a second time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.networks.base import Judgement
from harness.parts import variants
from harness.testing.stubs import FixedBatch, FixedGame

Array = NDArray[np.float64]
RUNS, EXAMPLES = 3, 7
TOLERANCE = 1e-12


def fixed_logits() -> tuple[Array, Array]:
    """Return logits of real and generated data, ``(runs, examples)``; the last run's are large."""
    random = np.random.RandomState(7)
    real, fake = random.standard_normal((2, RUNS, EXAMPLES)) * 2
    return real * [[1], [1], [40]] + 0.3, fake * [[1], [1], [40]] - 0.2


def check_objective(
    variant: str,
    discriminator: Callable[[Array, Array], float],
    generator: Callable[[Array, Array], float],
    **options: Any,
) -> None:
    """Hold a variant's losses against formulas of one run's logits, in double precision.

    Args:
        variant: Id of the variant.
        discriminator: D's loss from logits of real and of generated data, ``(examples,)`` each.
        generator: G's loss from the same.
        options: Options of the variant.

    Raises:
        AssertionError: if a loss, or its gradient by the logits, is another.
    """
    made = variants.get(variant).model_validate(options)
    real, fake = fixed_logits()
    r, f = (torch.tensor(value, requires_grad=True) for value in (real, fake))
    batch: Any = FixedBatch(Judgement(r, {}), Judgement(f, {}))
    game: Any = FixedGame(RUNS)
    for name, loss, formula in (
        ("discriminator", made.discriminator_loss(game, batch), discriminator),
        ("generator", made.generator_loss(game, batch), generator),
    ):
        expected = [formula(real[run], fake[run]) for run in range(RUNS)]
        np.testing.assert_allclose(
            loss.detach().numpy(), expected, TOLERANCE, TOLERANCE, err_msg=f"{name}'s loss"
        )
        slopes = torch.autograd.grad(loss.sum(), [r, f], allow_unused=True, retain_graph=True)
        # Far out, the difference of two numbers says nothing of a slope.
        for side, slope in zip((0, 1), slopes, strict=True):
            gradient = np.zeros((RUNS, EXAMPLES)) if slope is None else slope.numpy()
            by_hand = [slope_of(formula, real[run], fake[run], side) for run in range(RUNS - 1)]
            np.testing.assert_allclose(
                gradient[:-1], by_hand, 1e-6, 1e-8, err_msg=f"slope of {name}'s loss"
            )


def slope_of(
    formula: Callable[[Array, Array], float], real: Array, fake: Array, side: int
) -> Array:
    """Differentiate a formula by one side's logits, by central differences."""
    step = 1e-6
    slopes = []
    for place in range(len(real)):
        ends = []
        for sign in (1, -1):
            moved = [real.copy(), fake.copy()]
            moved[side][place] += sign * step
            ends.append(formula(*moved))
        slopes.append((ends[0] - ends[1]) / (2 * step))
    return np.array(slopes)
