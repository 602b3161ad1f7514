"""Who trains what is left: its cohorts, their files, and the engine that gets them."""

from __future__ import annotations

from collections.abc import Mapping

from harness.engines.base import Assignment, Engine
from harness.errors import ExitStatus
from harness.jobs.cohort import JobOptions, JobRequest
from harness.planning.backlog import Backlog
from harness.planning.cohorts import TYPICAL_RATE, cohort_seconds, make_cohorts
from harness.planning.cost_model import Measured
from harness.store.folders import Store
from harness.store.records import SuitePlan
from harness.tracking.base import Mirror, TrackedRun


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
) -> ExitStatus:
    """Train everything that is pending, and say how that ended.

    Args:
        store: The results folder, held by the caller.
        plan: What all runs are called.
        todo: From :func:`backlog`.
        engine: Where the jobs run.
        mirror: Told of everything as it happens.
        device: ``cpu`` or ``cuda``, which decides the cohorts' size.
        options: What each job is told.
        notes: What tells a run from its like, by id; for mirrors.
        measured: What is known of the cost of cohorts.
    """
    planned = {run.id: run for run in plan.runs}
    notes = notes or {}
    folder = store.root / "cohorts"
    folder.mkdir(exist_ok=True)
    assignments = []
    for cohort in make_cohorts(todo.pending, device, todo.together, measured):
        file = folder / f"{cohort.name}.json"
        JobRequest(store.root, options, cohort.specs).write(file)
        cost = cohort_seconds(cohort, TYPICAL_RATE) / len(cohort.specs)
        runs = tuple(
            TrackedRun(planned[s.id], store.folder(s), s.settings.steps, cost, notes.get(s.id, ""))
            for s in cohort.specs
        )
        assignments.append(Assignment(cohort.name, runs, file))
    tracked = [run for assignment in assignments for run in assignment.runs]
    mirror.suite_started(plan, tracked, len(todo.finished))
    try:
        return engine.run(assignments, mirror) if assignments else ExitStatus.DONE
    finally:
        mirror.suite_ended()
