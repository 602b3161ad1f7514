"""What a suite file is made of: its keys, filters, rules and profiles, as models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field, PrivateAttr, ValidationInfo, ValidatorFunctionWrapHandler, WrapValidator

from harness.errors import GanbenchError
from harness.registry import nearest
from harness.spec import NAME_PATTERN
from harness.suite.entries import Cell, Combination
from harness.suite.notation import (
    ChangedSettings,
    Contrasts,
    DatasetEntry,
    DatasetName,
    Margin,
    Name,
    OneLine,
    Seeds,
    TrickName,
    Tricks,
    VariantEntry,
    VariantName,
)
from harness.suite.reading import Items, OneOrMore, Reader, Refused, Section
from harness.suite.wording import is_name, refuse_name, show

ABSENT: Any = None
"""Stands for what a file leaves out, and may not say itself."""


NOTHING_NAMED = "must name a dataset, variant or trick"


class CellFilter(Section):
    """Which cells are meant, by ids or labels; what is not named may be anything."""

    empty = NOTHING_NAMED

    dataset: OneOrMore[DatasetName] = Field((), description="ids or labels of data sets")
    variant: OneOrMore[VariantName] = Field((), description="ids or labels of variants")
    trick: OneOrMore[TrickName] = Field(
        (), description="ids or labels of tricks, or of combinations"
    )

    def matches(self, cell: Cell) -> bool:
        """Whether a cell is meant; of the names of one kind, one must fit."""
        sides = ((self.dataset, cell.dataset), (self.variant, cell.variant))
        return all(
            not names or not side.names.isdisjoint(names)
            for names, side in (*sides, (self.trick, cell.tricks))
        )


class Override(Section):
    """Settings for the cells of a filter."""

    required = ("when", "settings")

    when: CellFilter = CellFilter.model_construct()
    settings: ChangedSettings = Field({}, description="what is set in these cells")


class Inclusion(Section):
    """Cells beside the product: a small product of its own."""

    empty = NOTHING_NAMED

    dataset: OneOrMore[DatasetEntry] = Field((), description="without it, the suite's")
    variant: OneOrMore[VariantEntry] = Field((), description="without it, the suite's")
    trick: OneOrMore[Tricks] = Field((), description="without it, the suite's")
    _unless: tuple[CellFilter, ...] = PrivateAttr(default=())

    @property
    def unless(self) -> tuple[CellFilter, ...]:
        """What a profile excludes of it."""
        return self._unless

    def without(self, excluded: tuple[CellFilter, ...]) -> Inclusion:
        """Leave cells out."""
        smaller = self.model_copy()
        smaller._unless += excluded
        return smaller


class Baseline(Section):
    """The cell that all others of its data set are compared with."""

    required = ("variant", "trick")

    variant: VariantEntry = ABSENT
    trick: Tricks = ABSENT

    def find(self, cells: Iterable[Cell]) -> tuple[str, str] | None:
        """Return the labels of the suite's cell that is meant, None if it has no such cell."""
        for cell in cells:
            sides = ((self.variant, cell.variant), (self.trick, cell.tricks))
            if all(
                meant.key == side.key or (meant.bare and meant.ids == side.ids)
                for meant, side in sides
            ):
                return cell.variant.label, cell.tricks.label
        return None


