"""From a suite's layer to its cells: which there are, and which are skipped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, TypeVar

from harness.store.records import SkippedCell
from harness.suite.cell_settings import ResolvedCell, Skip, resolve_cell
from harness.suite.layers import Cell, Combination, Entry, Inclusion, Layer
from harness.suite.reader import Reader

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
    runs = count_cells(layer) * len(layer.seeds or ())
    if runs > MAX_RUNS:
        counts = " × ".join(f"{len(side):,}" for side in (*lists(layer), layer.seeds or ()))
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


def lists(layer: Layer) -> tuple[Sequence[Any], Sequence[Any], Sequence[Any]]:
    """Return a layer's data sets, variants and combinations of tricks."""
    return layer.datasets or (), layer.variants or (), layer.tricks or ()


def sides(included: Inclusion, layer: Layer) -> list[Sequence[Any]]:
    """Return an inclusion's data sets, variants and combinations of tricks."""
    own = (included.datasets, included.variants, included.tricks)
    return [
        entries if side is None else like_the_suites(side, entries)
        for side, entries in zip(own, lists(layer), strict=True)
    ]


def like_the_suites(own: Iterable[E], entries: Iterable[E]) -> list[E]:
    """Replace ids without options by the suite's entries of those ids, where it has any."""
    by_ids: dict[tuple[str, ...], list[E]] = {}
    for entry in entries:
        by_ids.setdefault(entry.ids, []).append(entry)
    return [
        entry for side in own for entry in (by_ids.get(side.ids, [side]) if side.bare else [side])
    ]


def count_cells(layer: Layer) -> int:
    """Count cells without making any: the product and what is included, before exclusion."""
    products = [lists(layer), *(sides(included, layer) for included in layer.include)]
    return sum(prod(map(len, parts)) for parts in products)


def choose_cells(layer: Layer, reader: Reader) -> tuple[list[Cell], list[Cell]]:
    """List the cells that are kept and those that are excluded.

    What is included is kept, whatever is excluded but by a profile that lies over it.
    """
    kept: dict[tuple[str, str, str], Cell] = {}
    excluded: dict[tuple[str, str, str], Cell] = {}
    for parts in product(*lists(layer)):
        cell = Cell(*parts)
        side = excluded if any(cell_filter.matches(cell) for cell_filter in layer.exclude) else kept
        side[cell.key] = cell
    for included in layer.include:
        for parts in product(*sides(included, layer)):
            cell = Cell(*parts)
            if any(cell_filter.matches(cell) for cell_filter in included.unless):
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
