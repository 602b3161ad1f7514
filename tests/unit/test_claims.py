"""What may be claimed, on pairs whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reports.statistics.claims import (
    FAILURE_LEVEL,
    RANK_LEVEL,
    Judgement,
    adjusted,
    judge,
    power_of_student,
    seeds_to_see,
    smallest,
    spread_limit,
)
from reports.statistics.intervals import Interval
from reports.statistics.paired import PairedTest, Pairs, rank_test
from reports.statistics.power import power_curves, residuals, with_effect
from reports.statistics.ranks import holm
from tests.simulated import LAWS, Law, chosen, first_seeds, simulate

INF = math.inf


def some(law: Law | str, seeds: int, seed: int = 0, **options: float) -> Pairs:
    draw = np.random.default_rng([seeds, seed])
    chosen_law = LAWS[law] if isinstance(law, str) else law
    return chosen(simulate(chosen_law, 1, 1, seeds, draw, **options), 0, 0)  # type: ignore[arg-type]


def one(pairs: Pairs, margin: float = 1.5) -> Judgement:
    return judge([[pairs]], margin)[0]


def judgement(**values: object) -> Judgement:
    plain: dict[str, object] = {
        "seeds": 10, "pairs": 60, "p": 1.0, "lean": -1.0, "failure_p": 1.0, "failure_lean": -1.0,
        "interval": Interval(0.5, 2.0), "confidence": 0.95, "narrow": Interval(0.6, 1.9),
        "failure_change": Interval(-0.05, 0.05), "margin": 1.5, "tests": 1,
        "single_p": 1.0, "single_failure_p": 1.0,
    }  # fmt: skip
    return Judgement(**(plain | values))  # type: ignore[arg-type]


class TestVerdicts:
    @pytest.mark.parametrize(
        ("values", "verdict"),
        [
            ({}, "no evidence"),
            ({"p": 0.039}, "helps"),
            ({"p": 0.041}, "no evidence"),
            ({"p": 0.001, "lean": 1.0}, "hurts"),
            ({"failure_p": 0.009}, "fewer failures"),
            ({"failure_p": 0.011}, "no evidence"),
            ({"failure_p": 0.001, "failure_lean": 1.0}, "more failures"),
            ({"p": 0.001, "failure_p": 0.001, "failure_lean": 1.0}, "more failures"),
            ({"p": 0.001, "lean": 1.0, "failure_p": 0.001}, "hurts"),
            ({"narrow": Interval(0.7, 1.4)}, "no difference"),
            ({"narrow": Interval(0.7, 1.4), "margin": 1.4}, "no evidence"),
            ({"narrow": Interval(0.0, 1.4)}, "no evidence"),
            ({"narrow": None}, "no evidence"),
            ({"narrow": Interval(0.7, 1.4), "pairs": 24}, "no evidence"),
            (
                {"narrow": Interval(0.7, 1.4), "failure_change": Interval(-0.02, 0.11)},
                "no evidence",
            ),
            ({"seeds": 4, "p": 0.0, "failure_p": 0.0}, "screening"),
        ],
    )
    def test_verdicts(self, values: dict[str, object], verdict: str) -> None:
        assert judgement(**values).verdict == verdict

    def test_a_claim_may_be_smaller_than_the_margin(self) -> None:
        small = judgement(p=0.001, narrow=Interval(0.8, 0.95))
        assert (small.verdict, small.within_margin) == ("helps", True)
        assert small.smallest_margin == pytest.approx(1.25)

    def test_nothing_is_decided_by_silence(self) -> None:
        assert not judgement().decided
        assert not judgement(seeds=4).decided
        assert judgement(p=0.001).decided
        assert judgement(narrow=Interval(0.7, 1.4)).decided


class TestLevels:
    def test_a_family_is_adjusted_by_holm(self) -> None:
        p = np.random.default_rng(0).random((4, 6)) ** 3
        np.testing.assert_allclose(adjusted(p, [10] * 6, RANK_LEVEL), holm(p))

    def test_few_seeds_have_a_lower_level(self) -> None:
        """Five seeds of one sign happen once in 16; Student's p of their ranks is .0133."""
        student = float(stats.ttest_1samp([1, 2, 3, 4, 5], 0).pvalue)
        assert 0.0125 < student < RANK_LEVEL
        assert adjusted([student], [5], RANK_LEVEL)[0] > RANK_LEVEL
        assert adjusted([student], [7], RANK_LEVEL)[0] == pytest.approx(student)
        assert adjusted([0.0124], [6], RANK_LEVEL)[0] < RANK_LEVEL
        assert adjusted([0.0099], [5], FAILURE_LEVEL)[0] == pytest.approx(0.0099)

    def test_the_interval_of_few_seeds_is_wider(self) -> None:
        pairs = some("independent", 6, ratio=0.8)
        assert one(pairs).confidence == 0.9875
        assert one(pairs).interval == one(pairs).narrow
        more = one(some("independent", 8, ratio=0.8))
        assert more.confidence == 0.95
        assert more.interval is not None and more.narrow is not None
        assert more.interval.low < more.narrow.low < more.narrow.high < more.interval.high


