"""Which modes or classes were found: a map of their number, and where points lie."""

from __future__ import annotations

import numpy as np

from reports.cells import CellRuns, Result, SuiteCells
from reports.document import Block, Figure
from reports.figures.effects import share_map
from reports.tables import unique_names


def captured(result: Result) -> tuple[float, int] | None:
    """Return the share of modes or classes with a generated example, and how many there are."""
    evaluations = result.record.of_type("evaluation") if result.record else []
    counted = [event for event in evaluations if event.get("histogram")]
    return (counted[-1]["coverage"], len(counted[-1]["histogram"])) if counted else None


def coverage_figure(dataset: str, cells: list[CellRuns], name: str) -> Figure | None:
    """Draw which share of the modes each cell captured; None where no run counted them."""
    shares: dict[tuple[str, str], tuple[float, str]] = {}
    for cell in cells:
        found = [c for result in cell.finals if (c := captured(result)) is not None]
        if found:
            share = float(np.mean([c[0] for c in found]))
            total = found[0][1]
            text = f"{share * total:.1f}".removesuffix(".0")
            shares[cell.variant, cell.tricks] = (share, f"{text} of {total}  (n={len(found)})")
    if not shares:
        return None
    rows = list(dict.fromkeys(cell.variant for cell in cells))
    columns = list(dict.fromkeys(cell.tricks for cell in cells))
    return Figure(
        name,
        f"{dataset}: modes or classes captured",
        f"A map of {len(rows)} variants by {len(columns)} tricks, deeper blue for more modes.",
        share_map(rows, columns, shares),
        "Mean over all finished runs, failed ones with what they had captured when they ended; "
        "a mode counts from one generated example on.",
    )


def build_maps(cells: SuiteCells) -> list[Block]:
    """Make the maps of all data sets whose modes or classes are counted."""
    blocks: list[Block] = []
    for dataset, name in zip(cells.datasets, unique_names(cells.datasets), strict=True):
        group = cells.of_dataset(dataset)
        figure = coverage_figure(dataset, group, f"coverage-{name}")
        if figure:
            blocks.append(figure)
    return blocks
