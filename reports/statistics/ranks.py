"""Tests and summaries by rank: exact, and with failures ranked worst."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

FEW = 12
"""Scores of which every flip is tried."""
MANY = 64
"""Scores from which on the chances of their sums are worth keeping."""
LONG = 5000
STEPS = 200
"""Of which the mean score keeps at least so many when scores are rounded."""


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values so that the chance of any false claim in the family stays at its level.

    Args:
        p_values: ``(…, family)``; leading axes are other families.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979) 65.
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, axis=-1, kind="stable")
    left = p.shape[-1] - np.arange(p.shape[-1])
    stepped = np.maximum.accumulate(np.minimum(1.0, left * np.take_along_axis(p, order, -1)), -1)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, stepped, -1)
    return adjusted


def signed_ranks(differences: ArrayLike) -> NDArray[np.float64]:
    """Rank differences by size and give each rank its sign: Wilcoxon's scores.

    Equal sizes share their mean rank, infinite ones rank last together, zeros score zero and
    take no rank. Every score is a multiple of one half.

    Args:
        differences: ``(…, pairs)``; leading axes are other sets of pairs.

    Raises:
        ValueError: if a difference is NaN.

    Source: Wilcoxon, Biometrics Bulletin 1 (1945) 80.
    """
    x = np.asarray(differences, dtype=float)
    if np.isnan(x).any():
        raise ValueError("a difference is NaN; leave the pair out or say who won")
    if not x.shape[-1]:
        return np.zeros_like(x)
    zeros = (x == 0).sum(-1, keepdims=True)
    scores: NDArray[np.float64] = np.sign(x) * (stats.rankdata(np.abs(x), axis=-1) - zeros)
    return scores


def sign_flip_p(scores: ArrayLike) -> NDArray[np.float64]:
    """Return the two-sided p-value of a sum when every sign could as well be the other.

    All 2ⁿ flips are counted, one by one or by convolution, so it is exact: scores must be multiples
    of one half, as signed ranks are. On differences in {−1, 0, 1} it is McNemar's exact test.
    Where scores are large, as from some 200 signed ranks on, they are first rounded to a
    two-hundredth of their mean: the test is then exact for the rounded scores.

    Args:
        scores: ``(…, pairs)``; leading axes are other sets of pairs.

    Returns:
        ``(…)``.

    Raises:
        ValueError: if a score is not a multiple of one half.
    """
    x = 2 * np.asarray(scores, dtype=float)
    if (np.abs(x - np.rint(x)) > 1e-9).any():
        raise ValueError("scores must be multiples of 1/2, such as signed ranks")
    if not x.shape[-1]:
        return np.ones(x.shape[:-1])
    rows = np.rint(x).astype(np.int64).reshape(-1, x.shape[-1])
    p = _by_trying(rows) if x.shape[-1] <= FEW else _by_counting(rows)
    return p.reshape(x.shape[:-1])


def _by_trying(rows: NDArray[np.int64]) -> NDArray[np.float64]:
    count = rows.shape[-1]
    # Flipping all signs changes no size of a sum, so that the first may keep its sign.
    flips = 1 - 2 * (np.arange(2 ** (count - 1)) >> np.arange(count)[:, None] & 1)
    p: NDArray[np.float64] = (np.abs(rows @ flips) >= np.abs(rows.sum(-1))[:, None]).mean(-1)
    return p


def _by_counting(rows: NDArray[np.int64]) -> NDArray[np.float64]:
    step = np.maximum(1, np.abs(rows).sum(-1, keepdims=True) // (STEPS * rows.shape[-1]))
    rows = np.rint(rows / step).astype(np.int64)
    # Ranks without ties have the same sizes every time, sums of seeds never have.
    chances = _chances_of_reaching if rows.shape[-1] < MANY else _kept_chances
    keys = [row.tobytes() for row in np.sort(np.abs(rows))]
    tails = {key: chances(key) for key in set(keys)}
    totals = np.abs(rows.sum(-1)).tolist()
    return np.array([tails[key][total] for key, total in zip(keys, totals, strict=True)])


def _chances_of_reaching(row: bytes) -> NDArray[np.float64]:
    """Return for every size of a sum the probability of one as large, either way."""
    sizes = np.frombuffer(row, dtype=np.int64)
    most = int(sizes.sum())
    unit = max(1, int(np.gcd.reduce(sizes)))
    chance = chances_of_sums([int(size) // unit for size in sizes if size])
    of_size = np.zeros(most + 1)
    np.add.at(of_size, np.abs(2 * unit * np.arange(chance.size) - most), chance)
    tail: NDArray[np.float64] = np.minimum(1.0, of_size[::-1].cumsum()[::-1])
    return tail


_kept_chances = lru_cache(maxsize=32)(_chances_of_reaching)


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
