"""What pairs of runs, with a trick and without, say of it: two tests, and an interval of the ratio.

Pairs come in cells (data set and variant), which scatter unlike, and in seeds, which may move all
their cells alike. Both are met here:

* **Scaled.** The log-ratios of a cell are divided by the median size of its finite ones, so that
  each cell has the same say. A pair of which one run failed is infinite, one of which both failed
  is zero.
* **Tested more than once.** The signed ranks of the scaled pairs, and apart from them the changes
  in failure, are summed. Exact sign flips of pairs assume no law, but take the pairs of a seed as
  independent; a test of the sums of seeds does not. The larger p counts.
* **Inverted.** The interval of the ratio holds what these tests do not reject after it was divided
  out of the pairs that survived. So failures count in it, it agrees with the test, and it may be
  unbounded on a side.

Source: Wilcoxon, Biometrics Bulletin 1 (1945) 80; McNemar, Psychometrika 12 (1947) 153; Hodges and
Lehmann, Annals of Mathematical Statistics 34 (1963) 598 (estimates and intervals by inversion).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reports.statistics.intervals import LEVEL, Interval, t_p
from reports.statistics.ranks import sign_flip_p, signed_ranks

SEEDS_FOR_FLIPS = 10
"""Seeds from which on whole seeds are flipped; fewer have too few flips to claim anything by."""
CELLS_FOR_STUDENT = 5
FAR = 1e4
"""Spans of the log-ratios from their middle at which the search for an interval's ends stops."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Runs with a trick, each with the run of the same cell and seed without it.

    Attributes:
        cells: Number of the cell of each pair, ``(pairs,)``.
        seeds: Number of the seed of each pair, ``(pairs,)``.
        treated: Log of the primary metric with the trick, smaller being better, ``(…, pairs)``; +∞
            for a run that failed or has no value. Leading axes are other sets of pairs of the same
            cells and seeds, such as simulated ones.
        control: The same without the trick.
        treated_failed: Whether the run with the trick failed, ``(…, pairs)``.
        control_failed: Whether the run without failed.
    """

    cells: NDArray[np.int64]
    seeds: NDArray[np.int64]
    treated: Numbers
    control: Numbers
    treated_failed: NDArray[np.bool_]
    control_failed: NDArray[np.bool_]

    @property
    def count(self) -> int:
        """How many pairs there are."""
        return len(self.seeds)

    @cached_property
    def seed_count(self) -> int:
        """How many seeds have a pair."""
        return len(np.unique(self.seeds))

    @cached_property
    def survived(self) -> NDArray[np.bool_]:
        """Where both runs have a value, so that there is a ratio."""
        return np.isfinite(self.treated) & np.isfinite(self.control)

    @cached_property
    def log_ratios(self) -> Numbers:
        """With over without; ±∞ where one run has no value, 0 where neither has."""
        with np.errstate(invalid="ignore"):
            return np.where(self.treated == self.control, 0.0, self.treated - self.control)

    @cached_property
    def changes(self) -> Numbers:
        """1 where only the run with the trick failed, −1 where only the other did, else 0."""
        changes: Numbers = self.treated_failed.astype(float) - self.control_failed.astype(float)
        return changes

    def divided_by(self, log_ratio: ArrayLike) -> Pairs:
        """Divide a ratio out of the pairs that survived; failures stay as they are.

        Args:
            log_ratio: One, or ``(…, 1)`` to make sets of pairs of one.
        """
        return replace(self, treated=self.treated - np.where(self.survived, log_ratio, 0.0))


class PairedTest(NamedTuple):
    """A two-sided test, of one set of pairs or of many.

    Attributes:
        p: ``(…)``.
        lean: Negative where the trick does better, ``(…)``.
    """

    p: Numbers
    lean: Numbers


def scaled(log_ratios: ArrayLike, cells: ArrayLike, survived: ArrayLike) -> Numbers:
    """Divide the log-ratios of a cell by the median size of those of which both runs survived.

    Where that median is zero, because most ratios are exactly 1, the median of the others takes its
    place: the one would make infinite what is merely unlike. A cell without any other is left as
    it is, being zero and infinite only.

    Args:
        log_ratios: ``(…, pairs)``; ±∞ for failures.
        cells: ``(pairs,)``.
        survived: ``(…, pairs)``.
    """
    x = np.asarray(log_ratios, dtype=float)
    known = np.broadcast_to(np.asarray(survived, dtype=bool), x.shape)
    sizes = np.where(known, np.abs(x), np.nan)
    _, cell, counts = np.unique(np.asarray(cells), return_inverse=True, return_counts=True)
    if not len(counts):
        return x
    # Each cell is a row, filled up with NaN, so that one sort serves them all.
    order = np.argsort(cell, kind="stable")
    column = np.arange(len(cell)) - np.repeat(np.cumsum(counts) - counts, counts)
    rows = np.full((*x.shape[:-1], len(counts), counts.max()), np.nan)
    rows[..., cell[order], column] = sizes[..., order]
    scale = _median(rows)
    if (scale == 0).any():
        scale = np.where(scale == 0, _median(np.where(rows == 0, np.nan, rows)), scale)
    divisors: Numbers = np.where(scale > 0, scale, 1.0)[..., cell]
    return x / divisors


def _median(values: Numbers) -> Numbers:
    """Return the median of what is not NaN along the last axis; NaN where nothing is."""
    ordered = np.sort(values, axis=-1)  # NaN last
    count = (~np.isnan(ordered)).sum(-1, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, -1)
    high = np.take_along_axis(ordered, np.minimum(count // 2, values.shape[-1] - 1), -1)
    return np.where(count > 0, (low + high) / 2, np.nan)[..., 0]


def sums_by(values: Numbers, groups: NDArray[np.int64]) -> Numbers:
    """Add up values ``(…, pairs)`` within groups ``(pairs,)``; return ``(…, groups)``."""
    _, place = np.unique(groups, return_inverse=True)
    members = np.zeros((len(groups), int(place.max(initial=-1)) + 1))
    members[np.arange(len(groups)), place] = 1.0
    sums: Numbers = values @ members
    return sums


def paired_test(scores: Numbers, pairs: Pairs, *, over_cells: bool = False) -> PairedTest:
    """Test whether the sum of some scores of pairs is zero.

    p is the largest of: exact sign flips of the pairs; :func:`seeds_p` of the sums of seeds; and,
    where asked, Student's of the sums of cells.

    Args:
        scores: ``(…, pairs)``, multiples of one half.
        pairs: Their cells and seeds.
        over_cells: Whether cells are a sample too, as they are where each was tuned by itself; p is
            1 with fewer than five.
    """
    p = sign_flip_p(scores)
    seeds = sums_by(scores, pairs.seeds)
    p = np.maximum(p, seeds_p(seeds))
    if over_cells:
        cells = sums_by(scores, pairs.cells)
        p = np.maximum(p, t_p(cells) if cells.shape[-1] >= CELLS_FOR_STUDENT else 1.0)
    return PairedTest(p, scores.sum(-1))


def seeds_p(sums: Numbers) -> Numbers:
    """Return the p-value of the sums of seeds ``(…, seeds)``, two-sided.

    Below :data:`SEEDS_FOR_FLIPS` seeds it is Student's. From there on whole seeds are flipped,
    which is exact even where a seed moves all its cells alike; Student's test errs there (families
    of five: .08 at seven seeds, .06 at ten). When all seeds lean one way, no flip is as extreme,
    so that flips say no more than 2 · 2⁻ⁿ, too much for a large family: Student's p counts then,
    if it is smaller.
    """
    student = t_p(sums)
    if sums.shape[-1] < SEEDS_FOR_FLIPS:
        return student
    flips = sign_flip_p(sums)
    one_way = np.abs(sums.sum(-1)) == np.abs(sums).sum(-1)
    return np.where(one_way, np.minimum(flips, student), flips)


def rank_test(pairs: Pairs, *, over_cells: bool = False) -> PairedTest:
    """Test the signed ranks of all pairs, failures ranked worst."""
    scores = signed_ranks(scaled(pairs.log_ratios, pairs.cells, pairs.survived))
    return paired_test(scores, pairs, over_cells=over_cells)


def failure_test(pairs: Pairs, *, over_cells: bool = False) -> PairedTest:
    """Test whether as many runs fail with the trick as without."""
    return paired_test(pairs.changes, pairs, over_cells=over_cells)


def log_ratio_estimate(pairs: Pairs) -> float | None:
    """Return the log-ratio at which neither arm ranks better when it is divided out.

    Failures count, as in :func:`log_ratio_interval`, whose middle this is: ±∞ where they alone
    decide, None where no pair survived.

    Source: Hodges and Lehmann 1963.
    """

    def side(log_ratios: Numbers) -> Numbers:
        moved = pairs.divided_by(log_ratios[:, None])
        scores = signed_ranks(scaled(moved.log_ratios, moved.cells, moved.survived))
        signs: Numbers = np.sign(scores.sum(-1))
        return signs

    ends = _ends(pairs, side)
    if ends is None:
        return None
    return ends.low if ends.low == ends.high else (ends.low + ends.high) / 2


def log_ratio_interval(
    pairs: Pairs, level: float = LEVEL, *, over_cells: bool = False
) -> Interval | None:
    """Return all log-ratios that :func:`rank_test` does not reject when they are divided out.

    An end is ±∞ where no ratio on that side is rejected. Both are −∞ where even the smallest ratio
    is rejected as too large, and +∞ likewise: failures alone decide then. The test is only nearly
    monotone, so that the interval may hold a ratio that is rejected. Ends are searched from
    without: those beyond them pass the test only in gaps narrower than the search's steps, a tenth
    of the span of the log-ratios.

    Args:
        pairs: One set.
        level: Confidence.
        over_cells: As in :func:`paired_test`.

    Returns:
        None where no pair survived.
    """

    def side(log_ratios: Numbers) -> Numbers:
        test = rank_test(pairs.divided_by(log_ratios[:, None]), over_cells=over_cells)
        return np.where(test.p < 1 - level, np.sign(test.lean), 0.0)

    return _ends(pairs, side)


def _ends(pairs: Pairs, side: Callable[[Numbers], Numbers]) -> Interval | None:
    """Find the log-ratios that pass, from without; None where no pair survived.

    Args:
        pairs: One set.
        side: Of log-ratios, 1 for those that are too small, −1 for those that are too large.
    """
    finite = pairs.log_ratios[pairs.survived]
    if not finite.size:
        return None
    middle = float(np.median(finite))
    span = float(np.abs(finite - middle).max()) or max(abs(middle), 1.0)
    near, far = np.linspace(0.1, 1.2, 12), np.geomspace(1.5, FAR, 10)
    offsets = span * np.concatenate([near, far])
    grid = middle + np.concatenate([-offsets[::-1], [0.0], offsets])
    sides = side(grid)
    return Interval(
        -_last(-grid[::-1], -sides[::-1], lambda x: -side(-x)), _last(grid, sides, side)
    )


def _last(
    grid: Numbers, sides: Numbers, side: Callable[[Numbers], Numbers], rounds: int = 6
) -> float:
    """Find the largest number that is not rejected as too large, between ascending ones."""
    for _ in range(rounds):
        passed = np.flatnonzero(sides >= 0)
        if not passed.size:
            return -math.inf
        if passed[-1] == len(grid) - 1:
            return math.inf
        grid = np.linspace(grid[passed[-1]], grid[passed[-1] + 1], 6)
        sides = side(grid)
    return float(grid[np.flatnonzero(sides >= 0)[-1]])
