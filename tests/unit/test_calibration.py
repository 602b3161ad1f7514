"""How often a report errs, by simulation: what differs by nothing is seldom praised or blamed.

Simulated suites (``tests/simulated.py``) are judged by the functions that judge real ones, of many
suites at once. Every table that these tests print says what was measured; ``pytest -s`` shows them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from reports.statistics.claims import (
    ERROR,
    FAILURE_LEVEL,
    FAILURE_MARGIN,
    LOOKS,
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
        assert min(found) >= 0.945


def test_effects_are_found() -> None:
    """The other side, since one who never speaks never errs: the first of five tricks, ten seeds."""
    cases = {
        "ratio .67, unlike cells": (LAWS["unlike cells"], 0.67, None, 0.9),
        "ratio .67, independent": (LAWS["independent"], 0.67, None, 0.9),
        "ratio .67, heavy tails": (LAWS["heavy tails"], 0.67, None, 0.5),
        "failures .4 → 0": (Law(failures=0.4), 1.0, 0.0, 0.95),
        "failures .2 → 0": (Law(failures=0.2), 1.0, 0.0, 0.3),
        "failures .03 → .4": (Law(failures=0.03), 1.0, 0.4, 0.9),
    }
    for name, (law, ratio, failures, least) in cases.items():
        seen = {}
        for seeds in (5, 10):
            draw = np.random.default_rng(seeds)
            treated = simulate(law, 1000, 1, seeds, draw, ratio=ratio, failures=failures)
            tests = [
                PairedTest(
                    np.pad(t.p, ((0, 0), (0, 4)), constant_values=1),
                    np.pad(t.lean, ((0, 0), (0, 4))),
                )
                for t in (rank_test(treated), failure_test(treated))
            ]
            ranks, failed = claims(*tests, [seeds] * TRICKS)
            better = ratio < 1 or failures == 0.0
            right = (ranks == (-1 if better else 1)) | (failed == (-1 if better else 1))
            seen[seeds] = right[:, 0].mean()
        print(f"{name:25} found with 5 seeds {seen[5]:.2f}, with 10 {seen[10]:.2f}")
        assert seen[10] >= least


class Stopped:
    """Suites that look at 5, 10, 20 and 40 seeds, each trick until it is decided."""

    def __init__(self, law: Law, suites: int, draw: np.random.Generator, ratio: float) -> None:
        full = simulate(law, suites, TRICKS, LOOKS[-1], draw, ratio=ratio)
        looks = len(LOOKS)
        self.seeds = np.full((suites, TRICKS), LOOKS[-1])
        self.claimed = np.zeros((suites, TRICKS), dtype=bool)
        self.covered = np.zeros((suites, TRICKS), dtype=bool)
        self.naive = np.zeros(suites, dtype=bool)
        self.withdrawn = 0
        open_ = np.ones((suites, TRICKS), dtype=bool)
        past: list[tuple[PairedTest, PairedTest]] = []
        for seeds in LOOKS:
            pairs = first_seeds(full, seeds)
            now = []
            for test, before in zip(
                (rank_test, failure_test), past[-1] if past else (None, None), strict=True
            ):
                found = only(open_, pairs, test)
                now.append(smallest([before, found]) if before is not None else found)
            past.append((now[0], now[1]))
            ranks, failures = claims(now[0], now[1], [seeds] * TRICKS, looks)
            claimed = (ranks != 0) | (failures != 0)
            self.withdrawn += int((self.claimed & ~claimed).sum())
            self.claimed |= claimed
            rows = open_.any(-1)
            ended = claimed.copy()
            some = rows_of(pairs, rows)
            ended[rows] |= alike(some, ERROR / looks)
            if seeds == LOOKS[-1]:
                ended[:] = True
            stops = open_ & ended
            self.seeds[stops] = seeds
            held = np.zeros_like(stops)
            held[rows] = covers(some, ratio, ERROR / looks)
            self.covered[stops] = held[stops]
            open_ &= ~ended


def rows_of(pairs: Pairs, rows: np.ndarray) -> Pairs:
    return chosen(pairs, rows)  # type: ignore[arg-type]


def only(open_: np.ndarray, pairs: Pairs, test: object) -> PairedTest:
    """Test the tricks that are not decided; the others keep what they have: p = 1 here."""
    p, lean = np.ones(open_.shape), np.zeros(open_.shape)
    p[open_], lean[open_] = test(chosen(pairs, open_))  # type: ignore[operator, arg-type]
    return PairedTest(p, lean)
