"""Survival curves and the log-rank test against scipy, lifelines and a table by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reports.statistics.survival import Lifetimes, kaplan_meier, log_rank

groups = st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=12).map(
    lambda rows: Lifetimes([float(t) for t, _ in rows], [ended for _, ended in rows])
)

TREATED = Lifetimes(
    [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35],
    [t in (1, 2, 3, 5, 7, 10, 11, 15, 16) for t in range(1, 22)],
)
PLACEBO = Lifetimes(
    [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23], [True] * 21
)
"""Remission of leukaemia in weeks (Freireich et al. 1963), the textbooks' example."""


def test_the_curve_of_a_known_table() -> None:
    curve = kaplan_meier(TREATED)
    assert curve is not None
    shares = dict(zip(curve.times, curve.shares, strict=True))
    known = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}
    for time, share in known.items():
        assert shares[time] == pytest.approx(share, abs=5e-4)
    assert curve.at_risk[0] == 21


@given(groups)
def test_the_curve_is_a_product_over_failures(lived: Lifetimes) -> None:
    curve = kaplan_meier(lived)
    assert curve is not None
    share = 1.0
    for time, found, limits in zip(curve.times, curve.shares, curve.intervals, strict=True):
        at_risk = sum(t >= time for t in lived.times)
        deaths = sum(t == time and e for t, e in zip(lived.times, lived.failed, strict=True))
        share *= 1 - deaths / at_risk
        assert found == pytest.approx(share)
        assert 0 <= limits.low <= found + 1e-12 and found - 1e-12 <= limits.high <= 1
    assert list(curve.times) == sorted(set(lived.times))


def test_without_failures_the_interval_says_how_few_there_were() -> None:
    curve = kaplan_meier(Lifetimes([5.0] * 4, [False] * 4))
    assert curve is not None
    assert curve.shares == (1.0,)
    expected = stats.binomtest(4, 4).proportion_ci(method="wilson")
    assert curve.intervals[0] == pytest.approx((expected.low, expected.high))
    assert kaplan_meier(Lifetimes([], [])) is None


@given(groups, groups)
def test_one_stratum_is_scipys_test(first: Lifetimes, second: Lifetimes) -> None:
    def censored(lived: Lifetimes) -> stats.CensoredData:
        ended = np.asarray(lived.failed)
        return stats.CensoredData.right_censored(lived.times, ~ended)

    found = log_rank([(first, second)])
    assert found is not None
    with np.errstate(all="ignore"):
        expected = stats.logrank(censored(first), censored(second)).pvalue
    if math.isfinite(expected):
        assert found.p == pytest.approx(expected, abs=1e-9)
    else:
        assert found.p == 1


def test_a_known_table_of_two_groups() -> None:
    found = log_rank([(TREATED, PLACEBO)])
    assert found is not None
    assert found.observed == 9
    assert found.expected == pytest.approx(19.25, abs=5e-3)
    assert stats.chi2.isf(found.p, 1) == pytest.approx(16.79, abs=5e-3)


def test_strata_are_compared_within_themselves() -> None:
    """Simpson's paradox: alike within each data set, one group has more runs on the harder one."""
    easy = Lifetimes([9.0] * 10, [False] * 10)
    hard = Lifetimes([1.0] * 5 + [9.0] * 5, [True] * 5 + [False] * 5)
    few_easy = Lifetimes([9.0] * 2, [False] * 2)
    few_hard = Lifetimes([1.0, 9.0], [True, False])
    found = log_rank([(easy, few_easy), (few_hard, hard)])
    assert found is not None
    assert found.observed == pytest.approx(found.expected)
    assert found.p == pytest.approx(1)


def test_nothing_that_failed_is_no_evidence() -> None:
    lived = Lifetimes([3.0, 4.0], [False, False])
    assert log_rank([(lived, lived)]) == (0.0, 0.0, 1.0)
    assert log_rank([]) is None


def test_both_agree_with_lifelines() -> None:
    lifelines = pytest.importorskip("lifelines", reason="lifelines is not installed")
    statistics = pytest.importorskip("lifelines.statistics")
    fitter = lifelines.KaplanMeierFitter().fit(TREATED.times, TREATED.failed)
    curve = kaplan_meier(TREATED)
    assert curve is not None
    for time, share in zip(curve.times, curve.shares, strict=True):
        assert fitter.predict(time) == pytest.approx(share)
    expected = statistics.logrank_test(
        TREATED.times, PLACEBO.times, TREATED.failed, PLACEBO.failed
    ).p_value
    found = log_rank([(TREATED, PLACEBO)])
    assert found is not None and found.p == pytest.approx(expected)
