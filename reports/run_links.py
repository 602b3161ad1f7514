"""Where the page of a run lies, and what leads to the runs behind a number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

if TYPE_CHECKING:
    from reports.cells import SuiteCells

FOLDER = "runs"
"""Beside the report: pages of runs, and the list of all."""

LIST = "index.html"

Runs = Literal["auto", "all"]
"""Whose pages are written: of all runs that have begun, or ``auto``, :func:`chosen`'s."""


def page_name(folder: str, run_id: str) -> str:
    """Name a run's page as its folder, or by its id where a file system could refuse that."""
    name = f"{folder}.html"
    fits = len(name.encode(errors="surrogateescape")) <= 200 and not name.startswith(".")
    return name if fits and name.isprintable() and name != LIST else f"{run_id}.html"


def address(name: str) -> str:
    """Write a file's name as the relative address of it."""
    return quote(name, safe="", errors="surrogateescape")


def ranges(numbers: Iterable[int]) -> str:
    """Write whole numbers in order, and those in a row by their ends: ``0-4,7``."""
    runs = []
    for _, group in groupby(enumerate(sorted(set(numbers))), lambda pair: pair[1] - pair[0]):
        row = [number for _, number in group]
        runs.append(str(row[0]) if len(row) == 1 else f"{row[0]}-{row[-1]}")
    return ",".join(runs)


def chosen(cells: SuiteCells, runs: Runs) -> set[str]:
    """Choose the runs that get a page, by their ids: all that have begun.

    Of a large suite only those that did not end well, and each cell's best, median and worst.
    """
    if runs == "all" or not cells.large:
        return {result.planned.id for result in cells.results if result.record}
    picked = [r for r in cells.results if r.record and r.status != "ok"]
    for cell in cells.cells:
        ranked = [result for result in cell.ranked if result.final]
        picked += [ranked[place] for place in (0, len(ranked) // 2, -1) if ranked]
    return {result.planned.id for result in picked}


class RunLinks:
    """Addresses of runs, relative to the folder of their pages.

    Several runs are a selection of the list: its rows are numbered in the order of the cells. The
    script of the list shows only those; without it, the address still leads to the first of them.

    Args:
        cells: The suite.
        runs: Whose pages are written.
        prefix: From where the links stand to the folder of the pages.
    """

    def __init__(self, cells: SuiteCells, runs: Runs, prefix: str = f"{FOLDER}/") -> None:
        self._prefix = prefix
        self.numbers = {r.planned.id: i for i, r in enumerate(cells.results)}
        """Row in the list, by run id."""
        self.begun = {r.planned.id: r.record.path.name for r in cells.results if r.record}
        """Name of the run's folder, by run id."""
        self.pages = {run: page_name(self.begun[run], run) for run in chosen(cells, runs)}
        """Name of the page's file, by run id, where one is written."""

    @property
    def all(self) -> str:
        """The list of all runs."""
        return f"{self._prefix}{LIST}"

    def page(self, run_id: str) -> str | None:
        """Return where a run's page is, or its row of the list; None if it has not begun."""
        if run_id in self.pages:
            return self._prefix + address(self.pages[run_id])
        return self._rows([self.numbers[run_id]]) if run_id in self.begun else None

    def behind(self, runs: Sequence[str]) -> str | None:
        """Return what leads to some runs: a page, a selection of the list, or None for none."""
        numbers = sorted({self.numbers[run] for run in runs if run in self.numbers})
        if not numbers:
            return None
        if len(set(runs)) == 1 and (page := self.page(runs[0])) is not None:
            return page
        return self._rows(numbers)

    def _rows(self, numbers: Sequence[int]) -> str:
        return f"{self.all}?runs={ranges(numbers)}#r{numbers[0]}"
