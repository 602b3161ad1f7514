"""What a device could do at best: two floors under the time of a step.

*Operations*: the floating-point operations of all matrix products and convolutions of a step,
forward and backward, double backward of penalties included, over the rate of one large product
measured on the same device in the same precision. Element-wise work is not counted.

*Bytes*: every operand and result of these products moved once, and what an optimiser changes read
and written once for each of its updates, over the bandwidth of a large copy. Whatever lies between
two products (normalisation, activations, losses, diagnostics) is taken to be done on the way and to
move nothing; what a cache spares is not subtracted.

Both are counted for a cohort of one run, where convolutions are not grouped and none counts twice,
and multiplied by the runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from harness.training.trainer import Trainer
from tests.benchmarks.racing import timed

SIDES = {"cpu": 1024, "cuda": 8192}
"""Of the square matrices whose product gives the rate."""
COPIED = {"cpu": 2**26, "cuda": 2**30}
"""Bytes of the copy that gives the bandwidth."""
ROUNDS = 5


class Traffic(TorchDispatchMode):
    """Adds up the bytes of the operands and results of products and convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count an operation that the counter of operations knows."""
        made = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            tensors = [t for t in tree_leaves((args, kwargs, made)) if isinstance(t, Tensor)]
            self.bytes += sum(t.numel() * t.element_size() for t in tensors)
        return made


@dataclass(frozen=True)
class Floors:
    """The least a step of a cohort can take.

    Attributes:
        operations: Of all runs in one step.
        bytes: That all runs move in one step.
        rate: Operations per second.
        bandwidth: Bytes per second.
    """

    operations: float
    bytes: float
    rate: float
    bandwidth: float

    @property
    def seconds(self) -> float:
        """The larger floor."""
        return max(self.operations / self.rate, self.bytes / self.bandwidth)

    def as_json(self) -> dict[str, Any]:
        """Return everything, by name."""
        return {
            **asdict(self),
            "seconds_by_operations": self.operations / self.rate,
            "seconds_by_bytes": self.bytes / self.bandwidth,
        }


def count(alone: Trainer) -> tuple[float, float]:
    """Return the operations and bytes of one step of a cohort of one run.

    Args:
        alone: Its training, which is made a step longer.
    """
    d_before, g_before = alone.optimizer_d.updates, alone.optimizer_g.updates
    with FlopCounterMode(display=False) as operations, Traffic() as traffic:
        alone.train_step()
    moved = float(traffic.bytes)
    for optimizer, before, network in (
        (alone.optimizer_d, d_before, alone.game.D),
        (alone.optimizer_g, g_before, alone.game.G),
    ):
        held = (1 + len(optimizer.slots)) * network.theta.numel() * network.theta.element_size()
        moved += 2 * held * (optimizer.updates - before)
    return float(operations.get_total_flops()), moved


def fastest(way: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of the fastest of a few times."""
    way()
    return min(timed(way, 3, device) / 3 for _ in range(ROUNDS))


def rates(device: torch.device, dtype: torch.dtype) -> tuple[float, float]:
    """Measure operations per second of one large product, and bytes per second of a copy."""
    side, size = SIDES[device.type], COPIED[device.type]
    a = torch.randn(side, side, device=device, dtype=dtype)
    b, product = torch.randn_like(a), torch.empty_like(a)
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return (
        2 * side**3 / fastest(lambda: torch.mm(a, b, out=product), device),
        2 * size / fastest(lambda: target.copy_(source), device),
    )


def floors(alone: Trainer, runs: int) -> Floors:
    """Return the floors of a step of a cohort, counted on one of its runs.

    Args:
        alone: The training of one run.
        runs: Size of the cohort.
    """
    operations, moved = count(alone)
    return Floors(runs * operations, runs * moved, *rates(alone.device, alone.dtype))