class TestJudge:
    def test_a_true_effect_is_claimed_and_its_interval_agrees(self) -> None:
        (helps,) = judge([[some("unlike cells", 10, ratio=0.5)]], 1.5)
        assert helps.verdict == "helps"
        assert helps.interval is not None and helps.interval.low < 0.5 < helps.interval.high < 1

    @given(st.integers(0, 200))
    def test_a_claim_of_rank_excludes_one(self, seed: int) -> None:
        found = one(some("failures", 7, seed, ratio=0.6))
        if found.rank_claim:
            assert found.interval is not None
            assert not found.interval.low <= 1 <= found.interval.high

    def test_two_arms_of_one_law_are_shown_to_differ_by_less_than_the_margin(self) -> None:
        found = one(some("independent", 20))
        assert found.verdict == "no difference"
        assert 1 < found.smallest_margin < 1.5

    def test_a_rescue_is_claimed_where_survivors_are_alike(self) -> None:
        """After the change none of ten fails in a cell where six did: not 'no evidence'."""
        draw = np.random.default_rng(2)
        pairs = chosen(simulate(Law(failures=0.6), 1, 1, 10, draw, failures=0.0), 0, 0)
        found = one(pairs)
        assert found.verdict == "helps"
        assert found.failure_claim == -1

    def test_a_family_shares_the_error(self) -> None:
        pairs = some("independent", 8, seed=3, ratio=0.75)
        alone = one(pairs).p
        others = [[some("independent", 8, seed=s)] for s in range(10, 14)]
        assert judge([[pairs], *others], 1.5)[0].p == pytest.approx(5 * alone)

    def test_over_cells_is_asked_of_tests_and_intervals(self) -> None:
        pairs = some("independent", 10, ratio=0.5)
        few = Pairs(
            np.minimum(pairs.cells, 3), pairs.seeds, pairs.treated, pairs.control,
            pairs.treated_failed, pairs.control_failed,
        )  # fmt: skip
        assert one(few).verdict == "helps"
        (found,) = judge([[few]], 1.5, over_cells=True)
        assert found.verdict == "no evidence"
        assert found.interval == (0, INF)
        assert found.seeds_to_decide is None


class TestLooks:
    def test_the_smallest_p_is_kept_with_its_lean(self) -> None:
        first = PairedTest(np.array([0.02, 0.5]), np.array([-1.0, 1.0]))
        second = PairedTest(np.array([0.3, 0.1]), np.array([2.0, -2.0]))
        kept = smallest([first, second])
        np.testing.assert_array_equal(kept.p, [0.02, 0.1])
        np.testing.assert_array_equal(kept.lean, [-1, -2])

    def test_each_p_is_multiplied_by_the_number_of_looks(self) -> None:
        pairs = some("independent", 10, ratio=0.85)
        looks = [first_seeds(pairs, 5), pairs]
        expected = 4 * min(float(rank_test(look).p) for look in looks)
        (found,) = judge([looks], 1.5, looks=4)
        assert found.p == pytest.approx(min(1, expected))
        assert found.confidence == 1 - 0.05 / 4
        assert (found.seeds, found.pairs, found.tests) == (10, 60, 4)

    def test_no_claim_is_withdrawn(self) -> None:
        """A trick keeps its looks once it is decided; others go on."""
        draw = np.random.default_rng(0)
        strong = simulate(LAWS["unlike cells"], 1, 1, 20, draw, ratio=0.4)
        weak = simulate(LAWS["unlike cells"], 1, 3, 20, draw)
        mine, others = chosen(strong, 0, 0), [chosen(weak, 0, j) for j in range(3)]
        p_before = 1.0
        for count in (1, 2, 3):
            seeds = (5, 10, 20)[:count]
            family = [[first_seeds(x, n) for n in seeds] for x in others]
            found = judge([[first_seeds(mine, 5)], *family], 1.5, looks=4)
            assert found[0].verdict == "helps"
            assert found[0].p <= p_before
            p_before = found[0].p


