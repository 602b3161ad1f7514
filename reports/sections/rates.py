"""The chapter on learning rates: where each variant learns, and where it breaks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from harness.spec import canonical_json
from harness.store.records import short_name
from reports.cells import CellRuns, Result, SuiteCells
from reports.document import Block, Figure, Section
from reports.figures.rates import RateCurve, draw_rates
from reports.statistics.ranks import median_with_failures
from reports.statistics.rates import basin, rate_sensitivity
from reports.tables import ARROWS, Column, Row, Table, TableCell, entries, unique_names

FEWEST = 3
"""Rates from which a grid is one."""
LEAD = (
    "The same cell at several learning rates, both players' alike. The basin are the neighbouring "
    "rates around the best whose median is within 1.25 times the best median, failed runs ranked "
    "worst; its width in decades is a lower bound, for it is read from the grid. Sensitivity is "
    "the mean over the grid of ln(min(median, untrained) / best): 0 where the rate does not "
    "matter. The best rate is chosen on the runs shown, so its own value flatters it.",
)


@dataclass(frozen=True)
class Grid:
    """One cell at several learning rates.

    Attributes:
        dataset: Label of its data set.
        label: Its variant, with the tricks that all of its cells share.
        cells: By rate, ascending.
    """

    dataset: str
    label: str
    cells: tuple[tuple[float, CellRuns], ...]


def rate_of(result: Result) -> float | None:
    """Return the learning rate of a run whose players have the same; None for others."""
    if result.record is None:
        return None
    settings = result.record.spec.settings
    return settings.lr_g if settings.lr_g == settings.lr_d else None


def all_but_rates(result: Result) -> str:
    """Name everything that defines a run but its seed and its learning rates."""
    data: dict[str, Any] = result.record.spec.model_dump(mode="json") if result.record else {}
    data.pop("seed", None)
    for name in ("lr_g", "lr_d"):
        data.get("settings", {}).pop(name, None)
    return canonical_json(data)


def grids(cells: SuiteCells) -> list[Grid]:
    """Find the cells that differ in nothing but their learning rate, three rates or more."""
    groups: dict[str, dict[float, CellRuns]] = {}
    for cell in cells.cells:
        begun = [result for result in cell.results if result.record is not None]
        rates = {rate_of(result) for result in begun}
        if len(rates) == 1 and (rate := rates.pop()) is not None:
            groups.setdefault(all_but_rates(begun[0]), {})[rate] = cell
    result = []
    for by_rate in groups.values():
        if len(by_rate) < FEWEST:
            continue
        ordered = tuple(sorted(by_rate.items()))
        first = ordered[0][1]
        record = next(r.record for r in first.results if r.record is not None)
        tricks = " + ".join(trick.id for trick in record.spec.tricks)
        label = f"{first.variant} + {tricks}" if tricks else first.variant
        result.append(Grid(first.dataset, label, ordered))
    return result


def curve_of(grid: Grid, metric: str, *, lower: bool) -> RateCurve:
    """Collect what became of a grid's runs."""
    values, failures, medians, starts = [], [], [], []
    for _, cell in grid.cells:
        finals = cell.finals
        good = [v for r in finals if r.status == "ok" and (v := r.last(metric)) is not None]
        values.append(tuple(good))
        failures.append(len(finals) - len(good))
        middle = median_with_failures(good, len(finals) - len(good), lower_is_better=lower)
        medians.append(math.inf if middle is None else middle)
        starts += [points[0][1] for r in finals if (points := r.curve(metric)) and not points[0][0]]
    rates = tuple(rate for rate, _ in grid.cells)
    basin_ends = basin(rates, medians)
    start = float(median(starts)) if starts else None
    return RateCurve(rates, tuple(values), tuple(failures), tuple(medians), basin_ends, start)


def grid_row(grid: Grid, curve: RateCurve, metric: str) -> Row:
    """Write one grid as a row."""
    best = min(zip(curve.medians, curve.rates, strict=True))
    learnt = math.isfinite(best[0])
    width = math.log10(curve.basin[1] / curve.basin[0]) if curve.basin else None
    above = [rate for rate in curve.rates if curve.basin is None or rate > curve.basin[1]]
    broken = next((rate for rate in above), None) if curve.basin else None
    at = curve.rates.index(broken) if broken is not None else 0
    runs = tuple(result.planned.id for _, cell in grid.cells for result in cell.finals)
    return entries(
        grid.dataset,
        grid.label,
        best[1] if learnt else None,
        TableCell(
            best[0], None, len(curve.values[curve.rates.index(best[1])]), runs, "lower", metric
        ),
        span(curve.basin),
        width,
        broken,
        cliff(curve, at) if broken is not None else None,
        rate_sensitivity(curve.medians, curve.start),
    )


def span(ends: tuple[float, float] | None) -> str | None:
    """Write the ends of a basin."""
    return (
        None
        if ends is None
        else f"{ends[0]:g} to {ends[1]:g}"
        if ends[0] < ends[1]
        else (f"{ends[0]:g} only")
    )


def cliff(curve: RateCurve, at: int) -> str:
    """Say what happens at the first rate above the basin."""
    n = curve.failures[at] + len(curve.values[at])
    if curve.failures[at]:
        return f"{curve.failures[at]} of {n} fail"
    return "worse, none fails"


def table(curves: Sequence[tuple[Grid, RateCurve]], metric: str, name: str) -> Table:
    """List all grids of one metric."""
    return Table(
        name,
        f"Learning rates by {metric}",
        (
            Column("Data set"),
            Column("Variant"),
            Column("Best rate", "number"),
            Column(f"Median there {ARROWS['lower']}", "number", "failed runs ranked worst"),
            Column("Basin"),
            Column("Decades", "number", "width of the basin"),
            Column("Breaks at", "number", "the first rate of the grid above the basin"),
            Column("How"),
            Column("Sensitivity ↓", "number"),
        ),
        tuple(grid_row(grid, curve, metric) for grid, curve in curves),
    )


def build(cells: SuiteCells) -> Section | None:
    """Make the chapter; None where no cell was run at three learning rates."""
    by_metric: dict[str, list[tuple[Grid, RateCurve]]] = {}
    for grid in grids(cells):
        primary = next((cell.primary for _, cell in grid.cells if cell.primary), None)
        if primary is None or primary.better != "lower":
            continue
        curve = curve_of(grid, primary.name, lower=True)
        by_metric.setdefault(primary.name, []).append((grid, curve))
    if not by_metric:
        return None
    blocks: list[Block] = []
    names = unique_names([f"learning-rates-{metric}" for metric in by_metric])
    for name, (metric, curves) in zip(names, by_metric.items(), strict=True):
        blocks.append(table(curves, metric, name))
        several = len({grid.dataset for grid, _ in curves}) > 1
        panels = {
            f"{grid.dataset} · {grid.label}" if several else grid.label: curve
            for grid, curve in curves
        }
        word = short_name(metric)
        blocks.append(
            Figure(
                name,
                f"{metric} {ARROWS['lower']} by learning rate",
                f"Small plots for {len(panels)} variants over a grid of learning rates.",
                draw_rates(panels, word),
                "Every dot is a run, the line their median, failed runs ranked worst. The number "
                "above a cross says how many runs failed at that rate.",
                empty="No run of the grid has a result yet.",
            )
        )
    return Section("learning-rates", "Where it learns and where it breaks", LEAD, (), tuple(blocks))
