"""Chapter: every metric of every cell, with its n, interval, floor and ceiling."""

from __future__ import annotations

import math

import numpy as np

from harness.store.events import EvaluationRow
from harness.store.records import MetricInfo, Weights
from reports.cells import CellRuns, SuiteCells
from reports.document import Section
from reports.statistics.intervals import Interval, geometric_interval, geometric_mean, t_interval
from reports.statistics.ranks import median_with_failures
from reports.tables import ARROWS, Column, Row, Table, TableCell, entries, significant, unique_names

LEAD = (
    "One table per data set and metric; two metrics with different protocols never share one. "
    "Means are over the runs that survived and say how many those are; beside them stands the "
    "median over all finished runs, failed ones ranked worst, which reads “failed” where the "
    "median run failed. Means and intervals of the primary metric are geometric.",
    "The main number is that of the last checkpoint. The best checkpoint was chosen by looking at "
    "the same number, so it flatters: it is shown with how many were searched. “Untrained” is the "
    "generator before its first step. Where a trick averages G's weights, the average is what is "
    "measured, and the raw weights have a row of their own below it.",
)
WEIGHTS = Column("Weights", "text", "of G: as they are trained, or averaged by a trick")
CALIBRATION = "calibration"
"""What stands in the place of tricks in rows that are no cells."""
CALIBRATED = (
    " Rows of calibration are no runs but samples of which the answer is known, measured by the "
    "same protocol: means over draws, and the limits that 95 % of the draws lie between."
)
Centre = tuple[float | None, Interval | None]


def centre(values: list[float], *, geometric: bool) -> Centre:
    """Return mean and t-interval, of logarithms where that is asked for and possible."""
    if geometric:
        mean = geometric_mean(values)
        return (mean, geometric_interval(values)) if mean is not None else (None, None)
    return (float(np.mean(values)), t_interval(values)) if values else (None, None)


def has_raw(cell: CellRuns, metric: MetricInfo) -> bool:
    """Say whether the raw weights were measured beside averaged ones."""
    records = (result.record for result in cell.finals if result.record)
    return any(len(record.series(EvaluationRow, metric.name, "raw").steps) for record in records)


def metric_row(cell: CellRuns, metric: MetricInfo, weights: Weights = "values") -> Row:
    """Write one metric of one cell as a row, for the measured weights or the raw ones."""
    survivors = [(r, r.last(metric.name, weights)) for r in cell.finals if not r.failed]
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
    best_checkpoints = [r.record.best(metric, weights) for r, _ in measured if r.record]
    chosen = [one for one in best_checkpoints if one is not None]
    best = [one.value for one in chosen]
    searched = max((one.searched for one in chosen), default=0)
    best_mean, best_interval = centre(best, geometric=geometric)
    courses = [
        (r, r.record.series(EvaluationRow, metric.name, weights)) for r in cell.finals if r.record
    ]
    first = [(r, float(c.values[0])) for r, c in courses if len(c.steps) and c.steps[0] == 0]
    untrained = [(r, value) for r, value in first if math.isfinite(value)]
    started = tuple(r.planned.id for r, _ in untrained)
    everyone = ids + tuple(r.planned.id for r in cell.finals if ranked and r.failed)

    def made(
        value: float | None, limits: Interval | None, n: int, runs: tuple[str, ...] = ids
    ) -> TableCell:
        return TableCell(value, limits, n, runs, metric.better, metric.name)

    return entries(
        cell.variant,
        cell.tricks,
        made(mean, interval, len(values)),
        made(median, None, len(everyone), everyone),
        made(best_mean, best_interval, len(best)),
        searched if best else None,
        made(
            float(np.median([value for _, value in untrained])) if untrained else None,
            None,
            len(untrained),
            started,
        ),
    )


def calibration_rows(metric: MetricInfo) -> list[Row]:
    """Write what a metric says of samples whose answer is known, real held-out data first."""
    if not metric.calibration:
        return []
    known: list[tuple[str, float | None, Interval | None]] = [
        ("real held-out data", metric.floor, None)
    ]
    for label, (mean, *limits) in metric.calibration.items():
        # Older records have a standard deviation, which says too little of a skewed law.
        known.append((label, mean, Interval(*limits) if len(limits) == 2 else None))
    return [
        entries(
            label,
            CALIBRATION,
            TableCell(value, limits, None, (), metric.better, metric.name),
            *[None] * 4,
        )
        for label, value, limits in known
    ]


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
    raw = [has_raw(cell, metric) for cell in cells]
    averaged = any(raw)
    rows: list[Row] = []
    for cell, both in zip(cells, raw, strict=True):
        kinds: tuple[Weights, ...] = ("values", "raw") if both else ("values",)
        for weights in kinds:
            row = metric_row(cell, metric, weights)
            which = TableCell("averaged" if both and weights == "values" else "raw")
            rows.append((*row[:2], which, *row[2:]) if averaged else row)
    calibration = calibration_rows(metric)
    rows += [(*row[:2], TableCell(None), *row[2:]) if averaged else row for row in calibration]
    return Table(
        name,
        f"{dataset}: {metric.name} {arrow}".strip(),
        (
            Column("Variant"),
            Column("Tricks"),
            *((WEIGHTS,) if averaged else ()),
            Column(f"Last {arrow}".strip(), "number", f"{kind} over survivors, 95 % t-interval"),
            Column("Median of all", "number", "all finished runs, failed ones ranked worst")
            if metric.better != "none"
            else Column("Median", "number", "survivors only: without a direction nothing is worst"),
            Column("Best", "number", f"{kind} over survivors, of each run's best checkpoint"),
            Column("Searched", "count", "most checkpoints among which a best was looked for"),
            Column("Untrained", "number", "median at step 0"),
        ),
        tuple(rows),
        f"{role}{metric.summary.rstrip('.')}; {direction[metric.better]}. {floor}"
        + (CALIBRATED if calibration else ""),
        folded=not metric.primary,
    )


def build(cells: SuiteCells) -> Section:
    """Make the chapter."""
    metrics: list[tuple[str, MetricInfo, list[CellRuns]]] = []
    for dataset in cells.datasets:
        group = cells.of_dataset(dataset)
        by_name: dict[str, MetricInfo] = {}
        for cell in group:
            for metric in cell.metrics:
                by_name.setdefault(metric.name, metric)
        for metric in sorted(by_name.values(), key=lambda m: not m.primary):
            having = [c for c in group if any(m.name == metric.name for m in c.metrics)]
            metrics.append((dataset, metric, having))
    names = unique_names([f"metric-{dataset}-{metric.name}" for dataset, metric, _ in metrics])
    tables = tuple(
        metric_table(dataset, metric, having, name)
        for (dataset, metric, having), name in zip(metrics, names, strict=True)
    )
    lead = LEAD if tables else ("No run has been evaluated yet.",)
    return Section("metrics", "Metrics", lead, (), tables)
