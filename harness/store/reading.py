"""Reads a results folder: what was planned, and what each run did."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from harness.errors import CorruptRecordError, StoreError
from harness.spec import RunSpec
from harness.store.code import PartCode
from harness.store.columns import Best, Extremes, Numbers, Series, extremes_of
from harness.store.events import Attempt, Ending, EvaluationRow, Protocol, effective
from harness.store.files import read_json
from harness.store.log import read_events
from harness.store.packed import E, Packed, Row
from harness.store.parallel import in_order
from harness.store.plan import REMEDY, read_plan
from harness.store.records import (
    FINAL,
    DataFacts,
    MetricInfo,
    Provenance,
    SuitePlan,
    Weights,
)


@dataclass(frozen=True)
class RunRecord:
    """What one run did, read from its folder."""

    path: Path
    spec: RunSpec
    events: Packed = field(repr=False)
    """Effective events: nothing doubled by attempts that were cut off."""

    @classmethod
    def of(cls, record: RunRecord) -> Self:
        """Take a run that has been read, as one of a kind."""
        return cls(record.path, record.spec, record.events)

    def of_type(self, kind: type[E]) -> Sequence[E]:
        """Return the events of one class, in order."""
        return self.events.of_type(kind)

    def last_of(self, kind: type[E]) -> E | None:
        """Return the last event of a class; None if there is none."""
        return next(reversed(self.of_type(kind)), None)

    def series(self, kind: type[Row], name: str, place: Weights = "values") -> Series:
        """Return one number over training, from all events of a class that have it."""
        return self.events.series(kind, place, name)

    def numbers(self, kind: type[Row], place: Weights = "values") -> Numbers:
        """Return all numbers over training that the events of a class hold."""
        return self.events.numbers(kind, place)

    @property
    def outcome(self) -> Ending | None:
        """The last outcome; None while the run is in progress or was killed."""
        return self.last_of(Ending)

    @property
    def is_final(self) -> bool:
        """Whether the run has a result and will not be trained again."""
        return self.outcome is not None and self.outcome.outcome in FINAL

    @property
    def protocol(self) -> Protocol | None:
        """What its numbers are and rest on; None before the first attempt."""
        return self.last_of(Protocol)

    @property
    def metrics(self) -> tuple[MetricInfo, ...]:
        """The columns of its evaluations, in order; empty before the first attempt."""
        return self.protocol.metrics if self.protocol else ()

    @property
    def provenance(self) -> Provenance | None:
        """What its numbers rest on; None before the first attempt, and in older records."""
        return self.protocol.provenance if self.protocol else None

    @property
    def data(self) -> DataFacts:
        """What is known of its data."""
        return self.protocol.data if self.protocol else DataFacts()

    @property
    def primary(self) -> MetricInfo | None:
        """The metric that verdicts go by."""
        return next((metric for metric in self.metrics if metric.primary), None)

    def curve(self, name: str, weights: Weights = "values") -> tuple[list[int], list[float]]:
        """Return steps and values of one metric over all evaluations."""
        series = self.series(EvaluationRow, name, weights)
        return [int(step) for step in series.steps], series.values.tolist()

    def last(self, name: str, weights: Weights = "values") -> float | None:
        """Return a metric's value at the last evaluation, None if there was none."""
        values = self.series(EvaluationRow, name, weights).values
        return float(values[-1]) if len(values) else None

    def best(self, metric: MetricInfo, weights: Weights = "values") -> Best | None:
        """Choose the best of the evaluations after step 0.

        None for a metric without a direction, and where no value is finite.
        """
        if weights not in self._extremes:
            self._extremes[weights] = extremes_of(self.numbers(EvaluationRow, weights))
        extremes = self._extremes[weights].get(metric.name)
        if extremes is None or metric.better == "none":
            return None
        return extremes.least if metric.better == "lower" else extremes.largest

    @cached_property
    def _extremes(self) -> dict[Weights, dict[str, Extremes]]:
        return {}

    @property
    def attempts(self) -> Sequence[Attempt]:
        """All attempts, the first one first."""
        return self.of_type(Attempt)

    @property
    def device(self) -> str | None:
        """Where it was last trained, ``cpu`` or ``cuda``; None in records that do not say."""
        return self.attempts[-1].device if self.attempts else None

    @cached_property
    def code(self) -> tuple[PartCode, ...]:
        """The code of foreign parts that trained it, of each attempt since it last started over.

        Empty where all parts are ganbench's own, and in records that do not say.
        """
        parts: dict[tuple[str, str, str], PartCode] = {}
        for attempt in self.attempts:
            if not attempt.resumed_from:
                parts = {}
            for part in attempt.code:
                parts[part.kind, part.id, part.name] = part
        return tuple(parts.values())

    def environment(self) -> dict[str, Any]:
        """Return versions, device and threads of the last attempt.

        Raises:
            CorruptRecordError: if its file is damaged.
        """
        if isinstance(self._newest_environment, CorruptRecordError):
            raise self._newest_environment
        return self._newest_environment

    @cached_property
    def files(self) -> list[str]:
        """Names of what lay in its folder when this was first asked for."""
        return sorted(os.listdir(self.path))  # noqa: PTH208 - a glob takes ten times as long

    @cached_property
    def _newest_environment(self) -> dict[str, Any] | CorruptRecordError:
        names = [n for n in self.files if n.startswith("environment-") and n.endswith(".json")]
        try:
            return read_json(self.path / names[-1], dict[str, Any], "delete it") if names else {}
        except CorruptRecordError as error:
            return error


