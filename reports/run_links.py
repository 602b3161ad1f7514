"""Where the page of a run lies, and what leads to the runs behind a number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from reports.cells import SuiteCells

FOLDER = "runs"
"""Beside the report: a page for each run that has begun, and the list of all."""

LIST = "index.html"


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


class RunLinks:
    """Addresses of runs, relative to the folder of their pages.

    Several runs are a selection of the list: its rows are numbered in the order of the cells. The
    script of the list shows only those; without it, the address still leads to the first of them.

    Args:
        cells: The suite.
        prefix: From where the links stand to the folder of the pages.
    """

    def __init__(self, cells: SuiteCells, prefix: str = f"{FOLDER}/") -> None:
        self._prefix = prefix
        self.numbers = {r.planned.id: i for i, r in enumerate(cells.results)}
        """Row in the list, by run id."""
        self.pages = {
            r.planned.id: page_name(r.record.path.name, r.planned.id)
            for r in cells.results
            if r.record is not None
        }
        """Name of the page's file, by run id."""

    @property
    def all(self) -> str:
        """The list of all runs."""
        return f"{self._prefix}{LIST}"

    def page(self, run_id: str) -> str | None:
        """Return where a run's page is; None if it has none."""
        name = self.pages.get(run_id)
        return None if name is None else self._prefix + address(name)

    def behind(self, runs: Sequence[str]) -> str | None:
        """Return what leads to some runs: a page, a selection of the list, or None for none."""
        numbers = sorted({self.numbers[run] for run in runs if run in self.numbers})
        if not numbers:
            return None
        if len(set(runs)) == 1 and (page := self.page(runs[0])) is not None:
            return page
        return f"{self.all}?runs={ranges(numbers)}#r{numbers[0]}"
