"""Records updates on a CPU: the operations alone, without what led to them.

Most of a small network's update is Python: modules, vmap, hooks of parts, autograd's bookkeeping.
A recording keeps none of it. It is a Python function that calls PyTorch's operations one after
the other, on the same tensors or on what the ones before made: the same operations, and so the
same bits. What differs from one update to the next must be fed, as on a GPU; :class:`Replays`
compares the first replay with the update that it stands for.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import BuiltinFunctionType, MethodDescriptorType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from harness.training.replay import CUDAGraphs, Recorder, Work

READ_BY_PYTHON = "aten::_local_scalar_dense"


class Instruction(NamedTuple):
    """One operation of a program.

    Attributes:
        operation: Name of the operation.
        arguments: Names of tensors, and literals, as source text.
        results: Names that it gives; ``_`` for one that nobody asks for.
        several: Whether it returns a tuple.
        read: Names of the tensors among its arguments.
        lasting: Whether it has an effect beside its results.
    """

    operation: str
    arguments: str
    results: list[str]
    several: bool
    read: set[str]
    lasting: bool

    def __str__(self) -> str:
        comma = "," if self.several and len(self.results) == 1 else ""
        return f"{', '.join(self.results)}{comma} = {self.operation}({self.arguments})"


class Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down the operations of some work while it runs."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._lines: list[Instruction] = []
        self._names = WeakTensorKeyDictionary()
        self._given: dict[str, Any] = {}
        self._made: set[int] = set()
        self._before: dict[int, tuple[Tensor, Tensor]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # To skip its compiler PyTorch would import it first, longer than many a cohort trains.
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise RuntimeError(f"{func} draws random numbers that no stream of a run gives")
        if func._schema.name == READ_BY_PYTHON:
            raise RuntimeError("Python reads a number that the update has computed")
        taken = list(tensors_in((args, kwargs)))
        for written in written_by(func, args, kwargs):
            self._remember(written)
        results = func(*args, **kwargs)
        several = isinstance(results, tuple | list)
        made = list(results) if several else [results]
        places = {storage_of(value) for value in taken}
        views = [isinstance(value, Tensor) and storage_of(value) in places for value in made]
        read = {self._name(value) for value in taken}
        if taken and all(views) and not func._schema.is_mutable:
            if read <= self._given.keys():
                # A view of what lies where it is, is always the same view.
                for value in made:
                    self._give(value.detach(), value)
                return results
            if len(taken) == len(made) == 1 and same_place(taken[0], made[0]):
                # A view of the whole, as products of batches are full of, does nothing.
                self._names[made[0]] = self._name(taken[0])
                return results
        self._made |= {storage_of(value) for value in tensors_in(results)} - places
        self._lines.append(
            Instruction(
                self._give(self.function_of(func, args, kwargs)),
                ", ".join(
                    [
                        *(self._text(value) for value in args),
                        *(f"{name}={self._text(value)}" for name, value in kwargs.items()),
                    ]
                ),
                [self._name_result(value) for value in made],
                several,
                read,
                func._schema.is_mutable,
            )
        )
        return results

    def function_of(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Return what a program calls for an operation."""
        return binding_of(func, args, kwargs)

    def _remember(self, written: Tensor) -> None:
        address = storage_of(written)
        if address not in self._made and address not in self._before:
            whole = torch.empty(0, dtype=torch.uint8).set_(written.untyped_storage())
            self._before[address] = whole, whole.clone()

    def _give(self, value: Any, known_as: Tensor | None = None) -> str:
        """Name what a program is given: an operation, or a tensor that stays where it is."""
        name = f"given{len(self._given)}"
        self._given[name] = value
        if known_as is not None:
            self._names[known_as] = name
        return name

    def _name(self, value: Tensor) -> str:
        return str(self._names[value]) if value in self._names else self._give(value, value)

    def _name_result(self, value: Any) -> str:
        if not isinstance(value, Tensor) or value in self._names:
            return "_"
        self._names[value] = f"made{len(self._names)}_{len(self._lines)}"
        return str(self._names[value])

    def _text(self, value: Any) -> str:
        if isinstance(value, Tensor):
            return self._name(value)
        if isinstance(value, list | tuple):
            return f"[{', '.join(self._text(each) for each in value)}]"
        if value is None or isinstance(value, bool | int | str):
            return repr(value)
        return self._give(value)

    def take_down(self, work: Work) -> None:
        """Write down some work, and undo it."""
        try:
            with self:
                work()
        finally:
            self.undo()

    def undo(self) -> None:
        """Put back what the work has changed."""
        for whole, before in self._before.values():
            whole.copy_(before)

    def program(self) -> Work:
        """Return a function that does the work again, on the same tensors."""
        lines = needed(self._lines)
        last = {name: number for number, line in enumerate(lines) for name in line.read}
        over: dict[int, list[str]] = {}
        for name, number in last.items():
            if name not in self._given:
                over.setdefault(number, []).append(name)
        source = ["def program():"]
        for number, line in enumerate(lines):
            source.append(f"    {line}")
            if number in over:
                source.append(f"    del {', '.join(over[number])}")
        scope = dict(self._given)
        exec(compile("\n".join(source), "<program>", "exec"), scope)  # noqa: S102 - written above
        program = scope["program"]

        def replay() -> None:
            with torch.inference_mode():
                program()

        return replay


