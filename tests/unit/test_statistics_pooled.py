"""Pooled scores against brute force, closed forms and rliable."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.statistics.pooled import (
    best_of,
    interquartile_mean,
    normalized_score,
    performance_profile,
    pooled_mean,
    pooled_mean_interval,
    probability_of_improvement,
    shares_above,
    stratified_bootstrap,
)

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

    def mean(drawn: object) -> float:
        return float(np.mean(np.concatenate(drawn)))  # type: ignore[call-overload]

    intervals = [stratified_bootstrap(apart, mean, np.random.default_rng(5)) for _ in range(2)]
    assert intervals[0] == intervals[1]
    assert intervals[0] is not None
    # The standard error of the mean of 120 runs of unit variance is .091.
    assert intervals[0].high - intervals[0].low == pytest.approx(2 * 1.96 * 0.091, rel=0.15)
    assert stratified_bootstrap(apart, mean, np.random.default_rng(6)) != intervals[0]
    assert stratified_bootstrap([np.ones(1)], mean, np.random.default_rng(0)) is None
    assert stratified_bootstrap([], mean, np.random.default_rng(0)) is None


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


def test_a_profile_counts_tasks_alike() -> None:
    profile = performance_profile([np.array([0.0, 1.0]), np.array([1.0] * 9)], [-1, 0, 0.5, 1])
    assert profile == pytest.approx([1, 0.75, 0.75, 0])


def test_improvement_is_averaged_over_tasks() -> None:
    first = [np.array([1.0, 2.0]), np.array([0.0])]
    second = [np.array([0.0, 1.0]), np.array([0.0])]
    assert probability_of_improvement(first, second) == pytest.approx((3.5 / 4 + 0.5) / 2)
    assert probability_of_improvement([], []) is None
    assert probability_of_improvement([np.array([])], [np.array([1.0])]) is None


@given(st.lists(finite, min_size=1, max_size=7), st.booleans())
def test_the_best_of_k_is_the_mean_over_all_subsets(values: list[float], lower: bool) -> None:
    for k in range(1, len(values) + 1):
        best = [(min if lower else max)(chosen) for chosen in itertools.combinations(values, k)]
        found = best_of(values, k, lower_is_better=lower)
        assert found == pytest.approx(float(np.mean(best)), abs=1e-9)


def test_the_best_of_more_than_there_were_is_not_guessed() -> None:
    assert best_of([1.0, 2.0], 3) is None
    assert best_of([1.0, 2.0], 0) is None


def test_trials_that_failed_count_as_the_worst() -> None:
    assert best_of([math.inf, 1.0, 2.0], 3) == 1
    assert best_of([math.inf, 1.0, 2.0], 1) == math.inf
    assert best_of([-math.inf, 1.0], 2, lower_is_better=False) == 1


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
