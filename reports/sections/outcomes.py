"""Chapter: how the runs ended, cell by cell, with what was skipped and why."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from harness.store.events import Sign
from harness.store.records import CRASHES, FAILURES
from reports.cells import STATUSES, CellRuns, SuiteCells
from reports.document import Section
from reports.statistics.intervals import wilson
from reports.tables import Column, Row, Table, TableCell, entries

SHOWN = ("ok", *FAILURES, *CRASHES)
SIGNS = {
    "vanishing_gradient": (
        "vanishing gradient",
        "G's gradient norm under a thousandth of its early median while D is > 95 % right",
    ),
    "overpowered": ("D overpowers", "D more than 95 % right through a quarter of the run"),
    "oscillation": (
        "oscillation",
        "D's mean answer to generated data turns four times, each after a swing of at least 0.2 "
        "of a probability, or 0.4 of a raw answer",
    ),
    "blow_up": (
        "blow-up",
        "last value of the primary metric more than 1.25 times the best, and by more than its "
        "floor",
    ),
}
"""Signs in an outcome record: column title and meaning."""
NOTE = (
    "Failed: collapsed, diverged or unlearned. A run is unlearned if it was below a threshold of "
    "collapse at every evaluation: it had nothing to lose. Runs that ran out of memory (oom), "
    "crashed or are unfinished are no results: the same command tries them again, and nothing "
    "that they had measured is in a number. The interval is Wilson's; onset is the step at which a "
    "collapse began or a divergence was seen."
)


def onset(cell: CellRuns) -> list[int]:
    """Return the step at which each failed run went wrong, where it is known."""
    return [step for result in cell.results if (step := result.failed_at) is not None]


def outcome_row(cell: CellRuns) -> Row:
    """Write one cell's outcomes as a row."""
    n = len(cell.finals)
    others = tuple(status for status in STATUSES if status not in SHOWN)
    steps = onset(cell)
    ids = tuple(result.planned.id for result in cell.finals)
    failed = tuple(result.planned.id for result in cell.results if result.failed)
    return entries(
        cell.dataset,
        cell.variant,
        cell.tricks,
        *(count_cell(cell, status) for status in SHOWN),
        count_cell(cell, *others),
        TableCell(cell.failures / n if n else None, wilson(cell.failures, n), n, ids, "lower"),
        TableCell(float(median(steps)) if steps else None, None, len(steps), failed),
    )


def count_cell(cell: CellRuns, *statuses: str) -> TableCell:
    """Count the runs of some statuses."""
    ids = tuple(result.planned.id for result in cell.results if result.status in statuses)
    return TableCell(len(ids), None, None, ids)


def failures_table(cells: SuiteCells) -> Table:
    """List every run that did not end well, with the reason it gave."""
    rows = [
        entries(
            cell.dataset,
            cell.variant,
            cell.tricks,
            TableCell(result.planned.seed, runs=(result.planned.id,)),
            result.status,
            result.outcome.step if result.outcome else None,
            result.outcome.reason if result.outcome else "",
        )
        for cell in cells.cells
        for result in cell.results
        if result.failed or result.status in CRASHES
    ]
    titles = ("Data set", "Variant", "Tricks")
    return Table(
        "failures",
        "Runs that failed or crashed",
        (
            *(Column(title) for title in titles),
            Column("Seed", "count"),
            Column("Outcome"),
            Column("Step", "count"),
            Column("Reason", "prose"),
        ),
        tuple(rows),
        folded=True,
        empty="No run failed or crashed.",
    )


def first_step(signs: Mapping[str, Sign | float]) -> int | None:
    """Return the step at which a run's first sign began; None without any that says so."""
    return min((sign.step for sign in signs.values() if isinstance(sign, Sign)), default=None)


def signs_table(cells: SuiteCells) -> Table:
    """Count the runs of each cell that showed a sign of instability, whatever their outcome."""
    rows = []
    for cell in cells.cells:
        ends = [(r.outcome.signs, r.planned.id) for r in cell.finals if r.outcome]
        signs = [sign for sign, _ in ends if sign is not None]
        counts = [sum(name in sign for sign in signs) for name in SIGNS]
        begun = [first for sign in signs if (first := first_step(sign)) is not None]
        if any(counts):
            ids = tuple(run for sign, run in ends if sign is not None)
            rows.append(
                entries(
                    cell.dataset,
                    cell.variant,
                    cell.tricks,
                    *(TableCell(count, None, None, ids) for count in counts),
                    TableCell(float(median(begun)) if begun else None, None, len(begun)),
                    len(signs),
                )
            )
    return Table(
        "signs",
        "Warning signs",
        (
            Column("Data set"),
            Column("Variant"),
            Column("Tricks"),
            *(Column(title, "count", meaning) for title, meaning in SIGNS.values()),
            Column("Median step", "number", "at which a run's first sign began"),
            Column("of runs", "count"),
        ),
        tuple(rows),
        "Runs that showed a sign at some time; none of them is an outcome. A critic without a "
        "boundary is neither right nor wrong, so it shows none but the last.",
        folded=True,
        empty="No run showed one.",
    )


def build(cells: SuiteCells) -> Section:
    """Make the chapter."""
    table = Table(
        "outcomes",
        "Outcomes of every cell",
        (
            Column("Data set"),
            Column("Variant"),
            Column("Tricks"),
            *(Column(status, "count") for status in SHOWN),
            Column("unfinished", "count", "not begun, running, interrupted or unreadable"),
            Column("Failure rate", "share"),
            Column("Median onset", "number", "step"),
        ),
        tuple(outcome_row(cell) for cell in cells.cells),
        NOTE,
        empty="The suite has no cells.",
    )
    skipped = Table(
        "skipped",
        "Skipped cells",
        (Column("Data set"), Column("Variant"), Column("Tricks"), Column("Reason", "prose")),
        tuple(entries(s.dataset, s.variant, s.tricks, s.reason) for s in cells.suite.plan.skipped),
        "Where a trick does not apply, the cell is not run without it under its name.",
        empty="No cell was skipped.",
    )
    results = cells.results
    finals = sum(result.final for result in results)
    failed = sum(result.failed for result in results)
    lead = (
        f"{finals} of {len(results)} planned runs have a result; {failed} of them failed. "
        "Failures are results: they are counted, timed and never averaged away.",
    )
    tables = (table, failures_table(cells), signs_table(cells), skipped)
    return Section("outcomes", "Outcomes", lead, (), tables)
