"""Writes the page of a run: what it was, what it did, how to repeat it."""

from __future__ import annotations

from harness.store.records import DataFacts
from harness.store.wording import code_lines, provenance_lines
from reports.cells import CellRuns, SuiteCells
from reports.figures.samples import GRID
from reports.html import png_uri
from reports.markup import rows
from reports.moments import Moments, moments_of
from reports.run_history import (
    SIGN_OF,
    History,
    HistoryEvent,
    facts_of,
    history_rows,
    metric_rows,
    reason_of,
)
from reports.run_links import LIST, RunLinks
from reports.run_plots import diagnostic_plots, metric_plots
from reports.run_spec import environment_rows, repeat_command, saved_networks, spec_rows
from reports.templating import environment, inlined

NAME, NUMBER, PLAIN = 'th scope="row"', 'td class="num"', "td"
METRIC = (NAME, NUMBER, NUMBER, PLAIN, NUMBER, NUMBER)
METRIC_RAW = (NAME, NUMBER, *METRIC[1:])
STORY = (NUMBER, PLAIN, 'td class="prose"')
"""Columns of the tables of metrics and of what happened."""


class RunPages:
    """Writes the pages of a suite's runs; the template is compiled once.

    Args:
        cells: The suite.
        links: Of its runs, from the folder of their pages; None for a page that lies by itself.
    """

    def __init__(self, cells: SuiteCells, links: RunLinks | None = None) -> None:
        self._plan, self._links = cells.suite.plan, links
        self._template = environment().get_template("run.html.jinja")
        self._fixed = {
            **inlined(["report.css", "run.css"], ["run.js"]),
            "suite": self._plan.suite,
            "linked": links is not None,
            "png_uri": png_uri,
        }

    def neighbours(self, cell: CellRuns, position: int) -> list[tuple[str, str, str]]:
        """Return relation, words and address of the runs of a cell before and after one."""
        neighbours: list[tuple[str, str, str]] = []
        if self._links is None:
            return neighbours
        for relation, step in (("prev", -1), ("next", 1)):
            place = position + step
            if 0 <= place < len(cell.results):
                planned = cell.results[place].planned
                page = self._links.page(planned.id)
                if page is not None:
                    neighbours.append((relation, f"seed {planned.seed}", page))
        return neighbours

    def cell_rows(self, cell: CellRuns) -> str:
        """Return where the list shows a cell's runs; all of it, if there is no other."""
        runs = [result.planned.id for result in cell.results]
        return (self._links.behind(runs) if self._links and len(runs) > 1 else None) or LIST

    def render(self, cell: CellRuns, position: int) -> str:
        """Write the page of a run that has begun.

        Args:
            cell: Its cell.
            position: Its place in that.

        Raises:
            ValueError: if it has not begun.
        """
        result = cell.results[position]
        if result.record is None:
            raise ValueError(f"run {result.planned.id} has no records to show")
        history = History(result, result.record)
        record, primary = history.record, history.primary
        moments = moments_of(result.read, history.samples, result.evaluation_at, record.data)
        sign, badge, words = SIGN_OF.get(result.status, ("", "none", result.status))
        raw = len(history.unaveraged.steps) > 0
        return self._template.render(
            **self._fixed,
            planned=result.planned,
            sign=sign,
            badge=badge,
            words=words,
            reason=reason_of(result),
            facts=rows(facts_of(history, primary), ("dt", "dd"), "div"),
            neighbours=self.neighbours(cell, position),
            cell_rows=self.cell_rows(cell),
            cell_size=len(cell.results),
            metric_plots=metric_plots(history),
            diagnostic_plots=diagnostic_plots(history),
            died=history.died,
            onset=history.onset,
            floors=any(metric.floor is not None for metric in record.metrics),
            moments=moments,
            legend=legend_of(record.data),
            left_out=left_out(moments),
            metrics=rows(metric_rows(history, raw=raw), METRIC_RAW if raw else METRIC),
            raw=raw,
            story=rows(map(HistoryEvent.texts, history_rows(history, primary)), STORY),
            spec=spec_rows(record.spec),
            seed=record.spec.seed,
            origin=[*provenance_lines(record.provenance), *code_lines(record.code)],
            environment=environment_rows(record),
            saved=saved_networks(record),
            command=repeat_command(self._plan, cell, result.planned.seed, record.device),
        )


def legend_of(facts: DataFacts) -> str:
    """Say what the colours of drawn points mean; empty for images."""
    if facts.kind != "points":
        return ""
    if facts.shape == (1,):
        return "Blue: a histogram of generated points. Orange: the true density."
    return "Blue: generated points. Orange: a ring around each mode that is hit, a cross on others."


def left_out(moments: Moments) -> str:
    """Say what of a run's samples its page does not show; empty if it shows all."""
    said = []
    if moments.recorded > len(moments.shown) + moments.unreadable:
        said.append(f"{len(moments.shown)} of {moments.recorded} stored moments are shown.")
    if moments.tiles < GRID:
        said.append(f"Of each stored grid, {moments.tiles**2} of {GRID**2} samples are shown.")
    if moments.unreadable:
        said.append(f"{moments.unreadable} sample files are absent or damaged.")
    return " ".join(said)
