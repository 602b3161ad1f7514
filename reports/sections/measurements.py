"""Third chapter: every metric of every cell, with its n, interval, floor and ceiling."""

from __future__ import annotations

import math

import numpy as np

from harness.store.records import MetricInfo
from reports.cells import CellRuns, Result, SuiteCells
from reports.document import Section
from reports.statistics.intervals import Interval, geometric_interval, geometric_mean, t_interval
from reports.statistics.ranks import median_with_failures
from reports.tables import ARROWS, Cell, Column, Table, significant, unique_names

LEAD = (
    "One table per data set and metric; two metrics with different protocols never share one. "
    "Means are over the runs that survived and say how many those are; beside them stands the "
    "median over all finished runs, failed ones ranked worst, which reads “failed” where the "
    "median run failed. Means and intervals of the primary metric are geometric.",
    "The main number is that of the last checkpoint. The best checkpoint was chosen by looking at "
    "the same number, so it flatters: it is shown with how many were searched. “Untrained” is the "
    "generator before its first step.",
)
Centre = tuple[float | None, Interval | None]


def centre(values: list[float], *, geometric: bool) -> Centre:
    """Return mean and t-interval, of logarithms where that is asked for and possible."""
    if geometric:
        mean = geometric_mean(values)
        return (mean, geometric_interval(values)) if mean is not None else (None, None)
    return (float(np.mean(values)), t_interval(values)) if values else (None, None)


def trained_values(result: Result, metric: MetricInfo) -> list[float]:
    """Return the metric at every checkpoint after step 0."""
    if result.record is None:
        return []
    steps, values = result.record.curve(metric.name)
    return [v for step, v in zip(steps, values, strict=True) if step > 0 and math.isfinite(v)]


def metric_row(cell: CellRuns, metric: MetricInfo) -> tuple[Cell, ...]:
    """Write one metric of one cell as a row."""
    survivors = [(r, r.last(metric.name)) for r in cell.finals if not r.failed]
    measured = [(r, v) for r, v in survivors if v is not None]
    values = [v for _, v in measured]
    ids = tuple(r.planned.id for r, _ in measured)
    geometric = metric.primary
    mean, interval = centre(values, geometric=geometric)
    ranked = metric.better != "none"
    median = (
        median_with_failures(values, cell.failures, lower_is_better=metric.better == "lower")
        if ranked
        else (float(np.median(values)) if values else None)
    )
    curves = [trained_values(r, metric) for r, _ in measured]
    pick = max if metric.better == "higher" else min
    best = [pick(curve) for curve in curves if curve] if ranked else []
    searched = max((len(curve) for curve in curves), default=0)
    best_mean, best_interval = centre(best, geometric=geometric)
    first = [r.record.curve(metric.name) for r in cell.results if r.record]
    untrained = [v[0] for s, v in first if s and s[0] == 0 and math.isfinite(v[0])]
    total = len(values) + (cell.failures if ranked else 0)

    def made(value: float | None, limits: Interval | None, n: int) -> Cell:
        return Cell(value, limits, n, ids, metric.better, metric.name)

    return (
        Cell(cell.variant),
        Cell(cell.tricks),
        made(mean, interval, len(values)),
        made(median, None, total),
        made(best_mean, best_interval, len(best)),
        Cell(searched if best else None),
        made(float(np.median(untrained)) if untrained else None, None, len(untrained)),
    )


def metric_table(dataset: str, metric: MetricInfo, cells: list[CellRuns], name: str) -> Table:
    """Make the table of one metric on one data set."""
    arrow = ARROWS[metric.better]
    kind = "geometric mean" if metric.primary else "mean"
    count = f" (n={metric.floor_count})" if metric.floor_count is not None else ""
    floor = (
        f"Real held-out data{count}: {significant(metric.floor)}."
        if metric.floor is not None and math.isfinite(metric.floor)
        else "No floor is defined for it."
    )
    direction = {"lower": "lower is better", "higher": "higher is better", "none": "a diagnostic"}
    role = "The primary metric: " if metric.primary else ""
    return Table(
        name,
        f"{dataset}: {metric.name} {arrow}".strip(),
        (
            Column("Variant"),
            Column("Tricks"),
            Column(f"Last {arrow}".strip(), "number", f"{kind} over survivors, 95 % t-interval"),
            Column("Median of all", "number", "all finished runs, failed ones ranked worst"),
            Column("Best", "number", f"{kind} of each run's best checkpoint"),
            Column("Searched", "count", "checkpoints among which the best was looked for"),
            Column("Untrained", "number", "median at step 0"),
        ),
        tuple(metric_row(cell, metric) for cell in cells),
        f"{role}{metric.summary.rstrip('.')}; {direction[metric.better]}. {floor}",
        folded=not metric.primary,
    )


def build(cells: SuiteCells) -> Section:
    """Make the chapter."""
    found: list[tuple[str, MetricInfo, list[CellRuns]]] = []
    for dataset in cells.datasets:
        group = cells.of_dataset(dataset)
        by_name: dict[str, MetricInfo] = {}
        for cell in group:
            for metric in cell.metrics:
                by_name.setdefault(metric.name, metric)
        for metric in sorted(by_name.values(), key=lambda m: not m.primary):
            having = [c for c in group if any(m.name == metric.name for m in c.metrics)]
            found.append((dataset, metric, having))
    names = unique_names([f"metric-{dataset}-{metric.name}" for dataset, metric, _ in found])
    tables = tuple(
        metric_table(dataset, metric, having, name)
        for (dataset, metric, having), name in zip(found, names, strict=True)
    )
    lead = LEAD if tables else ("No run has been evaluated yet.",)
    return Section("metrics", "Metrics", lead, (), tables)
