"""What cohorts cost by their size, and how groups of runs are cut by that."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heapreplace
from itertools import chain
from typing import Annotated

from pydantic import Field

START_SECONDS = 0.4
"""What a cohort costs beside its steps: its process, its data, the recording of its updates."""

SPLITS = 256
"""At most so many cohorts are cut smaller for the sake of idle slots."""

WORTH_SPLITTING = 0.9
"""They are where everything is then done in less than this share of the time."""


@dataclass(frozen=True)
class CostModel:
    """What cohorts of some runs cost that could all train together.

    Attributes:
        sizes: Runs of a cohort, at least two sizes, ascending from 1.
        costs: Seconds that it trains, for each size.
        most: Runs that it has at most.
        settled: Whether as many as may be train together, whatever that costs.
    """

    sizes: tuple[int, ...]
    costs: tuple[float, ...]
    most: int
    settled: bool = False

    def seconds(self, runs: int) -> float:
        """Return how long a cohort of so many runs trains, on straight lines between sizes."""
        last = next((i for i, size in enumerate(self.sizes) if size >= runs), len(self.sizes) - 1)
        last = max(last, 1)
        (x, y), (x2, y2) = ((self.sizes[i], self.costs[i]) for i in (last - 1, last))
        return max(y + (y2 - y) * (runs - x) / (x2 - x), min(self.costs))

    def lasting(self, runs: int, pieces: int) -> list[float]:
        """Return how long each of so many cohorts trains, the longest first.

        They differ by at most one run in size.
        """
        size, larger = divmod(runs, pieces)
        most = [self.seconds(size + 1)] * larger if larger else []
        return [*most, *[self.seconds(size)] * (pieces - larger)]

    def pieces(self, runs: int) -> int:
        """Return the number of cohorts that is the least work in all."""
        least = -(-runs // self.most)
        if self.settled:
            return least
        return min(range(least, runs + 1), key=lambda pieces: sum(self.lasting(runs, pieces)))


@dataclass(frozen=True)
class CostCurve:
    """What an update costs cohorts of several sizes, as measured.

    Attributes:
        sizes: Runs of a cohort, ascending from 1.
        seconds: Of one update of either player, for each size.
        peak: Most memory in use, in bytes, for each size.

    Raises:
        ValueError: if it is none.
    """

    sizes: tuple[int, ...]
    seconds: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...]
    peak: tuple[Annotated[int, Field(gt=0)], ...]

    def __post_init__(self) -> None:
        if self.sizes[:1] != (1,) or list(self.sizes) != sorted(set(self.sizes)):
            raise ValueError("sizes do not ascend from 1")
        if not len(self.sizes) == len(self.seconds) == len(self.peak):
            raise ValueError("not every size has its cost")

    def model(self, updates: int, memory: int) -> CostModel:
        """Return what cohorts of runs of so many updates cost, in so many bytes each.

        One size alone says that nothing is gained by another.
        """
        sizes, seconds = self.sizes, self.seconds
        if len(sizes) == 1:
            sizes, seconds = (1, 2), (seconds[0], 2 * seconds[0])
        costs = tuple(START_SECONDS + updates * each for each in seconds)
        return CostModel(sizes, costs, self.most(memory))

    def most(self, memory: int) -> int:
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


def cut(groups: Sequence[tuple[int, CostModel]], slots: int) -> list[int]:
    """Say into how many cohorts each group is cut.

    It is the least work in all, but for the longest cohorts: they are cut smaller where everything
    is done the sooner for it.

    Args:
        groups: How many runs each has, and what its cohorts cost.
        slots: Processes at once.
    """
    pieces = [model.pieces(runs) for runs, model in groups]
    lasting = [model.lasting(runs, n) for (runs, model), n in zip(groups, pieces, strict=True)]
    best, kept = end_of(lasting, slots), list(pieces)
    in_vain = 0
    # A cut that gains nothing may do so together with those that follow: of equal groups, say.
    for _ in range(SPLITS if groups else 0):
        longest = max(range(len(groups)), key=lambda number: lasting[number][0])
        runs, model = groups[longest]
        if model.settled or pieces[longest] == runs or in_vain >= slots:
            break
        pieces[longest] += 1
        lasting[longest] = model.lasting(runs, pieces[longest])
        end = end_of(lasting, slots)
        in_vain += 1
        if end < WORTH_SPLITTING * best:
            best, kept, in_vain = end, list(pieces), 0
    return kept


def end_of(lasting: Sequence[Sequence[float]], slots: int) -> float:
    """Return when all cohorts are done, the longest begun first."""
    return makespan(sorted(chain.from_iterable(lasting), reverse=True), slots)


def makespan(seconds: Sequence[float], slots: int) -> float:
    """Return when the last of some jobs ends if each goes to the slot that is free first."""
    ends = [0.0] * slots
    for job in seconds:
        heapreplace(ends, ends[0] + job)
    return max(ends)
