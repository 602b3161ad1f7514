"""A chapter on what losses tell: how D's and G's loss and the critic's gap go with quality."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import numpy as np

from harness.store.events import EvaluationRow, LossRow
from harness.store.records import NONE, REACHED_THE_END, MetricInfo
from reports.cells import CellRuns, Result, SuiteCells
from reports.document import Block, Figure, Section
from reports.figures.correlations import Correlations, draw_correlations
from reports.statistics.correlation import mean_correlation, spearman, spearman_interval
from reports.tables import ARROWS, Column, Table, TableCell, entries, unique_names

DIAGNOSTICS = ("d_loss", "g_loss", "logit_gap")
FEWEST = 5
"""Evaluations of a run, and seeds of a cell, under which a correlation is not computed."""
LEAD = (
    "Spearman's rank correlation between what training prints and the primary metric, for the "
    "cells without tricks, or for all where every cell has one. A loss is taken as the median of "
    "its records since the evaluation before. Positive: the loss and the metric rise and fall "
    "together; of a distance, a falling loss then means better samples. Negative: one rises "
    "while the other falls. Near 0: the loss says nothing.",
    "Over a run, nearly everything has a trend, and two trends correlate whatever their cause. "
    "So two more numbers stand beside it. Step to step correlates the changes from one evaluation "
    "to the next: does the loss tell whether the last stretch of training helped? Across seeds "
    "compares runs of one cell at their last evaluation: does the loss tell which run came out "
    "better? A loss that can be trusted has all three; none of them shows a cause.",
)
Pairs = list[tuple[float, float]]


def paired(result: Result, diagnostic: str, metric: str) -> Pairs:
    """Pair a diagnostic with a metric at each evaluation of a run, both finite.

    The diagnostic is the median of its records after the evaluation before and up to this one.
    """
    if result.record is None:
        return []
    losses = result.record.series(LossRow, diagnostic)
    finite = np.isfinite(losses.values)
    steps, values = losses.steps[finite], losses.values[finite].tolist()
    measured = result.record.series(EvaluationRow, metric)
    ends = np.searchsorted(steps, measured.steps, side="right").tolist()
    starts = np.searchsorted(steps, [0, *measured.steps][:-1], side="right").tolist()
    return [
        (median(values[start:end]), quality)
        for start, end, quality in zip(starts, ends, measured.values.tolist(), strict=True)
        if end > start and math.isfinite(quality)
    ]


def correlation(pairs: Pairs) -> float | None:
    """Return the rank correlation of pairs; None for too few, or if one side never changes."""
    return spearman(*zip(*pairs, strict=True)) if len(pairs) >= FEWEST else None


def changes(pairs: Pairs) -> Pairs:
    """Return by how much both sides change from each pair to the next."""
    return [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(pairs)]


@dataclass(frozen=True)
class Meaning:
    """What one diagnostic of one cell says of quality.

    Attributes:
        over: Run id, correlation and number of evaluations, of each run with enough of them.
        steps: The same of changes between evaluations.
        last: Run id, diagnostic and metric of each finished run at its last evaluation.
    """

    over: tuple[tuple[str, float, int], ...]
    steps: tuple[tuple[str, float, int], ...]
    last: tuple[tuple[str, float, float], ...]

    @property
    def final(self) -> float | None:
        """Correlation over seeds at the end."""
        return correlation([(loss, quality) for _, loss, quality in self.last])


def meaning(cell: CellRuns, diagnostic: str, metric: str) -> Meaning:
    """Correlate a diagnostic with a metric over each run of a cell, and over its runs."""
    over, steps, last = [], [], []
    for result in cell.finals:
        pairs = paired(result, diagnostic, metric)
        run = result.planned.id
        rho, stepwise = correlation(pairs), correlation(changes(pairs))
        if rho is not None:
            over.append((run, rho, len(pairs)))
        if stepwise is not None:
            steps.append((run, stepwise, len(pairs) - 1))
        # What has diverged has no end to compare: its last finite values are from before.
        if pairs and result.status in REACHED_THE_END:
            last.append((run, *pairs[-1]))
    return Meaning(tuple(over), tuple(steps), tuple(last))


def mean_cell(correlations: tuple[tuple[str, float, int], ...]) -> TableCell:
    """Write the mean of correlations over seeds."""
    averaged = mean_correlation([(rho, n) for _, rho, n in correlations])
    if averaged is None:
        return TableCell(None)
    return TableCell(
        averaged[0], averaged[1], len(correlations), tuple(run for run, _, _ in correlations)
    )


def final_cell(cell_meaning: Meaning) -> TableCell:
    """Write the correlation over seeds at the end."""
    rho, n = cell_meaning.final, len(cell_meaning.last)
    if rho is None:
        return TableCell(None)
    return TableCell(
        rho, spearman_interval(rho, n), n, tuple(run for run, _, _ in cell_meaning.last)
    )


def drawn(cell_meaning: Meaning) -> Correlations:
    """Turn what a diagnostic says into what is drawn."""
    over, final = mean_cell(cell_meaning.over), final_cell(cell_meaning)
    return Correlations(
        seeds=tuple(rho for _, rho, _ in cell_meaning.over),
        mean=over.value if isinstance(over.value, float) else None,
        interval=over.interval,
        final=final.value if isinstance(final.value, float) else None,
        final_interval=final.interval,
    )


def blocks_of(dataset: str, metric: MetricInfo, cells: list[CellRuns], name: str) -> list[Block]:
    """Draw and tabulate one data set; nothing where no run has enough evaluations."""
    several = len({cell.tricks for cell in cells}) > 1
    meanings = [
        (cell, {diagnostic: meaning(cell, diagnostic, metric.name) for diagnostic in DIAGNOSTICS})
        for cell in cells
    ]
    meanings = [
        (cell, by_name) for cell, by_name in meanings if any(m.over for m in by_name.values())
    ]
    if not meanings:
        return []
    labels = [f"{c.variant}, {c.tricks}" if several else c.variant for c, _ in meanings]
    figure = Figure(
        f"losses-{name}",
        f"{dataset}: does the loss track {metric.name} {ARROWS[metric.better]}?".replace(" ?", "?"),
        f"Rank correlations between −1 and 1 of {', '.join(DIAGNOSTICS)} with the primary metric "
        f"for {len(meanings)} cells on {dataset}.",
        draw_correlations(
            {
                diagnostic: [
                    (label, drawn(by_name[diagnostic]))
                    for label, (_, by_name) in zip(labels, meanings, strict=True)
                ]
                for diagnostic in DIAGNOSTICS
            }
        ),
        "logit_gap is the mean of D's logits on real data minus that on generated data: for a "
        "Wasserstein critic, its estimate of the distance, up to a factor.",
    )
    rows = [
        entries(
            cell.variant,
            cell.tricks,
            diagnostic,
            mean_cell(one.over),
            mean_cell(one.steps),
            final_cell(one),
            median(n for _, _, n in one.over),
        )
        for cell, by_name in meanings
        for diagnostic, one in by_name.items()
        if one.over
    ]
    table = Table(
        f"losses-{name}",
        f"{dataset}: rank correlation with {metric.name}",
        (
            Column("Variant"),
            Column("Tricks"),
            Column("Diagnostic"),
            Column("Over a run", "number", "mean over seeds; dominated by trends"),
            Column("Step to step", "number", "of changes between evaluations; mean over seeds"),
            Column("Across seeds at the end", "number", "over runs, at their last evaluation"),
            Column("Evaluations", "count", "median per run"),
        ),
        tuple(rows),
        "Means over seeds and their 95 % t-intervals are of Fisher's transforms; seeds whose "
        "correlations are all alike get no interval. Across seeds the interval is Bonett and "
        f"Wright's, and the number is left out under {FEWEST} runs; runs that diverged have no "
        "end and are not in it. Descriptive: nothing here is tested, and with many rows some "
        "intervals exclude 0 by chance.",
    )
    return [figure, table]


def build(cells: SuiteCells) -> Section | None:
    """Make the chapter; None where no run has enough evaluations."""
    blocks: list[Block] = []
    for dataset, name in zip(cells.datasets, unique_names(cells.datasets), strict=True):
        group = cells.of_dataset(dataset)
        metric = next((cell.primary for cell in group if cell.primary), None)
        if metric is None:
            continue
        alike = [c for c in group if c.primary is not None and c.primary.name == metric.name]
        plain = [cell for cell in alike if cell.tricks == NONE]
        blocks += blocks_of(dataset, metric, plain or alike, name)
    if not blocks:
        return None
    return Section("losses", "Does the loss track quality?", LEAD, (), tuple(blocks))
