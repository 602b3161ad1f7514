"""What a run did, in words and numbers: its records sorted, its story, its facts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.store.events import (
    Attempt,
    Ending,
    EvaluationRow,
    LossRow,
    ProbeRow,
    Protocol,
    SampleFile,
    Sign,
)
from harness.store.log import read_events
from harness.store.reading import ReportedRun
from harness.store.records import MetricInfo, short_name
from harness.store.wording import class_counts, listing
from reports.cells import Result
from reports.sections.outcomes import SIGNS
from reports.tables import ABSENT, ARROWS, significant

SIGN_OF = {
    "ok": ("✔", "helps", "ended well"),
    "collapsed": ("◐", "hurts", "collapsed"),
    "unlearned": ("○", "hurts", "never learnt"),
    "diverged": ("✖", "hurts", "diverged"),
    "oom": ("▲", "hurts", "out of memory"),
    "crashed": ("!", "hurts", "crashed"),
    "preempted": ("◌", "none", "interrupted"),
    "running": ("…", "none", "in progress"),
    "missing": ("·", "none", "not begun"),
    "corrupt": ("!", "hurts", "unreadable"),
}
"""What to write of a status: a sign, a badge of the page's style, and words."""


@dataclass(frozen=True)
class HistoryEvent:
    """One line of a run's history."""

    step: int | None
    what: str
    more: str = ""

    def texts(self) -> tuple[str, str, str]:
        """Write it as a row."""
        return "–" if self.step is None else str(self.step), self.what, self.more


def number(value: float | None) -> str:
    """Write a number, also one that is not finite."""
    if value is None:
        return ABSENT
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"
    return significant(value, 4).replace("-", "−")


class History:
    """The records of one run, by their type.

    Args:
        result: What became of it.
        record: Its records.

    Attributes:
        measured: Numbers of its evaluations.
        unaveraged: Those of the raw weights, where averaged ones are measured.
        trained: Numbers that training told of itself.
        died: Whether it ended before its last step, and not well.
        end: Thousand images that D will have seen if the run reaches its last step.
        onset: Thousand images that D had seen when a collapse began; None without one.
        best: By metric, the best evaluation; None where there is none.
    """

    def __init__(self, result: Result, record: ReportedRun) -> None:
        self.result, self.record = result, record
        self.attempts = record.attempts
        self.evaluations = record.of_type(EvaluationRow)
        self.samples = record.of_type(SampleFile)
        self.probes = record.of_type(ProbeRow)
        self.measured = record.numbers(EvaluationRow)
        self.unaveraged = record.numbers(EvaluationRow, "raw")
        self.trained = record.numbers(LossRow)
        self.outcome = record.outcome
        self.died = result.status in ("diverged", "oom", "crashed")
        self.end = self._end()
        step = result.onset
        self.onset = None if step is None else step * self.end / record.spec.settings.steps
        self.metrics = sorted(record.metrics, key=lambda metric: not metric.primary)
        self.best = {metric.name: record.best(metric) for metric in self.metrics}

    def _end(self) -> float:
        settings = self.record.spec.settings
        for numbers in (self.trained, self.measured):
            if len(numbers.steps) and numbers.steps[-1] and numbers.kimg[-1]:
                return float(numbers.kimg[-1] / numbers.steps[-1] * settings.steps)
        return settings.steps * settings.batch / 1000

    @property
    def primary(self) -> MetricInfo | None:
        """The metric that verdicts go by."""
        return next((metric for metric in self.metrics if metric.primary), None)

    @property
    def step(self) -> int:
        """The last step that it has told of."""
        seen = [numbers.steps[-1:] for numbers in (self.trained, self.measured)]
        return int(max(np.concatenate(seen), default=0))


def metric_rows(history: History, *, raw: bool) -> list[tuple[str, ...]]:
    """Tabulate every metric: last, best, at which step of how many, untrained, real data.

    Args:
        history: The run's.
        raw: Whether to show those of the raw weights too, after the last.
    """
    if not history.evaluations:
        return []
    first, last = history.evaluations[0], history.evaluations[-1]
    rows: list[tuple[str, ...]] = []
    for metric in history.metrics:
        best = history.best[metric.name]
        unaveraged = "" if last.raw is None else number(last.raw.get(metric.name))
        rows.append(
            (
                f"{metric.name} {ARROWS[metric.better]}".rstrip(),
                number(last.values.get(metric.name)),
                *((unaveraged,) if raw else ()),
                number(best.value) if best else ABSENT,
                f"{best.step}, of {best.searched}" if best else "",
                number(first.values.get(metric.name)) if first.step == 0 else ABSENT,
                number(metric.floor),
            )
        )
    return rows


def cut_off(record: ReportedRun) -> dict[int, tuple[int, str]]:
    """Find out how far each attempt but the last got: its last step and what it said at the end.

    The records of a report leave out what a later attempt did again, so the log is read anew.
    """
    ends: dict[int, tuple[int, str]] = {}
    number = 0
    for event in read_events(record.path / "events.jsonl", skip_corrupt=True):
        if isinstance(event, Attempt):
            number = event.attempt
            ends[number] = (event.resumed_from, "killed")
        elif not isinstance(event, Protocol) and number in ends:
            ended = ends[number][1]
            if isinstance(event, Ending):
                ended = f"{event.outcome} {event.reason}".strip()
            ends[number] = (event.step, ended)
    ends.pop(number, None)
    return ends