class TestSeeds:
    def test_limits_of_a_spread(self) -> None:
        assert [round(spread_limit(n), 2) for n in (5, 10, 20)] == [1.56, 1.29, 1.18]

    @pytest.mark.parametrize(("distance", "level"), [(0.5, 0.04), (1.0, 0.01), (2.0, 0.008)])
    def test_power_is_that_of_students_test_by_simulation(
        self, distance: float, level: float
    ) -> None:
        draw = np.random.default_rng(1)
        for n in (7, 15):
            p = stats.ttest_1samp(draw.normal(distance, 1, (20_000, n)), 0, axis=1).pvalue
            found = power_of_student(n, distance, 1.0, level)
            assert found == pytest.approx((p < level).mean(), abs=0.012)

    @given(st.floats(0.2, 3), st.floats(0.001, 0.05))
    def test_so_many_seeds_see_it_and_one_fewer_does_not(self, distance: float, a: float) -> None:
        n = seeds_to_see(distance, 1.0, a)
        assert power_of_student(n, distance, 1.0, a) >= 0.8
        assert n == 5 or power_of_student(n - 1, distance, 1.0, a) < 0.8

    def test_the_range_is_of_the_interval_and_more_than_there_are(self) -> None:
        found = judgement(seeds=5, interval=Interval(1 / 3, 3.0), confidence=0.9875, tests=5)
        quantile = stats.t.ppf(0.99375, 4)
        spread = math.log(3) * math.sqrt(5) / quantile
        expected = [seeds_to_see(math.log(1.5), s, 0.008) for s in (spread, 1.557 * spread)]
        assert found.seeds_to_decide == tuple(expected)
        sure = judgement(interval=Interval(0.99, 1.01))
        assert sure.seeds_to_decide == (11, 11)

    def test_an_open_interval_gives_none(self) -> None:
        for interval in (None, Interval(0.0, 2.0), Interval(0.5, INF), Interval(0.0, 0.0)):
            assert judgement(interval=interval).seeds_to_decide is None

    def test_the_nearer_decision_is_planned_for(self) -> None:
        """Between 1 and the margin either is far; beyond the margin the margin is enough."""
        at = {
            middle: judgement(
                margin=2.0, interval=Interval(middle / 2.5, middle * 2.5), tests=1
            ).seeds_to_decide
            for middle in (1.0, math.sqrt(2), 2.0, 4.0)
        }
        assert at[1.0] == at[2.0] == at[4.0]
        assert at[math.sqrt(2)] is not None and at[1.0] is not None
        assert at[math.sqrt(2)][0] > 2 * at[1.0][0]


class TestPower:
    def test_residuals_have_no_effect_left_and_the_scatter_of_the_noise(self) -> None:
        pairs = some("failures", 40, ratio=0.3)
        left = residuals(pairs)
        for cell in range(6):
            known = (pairs.cells == cell) & pairs.survived
            assert left[known].mean() == pytest.approx(0, abs=1e-12)
            sizes = left[known].std(), pairs.log_ratios[known].std(ddof=1)
            assert sizes[0] == pytest.approx(sizes[1])
        np.testing.assert_array_equal(left[~pairs.survived], pairs.log_ratios[~pairs.survived])

    def test_whole_seeds_are_flipped_and_failures_fall_to_either_arm(self) -> None:
        pairs = some("failures", 5)
        sets = with_effect(pairs, 2.0, 64, np.random.default_rng(0))
        assert sets.treated.shape == (32, 30)
        left, alive = residuals(pairs), pairs.survived
        for made in sets.log_ratios:
            for seed in range(5):
                mine = (pairs.seeds == seed) & alive
                same = np.allclose(made[mine] - math.log(2), left[mine])
                assert same or np.allclose(made[mine] - math.log(2), -left[mine])
        dead = sets.log_ratios[:, np.isinf(pairs.log_ratios)]
        assert np.isinf(dead).all()
        assert 0.4 < (dead > 0).mean() < 0.6
        assert (sets.log_ratios[:, pairs.treated_failed & pairs.control_failed] == 0).all()

    def test_the_observed_effect_does_not_count(self) -> None:
        one_way = power_curves([some("unlike cells", 8)], [1.3], np.random.default_rng(0))
        other = some("unlike cells", 8, ratio=0.1)
        assert power_curves([other], [1.3], np.random.default_rng(0)) == one_way

    @pytest.mark.parametrize("law", ["unlike cells", "seeds that matter", "failures"])
    def test_it_foresees_how_often_an_effect_is_seen(self, law: str) -> None:
        """Within .1: forty suites of ten seeds know their scatter to .05, and power is steep."""
        truth = simulate(LAWS[law], 2000, 1, 10, np.random.default_rng(5), ratio=1.3)
        seen = (rank_test(truth).p < RANK_LEVEL).mean()
        family = simulate(LAWS[law], 1, 40, 10, np.random.default_rng(6))
        curves = [
            power_curves([chosen(family, 0, j)], [1.3], np.random.default_rng(j))[0, 0]
            for j in range(40)
        ]
        assert np.mean(curves) == pytest.approx(seen, abs=0.1)
