"""Counts what a suite has done, and estimates what is left; knows nothing of terminals."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from harness.errors import GanbenchError
from harness.store.events import Attempt, Ending, EvaluationRow, Event, LossRow, Protocol
from harness.store.reading import read_run
from harness.store.records import SuitePlan
from harness.tracking.base import TrackedRun

SETTLED_SECONDS = 5.0
"""That an estimate must rest on."""


@dataclass
class RunProgress:
    """How far one run is.

    Attributes:
        run: Its labels.
        step: Last step that it told of.
        started_at: Step from which this attempt began.
        primary: Name of the metric that verdicts go by; None before the first attempt.
        untrained: That metric before training; None where it is not known.
        value: That metric at the last evaluation.
        outcome: Its outcome record; None while it trains.
    """

    run: TrackedRun
    step: int = 0
    started_at: int = 0
    primary: str | None = None
    untrained: float | None = None
    value: float | None = None
    outcome: Ending | None = None

    @property
    def share(self) -> float:
        """Part of the run that is done, in [0, 1]."""
        return 1.0 if self.outcome is not None else min(1.0, self.step / self.run.steps)

    @property
    def share_before(self) -> float:
        """Part of the run that an earlier attempt had done."""
        return min(1.0, self.started_at / self.run.steps)


@dataclass
class CohortProgress:
    """How far the runs that train together are.

    Attributes:
        name: Which of them there are, in words.
        runs: Its runs.
        since: When it began, on the clock.
    """

    name: str
    runs: list[RunProgress]
    since: float

    @property
    def step(self) -> int:
        """Step of the runs that still train, else the last one."""
        training = [run.step for run in self.runs if run.outcome is None]
        return min(training) if training else max(run.step for run in self.runs)

    @property
    def steps(self) -> int:
        """Steps that each run makes."""
        return max(run.run.steps for run in self.runs)

    @property
    def median(self) -> tuple[str, float] | None:
        """Primary metric's name, and its median over the runs' last evaluations."""
        values = [r.value for r in self.runs if r.value is not None and not math.isnan(r.value)]
        name = next((run.primary for run in self.runs if run.primary), None)
        return (name, statistics.median(values)) if values and name else None


@dataclass
class Progress:
    """Everything that a display shows of a suite.

    Args:
        clock: Seconds that never go back.
    """

    clock: Callable[[], float]
    suite: str = ""
    finished_before: int = 0
    runs: dict[str, RunProgress] = field(default_factory=dict)
    cohorts: dict[str, CohortProgress] = field(default_factory=dict)
    """Those that train now, by the name that the engine gave them."""
    outcomes: Counter[str] = field(default_factory=Counter)
    since: float = 0.0

    def suite_started(self, plan: SuitePlan, pending: Sequence[TrackedRun], finished: int) -> None:
        """Begin, or begin again with other runs."""
        self.suite = plan.suite
        self.cohorts.clear()
        self.outcomes.clear()
        self.finished_before = finished
        self.runs = {run.planned.id: RunProgress(run) for run in pending}
        self.since = self.clock()

    def cohort_started(self, name: str, runs: Sequence[TrackedRun]) -> None:
        """Count a job in."""
        members = [self.runs.setdefault(run.planned.id, RunProgress(run)) for run in runs]
        self.cohorts[name] = CohortProgress(describe(runs), members, self.clock())

    def event(self, run: TrackedRun, event: Event) -> RunProgress | None:
        """Take in a record; return the run if this gave it an outcome."""
        progress = self.runs.get(run.planned.id)
        if progress is None:
            return None
        if isinstance(event, LossRow):
            progress.step = event.step
        elif isinstance(event, EvaluationRow):
            progress.step = event.step
            if progress.primary in event.values:
                progress.value = event.values[progress.primary]
                if event.step == 0:
                    progress.untrained = progress.value
        elif isinstance(event, Attempt):
            self._forget(progress)
            progress.step = progress.started_at = event.resumed_from
        elif isinstance(event, Protocol):
            progress.primary = next((m.name for m in event.metrics if m.primary), None)
        elif isinstance(event, Ending):
            self._forget(progress)
            progress.outcome = event
            progress.step = event.step
            self.outcomes[event.outcome] += 1
            if progress.untrained is None:
                progress.untrained = recall_untrained(progress)
            return progress
        return None

    def _forget(self, run: RunProgress) -> None:
        """Take back an outcome that was not the last word."""
        if run.outcome is not None:
            self.outcomes[run.outcome.outcome] -= 1
            run.outcome = None

    def cohort_ended(self, name: str) -> CohortProgress | None:
        """Count a job out."""
        return self.cohorts.pop(name, None)

    @property
    def total(self) -> int:
        """Runs of the suite, those that were done before included."""
        return self.finished_before + len(self.runs)

    @property
    def done(self) -> int:
        """Runs that have an outcome."""
        return self.finished_before + sum(self.outcomes.values())

    @property
    def share(self) -> float:
        """Part of the suite that is done, in [0, 1], with parts of runs."""
        parts = sum(run.share for run in self.runs.values())
        return (self.finished_before + parts) / self.total if self.total else 1.0

    @property
    def elapsed(self) -> float:
        """Seconds since the suite began."""
        return self.clock() - self.since

    def remaining(self) -> float | None:
        """Estimate the seconds to go: what is left of the planned cost, at the pace so far.

        Returns:
            Seconds; None before there is anything to rest on.
        """
        done = sum(run.run.cost * (run.share - run.share_before) for run in self.runs.values())
        left = sum(run.run.cost * (1 - run.share) for run in self.runs.values())
        if done <= 0 or self.elapsed < SETTLED_SECONDS:
            return None
        return self.elapsed * left / done


def recall_untrained(progress: RunProgress) -> float | None:
    """Look up a resumed run's value before training, which an earlier attempt recorded."""
    if progress.primary is None or progress.started_at == 0:
        return None
    try:
        steps, values = read_run(progress.run.path).curve(progress.primary)
    except GanbenchError:
        return None
    return values[0] if steps and steps[0] == 0 else None


def describe(runs: Sequence[TrackedRun]) -> str:
    """Name a cohort by what its runs share: ``ring8 · wgan-gp · none +5``."""
    words = []
    for labels in zip(*(run.planned.labels for run in runs), strict=True):
        distinct = list(dict.fromkeys(labels))
        more = f" +{len(distinct) - 1}" if len(distinct) > 1 else ""
        words.append(distinct[0] + more)
    return " · ".join(words)


def duration(seconds: float) -> str:
    """Write a time to the precision that one wants to know it: ``42 s``, ``4 min``, ``2.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def number(value: float | None) -> str:
    """Write a metric's value with three digits."""
    if value is None or math.isnan(value):
        return "?" if value is None else "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value and (abs(value) < 1e-3 or abs(value) >= 1e5):
        return f"{value:.1e}"
    return f"{value:#.3g}".rstrip(".")
