"""What may be claimed of tricks: verdicts, over one look at the results or over several.

* **Two tests, one error.** Signed ranks are tested at .04 and failures at .01 (``paired``), each
  adjusted by Holm over all tricks of a suite, so that a suite without any effect praises or blames
  something once in twenty times.
* **Few seeds.** No level above .0125 is used below seven seeds: five seeds lean one way once in
  sixteen times, and Student's test of their signed ranks would say .0133. Below five, nothing is
  claimed.
* **No difference** is shown, not concluded from silence: the interval of twice the error lies
  within the margin that the suite calls negligible (two one-sided tests), and the change in
  failures within ten points, by at least 25 pairs. Each trick is asked for itself.
* **Several looks.** Each p is multiplied by the number of planned looks, its smallest value so far
  is kept, and Holm is taken over tricks; so a claim, once made, is never withdrawn. Intervals have
  the error of one look.

Source: Holm, Scandinavian Journal of Statistics 6 (1979) 65; Schuirmann, Journal of
Pharmacokinetics and Biopharmaceutics 15 (1987) 657 (two one-sided tests); Newcombe, Statistics in
Medicine 17 (1998) 2635. How often all this errs is simulated in the calibration tests.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from harness.store.records import SEEDS_FOR_A_CLAIM
from reports.statistics.intervals import Interval, paired_rate_change
from reports.statistics.paired import (
    Numbers,
    PairedTest,
    Pairs,
    failure_test,
    log_ratio_interval,
    rank_test,
)
from reports.statistics.ranks import holm

Verdict = Literal[
    "helps",
    "hurts",
    "fewer failures",
    "more failures",
    "no difference",
    "no evidence",
    "screening",
]
ERROR = 0.05
"""Chance that a suite claims anything where nothing differs."""
RANK_LEVEL, FAILURE_LEVEL = 0.04, 0.01
"""How the two tests share it."""
SEEDS_FOR_ANY_LEVEL, FEW_SEEDS_LEVEL = 7, 0.0125
"""Below so many seeds, no larger level is used."""
FAILURE_MARGIN = 0.10
"""Change of the failure rate that is negligible."""
PAIRS_FOR_NO_DIFFERENCE = 25
POWER = 0.8
"""Chance of a decision that a number of seeds is planned for."""
MOST_SEEDS = 10_000


def level_for(seeds: int, level: float) -> float:
    """Return the level of a test that so many seeds allow."""
    return min(level, FEW_SEEDS_LEVEL) if seeds < SEEDS_FOR_ANY_LEVEL else level


def adjusted(p: ArrayLike, seeds: ArrayLike, level: float) -> Numbers:
    """Adjust the p-values of a family: by Holm, and so that few seeds meet their lower level.

    Args:
        p: ``(…, tricks)``, already multiplied by the number of looks, if there are several.
        seeds: Of each trick, ``(tricks,)``.
        level: What the result is compared with.

    Returns:
        ``(…, tricks)``; a claim is what is below ``level``.
    """
    allowed = [level_for(int(count), level) for count in np.atleast_1d(seeds)]
    raised: Numbers = np.asarray(p, dtype=float) * (level / np.array(allowed))
    return np.minimum(1.0, np.maximum(holm(p), raised))


@dataclass(frozen=True)
class Judgement:
    """What may be said of one trick, beside the others of its family.

    Attributes:
        seeds: Seeds at the last look.
        pairs: Pairs at the last look.
        p: Of the signed ranks, adjusted.
        lean: Negative where runs with the trick rank better, at the look that gave p.
        failure_p: Of the change in failures, adjusted.
        failure_lean: Negative where fewer runs fail with the trick.
        interval: Of the ratio, with over without, by all pairs, failures included; an end may be 0
            or ∞. None where no pair survived.
        confidence: Of the interval, at least.
        narrow: The same at twice the error, by which no difference is shown.
        failure_change: Newcombe's interval of the change in the failure rate, at twice the error.
        margin: Ratio, above 1, within which a change is negligible.
        tests: Looks times tricks that are not decided by the tests: what the level of the next test
            is divided by.
        single_p: Of the signed ranks, times the looks, but not adjusted over the family.
        single_failure_p: Of the change in failures, likewise.
    """

    seeds: int
    pairs: int
    p: float
    lean: float
    failure_p: float
    failure_lean: float
    interval: Interval | None
    confidence: float
    narrow: Interval | None
    failure_change: Interval | None
    margin: float
    tests: int
    single_p: float
    single_failure_p: float

    @property
    def rank_claim(self) -> int:
        """−1 for the claim of a better rank, 1 of a worse one, 0 for none."""
        return _side(self.p, self.lean, RANK_LEVEL, self.seeds)

    @property
    def failure_claim(self) -> int:
        """−1 for the claim that fewer runs fail, 1 that more do, 0 for none."""
        return _side(self.failure_p, self.failure_lean, FAILURE_LEVEL, self.seeds)

    @property
    def smallest_margin(self) -> float:
        """The smallest margin within which the ratio is shown to lie; ∞ where there is none."""
        if self.narrow is None:
            return math.inf
        low = 1 / self.narrow.low if self.narrow.low > 0 else math.inf
        return max(low, self.narrow.high)

    @property
    def failures_alike(self) -> bool:
        """Whether the change in failures is shown to be negligible."""
        change = self.failure_change
        return (
            self.pairs >= PAIRS_FOR_NO_DIFFERENCE
            and change is not None
            and max(-change.low, change.high) <= FAILURE_MARGIN
        )

    @property
    def within_margin(self) -> bool:
        """Whether both ratio and failures are shown to differ negligibly, if at all."""
        return self.smallest_margin <= self.margin and self.failures_alike

    @property
    def verdict(self) -> Verdict:
        """What may be claimed: of two claims that disagree, the worse."""
        if self.seeds < SEEDS_FOR_A_CLAIM:
            return "screening"
        if self.rank_claim > 0:
            return "hurts"
        if self.failure_claim > 0:
            return "more failures"
        if self.rank_claim < 0:
            return "helps"
        if self.failure_claim < 0:
            return "fewer failures"
        return "no difference" if self.within_margin else "no evidence"

    @property
    def decided(self) -> bool:
        """Whether more seeds are not needed."""
        return self.verdict not in ("no evidence", "screening")

    @property
    def seeds_to_decide(self) -> tuple[int, int] | None:
        """How many seeds would decide: by the spread as observed, and by its 80 % upper limit.

        The spread is what Student's interval of as many seeds would need to be as wide as this one,
        which so counts failures. The effect to be seen is the margin; or, where that asks for less,
        what lies between the middle of the interval and the further of 1 and the margin. None where
        the interval is unbounded.
        """
        if self.interval is None or not 0 < self.interval.low < self.interval.high < math.inf:
            return None
        low, high = math.log(self.interval.low), math.log(self.interval.high)
        reach = math.log(self.margin)
        middle = abs(low + high) / 2
        distance = min(reach, max(middle, reach - middle))
        quantile = float(special.stdtrit(self.seeds - 1, (1 + self.confidence) / 2))
        spread = (high - low) / 2 * math.sqrt(self.seeds) / quantile
        level = RANK_LEVEL / self.tests
        least, most = (
            max(self.seeds + 1, seeds_to_see(distance, deviation, level))
            for deviation in (spread, spread * spread_limit(self.seeds))
        )
        return least, most


def _side(p: float, lean: float, level: float, seeds: int) -> int:
    return int(np.sign(lean)) if p < level and seeds >= SEEDS_FOR_A_CLAIM else 0


def spread_limit(seeds: int, confidence: float = 0.8) -> float:
    """Return what an observed standard deviation is multiplied by to be its upper limit.

    1.56 for 5 seeds, 1.29 for 10 and 1.18 for 20: (n − 1)s²/σ² follows χ² with n − 1 degrees.
    """
    return math.sqrt((seeds - 1) / float(stats.chi2.ppf(1 - confidence, seeds - 1)))


def power_of_student(seeds: int, distance: float, spread: float, level: float) -> float:
    """Return the chance that Student's two-sided test of so many seeds sees a mean, its sign too.

    Args:
        seeds: At least two.
        distance: The mean, above zero.
        spread: The standard deviation between seeds, above zero.
        level: Of the test; few seeds lower it, see :func:`level_for`.

    Source: the noncentral t distribution, for example Lehmann and Romano 2005, §5.3.
    """
    degrees, shift = seeds - 1, distance / spread * math.sqrt(seeds)
    limit = float(special.stdtrit(degrees, 1 - level_for(seeds, level) / 2))
    return 1.0 - float(special.nctdtr(degrees, shift, limit))


def seeds_to_see(distance: float, spread: float, level: float, power: float = POWER) -> int:
    """Return the least seeds from which on Student's test sees a mean with some power.

    At least :data:`SEEDS_FOR_A_CLAIM`, at most :data:`MOST_SEEDS`, where the search ends.
    """
    if spread == 0:
        return SEEDS_FOR_A_CLAIM
    low, high = SEEDS_FOR_A_CLAIM - 1, SEEDS_FOR_A_CLAIM
    while high < MOST_SEEDS and power_of_student(high, distance, spread, level) < power:
        low, high = high, min(2 * high, MOST_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        if power_of_student(middle, distance, spread, level) >= power:
            high = middle
        else:
            low = middle
    return high


def ratio_interval(pairs: Pairs, confidence: float, *, over_cells: bool = False) -> Interval | None:
    """Return the interval of a ratio that the test of ranks inverts to.

    Fewer than seven seeds have at least 98.75 % instead, see :data:`FEW_SEEDS_LEVEL`.

    Returns:
        Ends from 0 to ∞, both included; None where no pair survived.
    """
    level = 1 - level_for(pairs.seed_count, 1 - confidence)
    interval = log_ratio_interval(pairs, level, over_cells=over_cells)
    if interval is None:
        return None
    with np.errstate(over="ignore"):
        return Interval(*(float(end) for end in np.exp(interval)))


def smallest(tests: Iterable[PairedTest]) -> PairedTest:
    """Return the smallest p-value of several looks, and where it leans; of all sets at once."""
    p, lean = (np.stack(values) for values in zip(*tests, strict=True))
    look = np.argmin(p, axis=0)[None]
    return PairedTest(np.take_along_axis(p, look, 0)[0], np.take_along_axis(lean, look, 0)[0])


def judge(
    family: Sequence[Sequence[Pairs]],
    margin: float,
    *,
    looks: int = 1,
    over_cells: bool = False,
) -> list[Judgement]:
    """Judge the tricks of a suite beside each other.

    Args:
        family: For every trick its pairs up to each look so far, all of them each time, the last
            look last. A trick that was decided keeps the looks that it had.
        margin: Ratio above 1 within which a change is negligible.
        looks: How many are planned, from before the first run.
        over_cells: Whether a claim also needs Student's test over at least five cells, as of rates
            that were tuned cell by cell: luck of tuning is shared by all seeds.
    """
    ranks = [smallest(rank_test(p, over_cells=over_cells) for p in past) for past in family]
    failed = [smallest(failure_test(p, over_cells=over_cells) for p in past) for past in family]
    seeds = [past[-1].seed_count for past in family]
    single, single_failure = ([looks * test.p for test in tests] for tests in (ranks, failed))
    p = adjusted(single, seeds, RANK_LEVEL)
    failure_p = adjusted(single_failure, seeds, FAILURE_LEVEL)
    undecided = max(1, int((p >= RANK_LEVEL).sum()))
    judgements = []
    for i, past in enumerate(family):
        last, error = past[-1], ERROR / looks
        change = paired_rate_change(
            last.treated_failed.tolist(), last.control_failed.tolist(), 1 - 2 * error
        )
        judgements.append(
            Judgement(
                seeds=seeds[i],
                pairs=last.count,
                p=float(p[i]),
                lean=float(ranks[i].lean),
                failure_p=float(failure_p[i]),
                failure_lean=float(failed[i].lean),
                interval=ratio_interval(last, 1 - error, over_cells=over_cells),
                confidence=1 - level_for(seeds[i], error),
                narrow=ratio_interval(last, 1 - 2 * error, over_cells=over_cells),
                failure_change=change[1] if change else None,
                margin=margin,
                tests=looks * undecided,
                single_p=min(1.0, float(single[i])),
                single_failure_p=min(1.0, float(single_failure[i])),
            )
        )
    return judgements
