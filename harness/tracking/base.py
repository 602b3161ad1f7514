"""What a mirror of the results is: something that is told, and can never harm a run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typing_extensions import override

from harness.store.events import Event
from harness.store.records import PlannedRun, SuitePlan


@dataclass(frozen=True)
class TrackedRun:
    """A run as mirrors know it.

    Attributes:
        planned: Its labels and id.
        path: Its folder.
        steps: How many steps it will make.
        cost: What it is expected to cost, in any unit that all runs of the suite share.
        note: What tells it from its like besides the seed, such as its learning rates.
    """

    planned: PlannedRun
    path: Path
    steps: int
    cost: float = 1.0
    note: str = ""


class Mirror:
    """Told of everything as it happens; each method does nothing by default."""

    def suite_started(self, plan: SuitePlan, pending: Sequence[TrackedRun], finished: int) -> None:
        """A suite begins: ``pending`` will be trained now, ``finished`` were done before."""

    def cohort_started(self, name: str, runs: Sequence[TrackedRun]) -> None:
        """A job begins."""

    def event(self, run: TrackedRun, event: Event) -> None:
        """A run wrote a record."""

    def cohort_ended(self, name: str, runs: Sequence[TrackedRun]) -> None:
        """A job ended, whatever its outcome."""

    def suite_ended(self) -> None:
        """Everything is done, or was interrupted."""


class Mirrors(Mirror):
    """Passes everything on to several mirrors; one that raises is switched off with a warning."""

    def __init__(self, mirrors: Sequence[Mirror]) -> None:
        self._mirrors = list(mirrors)

    def _tell(self, call: Callable[[Mirror], Any]) -> None:
        for mirror in list(self._mirrors):
            try:
                call(mirror)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - it may fail as it likes
                self._mirrors.remove(mirror)
                name = type(mirror).__name__
                warnings.warn(f"{name} failed and was switched off: {error!r}", stacklevel=2)

    @override
    def suite_started(self, plan: SuitePlan, pending: Sequence[TrackedRun], finished: int) -> None:
        self._tell(lambda mirror: mirror.suite_started(plan, pending, finished))

    @override
    def cohort_started(self, name: str, runs: Sequence[TrackedRun]) -> None:
        self._tell(lambda mirror: mirror.cohort_started(name, runs))

    @override
    def event(self, run: TrackedRun, event: Event) -> None:
        self._tell(lambda mirror: mirror.event(run, event))

    @override
    def cohort_ended(self, name: str, runs: Sequence[TrackedRun]) -> None:
        self._tell(lambda mirror: mirror.cohort_ended(name, runs))

    @override
    def suite_ended(self) -> None:
        self._tell(lambda mirror: mirror.suite_ended())
