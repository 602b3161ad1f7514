"""How long runs last: Kaplan and Meier's curve, and the log-rank test in strata."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from reports.statistics.intervals import LEVEL, Interval, wilson


class Lifetimes(NamedTuple):
    """How long some runs lasted.

    Attributes:
        times: One per run, in whatever unit: steps, or shares of training.
        failed: Whether the run failed then; else it was only watched until then.
    """

    times: Sequence[float]
    failed: Sequence[bool]


@dataclass(frozen=True)
class SurvivalCurve:
    """The share of runs that have not failed yet; a step function.

    Attributes:
        times: When runs failed or were last watched, ascending, each once.
        shares: Share that survives each time, itself included; 1 before the first.
        intervals: Pointwise, of each share.
        at_risk: Runs that were still watched just before each time.
    """

    times: tuple[float, ...]
    shares: tuple[float, ...]
    intervals: tuple[Interval, ...]
    at_risk: tuple[int, ...]


def kaplan_meier(lived: Lifetimes, level: float = LEVEL) -> SurvivalCurve | None:
    """Estimate survival from runs of which some outlive their training; None without runs.

    The intervals are Greenwood's on the scale of log(−log), which keeps them between 0 and 1.
    Where all survive, or all have failed, it has none: the interval is then Wilson's of the runs
    at the start, which says what so few runs can say.

    Source: Kaplan and Meier, JASA 53 (1958) 457; Kalbfleisch and Prentice 1980, §1.4.
    """
    times = np.asarray(lived.times, dtype=float)
    failed = np.asarray(lived.failed, dtype=bool)
    if times.size == 0:
        return None
    data = stats.CensoredData.right_censored(times, ~failed)
    function = stats.ecdf(data).sf
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of limits that do not exist
        limits = function.confidence_interval(level, method="log-log")
    n = times.size
    intervals = []
    for share, low, high in zip(
        function.probabilities, limits.low.probabilities, limits.high.probabilities, strict=True
    ):
        if np.isfinite(low) and np.isfinite(high) and 0 < share < 1:
            intervals.append(Interval(float(low), float(high)))
        else:
            wide = wilson(round(float(share) * n), n, level)
            assert wide is not None  # noqa: S101 - n is positive
            intervals.append(wide)
    return SurvivalCurve(
        tuple(float(t) for t in function.quantiles),
        tuple(float(p) for p in function.probabilities),
        tuple(intervals),
        tuple(int((times >= t).sum()) for t in function.quantiles),
    )


class LogRank(NamedTuple):
    """The log-rank test's result.

    Attributes:
        observed: Failures in the first group.
        expected: Failures it would have if both groups failed alike.
        p: Two-sided; 1 where nothing failed.
    """

    observed: float
    expected: float
    p: float


def log_rank(strata: Sequence[tuple[Lifetimes, Lifetimes]]) -> LogRank | None:
    """Test whether the first group of each stratum fails as the second; None without runs.

    Groups are compared within a stratum (here: a data set and variant) only; what is observed,
    what is expected and its variance are added up over strata.

    Source: Mantel, Cancer Chemotherapy Reports 50 (1966) 163; Peto and Peto, JRSS A 135 (1972) 185.
    """
    runs = sum(len(group.times) for pair in strata for group in pair)
    if not runs:
        return None
    observed = expected = variance = 0.0
    for first, second in strata:
        o, e, v = _stratum(first, second)
        observed, expected, variance = observed + o, expected + e, variance + v
    if variance == 0:
        return LogRank(observed, expected, 1.0)
    chi2 = (observed - expected) ** 2 / variance
    return LogRank(observed, expected, float(stats.chi2.sf(chi2, 1)))


def _stratum(first: Lifetimes, second: Lifetimes) -> tuple[float, float, float]:
    """Return failures observed and expected in the first group, and the variance."""
    a: NDArray[np.float64] = np.asarray(first.times, dtype=float)
    b: NDArray[np.float64] = np.asarray(second.times, dtype=float)
    ended_a, ended_b = np.asarray(first.failed, dtype=bool), np.asarray(second.failed, dtype=bool)
    observed = expected = variance = 0.0
    for time in np.unique(np.concatenate([a[ended_a], b[ended_b]])):
        at_risk_a, at_risk_b = (a >= time).sum(), (b >= time).sum()
        deaths_a, deaths_b = (ended_a & (a == time)).sum(), (ended_b & (b == time)).sum()
        n, d = at_risk_a + at_risk_b, deaths_a + deaths_b
        observed += deaths_a
        expected += d * at_risk_a / n
        if n > 1:
            variance += d * (at_risk_a / n) * (at_risk_b / n) * (n - d) / (n - 1)
    return float(observed), float(expected), float(variance)
