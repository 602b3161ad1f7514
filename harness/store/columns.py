"""Numbers that events tell, as columns over training."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


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
    """All numbers that events hold in one field, over training.

    Attributes:
        names: Of the numbers.
        steps: Of each event that has the field.
        kimg: Thousand examples that D had seen.
        values: ``(events, names)``; NaN where an event lacks a number.
    """

    names: tuple[str, ...]
    steps: NDArray[np.float64]
    kimg: NDArray[np.float64]
    values: NDArray[np.float64]


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
