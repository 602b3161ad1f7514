"""Tests and summaries by rank: exact, and with failures ranked worst."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

LONG = 5000
LARGEST_SUM = 1_000_000


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
    """Return the two-sided p-value of a sum when every sign could as well be the other.

    All 2ⁿ flips are counted by convolution, so it is exact: scores must be multiples of one half,
    as signed ranks are. On differences in {−1, 0, 1} it is McNemar's exact test. From some 1,400
    signed ranks on, the sum is taken as normal, which is right to 0.0005.

    Raises:
        ValueError: if a score is not a multiple of one half.
    """
    doubled = [round(2 * score) for score in scores]
    if any(abs(2 * s - d) > 1e-9 for s, d in zip(scores, doubled, strict=True)):
        raise ValueError("scores must be multiples of 1/2, such as signed ranks")
    sizes = sorted(abs(d) for d in doubled if d)
    if not sizes:
        return 1.0
    unit = math.gcd(*sizes)
    sizes = [size // unit for size in sizes]
    total, observed = sum(sizes), abs(sum(doubled)) // unit
    if total > LARGEST_SUM:
        # Sums of one parity only are possible: half of their distance is a step of one.
        spread = math.sqrt(sum(size * size for size in sizes))
        return min(1.0, math.erfc(max(0, observed - 1) / spread / math.sqrt(2)))
    chance = chances_of_sums(sizes)
    sums = np.abs(2 * np.arange(total + 1) - total)
    return min(1.0, float(chance[sums >= observed].sum()))


def chances_of_sums(sizes: Sequence[int]) -> NDArray[np.float64]:
    """Return the probability of each sum, from 0 on, when each size is in it or not, as by a coin.

    Long lists are halved and put together by Fourier transforms, with errors around 10⁻¹⁶.
    """
    if sum(sizes) > LONG and len(sizes) > 1:
        half = len(sizes) // 2
        one, other = chances_of_sums(sizes[:half]), chances_of_sums(sizes[half:])
        count = one.size + other.size - 1
        length = 1 << (count - 1).bit_length()
        both = np.fft.irfft(np.fft.rfft(one, length) * np.fft.rfft(other, length), length)
        return np.maximum(both[:count], 0.0)
    chance = np.zeros(sum(sizes) + 1)
    chance[0] = 1.0
    for size in sizes:
        chance[size:] += chance[: chance.size - size]
        chance /= 2
    return chance


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
