"""How much a learning rate matters: the basin around the best, and the loss off it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

BASIN = 1.25
"""Values up to so many times the best belong to a basin."""


def basin(rates: Sequence[float], values: Sequence[float]) -> tuple[float, float] | None:
    """Find the neighbouring rates around the best one whose values are within 1.25 × the best.

    Args:
        rates: Ascending.
        values: One per rate, lower being better; infinite where training failed.

    Returns:
        The first and last rate; None if no value is finite.
    """
    best = min(values, default=math.inf)
    if not math.isfinite(best):
        return None
    first = last = list(values).index(best)
    while first > 0 and values[first - 1] <= BASIN * best:
        first -= 1
    while last < len(values) - 1 and values[last + 1] <= BASIN * best:
        last += 1
    return rates[first], rates[last]


def rate_sensitivity(values: Sequence[float], start: float | None) -> float | None:
    """Return the mean over a grid of ln(min(value, start) / best), lower being better.

    Args:
        values: One per rate; infinite where training failed.
        start: The value before training, to which a failure counts; None if unknown.

    Returns:
        0 where every rate is as good as the best; None without a positive best value, or
        with failures and no start to count them as.
    """
    best = min(values, default=math.inf)
    bounded = [min(value, math.inf if start is None else start) for value in values]
    if not 0 < best < math.inf or not all(map(math.isfinite, bounded)):
        return None
    return float(np.mean([math.log(max(value, best) / best) for value in bounded]))
