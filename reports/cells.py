"""Orders a suite's runs into cells, and says of each run what became of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, wraps
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from harness.errors import CorruptRecordError
from harness.store.events import Ending, EvaluationRow
from harness.store.packed import Row
from harness.store.reading import ReportedRun, SuiteRecord
from harness.store.records import (
    CRASHES,
    FAILURES,
    NONE,
    CellKey,
    DataFacts,
    MetricInfo,
    OfCell,
    PlannedCell,
    PlannedPart,
    PlannedRun,
    Weights,
    joined,
)
from reports.sample_files import SampleFolder

LARGE = 1000
"""Runs of a suite from which on nobody looks at each: its figures and their pages show less."""
Answer = TypeVar("Answer")
STATUSES = ("ok", *FAILURES, *CRASHES, "preempted", "running", "corrupt", "missing")


@dataclass(frozen=True)
class Result:
    """What became of one planned run.

    Attributes:
        planned: The run.
        status: One of :data:`STATUSES`; ``missing`` has not begun, ``running`` has begun and has
            no outcome yet.
        record: What it wrote; None if it has not begun or cannot be read.
    """

    planned: PlannedRun
    status: str
    record: ReportedRun | None = field(repr=False)

    @property
    def failed(self) -> bool:
        """Whether it is a result that ranks worst."""
        return self.status in FAILURES

    @property
    def final(self) -> bool:
        """Whether it counts: a success or a failure, not something still to be done."""
        return self.status == "ok" or self.failed

    @cached_property
    def outcome(self) -> Ending | None:
        """What its log says became of it."""
        return self.record.outcome if self.record else None

    @property
    def onset(self) -> int | None:
        """Step at which it collapsed; None if it did not."""
        return self.outcome.onset if self.outcome and self.status == "collapsed" else None

    @property
    def failed_at(self) -> int | None:
        """Step at which it failed, or where it ended; None if it did not."""
        return self.outcome.failed_at if self.outcome and self.failed else None

    @cached_property
    def environment(self) -> dict[str, Any] | None:
        """Versions, device and threads of the last attempt; None where its file is damaged."""
        try:
            return self.record.environment() if self.record else {}
        except CorruptRecordError:
            return None

    def last(self, metric: str, weights: Weights = "values") -> float | None:
        """Return the metric's finite value at the last evaluation."""
        value = self.record.last(metric, weights) if self.record else None
        return value if value is not None and math.isfinite(value) else None

    def read(self, name: str) -> bytes | None:
        """Return what is in a file that the run wrote; None for none, and for one elsewhere."""
        return self._folder.read(name) if self._folder else None

    @cached_property
    def _folder(self) -> SampleFolder | None:
        return SampleFolder(self.record.path) if self.record else None

    def evaluation_at(self, step: int) -> EvaluationRow | None:
        """Return the evaluation at a step; None if there is none."""
        if self.record is None:
            return None
        places = np.flatnonzero(self.record.numbers(EvaluationRow).steps == step)
        return self.record.of_type(EvaluationRow)[places[0]] if len(places) else None

    def curve(self, metric: str) -> list[tuple[float, float]]:
        """Return (kimg, value) of every evaluation with a finite value, step 0 included."""
        return self.points(EvaluationRow, metric)

    def points(self, kind: type[Row], name: str) -> list[tuple[float, float]]:
        """Return (kimg, value) of every event of a class that has a finite value of that name."""
        if self.record is None:
            return []
        series = self.record.series(kind, name)
        finite = np.isfinite(series.values)
        return list(zip(series.kimg[finite].tolist(), series.values[finite].tolist(), strict=True))