class Leads(Exception):
    """Tells which operation a function leads to, instead of running it."""


class Ask(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Raises :class:`Leads` at the first operation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise Leads(func, args, kwargs or {})

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


def binding_of(func: Any, args: Any, kwargs: Any) -> Any:
    """Return what runs an operation soonest: PyTorch's own function for Python, if there is one.

    It takes half a microsecond less than to call an operation by its name, and chooses among
    operations by its arguments; so it is asked which one it leads to.
    """
    name = func._schema.name.partition("::")[2]
    for home in (torch, Tensor):
        function = getattr(home, name, None)
        # One that is written in Python may do more than the first operation.
        if not isinstance(function, BuiltinFunctionType | MethodDescriptorType):
            continue
        try:
            with Ask():
                function(*args, **kwargs)
        except Leads as led:
            if led.args[0] is func and alike(led.args[1:], (args, kwargs)):
                return function
        except (TypeError, RuntimeError, ValueError):
            continue
    return func._op


def alike(one: Any, other: Any) -> bool:
    """Say whether arguments are the same tensors and equal literals of equal types."""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return one is other
    return type(one) is type(other) and bool(one == other)


def needed(lines: list[Instruction]) -> list[Instruction]:
    """Leave out operations whose results nobody reads."""
    kept: list[Instruction] = []
    read: set[str] = set()
    for line in reversed(lines):
        if line.lasting or not read.isdisjoint(line.results):
            kept.append(line)
            read |= line.read
    return kept[::-1]


class Programs:
    """Records work as functions of PyTorch's operations.

    Attributes:
        recorded: How many there are.
    """

    warm_ups = 1
    exact = True

    def __init__(self) -> None:
        self.recorded = 0

    def warm_up(self, work: Work) -> None:
        """Run work as it is."""
        work()

    def record(self, work: Work) -> Work:
        """Record work, and undo it."""
        tape = Tape()
        tape.take_down(work)
        self.recorded += 1
        return tape.program()


def tensors_in(values: Any) -> Iterator[Tensor]:
    """Iterate over the tensors within arguments or results."""
    return (value for value in tree_leaves(values) if isinstance(value, Tensor))


def storage_of(value: Tensor) -> int:
    """Return the address of a tensor's memory."""
    return value.untyped_storage().data_ptr()


def same_place(one: Tensor, other: Tensor) -> bool:
    """Say whether two tensors of the same memory are the same numbers in the same order."""
    places = [(x.dtype, x.shape, x.stride(), x.storage_offset()) for x in (one, other)]
    return places[0] == places[1]


def written_by(func: Any, args: Any, kwargs: Any) -> Iterator[Tensor]:
    """Iterate over the tensors that an operation writes."""
    if not func._schema.is_mutable:
        return
    for position, described in enumerate(func._schema.arguments):
        if described.alias_info is not None and described.alias_info.is_write:
            value = kwargs.get(described.name, args[position] if position < len(args) else None)
            yield from tensors_in(value)


def recorder_for(device: torch.device) -> Recorder:
    """Return how updates are recorded on a device."""
    return CUDAGraphs(device) if device.type == "cuda" else Programs()
