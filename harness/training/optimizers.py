"""Optimisers on stacked parameters, with a learning rate and decay rates for each run."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import override

from harness.parts import Rates
from harness.parts.protocols import Inputs, Slots
from harness.spec import Settings
from harness.training.inputs import EagerInputs
from harness.training.state import StackedState

EPSILON = 1e-8
BLOCK_UPDATES = 64
"""Updates whose bias corrections are worked out together."""


EAGER = EagerInputs(0)
"""For updates that are never recorded; the optimiser counts its updates itself."""


class Optimizer(StackedState):
    """Updates ``theta (runs, parameters)`` in place from gradients of the same shape.

    Args:
        theta: What will be updated; gives shape, device and precision.
        lr: Learning rate of each run.
        beta1: First-moment decay of each run (momentum for SGD).
        beta2: Second-moment decay of each run (alpha for RMSprop).
    """

    slots: tuple[str, ...] = ()
    """Names of the per-parameter tensors that it keeps."""

    def __init__(
        self, theta: Tensor, lr: Sequence[float], beta1: Sequence[float], beta2: Sequence[float]
    ) -> None:
        def column(values: Sequence[float]) -> Tensor:
            return torch.tensor(list(values), dtype=theta.dtype, device=theta.device)[:, None]

        self.lr, self.beta1, self.beta2 = column(lr), column(beta1), column(beta2)
        self.updates = 0
        self.slot = {name: torch.zeros_like(theta, requires_grad=False) for name in self.slots}
        super().__init__(self.slot)

    def step(self, theta: Tensor, gradient: Tensor, inputs: Inputs = EAGER) -> None:
        """Make one update; whoever asks for it counts it."""
        raise NotImplementedError

    def updated(
        self, theta: Tensor, gradient: Tensor, slot: Slots, ahead: int, inputs: Inputs = EAGER
    ) -> tuple[Tensor, Slots]:
        """Return what the ahead-th update from now would make of weights and slots.

        Differentiable; changes nothing. :meth:`step` is the same in place.
        """
        raise NotImplementedError

    def follow(self, rates: Rates, lr: Tensor) -> None:
        """Go by other rates from now on."""
        self.lr.copy_(lr)
        self.beta1.copy_(rates.beta1)
        self.beta2.copy_(rates.beta2)

    @override
    def keep(self, runs: list[int]) -> None:
        super().keep(runs)
        # They are no state: specs give them, and parts change them anew in each step.
        self.lr, self.beta1, self.beta2 = self.lr[runs], self.beta1[runs], self.beta2[runs]


class Adam(Optimizer):
    """Adam with bias correction.

    Source: Kingma and Ba 2015, arXiv:1412.6980, algorithm 1.
    """

    slots = ("mean", "square")
    _corrections: tuple[int, Tensor, Tensor] | None = None
    """Of a block of updates by the decays of these runs."""

    @torch.no_grad()
    @override
    def step(self, theta: Tensor, gradient: Tensor, inputs: Inputs = EAGER) -> None:
        mean, square = self.slot["mean"], self.slot["square"]
        mean.lerp_(gradient, 1 - self.beta1)
        square.lerp_(gradient.square(), 1 - self.beta2)
        rate, epsilon = self._corrected(1, inputs)
        theta.addcdiv_(rate * mean, square.sqrt().add_(epsilon), value=-1)

    @override
    def updated(
        self, theta: Tensor, gradient: Tensor, slot: Slots, ahead: int, inputs: Inputs = EAGER
    ) -> tuple[Tensor, Slots]:
        mean = slot["mean"].lerp(gradient, 1 - self.beta1)
        square = slot["square"].lerp(gradient.square(), 1 - self.beta2)
        rate, epsilon = self._corrected(ahead, inputs)
        step = rate * mean / (root(square) + epsilon)
        return theta - step, {"mean": mean, "square": square}

    def _corrected(self, ahead: int, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Return rate and epsilon of the ahead-th update, each ``(runs, 1)``.

        Both carry the bias correction, as at the end of the paper's section 2: it costs two
        operations on a number per run instead of two on every weight.
        """
        scale, epsilon = inputs.input(
            ("bias correction", id(self), ahead), lambda _: self._correction(self.updates + ahead)
        )
        return self.lr * scale, epsilon

    def _correction(self, count: int) -> Tensor:
        """Return what rate and epsilon of an update, counted from 1, are multiplied by.

        Those of the updates around it are worked out with it: ``(2, runs, 1)`` of each.
        """
        block, place = divmod(count, BLOCK_UPDATES)
        known = self._corrections
        if known is None or known[0] != block or known[1] is not self.beta1:
            first = block * BLOCK_UPDATES
            # Made where it is used: to be copied to a GPU it would have to be waited for.
            counts = torch.arange(
                first, first + BLOCK_UPDATES, dtype=self.lr.dtype, device=self.lr.device
            )[:, None, None]
            scale = (1 - self.beta2**counts).sqrt()
            both = torch.stack([scale / (1 - self.beta1**counts), EPSILON * scale], dim=1)
            known = self._corrections = block, self.beta1, both
        return known[2][place]

    @override
    def follow(self, rates: Rates, lr: Tensor) -> None:
        super().follow(rates, lr)
        self._corrections = None


