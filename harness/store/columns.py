"""Numbers that events tell, as columns over training."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.store.events import Event


class Series(NamedTuple):
    """One number over training.

    Attributes:
        steps: Of each event that has it.
        kimg: Thousand examples that D had seen.
        values: The number; may be non-finite.
    """

    steps: NDArray[np.float64]
    kimg: NDArray[np.float64]
    values: NDArray[np.float64]


NOTHING = Series(np.zeros(0), np.zeros(0), np.zeros(0))


class Numbers(NamedTuple):
    """All numbers that events hold under one key, over training.

    Attributes:
        names: Of the numbers.
        steps: Of each event that has the key.
        kimg: Thousand examples that D had seen.
        values: ``(events, names)``; NaN where an event lacks a number.
    """

    names: tuple[str, ...]
    steps: NDArray[np.float64]
    kimg: NDArray[np.float64]
    values: NDArray[np.float64]


NO_NUMBERS = Numbers((), np.zeros(0), np.zeros(0), np.zeros((0, 0)))


def series_of(events: Iterable[Event], place: str, name: str) -> Series:
    """Collect one number from the events that have it in the dictionary under ``place``."""
    rows = [(e["step"], e["kimg"], e[place][name]) for e in events if name in e.get(place, {})]
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    return Series(table[:, 0], table[:, 1], table[:, 2])


def numbers_of(events: Iterable[Event], place: str) -> Numbers:
    """Collect all numbers from the events that have a dictionary under ``place``."""
    having = [event for event in events if place in event]
    names = tuple(dict.fromkeys(name for event in having for name in event[place]))
    rows = [[event[place].get(name, math.nan) for name in names] for event in having]
    return Numbers(
        names,
        np.array([event["step"] for event in having], dtype=np.float64),
        np.array([event["kimg"] for event in having], dtype=np.float64),
        np.array(rows, dtype=np.float64).reshape(len(having), len(names)),
    )


class Best(NamedTuple):
    """The best checkpoint by some metric, which flatters: it was chosen by looking.

    Attributes:
        value: The metric's.
        step: When.
        searched: Among how many evaluations.
    """

    value: float
    step: int
    searched: int


class Extremes(NamedTuple):
    """The least and the largest of a number's finite values after step 0."""

    least: Best
    largest: Best


def extremes_of(numbers: Numbers) -> dict[str, Extremes]:
    """Find the extremes of all numbers at once; those that are never finite have none."""
    after = numbers.steps > 0
    if not after.any():
        return {}
    steps, values = numbers.steps[after], numbers.values[after]
    finite = np.isfinite(values)
    counts = finite.sum(0).tolist()
    places = np.where(finite, values, np.inf).argmin(0), np.where(finite, values, -np.inf).argmax(0)
    columns = np.arange(len(counts))
    extremes = [
        map(Best, values[at, columns].tolist(), map(int, steps[at].tolist()), counts)
        for at in places
    ]
    return {
        name: Extremes(least, largest)
        for name, least, largest in zip(numbers.names, *extremes, strict=True)
        if least.searched
    }
