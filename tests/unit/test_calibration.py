"""How often a report errs, by simulation: what differs by nothing is seldom praised or blamed.

Simulated suites (``tests/simulated.py``) are judged by the functions that judge real ones, of many
suites at once. Every table that these tests print says what was measured; ``pytest -s`` shows them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest

from harness.store.records import LOOKS
from reports.statistics.claims import (
    ERROR,
    FAILURE_LEVEL,
    FAILURE_MARGIN,
    PAIRS_FOR_NO_DIFFERENCE,
    RANK_LEVEL,
    adjusted,
    judge,
    level_for,
    smallest,
)
from reports.statistics.intervals import (
    Interval,
    geometric_interval,
    paired_rate_change,
    t_interval,
    wilson,
)
from reports.statistics.paired import PairedTest, Pairs, failure_test, rank_test
from tests.simulated import LAWS, Law, chosen, first_seeds, simulate

TRICKS = 5
MARGIN = 1.5

pytestmark = pytest.mark.slow


def claims(
    ranks: PairedTest, failures: PairedTest, seeds: Sequence[int] | np.ndarray, looks: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return −1, 0 or 1 for better, none and worse, by ranks and by failures, ``(…, tricks)``."""
    by_rank = adjusted(looks * ranks.p, seeds, RANK_LEVEL) < RANK_LEVEL
    by_failure = adjusted(looks * failures.p, seeds, FAILURE_LEVEL) < FAILURE_LEVEL
    return by_rank * np.sign(ranks.lean), by_failure * np.sign(failures.lean)


