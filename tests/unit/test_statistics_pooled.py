"""Pooled scores against brute force, closed forms and rliable."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.sections.pooled import LEAD
from reports.statistics.pooled import (
    COVERED,
    interquartile_mean,
    normalized_score,
    performance_profile,
    pooled_mean,
    pooled_mean_interval,
    probability_of_improvement,
    shares_above,
)
from reports.tables import percent

finite = st.floats(-50, 50, allow_subnormal=False)


def tasks(seed: int = 0, runs: int = 10) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.normal(mean, 1, runs) for mean in (0.0, 1.0, 3.0)]


def test_a_score_is_0_at_the_reference_and_1_at_the_floor() -> None:
    assert normalized_score(100.0, 100.0, 1.0) == 0
    assert normalized_score(1.0, 100.0, 1.0) == pytest.approx(1)
    assert normalized_score(10.0, 100.0, 1.0) == pytest.approx(0.5)
    assert normalized_score(0.1, 100.0, 1.0) == pytest.approx(1.5)


@pytest.mark.parametrize("distance", [101.0, math.inf])
def test_a_failure_and_what_ended_worse_than_it_began_score_0(distance: float) -> None:
    assert normalized_score(distance, 100.0, 1.0) == 0


@pytest.mark.parametrize("case", [(1, 1, 1), (1, 0.5, 1), (1, 5, 0), (0, 5, 1), (1, math.inf, 1)])
def test_what_has_no_scale_is_refused(case: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="is not"):
        normalized_score(*case)


def test_the_interquartile_mean_leaves_out_both_quarters() -> None:
    assert interquartile_mean([1000, 1, 2, 3, 4, 5, 6, -1000]) == pytest.approx(3.5)
    assert interquartile_mean([]) is None
    with pytest.raises(ValueError, match="no runs"):
        pooled_mean([])


def test_the_bootstrap_draws_within_tasks_and_repeats() -> None:
    """Tasks that differ by much more than their runs: only strata give a narrow interval."""
    apart = [100 * i + np.random.default_rng(i).normal(size=30) for i in range(4)]
    intervals = [pooled_mean_interval(apart, np.random.default_rng(5)) for _ in range(2)]
    assert intervals[0] == intervals[1]
    assert intervals[0] is not None
    # The middle half are two tasks: the mean of 60 runs of unit variance errs by .129.
    assert intervals[0].high - intervals[0].low == pytest.approx(2 * 1.96 * 0.129, rel=0.15)
    assert pooled_mean_interval(apart, np.random.default_rng(6)) != intervals[0]
    assert pooled_mean_interval([np.ones(1)], np.random.default_rng(0)) is None
    assert pooled_mean_interval([], np.random.default_rng(0)) is None


@pytest.mark.slow
def test_the_bootstrap_covers_what_it_says_when_pooled() -> None:
    """Ten runs on each of three tasks: near 95 %, and below it, as percentiles of few are."""
    truth = pooled_mean([np.concatenate([tasks(s, 50)[i] for s in range(400)]) for i in range(3)])
    hits = 0
    for trial in range(400):
        drawn = tasks(10_000 + trial)
        limits = pooled_mean_interval(drawn, np.random.default_rng(trial), draws=400)
        hits += limits is not None and limits.low <= truth <= limits.high
    assert 0.88 <= hits / 400 <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("runs", COVERED)
def test_the_bootstrap_covers_as_much_as_the_report_says(runs: int) -> None:
    """Two to five tasks, alike or apart; so few trials err by 2 %."""
    generator = np.random.default_rng(runs)
    shares = []
    for means in [
        np.zeros(2),
        np.zeros(3),
        np.zeros(5),
        *(np.linspace(0, 4, n) for n in (2, 3, 5)),
    ]:
        truth = pooled_mean([generator.normal(mean, 1, 100_000) for mean in means])
        limits = [
            pooled_mean_interval(
                [generator.normal(mean, 1, runs) for mean in means], generator, draws=400
            )
            for _ in range(600)
        ]
        shares.append(np.mean([one is not None and one.low <= truth <= one.high for one in limits]))
    assert (min(shares), max(shares)) == pytest.approx(COVERED[runs], abs=0.05)
    low, high = COVERED[runs]
    assert f"{100 * low:.0f} to {percent(high)} at {runs} runs" in LEAD[1]


def test_a_profile_counts_tasks_alike() -> None:
    profile = performance_profile([np.array([0.0, 1.0]), np.array([1.0] * 9)], [-1, 0, 0.5, 1])
    assert profile == pytest.approx([1, 0.75, 0.75, 0])


def test_improvement_is_averaged_over_tasks() -> None:
    first = [np.array([1.0, 2.0]), np.array([0.0])]
    second = [np.array([0.0, 1.0]), np.array([0.0])]
    assert probability_of_improvement(first, second) == pytest.approx((3.5 / 4 + 0.5) / 2)
    assert probability_of_improvement([], []) is None
    assert probability_of_improvement([np.array([])], [np.array([1.0])]) is None


def test_all_agree_with_rliable() -> None:
    metrics = pytest.importorskip("rliable.metrics", reason="rliable is not installed")
    scores = np.stack(tasks(), axis=1)
    assert pooled_mean(tasks()) == pytest.approx(metrics.aggregate_iqm(scores))
    other = np.stack(tasks(9), axis=1)
    expected = metrics.probability_of_improvement(scores, other)
    assert probability_of_improvement(tasks(), tasks(9)) == pytest.approx(expected)


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.25, 0.3, 1.0, 2.0]), min_size=3, max_size=30))
def test_shares_above_limits_are_those_of_comparing_each(scores: list[float]) -> None:
    drawn = np.array(scores[: len(scores) // 3 * 3]).reshape(3, -1)
    limits = np.array([0.0, 0.25, 0.5, 1.0])
    expected = (drawn[:, :, None] > limits).mean(1)
    np.testing.assert_array_equal(shares_above(drawn, limits), expected)
