"""What a game on the line looks like: the data, what G makes of z, and D's answer, by place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from harness.datasets.base import Dataset, Examples

CELLS = 80
"""Cells of the grid: few enough that a thousand samples fill them."""
MARGIN = 0.25
"""What is seen beyond the data on each side, as a share of their range."""

Values = NDArray[np.float64]


@runtime_checkable
class Dense(Protocol):
    """A data set whose density is known."""

    def density(self, x: Values, /) -> Values:
        """Return the density at points ``(n, dimensions)``, ``(n,)``."""


@dataclass(frozen=True)
class Profile:
    """One run at one step, ``(cells,)`` each.

    Attributes:
        x: Centres of the grid's cells.
        data: Density of the data.
        generated: Density of the generated samples, counted by cell; what lies off the grid is
            missing from its integral.
        answer: What the objective calls D(x): a probability where it is logistic, else the logit.
            None where D does not judge one example alone.
    """

    x: Values
    data: Values
    generated: Values
    answer: Values | None


class Line:
    """A fixed grid over the training data of a one-dimensional data set.

    Args:
        data: Density of the data.
        examples: The training examples, ``(n, 1)``, which decide what the grid spans.
    """

    def __init__(self, data: Dense, examples: Tensor) -> None:
        low, high = float(examples.min()), float(examples.max())
        margin = MARGIN * (high - low)
        self.edges: Values = np.linspace(low - margin, high + margin, CELLS + 1)
        self.x: Values = (self.edges[1:] + self.edges[:-1]) / 2
        self.data = data.density(self.x[:, None])

    @classmethod
    def of(cls, dataset: Dataset, training: Examples) -> Self | None:
        """Make the grid of a data set; None unless it has one dimension and a known density."""
        if dataset.shape != (1,) or not isinstance(dataset, Dense):
            return None
        return cls(dataset, training.values[:])

    def profiles(self, generated: Tensor, answers: Tensor | None) -> list[Profile]:
        """Describe every run.

        Args:
            generated: Samples of each run, ``(runs, samples, 1)``.
            answers: D's of each run at the grid's centres, ``(runs, cells)``, as the objective
                reads them; None where D does not judge one example alone.
        """
        width = self.edges[1] - self.edges[0]
        samples_of = generated.double().cpu().numpy()
        answer_of = [None] * len(samples_of) if answers is None else answers.double().cpu().numpy()
        profiles = []
        for samples, answer in zip(samples_of, answer_of, strict=True):
            counts, _ = np.histogram(samples, self.edges)
            density = counts / (len(samples) * width)
            profiles.append(Profile(self.x, self.data, density, answer))
        return profiles