def attempts_told(history: History) -> list[HistoryEvent]:
    """Tell when and where each attempt began, and how those before the last ended."""
    attempts = history.attempts
    ends = cut_off(history.record) if len(attempts) > 1 else {}
    told = []
    for event in attempts:
        others = len(event.cohort) - 1
        company = f"together with {others} more" if others > 0 else "alone"
        resumed = event.resumed_from
        how = f"resumes from step {resumed}" if resumed else "begins"
        where = ", ".join(filter(None, (company, event.device, event.time)))
        told.append(HistoryEvent(resumed, f"attempt {event.attempt} {how}", where))
        if event.attempt in ends:
            step, ended = ends[event.attempt]
            told.append(HistoryEvent(step, f"attempt {event.attempt} ended here", ended))
    return told


def history_rows(history: History, primary: MetricInfo | None) -> list[HistoryEvent]:
    """Tell what happened in order of steps: attempts, first and best evaluation, signs, the end."""
    outcome = history.outcome
    told: list[HistoryEvent] = []
    if primary is not None and history.evaluations:
        first = history.evaluations[0]
        if first.step == 0:
            value = number(first.values.get(primary.name))
            told.append(
                HistoryEvent(
                    0, "untrained generator is measured", f"{short_name(primary.name)} {value}"
                )
            )
        best = history.best[primary.name]
        if best is not None:
            more = f"{short_name(primary.name)} {number(best.value)}, the best of {best.searched}"
            told.append(HistoryEvent(best.step, "best evaluation", more))
        course = history.record.series(EvaluationRow, primary.name)
        bad = np.flatnonzero(~np.isfinite(course.values))[:1]
        for step, value in zip(course.steps[bad], course.values[bad], strict=True):
            more = f"{short_name(primary.name)} {number(float(value))}"
            told.append(HistoryEvent(int(step), "first evaluation that is not finite", more))
    for name, sign in (outcome.signs or {} if outcome else {}).items():
        title, meaning = SIGNS.get(name, (name, ""))
        step = sign.step if isinstance(sign, Sign) else None
        told.append(HistoryEvent(step, f"sign of instability: {title}", meaning))
    for event in history.probes:
        values = ", ".join(f"{name} {number(value)}" for name, value in event.values.items())
        told.append(HistoryEvent(event.step, f"probe {event.probe}", values))
    if outcome and outcome.onset not in (None, outcome.step):
        began = "collapse begins" if outcome.outcome == "collapsed" else "failure begins"
        told.append(HistoryEvent(outcome.onset, began, ""))
    told = sorted(
        [*attempts_told(history), *told],
        key=lambda moment: math.inf if moment.step is None else moment.step,
    )
    if outcome:
        told.append(HistoryEvent(outcome.step, SIGN_OF[outcome.outcome][2], outcome.reason))
    elif history.attempts:
        told.append(
            HistoryEvent(history.step, "in progress, or killed", "the same command goes on")
        )
    return told


def facts_of(history: History, primary: MetricInfo | None) -> list[tuple[str, str]]:
    """Return the numbers for the head of a page."""
    end, evaluations = history.outcome, history.evaluations
    facts: list[tuple[str, str]] = []
    if primary is not None and evaluations:
        arrow = f" {ARROWS[primary.better]}".rstrip()
        value = evaluations[-1].values.get(primary.name)
        facts.append((f"{short_name(primary.name)}{arrow}, last", number(value)))
        best = history.best[primary.name]
        if best is not None:
            facts.append((f"best of {best.searched}", f"{number(best.value)} at step {best.step}"))
    steps = history.record.spec.settings.steps
    done = end.step if end else steps
    facts.append(("Steps", f"{steps}" if done == steps else f"{done} of {steps}"))
    if end is not None:
        if end.kimg is not None:
            facts.append(("Thousand images", number(end.kimg)))
        if end.seconds is not None:
            facts.append(("Training", f"{significant(end.seconds)} s"))
        if end.evaluation_seconds is not None:
            facts.append(("Evaluation", f"{significant(end.evaluation_seconds)} s"))
        if end.peak_memory:
            facts.append(("Peak memory", f"{end.peak_memory / 2**20:.0f} MiB"))
        if end.updates is not None:
            facts.append(("Updates of D and G", f"{end.updates['d']} and {end.updates['g']}"))
    names = history.record.data.class_names
    counts = evaluations[-1].histogram if evaluations else None
    if names is not None and counts and len(counts) == len(names):
        facts.append(("Last samples of each class", class_counts(names, counts)))
    elif names is not None:
        facts.append(("Classes", listing(names)))
    protocol = history.record.protocol
    if protocol and (parameters := protocol.parameters):
        facts.append(("Parameters of G and D", f"{parameters['g']:,} and {parameters['d']:,}"))
    return facts


def reason_of(result: Result) -> str:
    """Say in a line when and why a run ended as it did; empty for one that ended well."""
    end = result.outcome
    if result.status == "running":
        return "no outcome yet"
    if result.status == "ok" or end is None:
        return ""
    if result.status in ("collapsed", "unlearned") and end.reason:
        return end.reason
    when = f"from step {end.onset}" if end.onset is not None else f"at step {end.step}"
    return f"{when}: {end.reason}" if end.reason else when