def one_look(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    seeds = [pairs.seed_count] * pairs.treated.shape[-2]
    return claims(rank_test(pairs), failure_test(pairs), seeds)


def alike(pairs: Pairs, error: float) -> np.ndarray:
    """Say where no difference is shown: two one-sided tests at the margin, and Newcombe's."""
    level, reach = level_for(pairs.seed_count, 2 * error), math.log(MARGIN)
    below, above = (rank_test(pairs.divided_by(end)) for end in (reach, -reach))
    inside = (below.p < level) & (below.lean < 0) & (above.p < level) & (above.lean > 0)
    if pairs.count < PAIRS_FOR_NO_DIFFERENCE:
        return np.zeros_like(inside)
    for index in np.argwhere(inside):
        first, second = (
            failed[tuple(index)].tolist() for failed in (pairs.treated_failed, pairs.control_failed)
        )
        _, change = paired_rate_change(first, second, 1 - 2 * error) or (0, Interval(-1, 1))
        inside[tuple(index)] = max(-change.low, change.high) <= FAILURE_MARGIN
    return inside


def covers(pairs: Pairs, ratio: float, error: float) -> np.ndarray:
    """Say where the interval holds a ratio: where the test does not reject it."""
    level = level_for(pairs.seed_count, error)
    return rank_test(pairs.divided_by(math.log(ratio))).p >= level


def test_what_is_judged_here_is_what_reports_judge() -> None:
    """The same suites by :func:`judge`, one by one: the same claims, and the same coverage."""
    for seeds, law, ratio in ((5, "unlike cells", 0.5), (11, "seeds that fail", 0.6)):
        pairs = simulate(LAWS[law], 6, 3, seeds, np.random.default_rng(2), ratio=ratio)
        ranks, failures = one_look(pairs)
        no_difference, held = alike(pairs, ERROR), covers(pairs, ratio, ERROR)
        for suite in range(6):
            family = [[chosen(pairs, suite, trick)] for trick in range(3)]
            for trick, found in enumerate(judge(family, MARGIN)):
                where = suite, trick
                assert found.rank_claim == ranks[where]
                assert found.failure_claim == failures[where]
                assert found.within_margin == no_difference[where]
                assert found.interval is not None
                assert (found.interval.low <= ratio <= found.interval.high) == held[where]


@pytest.mark.parametrize("seeds", [5, 7, 10, 20])
def test_what_differs_by_nothing_is_seldom_praised_or_blamed(seeds: int) -> None:
    """Any claim of any of five tricks, over 2,000 suites: a share of .05 has an error of .005.

    The one law above .05 is that of nothing but seeds, below ten of them: whole seeds are too few
    to be flipped, and Student's test of so few ranks errs.
    """
    suites = 2000 if seeds <= 10 else 600
    for name, law in LAWS.items():
        pairs = simulate(law, suites, TRICKS, seeds, np.random.default_rng([seeds, 1]))
        ranks, failures = one_look(pairs)
        any_claim = ((ranks != 0) | (failures != 0)).any(-1).mean()
        praise = ((ranks < 0) | (failures < 0)).any(-1).mean()
        print(f"{seeds:3} seeds, {name:21} any claim {any_claim:.3f}  praise {praise:.3f}")
        limit = 0.1 if name == "nothing but the seed" and seeds == 7 else 0.05
        assert any_claim <= limit + 2.5 * math.sqrt(0.05 * 0.95 / suites)


@pytest.mark.parametrize("seeds", [5, 7, 10])
def test_intervals_of_the_ratio_cover(seeds: int) -> None:
    for name, law in LAWS.items():
        found = []
        for ratio in (1.0, 0.5):
            pairs = simulate(law, 4000, 1, seeds, np.random.default_rng([seeds, 2]), ratio=ratio)
            found.append(covers(pairs, ratio, ERROR).mean())
        print(f"{seeds:3} seeds, {name:21} covered {found[0]:.3f}, at × .5 {found[1]:.3f}")
        assert found[0] == pytest.approx(found[1], abs=0.001)
        # A share of .95 of 4,000 has an error of .0034; Student's test of seven ranks errs more.
        few = name == "nothing but the seed" and seeds == 7
        assert min(found) >= (0.93 if few else 0.94)


def beside_others(test: PairedTest) -> PairedTest:
    """Put four tricks of which nothing is seen beside one."""
    others = (len(test.p), TRICKS - 1)
    return PairedTest(np.c_[test.p, np.ones(others)], np.c_[test.lean, np.zeros(others)])


def test_effects_are_found() -> None:
    """The other side, since one who never speaks never errs: one of five tricks, ten seeds."""
    cases = {
        "ratio .67, unlike cells": (LAWS["unlike cells"], 0.67, None, 0.9),
        "ratio .67, independent": (LAWS["independent"], 0.67, None, 0.9),
        "ratio .67, heavy tails": (LAWS["heavy tails"], 0.67, None, 0.5),
        "failures .4 → 0": (Law(failures=0.4), 1.0, 0.0, 0.95),
        "failures .2 → 0": (Law(failures=0.2), 1.0, 0.0, 0.3),
        "failures .03 → .4": (Law(failures=0.03), 1.0, 0.4, 0.8),
    }
    for name, (law, ratio, failures, least) in cases.items():
        seen = {}
        for seeds in (5, 10):
            draw = np.random.default_rng(seeds)
            treated = simulate(law, 1000, 1, seeds, draw, ratio=ratio, failures=failures)
            ranks, failed = claims(
                beside_others(rank_test(treated)),
                beside_others(failure_test(treated)),
                [seeds] * TRICKS,
            )
            better = ratio < 1 or failures == 0.0
            right = (ranks == (-1 if better else 1)) | (failed == (-1 if better else 1))
            seen[seeds] = right[:, 0].mean()
        print(f"{name:25} found with 5 seeds {seen[5]:.2f}, with 10 {seen[10]:.2f}")
        assert seen[10] >= least


def test_no_difference_is_seldom_shown_of_one_at_the_margin() -> None:
    """Two one-sided tests at .05 each: at either margin one of them errs; at 1 they may pass."""
    for name, law in LAWS.items():
        shares = []
        for ratio in (MARGIN, 1.0):
            pairs = simulate(law, 2000, 1, 10, np.random.default_rng(8), ratio=ratio)
            shares.append(alike(pairs, ERROR).mean())
        print(f"10 seeds, {name:21} no difference at × 1.5 {shares[0]:.3f}, at × 1 {shares[1]:.2f}")
        assert shares[0] <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / 2000)
        assert shares[1] > 0.9 or name not in ("independent", "unlike cells", "skewed")


class Stopped(NamedTuple):
    """Suites that look at 5, 10, 20 and 40 seeds, each trick until it is decided.

    Attributes:
        seeds: At which each trick stopped, ``(suites, tricks)``.
        claimed: Whether anything was claimed of it, at any look.
        covered: Whether its interval held the true ratio when it stopped.
        withdrawn: Claims that a later look took back.
    """

    seeds: np.ndarray
    claimed: np.ndarray
    covered: np.ndarray
    withdrawn: int


def stopped(law: Law, suites: int, draw: np.random.Generator, ratio: float = 1.0) -> Stopped:
    full = simulate(law, suites, TRICKS, LOOKS[-1], draw, ratio=ratio)
    error, shape = ERROR / len(LOOKS), (suites, TRICKS)
    going = np.ones(shape, dtype=bool)
    seeds, covered = np.zeros(shape), np.zeros(shape, dtype=bool)
    claimed, withdrawn = np.zeros(shape, dtype=bool), 0
    kept = [PairedTest(np.ones(shape), np.zeros(shape))] * 2
    for look in LOOKS:
        pairs = chosen(first_seeds(full, look), going)
        for i, test in enumerate((rank_test, failure_test)):
            now = PairedTest(np.ones(shape), np.zeros(shape))
            now.p[going], now.lean[going] = test(pairs)
            kept[i] = smallest([kept[i], now])
        ranks, failures = claims(*kept, [look] * TRICKS, len(LOOKS))
        claim = (ranks != 0) | (failures != 0)
        withdrawn += int((claimed & ~claim).sum())
        claimed |= claim
        ends = claim[going] | alike(pairs, error) | (look == LOOKS[-1])
        ending = going.copy()
        ending[going] = ends
        seeds[ending] = look
        covered[ending] = covers(pairs, ratio, error)[ends]
        going &= ~ending
    return Stopped(seeds, claimed, covered, withdrawn)