@dataclass(frozen=True)
class ReportedRun(RunRecord):
    """A run that a report may show: never one that was measured by what tuning looks at.

    Raises:
        StoreError: if it was.
    """

    def __post_init__(self) -> None:
        if self.spec.settings.reference == "validation":
            raise StoreError(
                f"{self.path} is measured against validation, which tuning looks at: it is in no "
                "report; give `reference: train` or `test` and run the suite again"
            )


@dataclass(frozen=True)
class TrialRun(RunRecord):
    """A trial of a search: measured against validation, and in no table of a report.

    Raises:
        StoreError: if it is measured by what reports look at.
    """

    def __post_init__(self) -> None:
        if self.spec.settings.reference != "validation":
            raise StoreError(f"{self.path} is no trial: it is measured by what is reported")


@dataclass(frozen=True)
class SuiteRecord:
    """A results folder: its plan, the runs that have begun, and those that cannot be read."""

    path: Path
    plan: SuitePlan
    runs: dict[str, ReportedRun]
    """By run id; planned runs only."""
    corrupt: dict[str, str] = field(default_factory=dict)
    """Error by run id, where corrupt runs were to be skipped."""
    stale: list[str] = field(default_factory=list)
    """Folders of runs that the plan no longer has."""
    folders: dict[str, Path] = field(default_factory=dict)
    """Short names of the results folders, where it is read from several."""

    def folder_of(self, run: str) -> str:
        """Name the results folder that a run was read from; empty where there is only one."""
        record = self.runs.get(run)
        roots = {path: name for name, path in self.folders.items()}
        return roots.get(record.path.parent.parent, "") if record else ""


def read_run(path: Path, run_id: str | None = None) -> RunRecord:
    """Read one run's folder.

    Args:
        path: The folder.
        run_id: Whose records are expected there, if that is known.

    Raises:
        StoreError: if it holds no run.
        CorruptRecordError: if its spec or a record is damaged, or those of another run.
    """
    spec = read_spec(path)
    if run_id is not None and spec.id != run_id:
        raise CorruptRecordError(
            f"{path / 'spec.json'} describes run {spec.id}, not {run_id}; delete the folder to "
            "train it again"
        )
    events = effective(read_events(path / "events.jsonl"))
    return RunRecord(path, spec, Packed(events))


def read_spec(path: Path) -> RunSpec:
    """Read the spec of a run's folder.

    Raises:
        StoreError: if there is none.
        CorruptRecordError: if it is damaged or was written by a newer version.
    """
    remedy = "delete the run's folder to train it again"
    try:
        return read_json(path / "spec.json", RunSpec, remedy, schema=1, key="schema_version")
    except FileNotFoundError:
        raise StoreError(f"{path} is not a run's folder: it has no spec.json") from None


def _read_reported(which: tuple[Path, str]) -> ReportedRun | StoreError:
    """Read all that a report shows of a run; return what is wrong with it instead of raising."""
    try:
        record = read_run(*which)
        reported = ReportedRun.of(record)
        _ = reported._newest_environment
        return reported
    except StoreError as error:
        return error


def read_suite(path: Path, *, skip_corrupt: bool = False) -> SuiteRecord:
    """Read a results folder, also while runs are in progress.

    Args:
        path: The folder, such as ``results/stability``.
        skip_corrupt: List damaged runs instead of raising.

    Raises:
        StoreError: if it holds no results, or those of tuning.
        CorruptRecordError: naming file and line of a damaged record.
    """
    plan = read_plan(path)
    runs: dict[str, ReportedRun] = {}
    corrupt: dict[str, str] = {}
    folders = {run.id: path / "runs" / run.folder for run in plan.runs}
    begun = [(folder, run) for run, folder in folders.items() if (folder / "spec.json").exists()]
    for (_, run), reading in zip(begun, in_order(_read_reported, begun), strict=True):
        if isinstance(reading, ReportedRun):
            runs[run] = reading
        elif skip_corrupt and isinstance(reading, CorruptRecordError):
            corrupt[run] = str(reading)
        else:
            raise reading
    # A plan of tuning, which is refused above, tries many numbers in a cell.
    if len({(run.cell, run.seed) for run in plan.runs}) < len(plan.runs):
        raise CorruptRecordError(
            f"{path / 'suite.json'} is damaged (a seed of a cell is there twice); {REMEDY}"
        )
    known = {planned.folder for planned in plan.runs}
    root = path / "runs"
    stale = sorted(p.name for p in root.iterdir() if p.name not in known) if root.is_dir() else []
    return SuiteRecord(path, plan, runs, corrupt, stale)
