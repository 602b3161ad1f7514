"""Writes the list of all runs of a suite, which leads to their pages."""

from __future__ import annotations

from dataclasses import dataclass

from reports.cells import CellRuns, Result, SuiteCells
from reports.run_history import SIGN_OF, number, reason_of
from reports.run_links import RunLinks, address
from reports.templating import environment, inlined


@dataclass(frozen=True)
class Row:
    """One run in the list: text as it is shown, and keys to sort by where that is no number."""

    run: str
    page: str
    dataset: str
    variant: str
    tricks: str
    seed: int
    status: tuple[str, str, str]
    last: str
    last_key: str
    best: str
    best_key: str
    step: str
    seconds: str
    reason: str


def key_of(value: float | None, text: str) -> str:
    """Return what to sort by; empty where the text says it."""
    return "" if value is None or text.replace(".", "").isdigit() else repr(value)


def row_of(cell: CellRuns, result: Result, links: RunLinks) -> Row:
    """Describe a run."""
    planned, outcome, record = result.planned, result.outcome, result.record
    name = links.pages.get(planned.id)
    primary = cell.primary if record is not None else None
    last = record.last(primary.name) if record and primary else None
    found = record.best(primary) if record and primary else None
    best = found.value if found else None
    onset = outcome.get("onset")
    failed_at = (onset if onset is not None else outcome.get("step")) if result.failed else None
    seconds = outcome.get("seconds")
    return Row(
        planned.id,
        "" if name is None else address(name),
        planned.dataset,
        planned.variant,
        planned.tricks,
        planned.seed,
        SIGN_OF.get(result.status, ("", "none", result.status)),
        number(last),
        key_of(last, number(last)),
        number(best),
        key_of(best, number(best)),
        "–" if failed_at is None else str(failed_at),
        "–" if seconds is None else f"{seconds:.1f}",
        reason_of(result),
    )


def render_list(cells: SuiteCells, links: RunLinks) -> str:
    """Write the page, with a row for every planned run in the order of the cells."""
    counts = {
        words: sum(result.status == status for result in cells.results)
        for status, (_, _, words) in SIGN_OF.items()
    }
    return (
        environment()
        .get_template("runs.html.jinja")
        .render(
            **inlined(["report.css", "run.css"], ["runs.js", "report.js"]),
            suite=cells.suite.plan.suite,
            total=len(cells.results),
            counts=[(words, count) for words, count in counts.items() if count],
            rows=(row_of(cell, result, links) for cell in cells.cells for result in cell.results),
        )
    )
