"""Shows how a suite is doing: bars in a terminal, a few plain lines in a log."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from rich.console import Console
from rich.text import Text

from harness.store.events import Event
from harness.store.records import CRASHES, FINAL, SuitePlan, short_name
from harness.tracking.bars import Bars
from harness.tracking.base import Mirror, TrackedRun
from harness.tracking.progress import CohortProgress, Progress, RunProgress, duration, number
from harness.tracking.wording import Wording

STATUS_SECONDS = 10.0
"""Between two lines of status in a log."""


def standard_console() -> Console:
    """Return where commands print: a terminal, or plain lines, in a notebook too."""
    # What a kernel has for a stream calls itself a terminal, but no cursor moves in it.
    notebook = Console().is_jupyter
    return Console(force_jupyter=False, force_terminal=False if notebook else None)


class Display(Protocol):
    """What the console mirror needs of a display."""

    def begin(self) -> None:
        """Appear."""

    def changed(self) -> None:
        """Take note that something happened."""

    def run_ended(self, run: RunProgress) -> None:
        """Say what became of a run."""

    def cohort_ended(self, cohort: CohortProgress) -> None:
        """Say what became of a cohort."""

    def end(self) -> None:
        """Disappear, so that a summary may follow."""


class ConsoleMirror(Mirror):
    """Shows progress on a console.

    Args:
        console: A terminal gets bars; anything else plain lines without control characters.
        clock: Seconds that never go back.
    """

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._wording = Wording(console)
        self._progress = Progress(clock)
        self._lock = threading.Lock()
        bars = console.is_terminal and not console.is_dumb_terminal
        self._display: Display = (
            Bars(console, self._wording, self._progress, self._lock)
            if bars
            else Lines(console, self._wording, self._progress)
        )

    def suite_started(self, plan: SuitePlan, pending: Sequence[TrackedRun], finished: int) -> None:
        """Show the suite, or that there is nothing to do."""
        self._progress.suite_started(plan, pending, finished)
        if pending:
            self._display.begin()
        else:
            suite = self._wording.clean(plan.suite)
            self._console.print(Text(f"{suite}: everything is done ({finished} runs)"))

    def cohort_started(self, name: str, runs: Sequence[TrackedRun]) -> None:
        """Show the cohort."""
        with self._lock:
            self._progress.cohort_started(name, runs)
        self._display.changed()

    def event(self, run: TrackedRun, event: Event) -> None:
        """Count the event; an outcome is shown at once."""
        with self._lock:
            ended = self._progress.event(run, event)
        # Outside the lock: printing waits for a redraw, which waits for the lock.
        if ended is not None:
            self._display.run_ended(ended)
        self._display.changed()

    def cohort_ended(self, name: str, runs: Sequence[TrackedRun]) -> None:
        """Show what became of the cohort."""
        with self._lock:
            cohort = self._progress.cohort_ended(name)
        if cohort is not None:
            self._display.cohort_ended(cohort)

    def suite_ended(self) -> None:
        """Show a summary."""
        progress = self._progress
        if not progress.runs:
            return
        self._display.end()
        if any(progress.outcomes.values()):
            self._console.print()
            self._console.print(self._wording.summary(progress.runs.values()))
            self._console.print()
        ended = sum(progress.outcomes.values())
        line = Text(self._wording.clean(f"{progress.suite}: "), "bold")
        total = len(progress.runs)
        words = f"{ended} of {total} runs" if ended < total else f"{ended} runs"
        line.append(f"{words} in {duration(progress.elapsed)}", "not bold")
        if ended:
            line.append(":  ").append_text(self._wording.legend(progress.outcomes))
        self._console.print(line)
        results = sum(progress.outcomes[name] for name in FINAL)
        missing = total - results
        if missing:
            verb = "runs have" if missing > 1 else "run has"
            self._console.print(Text(f"{missing} {verb} no result; the same command goes on"))


class Lines:
    """One line for each cohort that ends, or each of its trials; one of status now and then.

    Args:
        console: Anything but a terminal.
        wording: For the console.
        progress: What to show.
    """

    def __init__(self, console: Console, wording: Wording, progress: Progress) -> None:
        self._console = console
        self._wording = wording
        self._progress = progress
        self._said = 0.0

    def begin(self) -> None:
        """Say what there is to do."""
        progress = self._progress
        before = f", {progress.finished_before} done before" if progress.finished_before else ""
        self._say(f"{progress.suite}: {len(progress.runs)} runs to train{before}")
        self._said = progress.clock()

    def changed(self) -> None:
        """Say how things are, if the last time is long ago."""
        if self._progress.clock() - self._said >= STATUS_SECONDS:
            self._said = self._progress.clock()
            self._say(f"{self._state()}; {self._wording.remaining(self._progress)}")

    def run_ended(self, run: RunProgress) -> None:
        """Say what became of a run with a note, such as a trial; leave others to the cohort."""
        if run.run.note and run.outcome is not None:
            words = [run.outcome.outcome, self._wording.change(run)]
            what = ", ".join(word for word in words if word)
            self._say(f"{self._state()}; {self._wording.label(run)}: {what}")

    def cohort_ended(self, cohort: CohortProgress) -> None:
        """Say what became of the cohort, and of the first of its runs that crashed."""
        ended = [(run, run.outcome) for run in cohort.runs if run.outcome is not None]
        outcomes = Counter[str](end.outcome for _, end in ended)
        words = [self._wording.counts(outcomes).plain or "no outcome"]
        if cohort.median is not None:
            words.append(f"{short_name(cohort.median[0])} {number(cohort.median[1])}")
        seconds = duration(self._progress.clock() - cohort.since)
        if not all(run.run.note for run, _ in ended) or len(ended) < len(cohort.runs):
            self._say(f"{self._state()}; {cohort.name}: {', '.join(words)} ({seconds})")
        for run, end in ended:
            if end.outcome in CRASHES:
                self._say(f"  {end.outcome}: {self._wording.label(run)}: {end.reason}")
                break

    def end(self) -> None:
        """Nothing is left to remove."""

    def _state(self) -> str:
        progress = self._progress
        return f"{progress.done}/{progress.total} runs, {duration(progress.elapsed)}"

    def _say(self, line: str) -> None:
        self._console.print(Text(self._wording.clean(line)), soft_wrap=True)


def quietly(console: Console) -> Callable[[str], None]:
    """Return what prints a line in a faint style, whatever marks it holds."""
    return lambda line: console.print(Text(line), style="dim")
