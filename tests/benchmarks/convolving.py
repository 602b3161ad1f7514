"""Ways to convolve every run's batch with its own weights, forward and backward.

``vmap`` is what training does: PyTorch lowers it to one convolution with a group per run.
``grouped`` writes that convolution out, ``channels last`` does so with all channels of a pixel side
by side in memory, ``unfolded`` multiplies matrices of patches instead, and ``one by one`` is a
plain convolution per run. ``python -m tests.benchmarks convolving`` measures
the layers of a DCGAN's discriminator; the first names the fastest way of each layer.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap
from torch.nn import functional

from harness.jobs.job import compute_as_declared
from tests.benchmarks.racing import race

KERNEL, STRIDE, PADDING = 4, 2, 1
LAYERS = ((3, 64, 32), (64, 128, 16), (128, 256, 8))
"""Channels in and out, and the side of what goes in: a DCGAN's D on 32×32 images."""
RUNS = {"cpu": (1, 8), "cuda": (1, 8, 16, 64)}
BATCH = 64
ROUNDS = 5
SECONDS = 0.3

Convolution = Callable[[Tensor, Tensor], Tensor]


def stacked(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve ``x (runs, batch, in, side, side)`` by ``weight (runs, out, in, 4, 4)``."""
    convolve = partial(functional.conv2d, stride=STRIDE, padding=PADDING)
    found: Tensor = vmap(convolve)(x, weight)
    return found


def grouped(x: Tensor, weight: Tensor) -> Tensor:
    """Do the same as one convolution of as many groups as there are runs."""
    runs, batch, _, side, _ = x.shape
    folded = x.transpose(0, 1).reshape(batch, -1, side, side)
    made = functional.conv2d(
        folded, weight.flatten(0, 1), stride=STRIDE, padding=PADDING, groups=runs
    )
    return made.unflatten(1, (runs, -1)).transpose(0, 1)


def channels_last(x: Tensor, weight: Tensor) -> Tensor:
    """Do the same with the channels of all runs last in memory, as weights and images."""
    runs, batch, _, side, _ = x.shape
    folded = x.transpose(0, 1).reshape(batch, -1, side, side)
    made = functional.conv2d(
        folded.contiguous(memory_format=torch.channels_last),
        weight.flatten(0, 1).contiguous(memory_format=torch.channels_last),
        stride=STRIDE,
        padding=PADDING,
        groups=runs,
    )
    return made.unflatten(1, (runs, -1)).transpose(0, 1)


def unfolded(x: Tensor, weight: Tensor) -> Tensor:
    """Do the same as one batched product of matrices, over patches."""
    runs, batch, _, side, _ = x.shape
    patches = functional.unfold(x.flatten(0, 1), KERNEL, padding=PADDING, stride=STRIDE)
    columns = patches.unflatten(0, (runs, batch)).transpose(1, 2).flatten(2)
    made = torch.bmm(weight.flatten(2), columns)
    half = side // STRIDE
    return made.unflatten(2, (batch, half, half)).transpose(1, 2)


def one_by_one(x: Tensor, weight: Tensor) -> Tensor:
    """Do the same run by run."""
    pairs = zip(x, weight, strict=True)
    return torch.stack(
        [functional.conv2d(own, its, stride=STRIDE, padding=PADDING) for own, its in pairs]
    )


WAYS: dict[str, Convolution] = {
    "vmap": stacked,
    "grouped": grouped,
    "channels last": channels_last,
    "unfolded": unfolded,
    "one by one": one_by_one,
}


def once(convolve: Convolution, x: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
    """Convolve, and differentiate by the input and by the weights."""
    return torch.autograd.grad(convolve(x, weight).square().sum(), (x, weight))


def measure(
    device: str | None = None,
    *,
    batch: int = BATCH,
    layers: tuple[tuple[int, int, int], ...] = LAYERS,
    runs: tuple[int, ...] | None = None,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
) -> dict[str, Any]:
    """Return how many times as long as ``vmap`` each way takes, by layer and number of runs.

    Args:
        device: ``cpu`` or ``cuda``; CUDA where there is one unless given.
        batch: Images of each run.
        layers: Channels in and out, and the side of the images.
        runs: Sizes of the cohort.
        rounds: How often each is timed.
        seconds: About how long one measurement takes.
    """
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    compute_as_declared()
    found = []
    try:
        for channels, made, side in layers:
            for count in runs or RUNS[where.type]:
                x = torch.randn(count, batch, channels, side, side, device=where)
                weight = torch.randn(count, made, channels, KERNEL, KERNEL, device=where)
                x.requires_grad_()
                weight.requires_grad_()
                ways = {name: partial(once, way, x, weight) for name, way in WAYS.items()}
                times = race(ways, rounds, where, seconds)
                found.append(
                    {
                        "layer": f"{channels} → {made} channels, {side}×{side}",
                        "runs": count,
                        "times_as_long_as_vmap": {
                            name: round(
                                statistics.median(
                                    mine / theirs
                                    for mine, theirs in zip(own, times["vmap"], strict=True)
                                ),
                                2,
                            )
                            for name, own in times.items()
                        },
                        "milliseconds_of_vmap": round(1e3 * statistics.median(times["vmap"]), 3),
                    }
                )
    finally:
        torch.set_num_threads(threads)
    return {"benchmark": "convolutions of a cohort, forward and backward", "found": found}
