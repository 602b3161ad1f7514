"""From a suite's layer to its cells: which there are, and which are skipped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product, starmap
from math import prod
from typing import Any, TypeVar

from harness.store.records import SkippedCell
from harness.suite.cell_settings import ResolvedCell, Skip, resolve_cell
from harness.suite.entries import Cell, Combination, Entry
from harness.suite.model import Inclusion, Layer
from harness.suite.reading import Reader

MAX_RUNS = 100_000

E = TypeVar("E", bound=Entry[Any] | Combination)


@dataclass(frozen=True)
class Skipped:
    """A cell that will not be run, and why."""

    cell: Cell
    reason: str

    @property
    def record(self) -> SkippedCell:
        """What the plan says of it."""
        return SkippedCell(*self.cell.labels, self.reason)


def resolve_cells(layer: Layer, reader: Reader) -> tuple[list[ResolvedCell], list[Skipped]]:
    """Settle all cells of a layer; problems go to the reader.

    Nothing is expanded if there would be more than 100,000 runs.

    Returns:
        The cells to run and the cells to skip.
    """
    own, *others = products(layer)
    # Counted without making any: the product and what is included, before exclusion.
    runs = sum(prod(map(len, parts)) for parts in (own, *others)) * len(layer.seeds)
    if runs > MAX_RUNS:
        counts = " × ".join(f"{len(side):,}" for side in (*own, layer.seeds))
        reader.problem(
            (),
            f"asks for {runs:,} runs, at most {MAX_RUNS:,} are allowed; "
            f"data sets × variants × combinations of tricks × seeds are {counts}",
        )
        return [], []
    resolved: list[ResolvedCell] = []
    kept, excluded = choose_cells(layer, reader)
    skipped = [Skipped(cell, "excluded by the suite") for cell in excluded]
    for cell in kept:
        try:
            resolved_cell = resolve_cell(cell, layer.rules, reader)
        except Skip as reason:
            skipped.append(Skipped(cell, str(reason)))
        else:
            resolved += [resolved_cell] if resolved_cell is not None else []
    if not resolved and skipped and not reader.problems:
        last = skipped[-1]
        reader.problem(
            (),
            f"leaves nothing to run: all {len(skipped)} cells are skipped, such as "
            f"{last.cell.label}: {last.reason}",
        )
    return resolved, skipped


def products(layer: Layer) -> Iterator[list[Sequence[Any]]]:
    """List the data sets, variants and combinations of the suite, and of each inclusion."""
    lists: list[Sequence[Any]] = [layer.datasets, layer.variants, layer.tricks]
    yield lists
    for included in layer.include:
        yield [
            like_the_suites(getattr(included, side), entries)
            if side in included.model_fields_set
            else entries
            for side, entries in zip(Inclusion.model_fields, lists, strict=True)
        ]


def like_the_suites(own: Iterable[E], entries: Iterable[E]) -> list[E]:
    """Replace ids without options by the suite's entries of those ids, where it has any."""
    by_ids: dict[tuple[str, ...], list[E]] = {}
    for entry in entries:
        by_ids.setdefault(entry.ids, []).append(entry)
    return [
        entry for side in own for entry in (by_ids.get(side.ids, [side]) if side.bare else [side])
    ]


def choose_cells(layer: Layer, reader: Reader) -> tuple[list[Cell], list[Cell]]:
    """List the cells that are kept and those that are excluded.

    What is included is kept, whatever is excluded but by a profile that lies over it.
    """
    kept: dict[tuple[str, str, str], Cell] = {}
    excluded: dict[tuple[str, str, str], Cell] = {}
    own, *others = products(layer)
    for cell in starmap(Cell, product(*own)):
        side = excluded if any(each.matches(cell) for each in layer.exclude) else kept
        side[cell.key] = cell
    for included, parts in zip(layer.include, others, strict=True):
        for cell in starmap(Cell, product(*parts)):
            if any(each.matches(cell) for each in included.unless):
                if cell.key not in kept:
                    excluded[cell.key] = cell
                continue
            if cell.key in kept:
                reader.problem(
                    included.place, f"{cell.label} is there twice: the suite has it already"
                )
            kept.setdefault(cell.key, cell)
            excluded.pop(cell.key, None)
    return list(kept.values()), list(excluded.values())
