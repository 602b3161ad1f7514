"""Bars for a terminal: one for the suite, one for each cohort, below outcomes that scroll by."""

from __future__ import annotations

import threading
import time

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.store.records import short_name
from harness.tracking.progress import CohortProgress, Progress, RunProgress, duration, number
from harness.tracking.wording import Wording

REDRAWS_PER_SECOND = 2.0

WIDE = 100
"""Columns from which on everything has room."""

MAX_ROWS = 12
"""Cohorts that are shown one by one."""


class Bars:
    """A bar for the suite and one for each cohort, below the outcomes that scroll by.

    Args:
        console: A terminal.
        wording: For the console.
        progress: What to show.
        lock: Held while ``progress`` changes, because a thread redraws.
    """

    def __init__(
        self, console: Console, wording: Wording, progress: Progress, lock: threading.Lock
    ) -> None:
        self._console = console
        self._wording = wording
        self._progress = progress
        self._lock = lock
        self._ended: list[RenderableType] = []
        self._printed = 0.0
        self._live = Live(
            get_renderable=self.render,
            console=console,
            refresh_per_second=REDRAWS_PER_SECOND,
            transient=True,
        )

    def begin(self) -> None:
        """Start the thread that redraws."""
        self._live.start()

    def changed(self) -> None:
        """Print what ended, if the last time is some time ago: each print redraws the bars."""
        if self._ended and time.monotonic() - self._printed >= 1 / REDRAWS_PER_SECOND:
            self._flush()

    def run_ended(self, run: RunProgress) -> None:
        """Keep the line that is to scroll by above the bars."""
        self._ended.append(self._wording.outcome(run))

    def cohort_ended(self, cohort: CohortProgress) -> None:
        """Print what ended with it."""
        self._flush()

    def end(self) -> None:
        """Remove the bars."""
        self._flush()
        self._live.stop()

    def _flush(self) -> None:
        lines, self._ended = self._ended, []
        self._printed = time.monotonic()
        if lines:
            self._console.print(Group(*lines))

    def render(self) -> RenderableType:
        """Draw the bars."""
        with self._lock:
            parts = [Text(), self._suite(), self._status()]
            if self._progress.cohorts:
                parts.append(self._cohorts())
            return Group(*parts)

    def _suite(self) -> RenderableType:
        progress = self._progress
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(no_wrap=True, overflow=self._wording.overflow, max_width=30)
        grid.add_column(ratio=1)
        grid.add_column(no_wrap=True, justify="right")
        bar = ProgressBar(total=1.0, completed=progress.share, finished_style="green")
        grid.add_row(
            Text(self._wording.clean(progress.suite), "bold"),
            bar,
            Text(f"{progress.done}/{progress.total} runs"),
        )
        return grid

    def _status(self) -> RenderableType:
        progress = self._progress
        line = Text(f"{duration(progress.elapsed)}, {self._wording.remaining(progress)}", "dim")
        tell = self._wording.legend if self._console.width >= WIDE else self._wording.signs
        line.append("   ").append_text(tell(progress.outcomes))
        line.no_wrap, line.overflow = True, self._wording.overflow
        return line

    def _cohorts(self) -> RenderableType:
        wide = self._console.width >= WIDE
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(ratio=3, no_wrap=True, overflow=self._wording.overflow)
        grid.add_column(no_wrap=True, justify="right")
        grid.add_column(ratio=2)
        grid.add_column(no_wrap=True, justify="right")
        grid.add_column(no_wrap=True, justify="right", min_width=10 if wide else 0)
        room = max(1, min(MAX_ROWS, self._console.height - 6))
        cohorts = list(self._progress.cohorts.values())
        for cohort in cohorts[:room]:
            median = cohort.median
            value = f"{short_name(median[0])} {number(median[1])}" if median else ""
            runs = len(cohort.runs)
            grid.add_row(
                Text(self._wording.clean(cohort.name)),
                Text(f"{runs} run{'s' if runs > 1 else ' '}" if wide else f"x{runs}", "dim"),
                ProgressBar(total=cohort.steps, completed=cohort.step),
                Text(f"{cohort.step}/{cohort.steps}"),
                Text(self._wording.clean(value), "dim"),
            )
        if len(cohorts) > room:
            grid.add_row(Text(f"and {len(cohorts) - room} more", "dim"))
        return grid
