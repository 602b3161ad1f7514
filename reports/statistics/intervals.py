"""Intervals: for means, ratios, proportions and their paired change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

LEVEL = 0.95
"""Confidence of every interval in a report."""


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


def t_interval(values: ArrayLike, level: float = LEVEL) -> Interval | None:
    """Return Student's interval for a mean; None for fewer than two values.

    Args:
        values: Finite numbers, one per independent unit (here: per training seed).
        level: Confidence.
    """
    x = np.asarray(values, dtype=float)
    if x.size < 2:
        return None
    half = special.stdtrit(x.size - 1, (1 + level) / 2) * x.std(ddof=1) / math.sqrt(x.size)
    return Interval(float(x.mean() - half), float(x.mean() + half))


def t_p(values: ArrayLike) -> NDArray[np.float64]:
    """Return Student's two-sided p-value for a mean of zero; 1 for fewer than two values.

    Values without any spread give 0, or 1 where they are zero: pair this test with an exact one,
    which knows how little a few equal values prove.

    Args:
        values: ``(…, units)``; leading axes are other samples.

    Returns:
        ``(…)``.
    """
    x = np.asarray(values, dtype=float)
    if x.shape[-1] < 2:
        return np.ones(x.shape[:-1])
    mean, error = x.mean(-1), x.std(-1, ddof=1) / math.sqrt(x.shape[-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * special.stdtr(x.shape[-1] - 1, -np.abs(mean) / error)
    return np.where(error > 0, p, np.where(mean == 0, 1.0, 0.0))


def geometric_mean(values: ArrayLike) -> float | None:
    """Return exp of the mean log; None without values or if one is not positive and finite."""
    x = np.asarray(values, dtype=float)
    if x.size == 0 or not (np.isfinite(x) & (x > 0)).all():
        return None
    return float(np.exp(np.log(x).mean()))


def geometric_interval(values: ArrayLike, level: float = LEVEL) -> Interval | None:
    """Return the t-interval on logarithms, mapped back: it never reaches below zero.

    Distances such as FD vary by factors between seeds, so their logarithm is what is near to
    normal. None for fewer than two values or if one is not positive and finite.
    """
    x = np.asarray(values, dtype=float)
    if geometric_mean(x) is None:
        return None
    interval = t_interval(np.log(x), level)
    return None if interval is None else Interval(math.exp(interval.low), math.exp(interval.high))


def wilson(successes: int, n: int, level: float = LEVEL) -> Interval | None:
    """Return Wilson's score interval for a proportion; None for n = 0.

    Source: Wilson, JASA 22 (1927), equation for the limits.
    """
    if n == 0:
        return None
    z2 = float(special.ndtri((1 + level) / 2)) ** 2
    share = successes / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    # Rounding would otherwise print a limit of 1e-18 where it is exactly 0 or 1.
    low = 0.0 if successes == 0 else centre - half
    return Interval(low, 1.0 if successes == n else centre + half)


def paired_rate_change(
    first: Sequence[bool], second: Sequence[bool], level: float = LEVEL
) -> tuple[float, Interval] | None:
    """Return the rate of ``first`` minus that of ``second``, paired, and its interval.

    Unlike a t-interval it does not shrink to a point where nothing (or everything) happened.
    None without pairs.

    Source: Newcombe, Statistics in Medicine 17 (1998) 2635, method 10.
    """
    n = len(first)
    if n == 0:
        return None
    pairs = list(zip(first, second, strict=True))
    a, b = pairs.count((True, True)), pairs.count((True, False))
    c, d = pairs.count((False, True)), pairs.count((False, False))
    p1, p2 = (a + b) / n, (a + c) / n
    interval1, interval2 = wilson(a + b, n, level), wilson(a + c, n, level)
    assert interval1 is not None and interval2 is not None  # noqa: S101 - n is positive
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    excess = float(a * d - b * c)
    if excess > 0:
        excess = max(excess - n / 2, 0.0)
    phi = excess / math.sqrt(margins) if margins else 0.0

    def reach(x: float, y: float) -> float:
        return math.sqrt(max(x * x - 2 * phi * x * y + y * y, 0.0))

    low = p1 - p2 - reach(p1 - interval1.low, interval2.high - p2)
    high = p1 - p2 + reach(interval1.high - p1, p2 - interval2.low)
    return p1 - p2, Interval(low, high)
