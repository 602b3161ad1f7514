"""Measures ways of doing a thing in turn, so that a noisy neighbour slows all of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

import torch

Way = Callable[[], object]
"""Does the thing once."""


WARM_UPS = {"cpu": 2, "cuda": 6}
"""Untimed, because things are built, read, chosen or recorded then."""
Clock = Callable[[], float]


def timed(way: Way, count: int, device: torch.device, clock: Clock = time.perf_counter) -> float:
    """Return the seconds of doing a thing so many times, the device's work included."""
    finish(device)
    start = clock()
    for _ in range(count):
        way()
    finish(device)
    return clock() - start


def finish(device: torch.device) -> None:
    """Wait for a device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def race(
    ways: Mapping[str, Way],
    rounds: int,
    device: torch.device,
    seconds: float,
    clock: Clock = time.perf_counter,
) -> dict[str, list[float]]:
    """Time every way in every round.

    Args:
        ways: By name.
        rounds: How often all of them are timed.
        device: Where they compute.
        seconds: About how long one measurement of one way takes; at least the way once.
        clock: What to read seconds from.

    Returns:
        Seconds of doing it once, by way and round.
    """
    counts = {}
    for name, way in ways.items():
        timed(way, WARM_UPS[device.type], device)
        counts[name] = math.ceil(seconds / timed(way, 2, device) * 2) if seconds else 1
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        # To and fro, so that nobody is always the one who comes after a certain other.
        for name in list(ways)[:: 1 if number % 2 == 0 else -1]:
            way = ways[name]
            found[name].append(timed(way, counts[name], device, clock) / counts[name])
    return found
