"""What a game on the line looks like: the data, what G makes of z, and D's answer, by place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.datasets.base import Dataset, Examples
from harness.networks.blueprint import Blueprint

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
        ...


class Scale(Protocol):
    """How D's answers are to be read."""

    @property
    def joint(self) -> bool:
        """Whether both networks learn in one update, so that D does not judge."""
        ...

    @property
    def logistic(self) -> bool:
        """Whether D's answer is a probability, the logit's sigmoid."""
        ...

    @property
    def boundary(self) -> float | None:
        """The logit above which D takes an example for real; None for a critic."""
        ...


class Discriminators(Protocol):
    """The discriminators of a cohort."""

    @property
    def theta(self) -> Tensor:
        """All parameters, ``(runs, parameters)``."""
        ...

    def __call__(self, x: Tensor, /, *, training: bool) -> Any:
        """Judge ``(runs, batch, 1)``; the answer has ``logits``."""
        ...


class Players(Protocol):
    """What of a training is looked at: its discriminators, and how they are to be read."""

    @property
    def runs(self) -> int:
        """How many runs train together."""
        ...

    @property
    def blueprint(self) -> Blueprint:
        """What the networks were built from."""
        ...

    @property
    def variant(self) -> Scale:
        """How the answers of D are to be read."""
        ...

    @property
    def D(self) -> Discriminators:
        """The discriminators."""
        ...


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


def judges_alone(game: Players) -> bool:
    """Say whether D judges, and whether its answer depends on one example alone."""
    plan = game.blueprint.discriminator
    single = plan.pack == 1 and plan.condition == 0 and plan.minibatch is None
    return single and not game.variant.joint


def estimates_share(game: Players) -> bool:
    """Say whether the best answer of D is p / (p + q), the data's share of the density at x.

    So for the logistic objective (Goodfellow et al. 2014, arXiv:1406.2661, proposition 1), and
    for squares with targets 0 and 1, whose boundary is ½ (Mao et al. 2017, arXiv:1611.04076,
    eq. 5). A softmax over several generators counts each of them in full, so that its best answer
    is another.
    """
    variant = game.variant
    single = game.blueprint.discriminator.classes <= 2
    return single and (variant.logistic or variant.boundary == 0.5)


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

    def profiles(self, game: Players, generated: Tensor) -> list[Profile]:
        """Look at every run of a game.

        D is asked in evaluation mode about the places as they are, without what tricks do to its
        input in training.

        Args:
            game: The players.
            generated: Samples of each run, ``(runs, samples, 1)``.
        """
        answers = self._answers(game) if judges_alone(game) else [None] * game.runs
        width = self.edges[1] - self.edges[0]
        found = []
        for samples, answer in zip(generated.double().cpu().numpy(), answers, strict=True):
            counts, _ = np.histogram(samples, self.edges)
            density = counts / (len(samples) * width)
            found.append(Profile(self.x, self.data, density, answer))
        return found

    def _answers(self, game: Players) -> list[Values | None]:
        theta = game.D.theta
        places = torch.as_tensor(self.x[:, None], dtype=theta.dtype, device=theta.device)
        with torch.no_grad():
            logits = game.D(places.expand(game.runs, -1, -1), training=False).logits
        answers = logits.sigmoid() if game.variant.logistic else logits
        return list(answers.double().cpu().numpy())
