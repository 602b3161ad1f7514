"""What cohorts of several sizes cost, as measured, and how groups of runs are cut by that."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

START_SECONDS = 0.4
"""What a cohort costs beside its steps: its process, its data, the recording of its updates."""

SPLITS = 256
"""At most so many cohorts are cut smaller for the sake of idle slots."""

WORTH_SPLITTING = 0.9
"""They are where everything is then done in less than this share of the time."""


@dataclass(frozen=True)
class CostCurve:
    """What an update costs cohorts of several sizes, as measured.

    Attributes:
        sizes: Runs of a cohort, ascending from 1.
        seconds: Of one update of either player, for each size.
        peak: Most memory in use, in bytes, for each size.
    """

    sizes: tuple[int, ...]
    seconds: tuple[float, ...]
    peak: tuple[int, ...]

    def at(self, runs: int) -> float:
        """Return the seconds of an update of so many runs, on straight lines between sizes."""
        if len(self.sizes) == 1:
            return self.seconds[0] * runs / self.sizes[0]
        last = next((i for i, size in enumerate(self.sizes) if size >= runs), len(self.sizes) - 1)
        last = max(last, 1)
        (x, y), (x2, y2) = ((self.sizes[i], self.seconds[i]) for i in (last - 1, last))
        return max(y + (y2 - y) * (runs - x) / (x2 - x), min(self.seconds))

    def largest(self, memory: int) -> int:
        """Return how many runs fit into so many bytes; at most twice as many as were measured."""
        most = 2 * self.sizes[-1]
        if len(self.sizes) == 1:
            return most
        each = (self.peak[-1] - self.peak[-2]) / (self.sizes[-1] - self.sizes[-2])
        if each <= 0:
            return most
        more = math.floor((memory - self.peak[-1]) / each)
        return max(1, min(most, self.sizes[-1] + more))


@dataclass(frozen=True)
class Measured:
    """What has been measured of the cohorts to be made, and where they will train.

    Attributes:
        curves: By kind of run, from :func:`workload_of`.
        slots: Processes at once.
        memory: Bytes that each of them may use.
        largest: Most runs of a cohort, if that is settled, whatever was measured.
    """

    curves: Mapping[str, CostCurve]
    slots: int
    memory: int
    largest: int | None = None


@dataclass
class CohortSplit:
    """How a group of runs that could train together is cut into cohorts.

    Attributes:
        runs: How many there are.
        seconds: How long a cohort of so many of them trains.
        pieces: Cohorts, which differ by at most one run in size.
        whole: Whether the number of cohorts is settled.
    """

    runs: int
    seconds: Callable[[int], float]
    pieces: int
    whole: bool = False

    @classmethod
    def fastest(
        cls, runs: int, seconds: Callable[[int], float], curve: CostCurve, memory: int
    ) -> Self:
        """Cut a group so that it is the least work in all, and every cohort fits.

        Args:
            runs: How many there are.
            seconds: How long a cohort of so many trains.
            curve: What was measured.
            memory: Bytes that a cohort may use.
        """
        least = -(-runs // curve.largest(memory))
        cuts = [cls(runs, seconds, pieces) for pieces in range(least, runs + 1)]
        return min(cuts, key=lambda split: sum(split.lasting()))

    def lasting(self) -> list[float]:
        """Return how long each cohort trains, the longest first."""
        size, larger = divmod(self.runs, self.pieces)
        most = [self.seconds(size + 1)] * larger if larger else []
        return [*most, *[self.seconds(size)] * (self.pieces - larger)]


def fill_slots(splits: Sequence[CohortSplit], slots: int) -> None:
    """Cut the longest cohorts smaller where everything is done the sooner for it.

    Args:
        splits: How every group is cut; changed in place.
        slots: Processes at once.
    """
    if not splits:
        return
    lasting = [split.lasting() for split in splits]
    best, kept = end_of(lasting, slots), [split.pieces for split in splits]
    in_vain = 0
    # A cut that gains nothing may do so together with those that follow: of equal groups, say.
    for _ in range(SPLITS):
        longest = max(range(len(splits)), key=lambda number: lasting[number][0])
        split = splits[longest]
        if split.whole or split.pieces == split.runs or in_vain >= slots:
            break
        split.pieces += 1
        lasting[longest] = split.lasting()
        end = end_of(lasting, slots)
        in_vain += 1
        if end < WORTH_SPLITTING * best:
            best, kept, in_vain = end, [split.pieces for split in splits], 0
    for split, pieces in zip(splits, kept, strict=True):
        split.pieces = pieces


def end_of(lasting: Sequence[Sequence[float]], slots: int) -> float:
    """Return when all cohorts are done, the longest begun first."""
    return makespan(sorted((s for each in lasting for s in each), reverse=True), slots)


def makespan(seconds: Sequence[float], slots: int) -> float:
    """Return when the last of some jobs ends if each goes to the slot that is free first."""
    free = [0.0] * slots
    for job in seconds:
        first = free.index(min(free))
        free[first] += job
    return max(free)
