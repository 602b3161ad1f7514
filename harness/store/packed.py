"""Keeps a run's events in a tenth of the memory, and reads their numbers as columns.

A log is mostly rows of numbers under the same names. Those are kept as arrays, one for each field
of their class; a field of which not all rows have the same form is kept as it is. Nothing is lost:
an event taken out equals the one that was put in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import chain
from operator import attrgetter
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from harness.store.columns import NOTHING, Numbers, Series
from harness.store.events import EvaluationRow, Event, LossRow, SampleFile

Row = LossRow | EvaluationRow
E = TypeVar("E", bound=Event)
TABLES = (LossRow, EvaluationRow, SampleFile)
"""Classes that a log has many records of."""
NAMES: dict[tuple[str, ...], tuple[str, ...]] = {}
"""Those that the runs of a suite have in common, so that each is kept once."""


class Named(Sequence[dict[str, float]]):
    """Dictionaries of the same names.

    Args:
        names: Of the numbers.
        table: ``(records, names)``.
    """

    def __init__(self, names: tuple[str, ...], table: NDArray[np.float64]) -> None:
        self.names, self.table = NAMES.setdefault(names, names), table

    def __reduce__(self) -> tuple[Any, ...]:
        return Named, (self.names, self.table)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, place: Any) -> Any:
        return dict(zip(self.names, self.table[place].tolist(), strict=True))


class Lists(Sequence[Any]):
    """Numbers, or lists of them, of one length.

    Args:
        table: ``(records,)`` or ``(records, length)``.
    """

    def __init__(self, table: NDArray[Any]) -> None:
        self.table = table

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, place: Any) -> Any:
        return self.table[place].tolist()


def pack(column: list[Any]) -> Sequence[Any]:
    """Keep a field of many records as an array, if it has the same form in all."""
    kinds = {*map(type, column)}
    if kinds <= {int} or kinds <= {float}:
        return Lists(np.array(column))
    if kinds == {list} and len({*map(len, column)}) == 1:
        return Lists(np.array(column, dtype=np.int64))
    if kinds == {dict} and len(names := {*map(tuple, column)}) == 1:
        numbers = chain.from_iterable(map(dict.values, column))
        width = len(column[0])
        table = np.fromiter(numbers, np.float64, len(column) * width).reshape(len(column), width)
        return Named(names.pop(), table)
    return column


class Table(Sequence[E]):
    """Records of one class, each made when it is asked for.

    Args:
        kind: The class.
        records: What to keep.
    """

    def __init__(self, kind: type[E], records: Sequence[E]) -> None:
        self._kind, self._count = kind, len(records)
        names = [each.name for each in fields(kind) if each.name != "type"]
        self._fields = {name: pack([*map(attrgetter(name), records)]) for name in names}

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> E: ...
    @overload
    def __getitem__(self, index: slice) -> list[E]: ...
    def __getitem__(self, index: int | slice) -> E | list[E]:
        places = range(self._count)[index]
        return self._record(places) if isinstance(places, int) else [*map(self._record, places)]

    def _record(self, place: int) -> E:
        return self._kind(**{name: column[place] for name, column in self._fields.items()})

    def _axis(self, name: str) -> NDArray[np.float64]:
        held = self._fields[name]
        return np.asarray(held.table if isinstance(held, Lists) else held, np.float64)

    def series(self, place: str, name: str) -> Series:
        """Return one number of a field, of all records that have it."""
        held, steps, kimg = self._fields[place], self._axis("step"), self._axis("kimg")
        if isinstance(held, Named):
            if name not in held.names:
                return NOTHING
            return Series(steps, kimg, held.table[:, held.names.index(name)])
        having = [i for i, row in enumerate(held) if row is not None and name in row]
        values = np.array([held[i][name] for i in having], np.float64)
        return Series(steps[having], kimg[having], values)

    def numbers(self, place: str) -> Numbers:
        """Return all numbers of a field, of all records that have it."""
        held, steps, kimg = self._fields[place], self._axis("step"), self._axis("kimg")
        if isinstance(held, Named):
            return Numbers(held.names, steps, kimg, held.table)
        having = [i for i, row in enumerate(held) if row is not None]
        names = tuple(dict.fromkeys(name for i in having for name in held[i]))
        rows = [[held[i].get(name, np.nan) for name in names] for i in having]
        table = np.array(rows, np.float64).reshape(len(having), len(names))
        return Numbers(names, steps[having], kimg[having], table)


class Packed(Sequence[Event]):
    """Events in their order, packed; to be read only.

    Args:
        events: What to pack.
    """

    def __init__(self, events: Iterable[Event]) -> None:
        events = [*events]
        places = {kind: place for place, kind in enumerate(TABLES, start=1)}
        self._order = bytes([places.get(type(event), 0) for event in events])
        """Of each event, the number of its table, counted from 1; 0 for what has none."""
        parts: list[list[Any]] = [[] for _ in range(len(TABLES) + 1)]
        for event, place in zip(events, self._order, strict=True):
            parts[place].append(event)
        self._others: list[Event] = parts[0]
        self._tables: dict[type[Any], Table[Any]] = {
            kind: Table(kind, records) for kind, records in zip(TABLES, parts[1:], strict=True)
        }

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> list[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | list[Event]:
        return list(self)[index]

    def __iter__(self) -> Iterator[Event]:
        left = [iter(part) for part in (self._others, *self._tables.values())]
        return (next(left[place]) for place in self._order)

    def of_type(self, kind: type[E]) -> Sequence[E]:
        """Return the events of one class, in order; those of tables are made when asked for."""
        return self._tables.get(kind) or [e for e in self._others if isinstance(e, kind)]

    def series(self, kind: type[Row], place: str, name: str) -> Series:
        """Return one number over training, of all events of a class that have it."""
        return self._tables[kind].series(place, name)

    def numbers(self, kind: type[Row], place: str) -> Numbers:
        """Return all numbers over training that the events of a class hold in a field."""
        return self._tables[kind].numbers(place)
