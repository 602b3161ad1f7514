"""Keeps a run's events in a tenth of the memory, and reads their numbers as columns.

A log is mostly rows of numbers under the same names. Those are kept as one array per form, a form
being what such rows have in common: their keys, and which of their numbers are whole. What has no
such form is kept as it is. Nothing is lost: an event taken out equals the one that was put in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, repeat
from typing import Any, ClassVar, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from harness.store.columns import NO_NUMBERS, NOTHING, Numbers, Series, numbers_of, series_of
from harness.store.events import Event

Shape = tuple[Any, ...]
"""Type of an event, then three of each further key: its name, the names that a dictionary holds
(None for anything else), and the type, or types of what is held."""
NUMBERS = {int, float}
WHOLE = 2**53
"""Integers from here on are not exact as floats."""
MOST_FORMS = 250


class Form:
    """What the rows of one array have in common.

    Args:
        shape: Of :func:`take_apart`.

    Attributes:
        parts: The shape's threes.
        regular: Whether there is nothing but numbers and texts in it.
        kind: Type of the events.
        width: Numbers in a row.
        words: Texts in a row.
        whole: Which numbers are integers.
        columns: Place of a number in a row, by key, or by dictionary and name.
        held: Where the numbers of a dictionary lie in a row, and their names, by its key.
    """

    known: ClassVar[dict[Shape, Form]] = {}

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.kind = shape[0]
        self.width = self.words = 0
        self.whole: list[int] = []
        self.columns: dict[Any, int] = {}
        self.held: dict[str, tuple[slice, tuple[str, ...]]] = {}
        self.regular = True
        self.parts = list(zip(shape[1::3], shape[2::3], shape[3::3], strict=True))
        for key, names, types in self.parts:
            if types is str:
                self.words += 1
                continue
            single = types in NUMBERS
            self.regular &= single or (isinstance(types, tuple) and set(types) <= NUMBERS)
            listed = (types,) if single else types if isinstance(types, tuple) else ()
            if single:
                self.columns[key] = self.width
            elif names is not None:
                self.columns |= {(key, name): self.width + i for i, name in enumerate(names)}
                self.held[key] = slice(self.width, self.width + len(names)), names
            self.whole += [self.width + i for i, kind in enumerate(listed) if kind is int]
            self.width += len(listed)

    @classmethod
    def of(cls, shape: Shape) -> Form:
        """Return the form of a shape, always the same one."""
        form = cls.known.get(shape)
        if form is None:
            form = cls.known[shape] = cls(shape)
        return form

    def __reduce__(self) -> tuple[Any, tuple[Shape]]:
        return Form.of, (self.shape,)

    def assemble(self, numbers: list[float], texts: list[str]) -> Event:
        """Make an event of a row; undoes :func:`take_apart`."""
        for place in self.whole:
            numbers[place] = int(numbers[place])
        event: Event = {"type": self.kind}
        left, words = iter(numbers), iter(texts)
        for key, names, types in self.parts:
            if types is str:
                event[key] = next(words)
            elif types in NUMBERS:
                event[key] = next(left)
            elif names is None:
                event[key] = list(islice(left, len(types)))
            else:
                event[key] = dict(zip(names, left, strict=False))
        return event


class Parts(NamedTuple):
    """Events of one form, taken apart.

    Attributes:
        form: What they have in common.
        numbers: ``(events, numbers)``.
        texts: Of one event after the other.
    """

    form: Form
    numbers: NDArray[np.float64]
    texts: list[str]


def take_apart(events: Sequence[Event]) -> Parts | None:
    """Split events of the same type and keys into what they share, their numbers, their texts.

    Column by column, not event by event, for that takes a fifth of the time.

    Returns:
        None if they have no form in common, or one that has no place for their numbers.
    """
    first, count = events[0], len(events)
    shape: list[Any] = [first["type"]]
    held: list[tuple[int, Sequence[float]]] = []
    texts: list[Sequence[str]] = []
    for key, column in zip(first, zip(*map(dict.values, events), strict=True), strict=True):
        kind = type_of(column)
        if kind is float or kind is int:
            held.append((1, column))
            shape += key, None, kind
        elif kind is dict or kind is list:
            if len({*(map(tuple, column) if kind is dict else map(len, column))}) > 1:
                return None
            width = len(column[0])
            values = [*chain.from_iterable(map(dict.values, column) if kind is dict else column)]
            alike = type_of(values)
            types = [alike or type_of(values[place::width]) for place in range(width)]
            if None in types:
                return None
            held.append((width, values))
            shape += key, (*column[0],) if kind is dict else None, (*types,)
        elif kind is None:
            return None
        elif key != "type":
            shape += key, None, kind
            if kind is str:
                texts.append(column)
    form = Form.of((*shape,))
    if not form.regular:
        return None
    table, place = np.empty((count, form.width)), 0
    try:
        for width, numbers in held:
            block = np.fromiter(numbers, np.float64, width * count)
            table[:, place : place + width] = block.reshape(count, width)
            place += width
    except OverflowError:
        return None
    if form.whole and np.abs(table[:, form.whole]).max(initial=0.0) >= WHOLE:
        return None
    return Parts(form, table, [*chain.from_iterable(zip(*texts, strict=True))])


def type_of(column: Iterable[Any]) -> type | None:
    """Return the type of all items; None if they differ."""
    kinds = {*map(type, column)}
    return kinds.pop() if len(kinds) == 1 else None


class Packed(Sequence[Event]):
    """Events in their order, packed; to be read only.

    Args:
        events: What to pack.
    """

    def __init__(self, events: Iterable[Event]) -> None:
        events = [*events]
        self._forms: list[Form] = []
        self._tables: list[NDArray[np.float64]] = []
        self._texts: list[list[str]] = []
        self._kinds: dict[str, tuple[list[int], bool]] = {}
        heads = [(event["type"], *event) for event in events]
        alike: dict[tuple[Any, ...], list[Event]] = {}
        for head, event in zip(heads, events, strict=True):
            alike.setdefault(head, []).append(event)
        places = {head: iter(self._pack(group)) for head, group in alike.items()}
        self._order = bytes([next(places[head]) for head in heads])
        """Of each event, the number of its form, counted from 1; 0 for what has none."""
        self._others = [e for e, place in zip(events, self._order, strict=True) if not place]

    def _pack(self, events: list[Event]) -> Iterable[int]:
        """Pack events of the same type and keys; return the number of the form of each."""
        together = take_apart(events)
        if together is not None:
            return repeat(self._add([together]))
        parts = [take_apart([event]) for event in events]
        forms: dict[Form, list[Parts]] = {}
        for part in parts:
            if part is not None:
                forms.setdefault(part.form, []).append(part)
        numbers = {form: self._add(group) for form, group in forms.items()}
        return [0 if part is None else numbers[part.form] for part in parts]

    def _add(self, parts: list[Parts]) -> int:
        """Keep rows of a form, and return its number; 0 if there are too many forms."""
        if len(self._forms) == MOST_FORMS:
            return 0
        self._forms.append(parts[0].form)
        numbers = [part.numbers for part in parts]
        self._tables.append(numbers[0] if len(numbers) == 1 else np.concatenate(numbers))
        self._texts.append([text for part in parts for text in part.texts])
        return len(self._forms)

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> list[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | list[Event]:
        return list(self)[index]

    def __iter__(self) -> Iterator[Event]:
        seen = [0] * (len(self._forms) + 1)
        for place in self._order:
            yield self.event(place, seen[place])
            seen[place] += 1

    def newest(self, kind: str) -> Iterator[Event]:
        """Return the events of one type one by one, the last one first."""
        forms, alone = self._forms_of(kind)
        if not forms:
            return (event for event in reversed(self._others) if event["type"] == kind)
        if len(forms) == 1 and alone:
            return reversed(Rows(self, forms[0]))
        return self._newest(kind)

    def _newest(self, kind: str) -> Iterator[Event]:
        left = [self._order.count(place) for place in range(len(self._forms) + 1)]
        wanted = [True, *(form.kind == kind for form in self._forms)]
        for place in reversed(self._order):
            left[place] -= 1
            if wanted[place]:
                event = self.event(place, left[place])
                if event["type"] == kind:
                    yield event

    def of_type(self, kind: str) -> Sequence[Event]:
        """Return the events of one type, in order; each is made when it is asked for."""
        forms, alone = self._forms_of(kind)
        return Rows(self, forms[0]) if len(forms) == 1 and alone else [*self.newest(kind)][::-1]

    def series(self, kind: str, place: str, name: str) -> Series:
        """Return one number of all events of a type that have it; see :func:`series_of`."""
        forms, alone = self._forms_of(kind)
        having = [i for i in forms if (place, name) in self._forms[i].columns]
        if len(having) > 1 or not alone:
            return series_of(self.of_type(kind), place, name)
        if not having:
            return NOTHING
        columns, table = self._forms[having[0]].columns, self._tables[having[0]]
        value = columns[place, name]
        return Series(table[:, columns["step"]], table[:, columns["kimg"]], table[:, value])

    def numbers(self, kind: str, place: str) -> Numbers:
        """Return all numbers of the events of a type under a key; see :func:`numbers_of`."""
        forms, alone = self._forms_of(kind)
        having = [i for i in forms if place in self._forms[i].held]
        if len(having) > 1 or not alone:
            return numbers_of(self.of_type(kind), place)
        if not having:
            return NO_NUMBERS
        form, table = self._forms[having[0]], self._tables[having[0]]
        columns, names = form.held[place]
        steps, kimg = table[:, form.columns["step"]], table[:, form.columns["kimg"]]
        return Numbers(names, steps, kimg, table[:, columns])

    def _forms_of(self, kind: str) -> tuple[list[int], bool]:
        """Find the forms of a type, and say whether all of its events have one of these."""
        known = self._kinds.get(kind)
        if known is None:
            forms = [place for place, form in enumerate(self._forms) if form.kind == kind]
            alone = all(event["type"] != kind for event in self._others)
            known = self._kinds[kind] = forms, alone
        return known

    def rows(self, form: int) -> int:
        """Return how many events have a form."""
        return len(self._tables[form])

    def event(self, place: int, row: int) -> Event:
        """Make the event of a row of a form, counted from 1; 0 is for those without."""
        if not place:
            return self._others[row]
        form = self._forms[place - 1]
        texts = self._texts[place - 1][row * form.words : (row + 1) * form.words]
        return form.assemble(self._tables[place - 1][row].tolist(), texts)


class Rows(Sequence[Event]):
    """The events of one form, each made when it is asked for.

    Args:
        packed: Where they are.
        form: Which.
    """

    def __init__(self, packed: Packed, form: int) -> None:
        self._packed, self._form, self._places = packed, form, range(packed.rows(form))

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> list[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | list[Event]:
        if isinstance(index, slice):
            return [self._packed.event(self._form + 1, row) for row in self._places[index]]
        return self._packed.event(self._form + 1, self._places[index])
