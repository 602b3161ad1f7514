"""Rank correlations, with intervals, and their mean over independent units."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from reports.statistics.intervals import LEVEL, Interval, t_interval


def spearman(x: ArrayLike, y: ArrayLike) -> float | None:
    """Return Spearman's rank correlation; None for fewer than three pairs or a constant side.

    Source: Spearman, American Journal of Psychology 15 (1904) 72.

    Raises:
        ValueError: if a value is NaN, which has no rank.
    """
    first, second = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if np.isnan(first).any() or np.isnan(second).any():
        raise ValueError("a value is NaN; leave the pair out")
    if first.size < 3:
        return None
    a, b = stats.rankdata(first), stats.rankdata(second)
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(np.clip(a @ b / scale, -1, 1)) if scale else None


def fisher_z(rho: float, n: int) -> float:
    """Return Fisher's transform of a rank correlation of n pairs, also where it is ±1.

    The largest value below 1 that n untied pairs can have is 1 − 12 / (n(n² − 1)): two neighbours
    in the wrong order. A perfect order is entered half a step below 1, since its transform would
    be infinite and say that n pairs prove it.
    """
    limit = 1 - 6 / (n * (n * n - 1))
    return math.atanh(max(-limit, min(limit, rho)))


def spearman_interval(rho: float, n: int, level: float = LEVEL) -> Interval | None:
    """Return the interval of a rank correlation of n independent pairs; None for fewer than four.

    Source: Bonett and Wright, Psychometrika 65 (2000) 23: variance (1 + ρ²/2) / (n − 3).
    """
    if n < 4:
        return None
    half = float(special.ndtri((1 + level) / 2)) * math.sqrt((1 + rho * rho / 2) / (n - 3))
    z = fisher_z(rho, n)
    return Interval(math.tanh(z - half), math.tanh(z + half))


def mean_correlation(
    correlations: Sequence[tuple[float, int]], level: float = LEVEL
) -> tuple[float, Interval | None] | None:
    """Average rank correlations of independent units, each of its own pairs.

    Mean and t-interval are taken of Fisher's transforms, so the pairs within a unit need not be
    independent of each other. None without units. No interval for fewer than two, nor where all
    transforms are alike: units that agree to the last digit do not say how much others may differ.

    Args:
        correlations: (ρ, pairs) of each unit, here of each training seed.
        level: Confidence.
    """
    if not correlations:
        return None
    z = [fisher_z(rho, n) for rho, n in correlations]
    interval = t_interval(z, level) if np.ptp(z) > 0 else None
    limits = interval and Interval(math.tanh(interval.low), math.tanh(interval.high))
    return math.tanh(float(np.mean(z))), limits