STOPPING = {
    "independent": 300, "heavy tails": 300, "unlike cells": 300, "seeds that matter": 300,
    "nothing but the seed": 300, "failures": 100, "seeds that fail": 100,
}  # fmt: skip
"""Suites of each law: where runs fail, few tricks are decided before the last look."""


@pytest.mark.parametrize("law", STOPPING)
def test_suites_that_look_until_they_are_decided_err_no_more(law: str) -> None:
    """Any claim at any of four looks; the intervals where each trick stopped."""
    found = stopped(LAWS[law], STOPPING[law], np.random.default_rng([3, *law.encode()]))
    share = found.claimed.any(-1).mean()
    print(
        f"{law:21} any claim {share:.3f}, covered at stopping {found.covered.mean():.3f}, "
        f"mean seeds {found.seeds.mean():.1f}"
    )
    assert found.withdrawn == 0
    assert share <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / STOPPING[law])
    assert found.covered.mean() >= 0.965


@pytest.mark.parametrize("ratio", [1.5, 3.0])
@pytest.mark.parametrize("law", ["independent", "unlike cells", "seeds that matter"])
def test_decisions_come_early_where_effects_are_large(law: str, ratio: float) -> None:
    found = stopped(LAWS[law], 60, np.random.default_rng(4), ratio)
    print(
        f"{law:21} × {ratio}: mean seeds {found.seeds.mean():.1f} of 40, "
        f"claimed {found.claimed.mean():.2f}, covered at stopping {found.covered.mean():.3f}"
    )
    assert found.seeds.mean() <= {1.5: 20, 3.0: 10}[ratio]
    assert found.covered.mean() >= 0.965


def test_looking_without_paying_for_it_would_be_seen() -> None:
    """The same suites, each look judged as if it were the only one."""
    full = simulate(LAWS["seeds that matter"], 400, TRICKS, 20, np.random.default_rng(6))
    naive = np.zeros(400, dtype=bool)
    for look in (5, 8, 11, 14, 17, 20):
        ranks, failures = one_look(first_seeds(full, look))
        naive |= ((ranks != 0) | (failures != 0)).any(-1)
    print(f"six looks for the price of one: any claim {naive.mean():.3f}")
    assert naive.mean() > 0.08


def coverage(intervals: Sequence[Interval | None], truth: float) -> float:
    return float(np.mean([i is not None and i.low <= truth <= i.high for i in intervals]))


@pytest.mark.parametrize("n", [5, 10, 30])
def test_intervals_of_a_mean_distance_cover(n: int) -> None:
    draw = np.random.default_rng(n)
    intervals = [geometric_interval(np.exp(draw.normal(1, 0.5, n))) for _ in range(20_000)]
    assert coverage(intervals, math.exp(1)) == pytest.approx(0.95, abs=0.006)


@pytest.mark.parametrize("n", [10, 30, 60])
@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5])
def test_intervals_of_a_failure_rate_cover_on_average(n: int, rate: float) -> None:
    """Counts are discrete, so that coverage swings with rate and n; Wilson's stays near."""
    draw = np.random.default_rng([n, int(100 * rate)])
    counts = draw.binomial(n, rate, 4000)
    assert 0.91 <= coverage([wilson(int(k), n) for k in counts], rate) <= 0.99


@pytest.mark.parametrize("n", [25, 55])
def test_intervals_of_a_change_in_failures_cover(n: int) -> None:
    draw = np.random.default_rng(n)
    intervals = []
    for _ in range(3000):
        first, second = draw.random(n) < 0.3, draw.random(n) < 0.15
        change = paired_rate_change(first.tolist(), second.tolist())
        intervals.append(change[1] if change else None)
    assert 0.93 <= coverage(intervals, 0.15) <= 0.98


def test_too_narrow_an_interval_would_be_seen() -> None:
    draw = np.random.default_rng(3)
    narrow = [t_interval(draw.normal(0, 1, 5), level=0.9) for _ in range(20_000)]
    assert coverage(narrow, 0.0) == pytest.approx(0.9, abs=0.01)
