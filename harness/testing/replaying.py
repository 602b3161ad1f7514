"""Records work on a CPU as a CUDA graph does on a GPU: operations and addresses, no Python.

What is replayed reads the tensors that it read when it was recorded, and writes those that it
wrote. A number that Python put into an operation stays as it was: so an update that was recorded
this way and still equals one that was not depends on nothing but what it is fed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from harness.training.replay import Work


class Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The operations of some work, in order.

    Attributes:
        operations: Each with its arguments and its results.
        before: What tensors held that were there before and have been written, by address.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[tuple[Any, Any, Any, Any]] = []
        self.before: dict[int, tuple[Tensor, Tensor]] = {}
        self._made: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for written in written_by(func, args, kwargs):
            address = storage_of(written)
            if address not in self._made and address not in self.before:
                whole = torch.empty(0, dtype=torch.uint8).set_(written.untyped_storage())
                self.before[address] = whole, whole.clone()
        results = func(*args, **kwargs)
        taken = {storage_of(value) for value in tensors_in((args, kwargs))}
        self._made |= {storage_of(value) for value in tensors_in(results)} - taken
        self.operations.append((func, args, kwargs, results))
        return results

    def undo(self) -> None:
        """Put back what was there before."""
        for whole, before in self.before.values():
            whole.copy_(before)

    @torch.no_grad()
    def replay(self) -> None:
        """Do all operations again, their results where they were."""
        for func, args, kwargs, results in self.operations:
            taken = {storage_of(value) for value in tensors_in((args, kwargs))}
            again = func(*args, **kwargs)
            for place, value in zip(tensors_in(results), tensors_in(again), strict=True):
                if storage_of(place) not in taken:
                    place.copy_(value)


class Tapes:
    """A recorder of such tapes."""

    warm_ups = 1

    def __init__(self) -> None:
        self.recorded = 0

    def warm_up(self, work: Work) -> None:
        """Run work as it is."""
        work()

    def record(self, work: Work) -> Work:
        """Record work and undo it."""
        tape = Tape()
        with tape:
            work()
        tape.undo()
        self.recorded += 1
        return tape.replay


def tensors_in(values: Any) -> Iterator[Tensor]:
    """Iterate over the tensors within arguments or results."""
    return (value for value in tree_leaves(values) if isinstance(value, Tensor))


def storage_of(value: Tensor) -> int:
    """Return the address of a tensor's memory."""
    return value.untyped_storage().data_ptr()


def written_by(func: Any, args: Any, kwargs: Any) -> Iterator[Tensor]:
    """Iterate over the tensors that an operation writes."""
    for position, described in enumerate(func._schema.arguments):
        if described.alias_info is not None and described.alias_info.is_write:
            value = kwargs.get(described.name, args[position] if position < len(args) else None)
            yield from tensors_in(value)
