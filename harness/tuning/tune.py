"""Tunes cells: trials of all, each trained as cohorts, then default and choice on fresh seeds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness.engines.base import Engine
from harness.errors import ExitStatus, StoreError
from harness.jobs.cohort import JobOptions
from harness.planning.backlog import finished, recorded
from harness.planning.changed_code import changes_of, code_for, settle_code
from harness.planning.checks import check_device
from harness.planning.cost_model import Measured
from harness.planning.dispatch import train_pending
from harness.spec import RunSpec, content_id, encode_number
from harness.store.code import Answer
from harness.store.folders import Store, begun_plan, write_json
from harness.store.reading import ReportedRun, RunRecord, TrialRun
from harness.store.records import TUNING_SCHEMA, PlannedRun, SuitePlan
from harness.tracking.base import Mirror
from harness.tuning.course import SEEDS, Course, TunedCell, value_of
from harness.tuning.numbers import Numbers
from harness.tuning.study import BATCH, propose


@dataclass
class Tuner:
    """Tunes cells with an equal number of trials each.

    Attributes:
        folder: Results folder of the suite; tuning keeps a store of its own under ``tuning/``.
        suite: The suite's plan, for its name.
        engine: Where the jobs run.
        mirror: Told of everything as it happens.
        device: ``cpu`` or ``cuda``.
        options: What each job is told.
        sampler: ``sobol`` or ``tpe``.
        measured: Says what is known of the cost of cohorts of some runs.
        changed_code: What is to become of runs that other code has trained.
        announce: Told what has become of them, in a line.
    """

    folder: Path
    suite: SuitePlan
    engine: Engine
    mirror: Mirror
    device: str
    options: JobOptions
    sampler: str = "sobol"
    measured: Callable[[Sequence[RunSpec]], Measured | None] = lambda specs: None
    changed_code: Answer = "refuse"
    announce: Callable[[str], None] = print

    def __post_init__(self) -> None:
        self.store = Store(self.folder / "tuning")
        self.planned: dict[str, PlannedRun] = {}
        # Only names of cells that were tuned before; a damaged plan is written again.
        before = begun_plan(self.store.root)
        if before is not None:
            self.planned = {run.id: run for run in before.runs}

    def tune(self, cells: Sequence[TunedCell], trials: int, batch: int = BATCH) -> ExitStatus:
        """Tune, train default and choice on fresh seeds, write each cell's ``summary.json``.

        Args:
            cells: What to tune.
            trials: Settings per cell, its own among them.
            batch: Settings that TPE proposes at once; a Sobol list is proposed as a whole.

        Raises:
            StoreError: if what an earlier search left is damaged, or is of another search.
        """
        while True:
            # What was proposed before comes first: later proposals may rest on it.
            courses = self.courses(cells, trials)
            most = max((len(course.settings) for course in courses), default=0)
            once = [(course, course.once) for course in courses]
            code = self._train(once, f"trials, {most} of {trials} per cell")
            if code != ExitStatus.DONE:
                return code
            courses = self.courses(cells, trials)
            lacking = [c for c in courses if c.cell.searched and len(c.settings) < trials]
            if not lacking:
                break
            for course in lacking:
                self._propose(course, trials, batch)
        again = [(course, course.again) for course in courses]
        code = self._train(again, "the best again, with more seeds")
        if code != ExitStatus.DONE:
            return code
        courses = self.courses(cells, trials)
        of_suite = self._of_suite([spec for course in courses for spec in course.fresh])
        fresh = [(c, [spec for spec in c.fresh if spec.id not in of_suite]) for c in courses]
        code = self._train(fresh, "default and choice on fresh seeds")
        if code == ExitStatus.DONE:
            for course in courses:
                self._summarise(course)
        return code

    def _propose(self, course: Course, trials: int, batch: int) -> None:
        """Propose more settings of a cell, and write them down before any of them is trained."""
        cell, done = course.cell, course.settings
        count = trials - len(done)
        if self.sampler == "tpe":
            count = min(count, batch)
        more = propose(cell.space, cell.default, course.firsts, count, self.sampler)
        value = {
            "schema": TUNING_SCHEMA,
            "sampler": self.sampler,
            "space": [str(each) for each in cell.searched.values()],
            "settings": [*done, *more],
        }
        write_json(self._folder(cell) / "trials.json", value)

    def _folder(self, cell: TunedCell) -> Path:
        folder = self.store.root / cell.name
        folder.mkdir(exist_ok=True)
        return folder

    def courses(self, cells: Sequence[TunedCell], trials: int) -> list[Course]:
        """Say how the search of each cell goes on from the trials that are finished."""
        return [
            course_of(
                cell,
                remembered(self.store.root, cell, self.sampler)[:trials],
                lambda specs: finished(self.store, specs),
            )
            for cell in cells
        ]

    def _train(self, wanted: Iterable[tuple[Course, Sequence[RunSpec]]], phase: str) -> ExitStatus:
        specs: dict[str, RunSpec] = {}
        notes: dict[str, str] = {}
        for course, of_cell in wanted:
            cell = course.cell
            notes |= course.notes
            for spec in of_cell:
                specs[spec.id] = spec
                self.planned[spec.id] = PlannedRun(spec.id, spec.slug, cell.cell, spec.seed)
        planned, code = list(specs.values()), self.suite.code
        records = recorded(self.store, planned)
        settled = settle_code(self.store.root, planned, records, code, self.changed_code)
        check_device(settled.todo, self.device)
        for line in settled.told:
            self.announce(line)
        for spec in settled.again:
            self.store.make_room(spec)
        plan = SuitePlan(
            suite=f"{self.suite.suite}-tuning",
            summary=f"Trials for {self.suite.suite}",
            fingerprint=content_id(sorted(self.planned)),
            runs=tuple(self.planned.values()),
            code=settled.code,
        )
        self.store.write_plan(plan)
        todo = settled.todo
        if not todo.pending:
            return ExitStatus.DONE
        return train_pending(
            self.store,
            replace(plan, suite=f"{plan.suite}: {phase}"),
            todo,
            self.engine,
            self.mirror,
            device=self.device,
            options=replace(self.options, code=settled.code),
            notes=notes,
            measured=self.measured(todo.pending),
        )

    def reported(self, specs: Sequence[RunSpec]) -> dict[str, ReportedRun]:
        """Read finished runs on fresh seeds: tuning's own where it has them, else the suite's."""
        records = self._of_suite(specs) | finished(self.store, specs)
        return {name: ReportedRun.of(record) for name, record in records.items()}

    def _of_suite(self, specs: Sequence[RunSpec]) -> dict[str, RunRecord]:
        """Read finished runs of the suite itself; those of other code do not count."""
        main = Store(self.folder)
        code = code_for(main.root, self.suite.code)
        records = finished(main, specs)
        return {run: record for run, record in records.items() if not changes_of(record, code)}

    def _summarise(self, course: Course) -> None:
        cell = course.cell
        trials = {run: TrialRun.of(record) for run, record in course.records.items()}
        default, chosen = (
            self.reported(cell.fresh(numbers)) for numbers in (cell.default, course.chosen)
        )
        judged = next((r.primary for r in default.values() if r.primary), None)
        tried = next((r.primary for r in trials.values() if r.primary), None)
        write_json(
            self._folder(cell) / "summary.json",
            {
                "schema": TUNING_SCHEMA,
                "cell": dict(zip(("dataset", "variant", "tricks"), cell.labels, strict=True)),
                "metric": tried.name if tried else None,
                "reported_metric": judged.name if judged else None,
                "better": judged.better if judged else None,
                "space": {
                    name: {"low": each.low, "high": each.high, "log": each.log}
                    for name, each in cell.searched.items()
                },
                "trials": [
                    {"number": number, "params": dict(numbers), **_result(trials[spec.id])}
                    for number, numbers in enumerate(course.settings)
                    for seed in SEEDS
                    if (spec := cell.trial(numbers, seed)).id in trials
                ],
                "default": {"params": dict(cell.default), "fresh": _results(default)},
                "chosen": {
                    "params": dict(course.chosen),
                    "edges": course.edges,
                    "fresh": _results(chosen),
                },
                "sampler": self.sampler,
                "optuna_version": version("optuna"),
            },
        )


def course_of(
    cell: TunedCell,
    settings: Sequence[Numbers],
    read: Callable[[Sequence[RunSpec]], Mapping[str, RunRecord]],
) -> Course:
    """Read what there is of a cell's search.

    Args:
        cell: The cell.
        settings: What is tried.
        read: Returns the finished among some runs, by id.
    """
    course = Course(cell, settings, {})
    course = replace(course, records=read(course.once))
    return replace(course, records={**course.records, **read(course.again)})


def remembered(root: Path, cell: TunedCell, sampler: str) -> list[Numbers]:
    """Read what was proposed for a cell, in order.

    Args:
        root: The folder of the tuning's store.
        cell: The cell.
        sampler: What proposes now.

    Raises:
        StoreError: if the file is damaged, or another search wrote it.
    """
    file = root / cell.name / "trials.json"
    asked = [str(each) for each in cell.searched.values()]
    try:
        data = json.loads(file.read_bytes())
        if data["schema"] != TUNING_SCHEMA:
            raise StoreError(
                f"{file} was written by another version of ganbench, whose trials were others; "
                f"delete {root} to tune anew"
            )
        if (data["sampler"], data["space"]) != (sampler, asked):
            options = [
                f"--sampler {data['sampler']}",
                *(f"--param {each}" for each in data["space"]),
            ]
            raise StoreError(
                f"{file}: these trials are of another search; go on with {' '.join(options)}, or "
                "delete the file to tune this cell anew"
            )
        return [
            {name: _number(point[name]) for name in cell.searched} for point in data["settings"]
        ]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{file} is damaged ({type(error).__name__}); delete it to tune this cell anew"
        ) from error


def _number(value: Any) -> float:
    if not isinstance(value, int | float):
        raise TypeError(value)
    return value


def _results(records: Mapping[str, RunRecord]) -> list[dict[str, Any]]:
    return [_result(record) for record in records.values()]


def _result(record: RunRecord) -> dict[str, Any]:
    value = value_of(record)
    return {
        "seed": record.spec.seed,
        "value": None if value is None else encode_number(value),
        "outcome": record.outcome.outcome if record.outcome else None,
        "run": record.spec.id,
    }
