"""Tests and intervals of pairs, against scipy, brute force and closed forms."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from reports.statistics.paired import (
    Pairs,
    failure_test,
    log_ratio_estimate,
    log_ratio_interval,
    rank_test,
    scaled,
    seeds_p,
    sums_by,
)
from reports.statistics.ranks import sign_flip_p, signed_ranks
from tests.simulated import LAWS, chosen, paired, simulate

INF = math.inf


def some(law: str, seeds: int, seed: int = 0, **options: float) -> Pairs:
    draw = np.random.default_rng([seeds, seed])
    return chosen(simulate(LAWS[law], 1, 1, seeds, draw, **options), 0, 0)  # type: ignore[arg-type]


def of_differences(differences: np.ndarray) -> Pairs:
    """Pairs whose log-ratios are ``(seeds, cells)``; ±∞ are failures, NaN failures of both."""
    treated = np.where(differences == -INF, 0.0, differences)
    control = np.where(differences == -INF, INF, 0.0)
    both = np.isnan(differences)
    return paired(np.where(both, INF, treated), np.where(both, INF, control))


class TestScaled:
    def test_each_cell_is_divided_by_its_median_size(self) -> None:
        ratios = [1.0, -2.0, 4.0, 0.1, -0.3, INF]
        cells = [0, 0, 0, 1, 1, 1]
        known = [True, True, True, True, True, False]
        found = scaled(ratios, cells, known)
        np.testing.assert_allclose(found, [0.5, -1, 2, 0.5, -1.5, INF])

    def test_ties_of_failures_are_no_scatter(self) -> None:
        """Two failures are zero; they must not make the others of their cell look large."""
        found = scaled([0.0, 0.0, 0.0, 2.0], [0] * 4, [False, False, False, True])
        np.testing.assert_allclose(found, [0, 0, 0, 1])

    def test_a_median_of_zero_gives_way_to_that_of_the_others(self) -> None:
        found = scaled([0.0, 0.0, 0.0, 2.0, -4.0], [0] * 5, [True] * 5)
        np.testing.assert_allclose(found, [0, 0, 0, 2 / 3, -4 / 3])

    def test_cells_without_a_scatter_stay(self) -> None:
        np.testing.assert_array_equal(scaled([0.0, 0.0], [0, 0], [True, True]), [0, 0])
        np.testing.assert_array_equal(scaled([INF, -INF, 0], [0] * 3, [False] * 3), [INF, -INF, 0])

    @given(st.integers(1, 9), st.floats(0.01, 100))
    def test_a_cell_may_be_measured_in_any_unit(self, seeds: int, unit: float) -> None:
        draw = np.random.default_rng(seeds)
        ratios, cells = draw.normal(0, 1, (2, 2 * seeds)), np.tile([0, 1], seeds)
        every = np.ones_like(ratios, dtype=bool)
        other = ratios * np.where(cells == 1, unit, 1.0)
        np.testing.assert_allclose(scaled(other, cells, every), scaled(ratios, cells, every))


class TestTests:
    def test_one_cell_of_ten_seeds_is_wilcoxons_exact_test(self) -> None:
        x = np.random.default_rng(4).normal(0.4, 1, (10, 1))
        expected = stats.wilcoxon(x[:, 0], method="exact").pvalue
        assert rank_test(of_differences(x)).p == pytest.approx(expected)

    def test_the_larger_of_flips_and_student_counts_below_ten_seeds(self) -> None:
        for seed in range(10):
            pairs = some("seeds that matter", 7, seed)
            scores = signed_ranks(scaled(pairs.log_ratios, pairs.cells, pairs.survived))
            means = scores.reshape(7, 6).mean(1)
            student = stats.ttest_1samp(means, 0).pvalue
            test = rank_test(pairs)
            assert test.p == pytest.approx(max(float(sign_flip_p(scores)), student))
            assert test.lean == pytest.approx(scores.sum())

    def test_whole_seeds_are_flipped_from_ten_on(self) -> None:
        pairs = some("seeds that matter", 10, ratio=0.9)
        scores = signed_ranks(scaled(pairs.log_ratios, pairs.cells, pairs.survived))
        seeds = scores.reshape(10, 6).sum(1)
        flips = np.array(list(itertools.product((1, -1), repeat=10)))
        by_seed = (np.abs(flips @ seeds) >= abs(seeds.sum())).mean()
        assert by_seed > float(sign_flip_p(scores))
        assert rank_test(pairs).p == pytest.approx(by_seed)

    def test_seeds_that_all_lean_one_way_are_judged_by_student(self) -> None:
        sums = np.array([3.0, 4, 5, 4, 3, 4, 5, 4, 3, 4])
        assert seeds_p(sums) == pytest.approx(stats.ttest_1samp(sums, 0).pvalue)
        assert seeds_p(sums) < 2**-9
        unequal = np.array([100.0, *[1.0] * 9])
        assert stats.ttest_1samp(unequal, 0).pvalue > 2**-9
        assert seeds_p(unequal) == 2**-9

    def test_failures_are_tested_by_mcnemar_and_by_student(self) -> None:
        differences = np.zeros((6, 4))
        differences[:5, :2] = -INF
        differences[0, 2] = INF
        test = failure_test(of_differences(differences))
        mcnemar = stats.binomtest(1, 11).pvalue
        student = stats.ttest_1samp([-1, -2, -2, -2, -2, 0], 0).pvalue
        assert test.p == pytest.approx(max(mcnemar, student))
        assert test.lean == -9

    def test_over_cells_needs_five_of_them_and_students_test(self) -> None:
        pairs = some("independent", 6, ratio=0.5)
        scores = signed_ranks(scaled(pairs.log_ratios, pairs.cells, pairs.survived))
        cells = stats.ttest_1samp(sums_by(scores, pairs.cells), 0).pvalue
        both = rank_test(pairs, over_cells=True)
        assert both.p == pytest.approx(max(float(rank_test(pairs).p), cells))
        few = of_differences(pairs.log_ratios.reshape(6, 6)[:, :4])
        assert rank_test(few).p < 0.05
        assert rank_test(few, over_cells=True).p == 1

    def test_many_sets_at_once_are_each_by_itself(self) -> None:
        for seeds in (5, 12):
            pairs = simulate(LAWS["seeds that fail"], 3, 2, seeds, np.random.default_rng(1))
            for test in (rank_test, failure_test):
                together = test(pairs)
                assert together.p.shape == (3, 2)
                for i, j in itertools.product(range(3), range(2)):
                    alone = test(chosen(pairs, i, j))
                    assert together.p[i, j] == pytest.approx(float(alone.p))
                    assert together.lean[i, j] == pytest.approx(float(alone.lean))


class TestInterval:
    def test_of_one_cell_it_is_hodges_and_lehmanns(self) -> None:
        """Wilcoxon's test inverted: its ends are Walsh averages, counted in from both sides."""
        x = np.random.default_rng(0).normal(0.3, 1, 12)
        walsh = np.sort([(x[i] + x[j]) / 2 for i in range(12) for j in range(i, 12)])
        low, high = log_ratio_interval(of_differences(x[:, None])) or (0, 0)
        # Hollander and Wolfe, table A.4: n = 12, of 78 averages the 14th from each side.
        assert (low, high) == pytest.approx((walsh[13], walsh[-14]), abs=1e-4)

    @pytest.mark.parametrize("law", LAWS)
    @pytest.mark.parametrize("seeds", [6, 11])
    def test_it_agrees_with_the_test_on_a_grid(self, law: str, seeds: int) -> None:
        pairs = some(law, seeds)
        for level in (0.8, 0.95):
            low, high = log_ratio_interval(pairs, level) or (0, 0)
            grid = np.linspace(-4, 4, 801)
            passed = rank_test(pairs.divided_by(grid[:, None])).p >= 1 - level
            outside = (grid < low - 0.01) | (grid > high + 0.01)
            assert not passed[outside].any()
            inside = (grid > low + 0.01) & (grid < high - 0.01)
            # The test is only nearly monotone; a few ratios near an end may be rejected.
            assert passed[inside].mean() > 0.95 if inside.any() else True

    def test_failures_count(self) -> None:
        """Survivors differ by nothing; failures of one arm move the interval to the other."""
        differences = np.random.default_rng(1).normal(0, 0.3, (10, 6))
        _, before = log_ratio_interval(of_differences(differences)) or (0, 0)
        differences[:, :2] = -INF
        _, after = log_ratio_interval(of_differences(differences)) or (0, 0)
        assert after < before - 0.1

    def test_its_middle_is_hodges_and_lehmanns_estimate(self) -> None:
        x = np.random.default_rng(1).normal(0.3, 1, 11)
        walsh = [(x[i] + x[j]) / 2 for i in range(11) for j in range(i, 11)]
        found = log_ratio_estimate(of_differences(x[:, None]))
        assert found == pytest.approx(np.median(walsh), abs=1e-3)
        pairs = some("failures", 10)
        low, high = log_ratio_interval(pairs) or (0, 0)
        assert low < (log_ratio_estimate(pairs) or 0) < high
        rescued = np.random.default_rng(3).normal(0, 0.1, (10, 6))
        rescued[:, :5] = -INF
        assert log_ratio_estimate(of_differences(rescued)) == -INF
        assert log_ratio_estimate(of_differences(np.full((6, 2), INF))) is None

    def test_five_pairs_exclude_nothing(self) -> None:
        pairs = of_differences(np.full((5, 1), -3.0) + np.arange(5)[:, None])
        assert log_ratio_interval(pairs) == (-INF, INF)

    def test_many_failures_leave_one_side_open(self) -> None:
        differences = np.random.default_rng(3).normal(0, 0.1, (10, 6)) - 0.5
        differences[:, :3][np.random.default_rng(4).random((10, 3)) < 0.6] = -INF
        low, high = log_ratio_interval(of_differences(differences)) or (0, 0)
        assert low == -INF
        assert -1 < high < 0

    def test_where_failures_alone_decide_no_ratio_is_left(self) -> None:
        differences = np.random.default_rng(3).normal(0, 0.1, (10, 6))
        differences[:, :5] = -INF
        assert log_ratio_interval(of_differences(differences)) == (-INF, -INF)
        assert log_ratio_interval(of_differences(-differences)) == (INF, INF)

    def test_without_survivors_there_is_none(self) -> None:
        assert log_ratio_interval(of_differences(np.full((6, 2), INF))) is None

    @settings(max_examples=20, deadline=None)
    @given(st.floats(-2, 2), st.integers(0, 50))
    def test_it_moves_with_the_ratio(self, shift: float, seed: int) -> None:
        pairs = some("failures", 8, seed)
        low, high = log_ratio_interval(pairs, 0.9) or (0, 0)
        moved = log_ratio_interval(pairs.divided_by(shift), 0.9) or (0, 0)
        assert moved == pytest.approx((low - shift, high - shift), abs=0.01)

    def test_arms_in_the_other_order_turn_it_round(self) -> None:
        pairs = some("failures", 10)
        low, high = log_ratio_interval(pairs) or (0, 0)
        turned = Pairs(
            pairs.cells, pairs.seeds, pairs.control, pairs.treated,
            pairs.control_failed, pairs.treated_failed,
        )  # fmt: skip
        assert log_ratio_interval(turned) == pytest.approx((-high, -low), abs=1e-3)
