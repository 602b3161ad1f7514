"""Writes the pages of runs beside a report, and only those that are not as they should be."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.store.parallel import cores
from reports.cells import CellRuns, SuiteCells
from reports.run_list import render_list
from reports.run_pages import RunPages
from reports.stamps import Stamp, stamps

Job = tuple[Path, CellRuns, int]
"""A page's file, its run's cell, and the run's place in that."""
WORTH_A_PROCESS = 500
"""Pages from which on a second process is started to write them."""
CHUNK = 50
"""Pages that a process takes at once."""
NUMBER_BYTES = 4


class Pages:
    """Pages being written: by a second process from the start, by this one when it is asked to.

    A process with other threads is not forked: what they hold would stay locked in its child.

    Args:
        pages: Renders them.
        jobs: What to write.
    """

    def __init__(self, pages: RunPages, jobs: Sequence[Job]) -> None:
        self._pages = pages
        self._chunks = [jobs[start : start + CHUNK] for start in range(0, len(jobs), CHUNK)]
        self._child = 0
        # A pipe full of numbers is a queue: whoever reads one writes that chunk.
        self._queue, fill = os.pipe()
        try:
            for number in range(len(self._chunks)):
                os.write(fill, number.to_bytes(NUMBER_BYTES, "big"))
        finally:
            os.close(fill)
        alone = threading.active_count() == 1
        if len(jobs) >= WORTH_A_PROCESS and cores() > 1 and alone:
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
        """Write what is left, and wait for the other process."""
        self._take()
        if self._child:
            failed = os.waitpid(self._child, 0)[1]
            self._child = 0
            if failed:
                # Whatever it was, it is told from here, or gone.
                for chunk in self._chunks:
                    self._write(chunk)

    def _take(self) -> None:
        while number := os.read(self._queue, NUMBER_BYTES):
            self._write(self._chunks[int.from_bytes(number, "big")])

    def _write(self, jobs: Sequence[Job]) -> None:
        for file, cell, position in jobs:
            file.write_bytes(self._pages.render(cell, position).encode(errors="replace"))


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
        with Pages(pages, jobs) as writing:

            def finish() -> dict[str, str]:
                index = render_list(cells, pages.links)
                (out / "index.html").write_bytes(index.encode(errors="replace"))
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
