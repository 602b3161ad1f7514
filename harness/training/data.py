"""The examples that a cohort trains on: on the device where they fit, else gathered on the host."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor
from typing_extensions import override

from harness.datasets.base import Values
from harness.parts.protocols import Inputs
from harness.training.streams import DataOrder, Streams

RESIDENT_SHARE = 0.25
"""Share of a GPU's free memory that examples may take; beyond it, batches come from the host."""
RESIDENT_BYTES = 2 * 2**30
"""Bytes of examples that are held on a CPU; beyond it they are read ahead, from disk maybe."""


class Data:
    """Training examples that lie on the device, and are indexed there.

    Args:
        values: uint8 images or points.
        device: Where batches are wanted.
    """

    def __init__(self, values: Values, device: torch.device) -> None:
        self.values = values.to(device)
        self.device = device
        self.shape = tuple(values.shape)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def home(self) -> torch.device:
        """Where the examples lie, and :meth:`take` wants its indices."""
        return self.device

    def take(self, indices: Tensor) -> Tensor:
        """Return examples ``(*indices.shape, …)`` on the device, as they are stored."""
        return self.values[indices]

    def batch(self, order: DataOrder, streams: Streams, inputs: Inputs) -> Tensor:
        """Return the examples of every run's update, ``(runs, batch, …)``."""
        return self.take(self._indices(order, streams, inputs))

    def labels(self, labels: Tensor, order: DataOrder, streams: Streams, inputs: Inputs) -> Tensor:
        """Return the classes of those examples, ``(runs, batch)``, from those of all."""
        return labels[self._indices(order, streams, inputs)]

    def _indices(self, order: DataOrder, streams: Streams, inputs: Inputs) -> Tensor:
        key = ("indices", order.stream)
        return inputs.input(key, lambda counter: order.indices(streams.seeds, counter, self.home))


class HostData(Data):
    """Training examples that stay on the host: the same batches, each gathered one update ahead.

    Orders are drawn on the host, so nothing waits for the device; a batch goes there from pinned
    memory while the device still computes.
    """

    def __init__(self, values: Values, device: torch.device) -> None:
        super().__init__(values, torch.device("cpu"))
        self.device = device
        self._worker = ThreadPoolExecutor(1, "data")
        self._ahead: dict[str, tuple[tuple[tuple[int, ...], int], Future[Tensor]]] = {}

    @property
    def home(self) -> torch.device:
        """The host."""
        return torch.device("cpu")

    def take(self, indices: Tensor) -> Tensor:
        """Gather examples on the host and send them to the device."""
        return self._gather(indices).to(self.device, non_blocking=True)

    @override
    def batch(self, order: DataOrder, streams: Streams, inputs: Inputs) -> Tensor:
        key = ("examples", order.stream)
        return inputs.input(key, lambda counter: self.gathered(order, streams.seeds, counter))

    @override
    def labels(self, labels: Tensor, order: DataOrder, streams: Streams, inputs: Inputs) -> Tensor:

        def produce(counter: int) -> Tensor:
            chosen = labels[order.indices(streams.seeds, counter, self.home)]
            return chosen.to(self.device, non_blocking=True)

        return inputs.input(("labels", order.stream), produce)

    def gathered(self, order: DataOrder, seeds: Sequence[int], counter: int) -> Tensor:
        """Return the examples of an update, and begin with those of the next."""
        wanted, future = self._ahead.pop(order.stream, (None, None))
        if future is not None and wanted == (tuple(seeds), counter):
            gathered = future.result()
        else:
            gathered = self._gather(order.indices(seeds, counter, self.home))
        following = order.indices(seeds, counter + 1, self.home)
        self._ahead[order.stream] = (
            (tuple(seeds), counter + 1),
            self._worker.submit(self._gather, following),
        )
        return gathered.to(self.device, non_blocking=True)

    def _gather(self, indices: Tensor) -> Tensor:
        gathered = self.values[indices]
        return gathered.pin_memory() if self.device.type == "cuda" else gathered


def hold(values: Values, device: torch.device) -> Data:
    """Put examples on the device if they fit there; the batches are the same if they do not."""
    if device.type == "cuda":
        limit = int(torch.cuda.mem_get_info(device)[0] * RESIDENT_SHARE)
    else:
        limit = RESIDENT_BYTES
    return Data(values, device) if values.nbytes <= limit else HostData(values, device)