@dataclass(frozen=True, eq=False)
class CellRuns(OfCell):
    """All runs of one cell, by seed."""

    cell: PlannedCell
    results: tuple[Result, ...]

    @cached_property
    def record(self) -> ReportedRun | None:
        """What the first of its runs that has begun did; None before any."""
        return next((result.record for result in self.results if result.record), None)

    @cached_property
    def metrics(self) -> tuple[MetricInfo, ...]:
        """The columns of its evaluations; empty before any run has begun."""
        return next((r.record.metrics for r in self.results if r.record and r.record.metrics), ())

    @cached_property
    def primary(self) -> MetricInfo | None:
        """The metric that verdicts go by."""
        return next((metric for metric in self.metrics if metric.primary), None)

    @property
    def counts(self) -> Counter[str]:
        """How many runs have each status."""
        return Counter(result.status for result in self.results)

    @cached_property
    def finals(self) -> list[Result]:
        """The runs that count."""
        return [result for result in self.results if result.final]

    @cached_property
    def courses(self) -> list[Result]:
        """The runs whose way may be drawn: those that count, and those that still go on."""
        return [r for r in self.results if r.record and r.status not in CRASHES]

    @cached_property
    def failures(self) -> int:
        """How many runs failed."""
        return sum(result.failed for result in self.results)

    @property
    def ranked(self) -> list[Result]:
        """The runs of :attr:`courses`, the worst first."""
        return sorted(self.courses, key=self._badness, reverse=True)

    def _badness(self, result: Result) -> tuple[int, float, int]:
        primary = self.primary
        value = result.last(primary.name) if primary else None
        size = math.inf if value is None else value
        if primary and primary.better == "higher" and value is not None:
            size = -size
        rank = ("ok", *FAILURES).index(result.status) + 1 if result.final else 0
        return rank, size, -result.planned.seed


