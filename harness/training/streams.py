"""Random numbers that belong to a run: derived from its seed, a stream's name and a counter.

Nothing here is shared between runs or carried from step to step. A run therefore draws the same
numbers alone and in a cohort, and resuming needs no generator's state, only the counters.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

BLOCK_STEPS = 64
BLOCK_NUMBERS = 2**18
"""A block of draws covers at most so many steps and numbers per run: seeding costs more than
drawing a few numbers, and blocks keep it out of the step."""


def derive(seed: int, stream: str, counter: int = 0) -> int:
    """Derive a 63-bit seed from a run's seed, a stream's name and a counter."""
    digest = hashlib.sha256(f"{seed}/{stream}/{counter}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@contextmanager
def seeded(seed: int, stream: str) -> Iterator[None]:
    """Let torch's global generator follow a stream, for layers that draw their first weights."""
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which also keeps a note of who called it, for every GPU to come.
        torch.default_generator.manual_seed(derive(seed, stream))
        yield


class Streams:
    """The random streams of a cohort's runs.

    Args:
        seeds: One per run.
        device: Where draws are made and kept.
        dtype: Of the results; draws are made in float32, so that precision changes no draw.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device, dtype: torch.dtype) -> None:
        self.seeds = list(seeds)
        self.device = device
        self.dtype = dtype
        self._generator = torch.Generator(device)
        self._blocks: dict[tuple[str, str, tuple[int, ...]], tuple[int, Tensor]] = {}

    def uniform(self, stream: str, counter: int, shape: tuple[int, ...]) -> Tensor:
        """Draw U[0, 1) of ``(runs, *shape)``: the counter-th draw of a stream."""
        return self._draw("uniform", torch.rand, stream, counter, shape)

    def normal(self, stream: str, counter: int, shape: tuple[int, ...]) -> Tensor:
        """Draw N(0, 1) of ``(runs, *shape)``: the counter-th draw of a stream."""
        return self._draw("normal", torch.randn, stream, counter, shape)

    def _draw(
        self,
        kind: str,
        draw: Callable[..., Tensor],
        stream: str,
        counter: int,
        shape: tuple[int, ...],
    ) -> Tensor:
        length = max(1, min(BLOCK_STEPS, BLOCK_NUMBERS // max(1, math.prod(shape))))
        block, offset = divmod(counter, length)
        key = (kind, stream, shape)
        held = self._blocks.get(key)
        if held is None or held[0] != block:
            parts = []
            for seed in self.seeds:
                self._generator.manual_seed(derive(seed, f"{kind}/{stream}", block))
                parts.append(draw((length, *shape), generator=self._generator, device=self.device))
            held = (block, torch.stack(parts, dim=1).to(self.dtype))
            self._blocks[key] = held
        return held[1][offset]


class DataOrder:
    """Which examples each run sees: a fresh permutation per epoch, the last partial batch dropped.

    Args:
        count: Examples in the data set.
        batch: Examples per update.
        stream: Name, so that D's and G's updates have orders of their own.
    """

    def __init__(self, count: int, batch: int, stream: str) -> None:
        self.count = count
        self.batch = batch
        self.per_epoch = count // batch
        self.stream = stream
        self._held: tuple[int, tuple[int, ...], Tensor] | None = None

    def indices(self, seeds: Sequence[int], counter: int, device: torch.device) -> Tensor:
        """Return the examples of the counter-th update, int64 ``(runs, batch)``."""
        epoch, position = divmod(counter, self.per_epoch)
        if self._held is None or self._held[:2] != (epoch, tuple(seeds)):
            generator = torch.Generator()
            orders = []
            for seed in seeds:
                generator.manual_seed(derive(seed, f"order/{self.stream}", epoch))
                order = torch.randperm(self.count, generator=generator)
                orders.append(order[: self.per_epoch * self.batch].view(self.per_epoch, -1))
            order = torch.stack(orders, dim=1)
            if device.type == "cuda":
                # From pinned memory the copy does not wait for the device.
                order = order.pin_memory().to(device, non_blocking=True)
            self._held = (epoch, tuple(seeds), order)
        return self._held[2][position]


class Stream:
    """Draws of one purpose, counted.

    Args:
        streams: The runs' random streams.
        purpose: First part of every stream's name.
        counter: Which draw of each stream this is.
    """

    def __init__(self, streams: Streams, purpose: str, counter: int) -> None:
        self.streams = streams
        self.purpose = purpose
        self.counter = counter

    def uniform(self, stream: str, *shape: int) -> Tensor:
        """Draw U[0, 1) of ``(runs, *shape)``."""
        return self.streams.uniform(f"{self.purpose}/{stream}", self.counter, shape)

    def normal(self, stream: str, *shape: int) -> Tensor:
        """Draw N(0, 1) of ``(runs, *shape)``."""
        return self.streams.normal(f"{self.purpose}/{stream}", self.counter, shape)

    def noise(self, layer: str, shape: tuple[int, ...]) -> Tensor:
        """Draw the noise of a dropout layer."""
        return self.uniform(layer, *shape)
