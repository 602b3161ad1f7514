"""What a suite's lists hold once they are read: data sets, variants, combinations of tricks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from harness.datasets.base import Dataset
from harness.parts import Trick, Variant
from harness.registry import nearest
from harness.spec import PartSpec, canonical_json
from harness.store.records import NONE, CellKey, PlannedCell, PlannedPart, joined
from harness.suite.strict_yaml import Place

SETTINGS = "settings"
"""How a suite names other settings in the place of a trick."""

P = TypeVar("P", bound=BaseModel, covariant=True)


@dataclass(frozen=True)
class Entry(Generic[P]):
    """A data set, variant or trick with its options.

    Attributes:
        id: Its id in the registry.
        part: The part itself.
        planned: What a plan says of it.
        bare: Whether the file gave nothing but the id.
        place: Where in the file.
    """

    id: str
    part: P
    planned: PlannedPart
    bare: bool
    place: Place

    @cached_property
    def label(self) -> str:
        """The id, with options that differ from their defaults: ``update-ratio(d=5)``."""
        return self.planned.label

    @property
    def ids(self) -> tuple[str, ...]:
        """The id alone, as a combination has several."""
        return (self.id,)

    @cached_property
    def spec(self) -> PartSpec:
        """What a run's spec holds of it: all options, defaults written out."""
        return PartSpec(id=self.id, options=self.part.model_dump(mode="json"))

    @cached_property
    def key(self) -> str:
        """Equal for equal entries; files that lie elsewhere are equal if their content is."""
        if isinstance(self.part, Dataset) and self.part.places():
            return canonical_json([self.id, self.part.identity, self.part.fingerprint()])
        return canonical_json([self.id, self.spec.options])

    @cached_property
    def names(self) -> frozenset[str]:
        """What filters may call it."""
        return frozenset((self.id, self.label))


@dataclass(frozen=True)
class Combination:
    """The tricks of a cell, in the order in which they are laid over the variant.

    Attributes:
        place: Where in the file.
        entries: The tricks.
        settings: Settings that it changes beside them; they win over every rule.
    """

    place: Place
    entries: tuple[Entry[Trick], ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def planned(self) -> tuple[PlannedPart, ...]:
        """What a plan says of it."""
        tricks = tuple(entry.planned for entry in self.entries)
        return (*tricks, PlannedPart(SETTINGS, dict(self.settings))) if self.settings else tricks

    @cached_property
    def label(self) -> str:
        """The labels joined by `` + ``; ``none`` without any."""
        return joined(self.planned)

    @property
    def bare(self) -> bool:
        """Whether the file gave nothing but ids."""
        return not self.settings and all(entry.bare for entry in self.entries)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The ids of the tricks, and ``settings`` where it changes some."""
        return (*(entry.id for entry in self.entries), *([SETTINGS] if self.settings else []))

    @property
    def id(self) -> str:
        """The ids joined by `` + ``; ``none`` without any."""
        return " + ".join(self.ids) or NONE

    @cached_property
    def key(self) -> str:
        """Equal for equal combinations."""
        return canonical_json([[entry.key for entry in self.entries], dict(self.settings)])

    @cached_property
    def names(self) -> frozenset[str]:
        """What filters may call it: as a whole, or by one of its tricks."""
        return frozenset((self.label, self.id, *self.ids, *(part.label for part in self.planned)))


@dataclass(frozen=True)
class Cell:
    """One data set, variant and combination of tricks."""

    dataset: Entry[Dataset]
    variant: Entry[Variant]
    tricks: Combination

    @cached_property
    def label(self) -> str:
        """Such as ``ring8 × gan × none``."""
        return " × ".join(self.labels)

    @property
    def labels(self) -> CellKey:
        """Of its parts."""
        return self.dataset.label, self.variant.label, self.tricks.label

    @property
    def planned(self) -> PlannedCell:
        """What a plan says of it."""
        return PlannedCell(self.dataset.planned, self.variant.planned, self.tricks.planned)

    @cached_property
    def key(self) -> tuple[str, str, str]:
        """Equal for equal cells."""
        return self.dataset.key, self.variant.key, self.tricks.key


@dataclass(frozen=True)
class Contrast:
    """Two combinations of tricks that are compared with each other, wherever a variant has both.

    Attributes:
        names: Labels, or ids that are one combination's alone.
        place: Where in the file.
    """

    names: tuple[str, str]
    place: Place

    def find(self, cells: Iterable[Cell]) -> tuple[str, str] | str:
        """Return the labels of the two among the suite's cells, or what is wrong with them."""
        places: dict[str, set[tuple[str, str]]] = {}
        ids: dict[str, set[str]] = {}
        for cell in cells:
            label = cell.tricks.label
            places.setdefault(label, set()).add((cell.dataset.label, cell.variant.label))
            ids.setdefault(cell.tricks.id, set()).add(label)
        labels: list[str] = []
        for name in self.names:
            meant = {name} if name in places else ids.get(name, set())
            if not meant:
                hint = nearest(name[:64], sorted(places))
                return f"no cell that the suite runs has the tricks {name}{hint}"
            if len(meant) > 1:
                return f"{name} is the id of {' and of '.join(sorted(meant))}: write which"
            labels += meant
        first, second = labels
        if first == second:
            return f"compares {first} with itself"
        if not places[first] & places[second]:
            return f"no variant is run on one data set both with {first} and with {second}"
        return first, second


def planned_part(name: str, part: BaseModel) -> PlannedPart:
    """Describe a part by the fewest options from which it follows.

    Options that are at their defaults, or that follow from another option, are left out; so are
    those that say where files lie.
    """
    where = part.where if isinstance(part, Dataset) else {}
    options = {k: v for k, v in part.model_dump(mode="json").items() if k not in where}
    needed = dict(options)
    for option in reversed(options):
        fewer = {key: value for key, value in needed.items() if key != option}
        try:
            follows = type(part).model_validate({**fewer, **where}) == part
        except ValidationError:
            follows = False
        needed = fewer if follows else needed
    return PlannedPart(name, needed)
