"""Writes the pages of runs beside a report, and only those that are not as they should be."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.store.parallel import cores
from reports.cells import CellRuns, SuiteCells
from reports.run_list import render_list
from reports.run_pages import RunPages
from reports.stamps import Stamp, stamps

Job = tuple[Path, CellRuns, int]
"""A page's file, its run's cell, and the run's place in that."""
WORTH_A_PROCESS = 500
"""Pages from which on a second process is started to write half of them."""


def write_all(pages: RunPages, jobs: Sequence[Job]) -> None:
    """Write pages; many of them by two processes, where there are two cores.

    A process with other threads is not forked: what they hold would stay locked in its child.
    """
    half = len(jobs) // 2
    if len(jobs) < WORTH_A_PROCESS or cores() < 2 or threading.active_count() > 1:
        write_some(pages, jobs)
        return
    child = os.fork()
    if child == 0:
        code = 1
        try:
            write_some(pages, jobs[half:])
            code = 0
        finally:
            # Nothing that belongs to the parent may be flushed, closed or waited for here.
            os._exit(code)
    try:
        write_some(pages, jobs[:half])
    finally:
        failed = os.waitpid(child, 0)[1]
    if failed:
        # Whatever it was, it is told from here, or gone.
        write_some(pages, jobs[half:])


def write_some(pages: RunPages, jobs: Sequence[Job]) -> None:
    """Write pages one after the other."""
    for file, cell, position in jobs:
        file.write_bytes(pages.render(cell, position).encode(errors="replace"))


class RunFiles:
    """Remembers the records of all runs as they are before anybody reads them.

    What is appended later than that may be missing from a page, which is then made again next
    time.

    Args:
        folders: The results folders.
        made_by: Names what makes pages.
    """

    def __init__(self, folders: Sequence[Path], made_by: str) -> None:
        self._made_by = made_by
        self._stamps: dict[str, Stamp] = {}
        for folder in folders:
            self._stamps |= stamps(folder)

    def write(self, cells: SuiteCells, out: Path, before: Mapping[str, str]) -> dict[str, str]:
        """Write what is new or has changed, and remove pages of runs that went away.

        A page is not synchronised to the disk: whatever ends this process, there is no manifest
        until all are written, and without it all are written again.

        Args:
            cells: The suite, read after this was made.
            out: Folder of the pages.
            before: What this returned the last time.

        Returns:
            By page, what it was made of.
        """
        pages = RunPages(cells)
        present = set(os.listdir(out))  # noqa: PTH208 - names are all that is needed
        made: dict[str, str] = {}
        jobs: list[Job] = []
        for cell in cells.cells:
            for position, result in enumerate(cell.results):
                name = pages.links.pages.get(result.planned.id)
                if name is None or result.record is None:
                    continue
                records = self._stamps.get(str(result.record.path), ())
                content = (self._made_by, records, pages.context(cell, position))
                made[name] = hashlib.sha256(repr(content).encode()).hexdigest()[:16]
                if before.get(name) != made[name] or name not in present:
                    jobs.append((out / name, cell, position))
        write_all(pages, jobs)
        (out / "index.html").write_bytes(render_list(cells, pages.links).encode(errors="replace"))
        for name in before.keys() - made.keys():
            if Path(name).name == name and name in present:
                (out / name).unlink(missing_ok=True)
        return made
