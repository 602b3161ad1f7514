"""Writes the list of all runs of a suite, which leads to their pages."""

from __future__ import annotations

from markupsafe import Markup

from harness.store.records import CRASHES
from reports.cells import CellRuns, Result, SuiteCells
from reports.markup import text
from reports.run_history import SIGN_OF, number, reason_of
from reports.run_links import RunLinks, address
from reports.templating import environment, inlined


def measured(value: float | None) -> str:
    """Write a number's cell, with what to sort by where the text does not say it."""
    shown = number(value)
    says_it = value is None or shown.replace(".", "").isdigit()
    key = "" if says_it else f' data-key="{value!r}"'
    return f'<td class="num"{key}>{text(shown)}</td>'


def line_of(place: int, cell: CellRuns, result: Result, links: RunLinks) -> str:
    """Write the row of a run, which stands at some place of the list."""
    planned, end, record = result.planned, result.outcome, result.record
    name = links.pages.get(planned.id)
    run, why = text(planned.id), text(reason_of(result))
    link = run if name is None else f'<a href="{text(address(name))}">{run}</a>'
    if name is None and record is not None:
        why += f"no page; <code>ganbench show {run} --html {run}.html</code> writes it"
    primary = cell.primary if record is not None and result.status not in CRASHES else None
    last = record.last(primary.name) if record and primary else None
    best = record.best(primary) if record and primary else None
    failed_at, seconds = result.failed_at, end.seconds if end else None
    sign, badge, words = SIGN_OF.get(result.status, ("", "none", result.status))
    return (
        f'<tr id="r{place}"><td>{link}</td><td>{text(planned.dataset)}</td>'
        f"<td>{text(planned.variant)}</td><td>{text(planned.tricks)}</td>"
        f'<td class="num">{planned.seed}</td><td><span class="badge {badge}">'
        f'<span aria-hidden="true">{sign}</span> {text(words)}</span></td>'
        f"{measured(last)}{measured(best.value if best else None)}"
        f'<td class="num">{"–" if failed_at is None else text(str(failed_at))}</td>'
        f'<td class="num">{"–" if seconds is None else f"{seconds:.1f}"}</td>'
        f'<td class="prose">{why}</td></tr>\n'
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
            some=len(links.pages) < len(links.begun),
            counts=[(words, count) for words, count in counts.items() if count],
            lines=Markup(  # noqa: S704 - every foreign string is escaped above
                "".join(
                    line_of(place, cell, result, links)
                    for place, (cell, result) in enumerate(
                        (cell, result) for cell in cells.cells for result in cell.results
                    )
                )
            ),
        )
    )
