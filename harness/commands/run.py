"""``ganbench run``: trains what is selected and missing."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from harness.commands.begun import check_looks, results_version
from harness.commands.options import RunOptions
from harness.engines.local import LocalEngine
from harness.errors import ExitStatus
from harness.jobs.cohort import JobOptions
from harness.jobs.environment import choose_device
from harness.planning.backlog import recorded
from harness.planning.calibration import Calibration
from harness.planning.changed_code import settle_code, unreadable
from harness.planning.checks import check_data, check_device, check_precision
from harness.planning.dispatch import train_pending
from harness.planning.machine import slots
from harness.planning.rehearsal import rehearse
from harness.planning.studies import spent_seeds
from harness.store.folders import Store, begun_plan
from harness.store.reading import read_suite
from harness.store.records import SuitePlan
from harness.suite.matrix import Matrix
from harness.tracking.base import Mirror, Mirrors
from harness.tracking.choice import choose_mode
from harness.tracking.console import ConsoleMirror, quietly, standard_console
from harness.tracking.wording import counted
from harness.version import RESULTS_VERSION, since


def run_suite(matrix: Matrix, options: RunOptions) -> ExitStatus:
    """Train what is selected and missing, and say how that ended."""
    console = standard_console()
    folder = options.folder(matrix.plan.suite)
    selected = [spec for spec in matrix.specs if spec.id in matrix.selected]
    device = choose_device(options.device)
    choose_mode(options.wandb, os.environ)
    store = Store(folder)
    with store.hold():
        _announce_plan(store, matrix, console)
        matrix = _as_study(store, matrix, console)
        others = [spec for spec in matrix.specs if spec.id not in matrix.selected]
        records, answer = recorded(store, selected), options.changed_code
        settled = settle_code(folder, selected, records, matrix.plan.code, answer, others)
        todo, plan = settled.todo, replace(matrix.plan, code=settled.code)
        # Everything that can be refused is, before the folder gets this plan.
        check_precision(todo.pending, device)
        check_device(todo, device)
        if todo.pending:
            check_data(todo.pending, options.data_root)
        with console.status("trying every cell for a moment"):
            rehearse(todo.pending, options.plugins)
        for line in (*unreadable(settled.code), *settled.told):
            quietly(console)(line)
        for spec in settled.again:
            store.make_room(spec)
        store.write_plan(plan)
        if not todo.pending:
            console.print(f"all {len(todo.finished)} runs of {matrix.plan.suite} are done")
            return _completeness(folder, matrix.selected)
        places = slots(device, options.jobs)
        calibration = Calibration(
            device, places, options.plugins, quietly(console), largest=options.cohort
        )
        mirrors = [ConsoleMirror(console), *_wandb(options.wandb, matrix, folder, console)]
        code = train_pending(
            store,
            plan,
            todo,
            LocalEngine(places),
            Mirrors(mirrors),
            device=device,
            options=job_options(plan, options),
            measured=calibration.measure_missing(todo.pending),
        )
    return code if code != ExitStatus.DONE else _completeness(folder, matrix.selected)


def job_options(plan: SuitePlan, options: RunOptions) -> JobOptions:
    """Return what every job of a command is told."""
    return JobOptions(options.data_root, options.plugins, plan.extractors, code=plan.code)


def _announce_plan(store: Store, matrix: Matrix, console: Console) -> None:
    """Refuse a folder of something else; say how many results a changed plan leaves out."""
    before = check_looks(store.root, matrix.plan)
    if before is None:
        return
    kept = {run.id for run in matrix.plan.runs}
    gone = [run for run in before.runs if run.id not in kept]
    versions = [
        version for run in gone if (version := results_version(store.root, run)) is not None
    ]
    if not versions:
        return
    quietly(console)(
        f"the plan has changed: {counted(len(versions), 'run')} of the one before stay on the disk "
        "and are in no number of the report"
    )
    oldest = min(versions)
    if oldest < RESULTS_VERSION:
        quietly(console)(
            f"they are of results version {oldest}, and this ganbench gives version "
            f"{RESULTS_VERSION}: everything is trained anew, because these numbers are others now: "
            f"{since(oldest)}"
        )


def _as_study(store: Store, matrix: Matrix, console: Console) -> Matrix:
    """Note in the plan which of its seeds have been judged before, and say so."""
    if matrix.plan.looks:
        return matrix
    before = begun_plan(store.root)
    spent = tuple(sorted(spent_seeds(store.root, before, matrix.plan.runs)))
    if before is not None and spent and spent != before.spent:
        quietly(console)(
            f"the verdicts of {counted(len(spent), 'seed')} could be read before these were added: "
            "the seeds that are new are judged alone, as a new study. To look more than once at "
            "one study, begin with --until-decided"
        )
    return replace(matrix, plan=replace(matrix.plan, spent=spent))


def _wandb(flag: str | None, matrix: Matrix, folder: Path, console: Console) -> list[Mirror]:
    mode, message = choose_mode(flag, os.environ)
    if message:
        quietly(console)(message)
    if mode == "disabled":
        return []
    from harness.tracking.wandb_mirror import WandbMirror

    announce = quietly(console)
    return [WandbMirror(mode, project="ganbench", folder=folder, announce=announce)]


def _completeness(folder: Path, ids: frozenset[str]) -> ExitStatus:
    """Say whether every run that was selected has a result."""
    suite = read_suite(folder, skip_corrupt=True)
    complete = all(run in suite.runs and suite.runs[run].is_final for run in ids)
    return ExitStatus.DONE if complete else ExitStatus.INCOMPLETE
