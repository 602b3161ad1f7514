"""A chapter on what D learned: a linear classifier on its features, beside what needs no D."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from harness.store.events import ProbeRow
from harness.store.records import MetricInfo
from reports.cells import CellRuns, Result, SuiteCells
from reports.document import Block, Figure, Section
from reports.figures.probes import Probed, draw_probes
from reports.statistics.intervals import Interval, t_interval, wilson
from reports.tables import Column, Row, Table, TableCell, entries, unique_names

PROBE = "representation"
LEAD = (
    "How well can the classes be told apart from D's hidden layers by a linear classifier that "
    "sees a few labels? D never saw one. Beside it stand the same D before training, since "
    "random convolutions are features too, k-means features of whitened patches, learned from the "
    "same unlabelled images, and raw pixels; the classifier and the choice of its penalty are the "
    "same for all.",
)


@dataclass(frozen=True)
class Measured:
    """What one run's probe found at one step."""

    accuracy: float
    details: dict[str, Any]


@dataclass(frozen=True)
class Protocol:
    """How a data set's probe measures.

    Attributes:
        column: The run's own column.
        others: Columns of the baselines.
        baselines: By column: ``share``, ``penalty`` and ``dimensions``.
        examples: Images that were classified.
    """

    column: MetricInfo
    others: tuple[MetricInfo, ...]
    baselines: dict[str, dict[str, float]]
    examples: int


def protocol_of(result: Result) -> Protocol | None:
    """Return how a run was probed; None if it was not."""
    known = result.record.protocol if result.record else None
    described = (known.probes or {}).get(PROBE) if known else None
    if described is None:
        return None
    own, *others = (MetricInfo(**column) for column in described["columns"])
    return Protocol(own, tuple(others), described["baselines"], described["examples"])


def measured(result: Result, column: str, *, trained: bool) -> Measured | None:
    """Return what was found before or after training; None if nothing finite was."""
    for row in reversed(result.record.of_type(ProbeRow) if result.record else []):
        accuracy = row.values.get(column, math.nan)
        if row.probe == PROBE and (row.step > 0) == trained and math.isfinite(accuracy):
            return Measured(accuracy, row.details)
    return None


def limited(values: Sequence[float], low: float, high: float) -> Interval | None:
    """Return the t-interval of a mean that cannot lie beyond two limits."""
    interval = t_interval(values)
    return interval and Interval(max(interval.low, low), min(interval.high, high))


def mean_cell(values: Sequence[tuple[str, float]], low: float, name: str) -> TableCell:
    """Write a mean over seeds of accuracies (low = 0) or of their differences (low = −1)."""
    numbers = [value for _, value in values]
    if not numbers:
        return TableCell(None)
    ids = tuple(run for run, _ in values)
    interval = limited(numbers, low, 1.0)
    return TableCell(float(np.mean(numbers)), interval, len(numbers), ids, "higher", name)


def feature_row(cell: CellRuns, protocol: Protocol) -> tuple[Row, Probed] | None:
    """Write one cell as a row, and what is drawn of it; None before any run has finished."""
    name = protocol.column.name
    alike = [r for r in cell.finals if (p := protocol_of(r)) and p.column.name == name]
    after = {r.planned.id: m for r in alike if (m := measured(r, name, trained=True))}
    before = {r.planned.id: m for r in alike if (m := measured(r, name, trained=False))}
    if not after:
        return None
    trained = [(run, m.accuracy) for run, m in after.items()]
    gains = [(run, m.accuracy - before[run].accuracy) for run, m in after.items() if run in before]
    untrained = [(run, before[run].accuracy) for run, _ in gains]
    k_means = protocol.baselines[protocol.others[0].name]["share"]
    accuracy = mean_cell(trained, 0.0, name)
    start = mean_cell(untrained, 0.0, name)
    row = entries(
        cell.variant,
        cell.tricks,
        accuracy,
        start,
        mean_cell(gains, -1.0, name),
        mean_cell([(run, value - k_means) for run, value in trained], -1.0, name),
        median(m.details["dimensions"] for m in after.values()),
        float(median(m.details["C"] for m in after.values())),
    )
    values = tuple(value for _, value in trained)
    mean = float(np.mean(values))
    early = float(start.value) if isinstance(start.value, float) else None
    return row, Probed(values, mean, accuracy.interval, early)


def baseline_row(column: MetricInfo, label: str, protocol: Protocol) -> Row:
    """Write a baseline as a row: one number, whose interval is over the classified images."""
    baseline = protocol.baselines[column.name]
    right = round(baseline["share"] * protocol.examples)
    return entries(
        label,
        None,
        TableCell(
            baseline["share"],
            wilson(right, protocol.examples),
            protocol.examples,
            (),
            "higher",
            column.name,
        ),
        None,
        None,
        None,
        int(baseline["dimensions"]),
        baseline["penalty"],
    )


def blocks_of(dataset: str, cells: list[CellRuns], name: str) -> list[Block]:
    """Draw and tabulate one data set; nothing where no run has been probed."""
    results = [result for cell in cells for result in cell.results]
    protocol = next((p for result in results if (p := protocol_of(result))), None)
    if protocol is None:
        return []
    several = len({cell.tricks for cell in cells}) > 1
    rows, drawn = [], []
    for cell in cells:
        entry = feature_row(cell, protocol)
        if entry is not None:
            rows.append(entry[0])
            drawn.append((f"{cell.variant}, {cell.tricks}" if several else cell.variant, entry[1]))
    if not drawn:
        return []
    labels = ("k-means features", "raw pixels")
    shares = {
        label: protocol.baselines[column.name]["share"]
        for label, column in zip(labels, protocol.others, strict=True)
    }
    rows += [
        baseline_row(column, label, protocol)
        for label, column in zip(labels, protocol.others, strict=True)
    ]
    figure = Figure(
        f"representation-{name}",
        f"{dataset}: what D learned, {protocol.column.name}",
        f"Accuracies of {len(drawn)} cells on {dataset}, trained and untrained, beside k-means "
        "features and raw pixels.",
        draw_probes(drawn, shares),
        "Pale dots are seeds.",
    )
    names = ", ".join(column.name for column in (protocol.column, *protocol.others))
    table = Table(
        f"representation-{name}",
        f"{dataset}: accuracy of a linear classifier on features",
        (
            Column("Features"),
            Column("Tricks"),
            Column("Accuracy ↑", "share", "after training; mean over seeds"),
            Column("Untrained", "share", "the same discriminators before their first step"),
            Column("Gain of training", "points", "paired by seed, in percentage points"),
            Column("Over k-means", "points", "in percentage points"),
            Column("Dimensions", "count"),
            Column("C", "number", "median of the penalties chosen on held-out labels"),
        ),
        tuple(rows),
        f"Protocols: {names}. Rows of a variant: D's features, with 95 % t-intervals over seeds, "
        "which hold the labelled and the classified images fixed. Rows of baselines: one number "
        f"each, with Wilson's interval over the {protocol.examples} classified images. Runs that "
        "diverged have no trained D and are not in it. Descriptive: nothing here is tested.",
    )
    return [figure, table]


def build(cells: SuiteCells) -> Section | None:
    """Make the chapter; None where no discriminator has been probed."""
    blocks: list[Block] = []
    for dataset, name in zip(cells.datasets, unique_names(cells.datasets), strict=True):
        blocks += blocks_of(dataset, cells.of_dataset(dataset), name)
    if not blocks:
        return None
    return Section("representation", "What the discriminator learned", LEAD, (), tuple(blocks))
