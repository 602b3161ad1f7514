"""Runs what a suite asks for and the store does not have yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from harness.curves import Measured
from harness.datasets.base import dataset_of
from harness.datasets.halves import half_of
from harness.engines.base import DONE, Assignment, Engine, JobOptions
from harness.errors import DataError, GanbenchError
from harness.metrics.evaluation import require
from harness.plan import TYPICAL_RATE, Cohort, cohort_seconds, make_cohorts
from harness.spec import RunSpec, Split, canonical_json
from harness.store.folders import Store
from harness.store.records import PlannedRun, RunRecord, SuitePlan, read_run
from harness.tracking.base import Mirror, TrackedRun


@dataclass(frozen=True)
class Backlog:
    """What is left of a set of runs.

    Attributes:
        finished: Runs that have a result, by id.
        pending: Specs that have none, in the order of the suite.
        begun: Records of pending runs that have trained, by id.
    """

    finished: dict[str, RunRecord]
    pending: tuple[RunSpec, ...]
    begun: dict[str, RunRecord] = field(default_factory=dict)


def backlog(store: Store, specs: Iterable[RunSpec]) -> Backlog:
    """Sort runs into those with a result and those to train.

    Raises:
        CorruptRecordError: naming file and line, if a run's records are damaged.
    """
    finished: dict[str, RunRecord] = {}
    pending = []
    begun = {}
    for spec in specs:
        path = store.folder(spec)
        record = read_run(path, spec.id) if (path / "spec.json").exists() else None
        if record is not None and record.is_final:
            finished[spec.id] = record
        else:
            pending.append(spec)
            if record is not None and record.attempts:
                begun[spec.id] = record
    return Backlog(finished, tuple(pending), begun)


def check_data(specs: Iterable[RunSpec], root: Path | None) -> None:
    """Make sure that data sets which are files are there and whole, before anything is trained.

    Raises:
        DataError: naming the files and where to put them, weights of extractors included; all
            that is wrong at once.
    """
    needed = {
        (canonical_json(s.dataset.model_dump()), s.settings.extractor, s.settings.reference): s
        for s in specs
    }
    problems: dict[str, DataError] = {}
    for spec in needed.values():
        dataset = dataset_of(spec)
        checks: list[Callable[[], object]] = [
            partial(require, dataset, spec.settings.extractor, root)
        ]
        if dataset.needs_root:
            half = half_of(spec.settings.reference)
            splits: dict[Split, None] = dict.fromkeys(("train", half.reference, half.held_out))
            checks += [partial(dataset.load, split, root) for split in splits]
        for check in checks:
            try:
                check()
            except DataError as error:
                problems.setdefault(str(error), error)
    if len(problems) > 1:
        raise DataError("\n".join([f"{len(problems)} problems", *(f"  {p}" for p in problems)]))
    for only in problems.values():
        raise only


def check_precision(specs: Iterable[RunSpec], device: str) -> None:
    """Refuse a precision that a device does not have.

    Raises:
        GanbenchError: naming a run, and what to do.
    """
    for spec in specs:
        if spec.settings.precision == "tf32" and device != "cuda":
            raise GanbenchError(
                f"{spec.slug} asks for precision tf32, which only CUDA devices have: choose "
                "float32 in the suite's settings, or --device cuda"
            )


def check_device(todo: Backlog, device: str) -> None:
    """Refuse to go on elsewhere with runs that have a checkpoint.

    The same seed gives other random numbers on another kind of device, so such a run would equal
    neither of the two that it is made of.

    Raises:
        GanbenchError: naming one of them, and what to do.
    """
    for record in todo.begun.values():
        before = record.attempts[-1].get("device", device)
        if before != device and any(record.path.glob("checkpoints/step-*.json")):
            raise GanbenchError(
                f"{record.path} began on {before}, where its random numbers are others: go on with "
                f"--device {before}, or delete the folder to train it again on {device}"
            )


def train_pending(
    store: Store,
    plan: SuitePlan,
    todo: Backlog,
    engine: Engine,
    mirror: Mirror,
    *,
    device: str,
    options: JobOptions,
    notes: Mapping[str, str] | None = None,
    measured: Measured | None = None,
) -> int:
    """Train everything that is pending.

    Args:
        store: The results folder, held by the caller.
        plan: Labels of all runs.
        todo: From :func:`backlog`.
        engine: Where the jobs run.
        mirror: Told of everything as it happens.
        device: ``cpu`` or ``cuda``, which decides the cohorts' size.
        options: What each job is told.
        notes: What tells a run from its like, by id; for mirrors.
        measured: What is known of the cost of cohorts.

    Returns:
        0, 1 (some crashed), 75 (preempted) or 130 (interrupted).
    """
    labels = {run.id: run for run in plan.runs}
    together = {run: tuple(r.attempts[-1]["cohort"]) for run, r in todo.begun.items()}
    cohorts = make_cohorts(todo.pending, device, together, measured)
    assignments = assign(store, labels, cohorts, notes or {})
    tracked = [run for assignment in assignments for run in assignment.runs]
    mirror.suite_started(plan, tracked, len(todo.finished))
    try:
        return engine.run(assignments, options, mirror) if assignments else DONE
    finally:
        mirror.suite_ended()


def assign(
    store: Store,
    labels: Mapping[str, PlannedRun],
    cohorts: Sequence[Cohort],
    notes: Mapping[str, str],
) -> list[Assignment]:
    """Write each cohort's file and attach the labels of its runs, and notes where there are."""
    from harness.job import write_cohort

    folder = store.root / "cohorts"
    folder.mkdir(exist_ok=True)
    assignments = []
    for cohort in cohorts:
        file = folder / f"{cohort.name}.json"
        write_cohort(file, cohort.specs)
        cost = cohort_seconds(cohort, TYPICAL_RATE) / len(cohort.specs)
        runs = tuple(
            TrackedRun(
                labels[spec.id],
                store.folder(spec),
                spec.settings.steps,
                cohort.name,
                cost,
                notes.get(spec.id, ""),
            )
            for spec in cohort.specs
        )
        assignments.append(Assignment(cohort, runs, file))
    return assignments
