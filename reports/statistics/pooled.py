"""Scores over several data sets: normalised, pooled without their extremes, resampled in strata.

After Agarwal et al. 2021, arXiv:2108.13264. A *task* is a data set; every task has scores of
independent runs. All randomness comes from a generator that the caller gives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from reports.statistics.intervals import LEVEL, Interval
from reports.statistics.ranks import probability_less

Tasks = Sequence[NDArray[np.float64]]
"""Scores, one array for each task; higher is better."""


COVERED = {2: (0.62, 0.79), 3: (0.80, 0.88), 5: (0.88, 0.92), 10: (0.92, 0.94)}
"""By runs of each task: how often a 95 % interval of the pooled mean covers it, at least and at
most, in simulations of two to five tasks with normal scores, alike or four deviations apart."""


def normalized_score(distance: float, reference: float, floor: float) -> float:
    """Place a distance between a reference and its floor, on the scale of logarithms.

    Args:
        distance: Such as an FD; a failed run's is infinite.
        reference: The distance that scores 0, such as an untrained generator's.
        floor: The distance that scores 1: real against real.

    Returns:
        (ln reference − ln distance) / (ln reference − ln floor), not below 0: a run that ended
        worse than it began counts as one that failed.

    Raises:
        ValueError: unless 0 < floor < reference and the distance is positive.
    """
    if not 0 < floor < reference < math.inf:
        raise ValueError(f"the floor {floor} is not between 0 and the reference {reference}")
    if not distance > 0:
        raise ValueError(f"the distance {distance} is not positive")
    if math.isinf(distance):
        return 0.0
    return max(0.0, math.log(reference / distance) / math.log(reference / floor))


def interquartile_mean(scores: ArrayLike) -> float | None:
    """Return the mean of the middle half of all scores; None without any."""
    x = np.asarray(scores, dtype=float).ravel()
    return float(stats.trim_mean(x, 0.25)) if x.size else None


def pooled_mean(tasks: Tasks) -> float:
    """Return the interquartile mean over the runs of all tasks.

    Raises:
        ValueError: if there is no run.
    """
    mean = interquartile_mean(np.concatenate(list(tasks)) if tasks else [])
    if mean is None:
        raise ValueError("no runs to pool")
    return mean


def resampled(
    tasks: Tasks, generator: np.random.Generator, draws: int
) -> list[NDArray[np.float64]]:
    """Draw each task's runs again, many times at once; return ``(draws, runs)`` for each task."""
    return [scores[generator.integers(len(scores), size=(draws, len(scores)))] for scores in tasks]


def pooled_mean_interval(
    tasks: Tasks, generator: np.random.Generator, *, draws: int = 2000, level: float = LEVEL
) -> Interval | None:
    """Return the percentile interval of :func:`pooled_mean`, runs drawn again within each task.

    It is too narrow where tasks have few runs each, see :data:`COVERED`. None where a task has
    fewer than two runs.

    Source: Agarwal et al. 2021, §4.1 and appendix A; Efron 1979.
    """
    if not tasks or min(len(scores) for scores in tasks) < 2:
        return None
    drawn = np.concatenate(resampled(tasks, generator, draws), axis=1)
    low, high = np.quantile(
        stats.trim_mean(drawn, 0.25, axis=1), [(1 - level) / 2, (1 + level) / 2]
    )
    return Interval(float(low), float(high))


def performance_band(
    tasks: Tasks,
    thresholds: ArrayLike,
    generator: np.random.Generator,
    *,
    draws: int = 500,
    level: float = LEVEL,
) -> NDArray[np.float64]:
    """Return the pointwise bootstrap band of a profile, ``(2, thresholds)``: low, then high.

    Runs are drawn again within each task. A task of one run has no spread of its own.
    """
    limits = np.asarray(thresholds, dtype=float)
    shares = [shares_above(drawn, limits) for drawn in resampled(tasks, generator, draws)]
    band: NDArray[np.float64] = np.quantile(
        np.mean(shares, axis=0), [(1 - level) / 2, (1 + level) / 2], axis=0
    )
    return band


def shares_above(drawn: NDArray[np.float64], limits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of each row's numbers above each limit, ``(rows, limits)``.

    Args:
        drawn: ``(rows, numbers)``, not NaN.
        limits: Ascending.
    """
    rows, count = drawn.shape
    # Sorting numbers between the limits once is cheaper than comparing each with all of them.
    passed = np.searchsorted(limits, drawn) + (len(limits) + 1) * np.arange(rows)[:, None]
    by_place = np.bincount(passed.ravel(), minlength=rows * (len(limits) + 1))
    above = by_place.reshape(rows, -1)[:, :0:-1].cumsum(1)[:, ::-1]
    shares: NDArray[np.float64] = above / count
    return shares


def performance_profile(tasks: Tasks, thresholds: ArrayLike) -> NDArray[np.float64]:
    """Return for each threshold the share of runs that score above it, tasks counting alike.

    Source: Dolan and Moré 2002; Agarwal et al. 2021, eq. 4.
    """
    limits = np.asarray(thresholds, dtype=float)
    shares = [(scores[:, None] > limits).mean(0) for scores in tasks]
    profile: NDArray[np.float64] = np.mean(shares, axis=0)
    return profile


def probability_of_improvement(first: Tasks, second: Tasks) -> float | None:
    """Return P(X > Y) + P(X = Y) / 2 for runs X of the first and Y of the second, task by task.

    None unless every task has runs of both.

    Source: Agarwal et al. 2021, appendix A.3: Mann and Whitney's statistic, averaged over tasks.
    """
    chances = [probability_less(y, x) for x, y in zip(first, second, strict=True)]
    if not chances or any(chance is None for chance in chances):
        return None
    return float(np.mean([chance for chance in chances if chance is not None]))
