"""The statistics behind every claim: pure functions on numbers, nothing read and nothing drawn."""

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


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values so that the chance of any false claim in the family stays at its level.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979) 65.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def signed_ranks(differences: ArrayLike) -> list[float]:
    """Rank differences by size and give each rank its sign: Wilcoxon's scores.

    Equal sizes share their mean rank, infinite ones rank last together, zeros score zero and
    take no rank. Every score is a multiple of one half.

    Raises:
        ValueError: if a difference is NaN.
    """
    x = np.asarray(differences, dtype=float)
    if np.isnan(x).any():
        raise ValueError("a difference is NaN; leave the pair out or say who won")
    sizes = np.abs(x[x != 0])
    ordered = np.sort(sizes)
    ranks = (np.searchsorted(ordered, sizes, "left") + np.searchsorted(ordered, sizes, "right")) / 2
    scores = np.zeros_like(x)
    scores[x != 0] = np.sign(x[x != 0]) * (ranks + 0.5)
    return [float(score) for score in scores]


def sign_flip_p(scores: Sequence[float]) -> float:
    """Return the exact two-sided p-value of a sum when every sign could as well be the other.

    All 2ⁿ flips are counted by convolution, for any n: scores must be multiples of one half, as
    signed ranks are. On differences in {−1, 0, 1} it is McNemar's exact test.

    Raises:
        ValueError: if a score is not a multiple of one half.
    """
    doubled = [round(2 * score) for score in scores]
    if any(abs(2 * s - d) > 1e-9 for s, d in zip(scores, doubled, strict=True)):
        raise ValueError("scores must be multiples of 1/2, such as signed ranks")
    total = sum(abs(d) for d in doubled)
    # chance[k]: probability that the flipped signs make the positive scores sum to k.
    chance = np.zeros(total + 1)
    chance[0] = 1.0
    for size in (abs(d) for d in doubled if d):
        shifted = np.zeros_like(chance)
        shifted[size:] = chance[: chance.size - size]
        chance = (chance + shifted) / 2
    sums = np.abs(2 * np.arange(total + 1) - total)
    return min(1.0, float(chance[sums >= abs(sum(doubled))].sum()))


def probability_less(x: ArrayLike, y: ArrayLike) -> float | None:
    """Return P(X < Y) + P(X = Y) / 2 over all pairs; infinities tie. None if either is empty.

    This is Mann and Whitney's U over the number of pairs.
    """
    first, second = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if first.size == 0 or second.size == 0:
        return None
    wins = (first[:, None] < second).mean() + (first[:, None] == second).mean() / 2
    return float(wins)


def median_with_failures(
    values: Sequence[float], failures: int, *, lower_is_better: bool
) -> float | None:
    """Return the median over all runs, the failed ones ranked worst; None without runs.

    Infinite (in the bad direction) where the median run failed.
    """
    worst = math.inf if lower_is_better else -math.inf
    everything = [*values, *[worst] * failures]
    return float(np.median(everything)) if everything else None


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


def mean_ranks(values: ArrayLike) -> NDArray[np.float64]:
    """Rank values from 1, smallest first; equal ones share their mean rank."""
    x = np.asarray(values, dtype=float)
    ordered = np.sort(x)
    below, upto = np.searchsorted(ordered, x, "left"), np.searchsorted(ordered, x, "right")
    ranks: NDArray[np.float64] = (below + upto + 1) / 2
    return ranks


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
    a, b = mean_ranks(first), mean_ranks(second)
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
