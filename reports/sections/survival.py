"""How long runs last before they fail: survival curves and a log-rank test per trick."""

from __future__ import annotations

from collections.abc import Sequence

from reports.cells import CellRuns, Result, SuiteCells
from reports.document import Figure, Section, left_out
from reports.figures.survival import draw_survival
from reports.statistics.ranks import holm
from reports.statistics.survival import Lifetimes, kaplan_meier, log_rank
from reports.tables import Column, Table, TableCell, entries

MOST_VARIANTS = 36
"""Plots of the figure."""
LEAD = (
    "Kaplan and Meier's estimate of the share of runs that have not failed yet, by the share of "
    "training that is done. A run that ends well is watched to the end; one that failed counts "
    "from the onset of its collapse or the step of its divergence, and from the start if it never "
    "learnt.",
)


def lifetime(result: Result) -> float | None:
    """Return the share of training that a final run lasted; None if its record does not say."""
    if not result.failed:
        return 1.0
    if result.status == "unlearned":
        return 0.0
    step = result.failed_at
    if step is None or result.record is None:
        return None
    return min(1.0, float(step) / result.record.spec.settings.steps)


def lifetimes(cells: Sequence[CellRuns]) -> Lifetimes:
    """Collect how long the final runs of some cells lasted."""
    lived = [(lifetime(result), result.failed) for cell in cells for result in cell.finals]
    known = [(time, failed) for time, failed in lived if time is not None]
    return Lifetimes([time for time, _ in known], [failed for _, failed in known])


def compared(cells: SuiteCells) -> dict[str, list[tuple[CellRuns, CellRuns]]]:
    """Pair the cells of every treatment with their controls."""
    pairs: dict[str, list[tuple[CellRuns, CellRuns]]] = {name: [] for name in cells.treatments}
    for cell, control in cells.controlled:
        pairs[cells.treatment(cell)].append((cell, control))
    return pairs


def survival_table(cells: SuiteCells) -> Table:
    """Compare every treatment with its controls, data set by data set and variant by variant."""
    pairs = compared(cells)
    tests = {
        name: log_rank([(lifetimes([a]), lifetimes([b])) for a, b in group])
        for name, group in pairs.items()
    }
    known = {name: test for name, test in tests.items() if test is not None}
    adjusted = dict(zip(known, holm([test.p for test in known.values()]).tolist(), strict=True))
    rows = []
    for name, test in known.items():
        treated = [a for a, _ in pairs[name]]
        curve = kaplan_meier(lifetimes(treated))
        ids = tuple(r.planned.id for pair in pairs[name] for cell in pair for r in cell.finals)
        if curve is None:
            continue
        end = TableCell(
            curve.shares[-1], curve.intervals[-1], len(lifetimes(treated).times), ids, "higher"
        )
        rows.append(
            entries(
                name, end, test.observed, test.expected, TableCell(adjusted[name], None, None, ids)
            )
        )
    return Table(
        "survival",
        "Survival with each trick, beside the same cells without it",
        (
            Column("Trick"),
            Column(
                "Survive to the end",
                "share",
                "Kaplan and Meier's estimate with Greenwood's interval on the scale of log(−log), "
                "Wilson's where all survive or none does",
            ),
            Column("Failures", "count"),
            Column(
                "Expected",
                "number",
                "failures if these runs failed as those without the trick, at the same times",
            ),
            Column("p (Holm)", "p", "log-rank test in strata of a cell and its baseline, adjusted"),
        ),
        tuple(rows),
        "The log-rank test takes runs as independent, which those of a seed are not: it describes. "
        "Claims rest on the paired tests of the first chapter.",
        empty="Nothing is compared with anything yet.",
    )


def build(cells: SuiteCells) -> Section | None:
    """Make the chapter; None where no run failed."""
    if not any(cell.failures for cell in cells.cells):
        return None
    panels = {}
    for variant in cells.variants[:MOST_VARIANTS]:
        by_trick = {}
        for trick in cells.tricks:
            group = [c for c in cells.cells if (c.variant, c.tricks) == (variant, trick)]
            curve = kaplan_meier(lifetimes(group))
            if curve is not None:
                by_trick[trick] = curve
        if by_trick:
            panels[variant] = by_trick
    figure = Figure(
        "survival",
        "Runs that have not failed yet",
        f"Survival curves over training: one plot for each of {len(panels)} variants, one line "
        "for each trick",
        draw_survival(panels),
        "All data sets of a variant together. Bands are "
        "pointwise 95 % intervals of the first in the key."
        + left_out("variants", len(cells.variants), MOST_VARIANTS),
        empty="No record says when a run failed.",
    )
    return Section("survival", "How long runs last", LEAD, (), (figure, survival_table(cells)))
