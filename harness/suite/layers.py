"""What a suite file says once it is read: entries, filters, rules, and layers of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from harness.datasets.base import Dataset
from harness.errors import GanbenchError
from harness.parts import Trick, Variant
from harness.registry import nearest
from harness.spec import PartSpec, canonical_json
from harness.store.records import NONE, CellKey, PlannedCell, PlannedPart, joined
from harness.suite.strict_yaml import Document, Place

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

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The id alone, as a combination has several."""
        return (self.id,)

    @cached_property
    def options(self) -> dict[str, Any]:
        """All options, defaults written out."""
        return self.part.model_dump(mode="json")

    @property
    def spec(self) -> PartSpec:
        """What a run's spec holds of it."""
        return PartSpec(id=self.id, options=self.options)

    @cached_property
    def key(self) -> str:
        """Equal for equal entries; files that lie elsewhere are equal if their content is."""
        if isinstance(self.part, Dataset) and self.part.places():
            return canonical_json([self.id, self.part.identity, self.part.fingerprint()])
        return canonical_json([self.id, self.options])

    @cached_property
    def names(self) -> frozenset[str]:
        """What filters may call it."""
        return frozenset((self.id, self.label))


@dataclass(frozen=True)
class Combination:
    """The tricks of a cell, in the order in which they are laid over the variant.

    Attributes:
        entries: The tricks.
        place: Where in the file.
        settings: Settings that it changes beside them; they win over every rule.
    """

    entries: tuple[Entry[Trick], ...]
    place: Place
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
        single = (part.label for part in self.planned)
        return frozenset((self.label, self.id, *self.ids, *single))


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
class CellFilter:
    """Which cells a rule is about, by ids or labels; None is any.

    Attributes:
        place: Where in the file.
    """

    place: Place
    dataset: tuple[str, ...] | None = None
    variant: tuple[str, ...] | None = None
    trick: tuple[str, ...] | None = None

    def matches(self, cell: Cell) -> bool:
        """Whether a cell is meant; of the names of one kind, one must fit."""
        return (
            (self.dataset is None or not cell.dataset.names.isdisjoint(self.dataset))
            and (self.variant is None or not cell.variant.names.isdisjoint(self.variant))
            and (self.trick is None or not cell.tricks.names.isdisjoint(self.trick))
        )


@dataclass(frozen=True)
class Rule:
    """Settings for the cells of a filter.

    Attributes:
        when: The cells.
        settings: Value by name.
        place: Where the settings stand in the file.
    """

    when: CellFilter
    settings: Mapping[str, Any]
    place: Place


@dataclass(frozen=True)
class Inclusion:
    """Cells beside the product: a small product of its own; None is all of the suite's.

    Attributes:
        unless: What a profile excludes of it.
    """

    datasets: tuple[Entry[Dataset], ...] | None
    variants: tuple[Entry[Variant], ...] | None
    tricks: tuple[Combination, ...] | None
    place: Place
    unless: tuple[CellFilter, ...] = ()


@dataclass(frozen=True)
class Baseline:
    """The cell that all others of its data set are compared with."""

    variant: Entry[Variant]
    tricks: Combination
    place: Place

    def find(self, cells: Iterable[Cell]) -> tuple[str, str] | None:
        """Return the labels of the suite's cell that is meant, None if it has no such cell."""
        for cell in cells:
            same_variant = self.variant.key == cell.variant.key or (
                self.variant.bare and self.variant.id == cell.variant.id
            )
            same_tricks = self.tricks.key == cell.tricks.key or (
                self.tricks.bare and self.tricks.ids == cell.tricks.ids
            )
            if same_variant and same_tricks:
                return cell.variant.label, cell.tricks.label
        return None


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


@dataclass(frozen=True)
class Layer:
    """A suite without its profiles, or one of its profiles; None and empty say nothing.

    Attributes:
        rules: Settings from first to last, later ones winning; the unconditional ones first.
    """

    datasets: tuple[Entry[Dataset], ...] | None = None
    variants: tuple[Entry[Variant], ...] | None = None
    tricks: tuple[Combination, ...] | None = None
    seeds: Sequence[int] | None = None
    rules: tuple[Rule, ...] = ()
    exclude: tuple[CellFilter, ...] = ()
    include: tuple[Inclusion, ...] = ()
    baseline: Baseline | None = None
    margin: float | None = None
    contrasts: tuple[Contrast, ...] | None = None

    def overlaid(self, top: Layer) -> Layer:
        """Lay another layer over this one: lists replace, rules and filters are added.

        What the other excludes it excludes of this one's inclusions too.
        """
        include = tuple(replace(one, unless=one.unless + top.exclude) for one in self.include)
        return replace(
            self,
            datasets=self.datasets if top.datasets is None else top.datasets,
            variants=self.variants if top.variants is None else top.variants,
            tricks=self.tricks if top.tricks is None else top.tricks,
            seeds=self.seeds if top.seeds is None else top.seeds,
            rules=self.rules + top.rules,
            exclude=self.exclude + top.exclude,
            include=include + top.include,
            baseline=self.baseline if top.baseline is None else top.baseline,
            margin=self.margin if top.margin is None else top.margin,
            contrasts=self.contrasts if top.contrasts is None else top.contrasts,
        )


@dataclass(frozen=True)
class Suite:
    """A suite file that has been read and found valid.

    Attributes:
        name: Its name, and its results folder's.
        summary: The question it asks, one line.
        source: Name of the built-in suite, or path of the file.
        base: What it says without a profile.
        profiles: What each profile lays over it.
        document: The file's content, for lines in later messages.
    """

    name: str
    summary: str
    source: str
    base: Layer
    profiles: Mapping[str, Layer]
    document: Document = field(repr=False)

    def layer(self, profile: str | None) -> Layer:
        """Return what the suite says with a profile, or without one.

        Raises:
            GanbenchError: if there is no such profile; the message suggests the nearest.
        """
        if profile is None:
            return self.base
        if profile not in self.profiles:
            known = sorted(self.profiles)
            there = f"it has {', '.join(known)}" if known else "it has none"
            raise GanbenchError(
                f"suite {self.name!r} has no profile {profile!r}{nearest(profile, known)}; {there}"
            )
        return self.base.overlaid(self.profiles[profile])


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
