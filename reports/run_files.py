"""Writes the pages of runs and their list beside a report, and no page that is as it should be."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.store.parallel import cores, pieces, queue_of, taken
from reports.cells import CellRuns, SuiteCells
from reports.run_links import LIST
from reports.run_list import render_list
from reports.run_pages import RunPages
from reports.stamps import Stamp

Job = tuple[Path, CellRuns, int]
"""A page's file, its run's cell, and the run's place in that."""
WORTH_A_PROCESS = 500
"""Pages from which on a second process is started to write them."""


class PageJobs:
    """Work being done: by a second process from the start, by this one when it is asked to.

    A process with other threads is not forked: what they hold would stay locked in its child.

    Args:
        page_jobs: What to do, in this order; doing it again must do no harm.
        shared: Whether a second process is worth it.
    """

    def __init__(self, page_jobs: Sequence[Callable[[], None]], *, shared: bool) -> None:
        self._jobs = page_jobs
        self._child = 0
        self._queue = queue_of(len(page_jobs))
        if shared and cores() > 1 and threading.active_count() == 1:
            self._child = os.fork()
            if self._child == 0:
                code = 1
                try:
                    self._take()
                    code = 0
                finally:
                    # Nothing that belongs to the parent may be flushed, closed or waited for here.
                    os._exit(code)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._queue)
        if self._child:
            os.kill(self._child, signal.SIGKILL)
            os.waitpid(self._child, 0)

    def finish(self) -> None:
        """Do what is left, and wait for the other process."""
        self._take()
        if self._child:
            failed = os.waitpid(self._child, 0)[1]
            self._child = 0
            if failed:
                # Whatever it was, it is told from here, or gone.
                for chore in self._jobs:
                    chore()

    def _take(self) -> None:
        for number in taken(self._queue):
            self._jobs[number]()


class RunFiles:
    """Remembers the records of all runs as they are before anybody reads them.

    What is appended later than that may be missing from a page, which is then made again next
    time.

    Args:
        stamps: Stamps of the runs, by the path of each.
        made_by: Names what makes pages.
    """

    def __init__(self, stamps: Mapping[str, Stamp], made_by: str) -> None:
        self._stamps, self._made_by = stamps, made_by

    @contextmanager
    def writing(
        self, cells: SuiteCells, out: Path, before: Mapping[str, str]
    ) -> Iterator[Callable[[], dict[str, str]]]:
        """Write what is new or has changed, and remove pages of runs that went away.

        A page is not synchronised to the disk: whatever ends this process, there is no manifest
        until all are written, and without it all are written again.

        Args:
            cells: The suite, read after this was made.
            out: Folder of the pages.
            before: What this gave the last time.

        Yields:
            What waits until all is written, and returns by page what it was made of.
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

        def write_list() -> None:
            page = render_list(cells, pages.links)
            (out / LIST).write_bytes(page.encode(errors="replace"))

        def write_pages(jobs: Sequence[Job]) -> None:
            for file, cell, position in jobs:
                file.write_bytes(pages.render(cell, position).encode(errors="replace"))

        page_jobs: list[Callable[[], None]] = [write_list]
        page_jobs += [partial(write_pages, piece) for piece in pieces(jobs)]
        with PageJobs(page_jobs, shared=len(jobs) >= WORTH_A_PROCESS) as writing:

            def finish() -> dict[str, str]:
                for name in before.keys() - made.keys():
                    if Path(name).name == name and name in present:
                        (out / name).unlink(missing_ok=True)
                writing.finish()
                return made

            yield finish

    def write(self, cells: SuiteCells, out: Path, before: Mapping[str, str]) -> dict[str, str]:
        """Do all of it at once."""
        with self.writing(cells, out, before) as finish:
            return finish()