@dataclass(frozen=True, eq=False)
class SuiteCells:
    """A suite's runs in the order of its plan."""

    suite: SuiteRecord
    cells: tuple[CellRuns, ...]

    @cached_property
    def datasets(self) -> list[str]:
        """Labels of the data sets, in order."""
        return list(dict.fromkeys(cell.dataset for cell in self.cells))

    @cached_property
    def variants(self) -> list[str]:
        """Labels of the variants, in order."""
        return list(dict.fromkeys(cell.variant for cell in self.cells))

    @cached_property
    def tricks(self) -> list[str]:
        """Labels of the tricks, the baseline first, then in order."""
        labels = dict.fromkeys(cell.tricks for cell in self.cells)
        return sorted(labels, key=lambda label: label != NONE)

    @cached_property
    def results(self) -> list[Result]:
        """All planned runs."""
        return [result for cell in self.cells for result in cell.results]

    @property
    def large(self) -> bool:
        """Whether there are so many runs that nobody looks at each."""
        return len(self.results) >= LARGE

    def room_for(self, most: int) -> int:
        """Return how many of something a figure shows: half as many in a large suite."""
        return most // 2 if self.large else most

    @cached_property
    def _by_label(self) -> dict[CellKey, CellRuns]:
        return {cell.labels: cell for cell in self.cells}

    def cell(self, dataset: str, variant: str, tricks: str) -> CellRuns | None:
        """Return one cell, None if the plan does not have it."""
        return self._by_label.get((dataset, variant, tricks))

    def control(self, cell: CellRuns) -> CellRuns | None:
        """Return what a cell is compared with; None for that itself, or where there is none.

        That is the suite's own baseline on the same data set, or else the cell of the same variant
        whose tricks all its others on that data set have: the one without tricks, if there is it.
        """
        if self.suite.plan.baseline is not None:
            control = self.cell(cell.dataset, *self.suite.plan.baseline)
        else:
            control = self._plainest.get((cell.dataset, cell.variant))
        return None if control is cell else control

    @cached_property
    def _plainest(self) -> dict[tuple[str, str], CellRuns]:
        groups: dict[tuple[str, str], list[CellRuns]] = {}
        for cell in self.cells:
            groups.setdefault((cell.dataset, cell.variant), []).append(cell)
        plainest = {}
        for key, group in groups.items():
            plain = min(group, key=lambda cell: len(cell.cell.tricks))
            if all(set(plain.cell.tricks) <= set(cell.cell.tricks) for cell in group):
                plainest[key] = plain
        return plainest

    def treatment(self, cell: CellRuns) -> str:
        """Name what a cell has that its control has not: its tricks, or each change."""
        if cell not in self._treatment:
            self._treatment[cell] = self._name(cell)
        return self._treatment[cell]

    @cached_property
    def _treatment(self) -> dict[CellRuns, str]:
        return {}

    def _name(self, cell: CellRuns) -> str:
        changes = self.changes(cell)
        if changes is not None:
            return ", ".join(changes) or "baseline"
        control = self.control(cell)
        shared = control.cell.tricks if control is not None else ()
        return joined(trick for trick in cell.cell.tricks if trick not in shared)

    def changes(self, cell: CellRuns) -> list[str] | None:
        """List how a cell differs from the suite's own baseline; None where there is none."""
        if self.suite.plan.baseline is None:
            return None
        variant, tricks = self.suite.plan.baseline
        mine, base = cell.cell.tricks, self._baseline_tricks
        changes = [cell.variant] if cell.variant != variant else []
        added = [trick for trick in mine if trick not in base]
        left = [trick for trick in base if trick not in mine]
        for trick in added:
            # The same trick with other options is one change, not two.
            same = next((old for old in left if old.id == trick.id), None)
            if same is not None:
                left.remove(same)
            changes.append(trick.label if same is not None else f"with {trick.label}")
        changes += [f"without {trick.label}" for trick in left]
        return changes or (["another order"] if cell.tricks != tricks else [])

    @cached_property
    def _baseline_tricks(self) -> tuple[PlannedPart, ...]:
        baselines = (c for c in self.cells if (c.variant, c.tricks) == self.suite.plan.baseline)
        return next((cell.cell.tricks for cell in baselines), ())

    @cached_property
    def controlled(self) -> list[tuple[CellRuns, CellRuns]]:
        """The cells that are compared with another, each with that."""
        pairs = ((cell, self.control(cell)) for cell in self.cells)
        return [(cell, control) for cell, control in pairs if control is not None]

    @cached_property
    def treatments(self) -> list[str]:
        """What is compared with something, in order."""
        treated = (cell for cell, _ in self.controlled)
        places = {label: place for place, label in enumerate(self.tricks)}
        ordered = sorted(treated, key=lambda cell: places[cell.tricks])
        return list(dict.fromkeys(self.treatment(cell) for cell in ordered))

    def of_dataset(self, dataset: str) -> list[CellRuns]:
        """Return a data set's cells, in order."""
        return [cell for cell in self.cells if cell.dataset == dataset]

    def data_facts(self, dataset: str) -> DataFacts:
        """Return what is known of a data set; nothing if no run has begun."""
        results = (result for cell in self.of_dataset(dataset) for result in cell.results)
        records = (result.record for result in results if result.record)
        return next((r.data for r in records if r.protocol), DataFacts())


def cached_per_suite(work: Callable[[SuiteCells], Answer]) -> Callable[[SuiteCells], Answer]:
    """Work out once what several chapters want to know of a suite."""
    known: WeakKeyDictionary[SuiteCells, Answer] = WeakKeyDictionary()

    @wraps(work)
    def cached(cells: SuiteCells) -> Answer:
        if cells not in known:
            known[cells] = work(cells)
        return known[cells]

    return cached


def status_of(planned: PlannedRun, suite: SuiteRecord) -> str:
    """Say what became of a planned run."""
    if planned.id in suite.corrupt:
        return "corrupt"
    record = suite.runs.get(planned.id)
    if record is None:
        return "missing"
    return record.outcome.outcome if record.outcome else "running"


def group(suite: SuiteRecord) -> SuiteCells:
    """Order a suite's planned runs into cells, each by seed."""
    cells: dict[PlannedCell, list[Result]] = {}
    for planned in suite.plan.runs:
        result = Result(planned, status_of(planned, suite), suite.runs.get(planned.id))
        cells.setdefault(planned.cell, []).append(result)
    return SuiteCells(
        suite,
        tuple(
            CellRuns(cell, tuple(sorted(results, key=lambda r: r.planned.seed)))
            for cell, results in cells.items()
        ),
    )