class Layer(Section):
    """A suite without its profiles, or one of its profiles; what is not given says nothing."""

    seeds: Seeds = Field((), description="a number of seeds, from 0 on, or a list of seeds")
    datasets: OneOrMore[DatasetEntry] = Field((), description="data sets: ids, or with options")
    variants: OneOrMore[VariantEntry] = Field((), description="variants: ids, or with options")
    tricks: OneOrMore[Tricks] = Field(
        (), description="tricks to lay over the variants; a list is a combination, `none` is none"
    )
    settings: ChangedSettings = Field({}, description="settings of every cell")
    overrides: Items[Override] = Field(
        (), description="settings of some cells, first to last; later ones win"
    )
    exclude: Items[CellFilter] = Field((), description="cells that are not run")
    include: Items[Inclusion] = Field((), description="cells beside the product, excluded ones too")
    baseline: Baseline = Field(
        ABSENT, description="the cell that others are compared with; else each variant's own"
    )
    margin: Margin = Field(
        ABSENT, description="ratio of the primary metric within which a change does not matter"
    )
    contrasts: Contrasts = Field(
        (), description="pairs of tricks, as reports call them, to compare with each other"
    )

    @property
    def rules(self) -> tuple[Override, ...]:
        """Settings from first to last, later ones winning; those of every cell first."""
        every = Override.at(self.place, settings=self.settings)
        return (*([every] if self.settings else []), *self.overrides)

    def overlaid(self, top: Layer) -> Layer:
        """Lay another layer over this one: lists replace, rules and filters are added.

        What the other excludes it excludes of this one's inclusions too.
        """
        below = {name: getattr(self, name) for name in Layer.model_fields}
        above = {name: getattr(top, name) for name in top.model_fields_set & below.keys()}
        added = {
            "settings": {},
            "overrides": self.rules + top.rules,
            "exclude": self.exclude + top.exclude,
            "include": (*(one.without(top.exclude) for one in self.include), *top.include),
        }
        return Layer.at((), **below | above | added)


UNSAID = Layer.at((), tricks=(Combination(("tricks",)),), seeds=range(10))
"""Without ``tricks`` there are none, without ``seeds`` they are 0 to 9: the cheapest power."""


def read_profiles(
    value: Any, read: ValidatorFunctionWrapHandler, info: ValidationInfo[Reader]
) -> Any:
    """Read layers by name."""
    reader = info.context
    if not isinstance(value, dict):
        raise Refused.because(f"must be a mapping, not {show(value)}")
    profiles: dict[str, Layer] = {}
    for name, layer in value.items():
        if not is_name(name):
            reader.problem((*reader.place, name), refuse_name(name))
        for found in reader.read(read, {name: layer}, name):
            profiles |= found
    return profiles


class Heading(Section):
    """What a suite is called."""

    suite: Name = Field("", description="its name, and its results folder's")
    summary: OneLine = Field("", description="the question that it asks")


class Suite(Layer, Heading):
    """A suite: which data sets, variants, tricks and seeds, and with what settings."""

    required = ("suite", "datasets", "variants")

    profiles: Annotated[dict[str, Layer], WrapValidator(read_profiles)] = Field(
        {},
        description="what `--profile NAME` lays over the suite",
        json_schema_extra={"propertyNames": {"pattern": NAME_PATTERN}},
    )
    _file: Reader = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        """Note where it was read."""
        self._file = context

    @property
    def name(self) -> str:
        """Its name, and its results folder's."""
        return self.suite

    @property
    def source(self) -> str:
        """Name of the built-in suite, or path of the file."""
        return self._file.source

    def reader(self) -> Reader:
        """Begin to check it further; messages have the file's lines."""
        return Reader(self.source, self._file.document)

    def layer(self, profile: str | None) -> Layer:
        """Return what the suite says with a profile, or without one.

        Raises:
            GanbenchError: if there is no such profile; the message suggests the nearest.
        """
        base = UNSAID.overlaid(self)
        if profile is None:
            return base
        if profile not in self.profiles:
            known = sorted(self.profiles)
            there = f"it has {', '.join(known)}" if known else "it has none"
            raise GanbenchError(
                f"suite {self.name!r} has no profile {profile!r}{nearest(profile, known)}; {there}"
            )
        return base.overlaid(self.profiles[profile])


def suite_schema() -> dict[str, Any]:
    """Describe suite files as JSON Schema, by which editors complete and check them."""
    draft = "http://json-schema.org/draft-07/schema#"
    return {"$schema": draft, **Suite.model_json_schema(), "title": "ganbench suite"}