class RMSprop(Optimizer):
    """RMSprop without momentum or centring.

    Source: Tieleman and Hinton 2012, lecture 6e; as in PyTorch, epsilon outside the root.
    """

    slots = ("square",)

    @torch.no_grad()
    @override
    def step(self, theta: Tensor, gradient: Tensor, inputs: Inputs = EAGER) -> None:
        square = self.slot["square"]
        square.lerp_(gradient.square(), 1 - self.beta2)
        theta.addcdiv_(self.lr * gradient, square.sqrt().add_(EPSILON), value=-1)

    @override
    def updated(
        self, theta: Tensor, gradient: Tensor, slot: Slots, ahead: int, inputs: Inputs = EAGER
    ) -> tuple[Tensor, Slots]:
        square = slot["square"].lerp(gradient.square(), 1 - self.beta2)
        return theta - self.lr * gradient / (root(square) + EPSILON), {"square": square}


class SGD(Optimizer):
    """Stochastic gradient descent with heavy-ball momentum ``beta1``.

    Source: Polyak 1964; as in PyTorch, the learning rate multiplies the velocity.
    """

    slots = ("velocity",)

    @torch.no_grad()
    @override
    def step(self, theta: Tensor, gradient: Tensor, inputs: Inputs = EAGER) -> None:
        velocity = self.slot["velocity"]
        velocity.mul_(self.beta1).add_(gradient)
        theta.sub_(self.lr * velocity)

    @override
    def updated(
        self, theta: Tensor, gradient: Tensor, slot: Slots, ahead: int, inputs: Inputs = EAGER
    ) -> tuple[Tensor, Slots]:
        velocity = self.beta1 * slot["velocity"] + gradient
        return theta - self.lr * velocity, {"velocity": velocity}


def root(square: Tensor) -> Tensor:
    """Take a square root whose derivative at 0 is finite.

    The root of 1e-30 is far below epsilon; without it a weight whose gradient has always been 0
    would get 0 · ∞ = NaN when an update is differentiated.
    """
    return (square + 1e-30).sqrt()


KINDS: dict[str, type[Optimizer]] = {"adam": Adam, "rmsprop": RMSprop, "sgd": SGD}


def make_optimizer(theta: Tensor, settings: Sequence[Settings], lr: Sequence[float]) -> Optimizer:
    """Make the optimiser that the runs' settings name, with each run's own rates."""
    return KINDS[settings[0].optimizer](
        theta, lr, [s.beta1 for s in settings], [s.beta2 for s in settings]
    )
