"""What the commands do, put together from the modules that know how."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.commands.catalog import remarks
from harness.engines.base import DONE, JobOptions
from harness.engines.local import LocalEngine
from harness.errors import GanbenchError, StoreError
from harness.jobs.cohort import Cohort
from harness.jobs.environment import choose_device
from harness.planning.backlog import Backlog, backlog
from harness.planning.calibration import Calibration
from harness.planning.checks import check_data, check_device, check_precision
from harness.planning.cohorts import cohort_seconds, make_cohorts, measure_rate, workload_of
from harness.planning.cost_curves import makespan
from harness.planning.dispatch import train_pending
from harness.spec import RunSpec
from harness.store.folders import Store
from harness.store.index import write_index
from harness.store.reading import read_run, read_suite
from harness.store.records import FINAL
from harness.suite.matrix import Matrix
from harness.tracking.base import Mirror, Mirrors
from harness.tracking.choice import choose_mode
from harness.tracking.console import ConsoleMirror
from harness.tracking.progress import duration, number

if TYPE_CHECKING:
    from harness.tuning.tune import TunedCell, Tuner

INCOMPLETE = 1


def slots(device: str, jobs: int | None) -> list[str]:
    """Return one device per process: every core, or every GPU, unless ``jobs`` says otherwise."""
    if device == "cuda":
        import torch

        gpus = torch.cuda.device_count()
        return [f"cuda:{i % gpus}" for i in range(jobs or gpus)]
    return ["cpu"] * (jobs or len(os.sched_getaffinity(0)))


def run_suite(
    matrix: Matrix,
    folder: Path,
    *,
    device: str,
    jobs: int | None,
    cohort: int | None,
    wandb: str | None,
    data_root: Path | None,
    plugins: tuple[str, ...],
) -> int:
    """Train what is selected and missing; return the exit status."""
    console = Console()
    selected = [spec for spec in matrix.specs if spec.id in matrix.selected]
    device = choose_device(device)
    choose_mode(wandb, os.environ)
    store = Store(folder)
    with store.hold():
        _announce_plan(store, matrix, console)
        todo = backlog(store, selected)
        # Everything that can be refused is, before the folder gets this plan.
        check_precision(todo.pending, device)
        check_device(todo, device)
        if todo.pending:
            check_data(todo.pending, data_root)
        store.write_plan(matrix.plan)
        code = DONE
        if todo.pending:
            code = _train(
                store,
                matrix,
                todo,
                device=device,
                jobs=jobs,
                cohort=cohort,
                mirrors=[ConsoleMirror(console), *_wandb(wandb, matrix, folder, console)],
                options=JobOptions(folder, data_root, plugins, extractors=matrix.plan.extractors),
                announce=lambda line: console.print(Text(line), style="dim"),
            )
            write_index(read_suite(folder, skip_corrupt=True))
        else:
            console.print(f"all {len(todo.finished)} runs of {matrix.plan.suite} are done")
    if code != DONE:
        return code
    return DONE if _complete(folder, matrix.selected) else INCOMPLETE


def _announce_plan(store: Store, matrix: Matrix, console: Console) -> None:
    """Refuse another suite's folder; say how many results a changed plan leaves out.

    Raises:
        GanbenchError: if the folder holds results of another suite.
    """
    before = store.begun_plan()
    if before is None:
        return
    if before.suite != matrix.plan.suite:
        raise GanbenchError(
            f"{store.root} holds results of suite {before.suite!r}, not {matrix.plan.suite!r}; "
            "choose another folder with --out"
        )
    kept = {run.id for run in matrix.plan.runs}
    gone = [run for run in before.runs if run.id not in kept]
    begun = sum((store.root / "runs" / run.folder / "spec.json").exists() for run in gone)
    if begun:
        console.print(
            Text(
                f"the plan has changed: {counted(begun, 'run')} of the one before stay on the disk "
                "and are in no number of the report"
            ),
            style="dim",
        )


def _train(
    store: Store,
    matrix: Matrix,
    todo: Backlog,
    *,
    device: str,
    jobs: int | None,
    cohort: int | None,
    mirrors: list[Mirror],
    options: JobOptions,
    announce: Callable[[str], None],
) -> int:
    places = slots(device, jobs)
    calibration = Calibration(device, places, options.plugins, announce, largest=cohort)
    return train_pending(
        store,
        matrix.plan,
        todo,
        LocalEngine(places),
        Mirrors(mirrors),
        device=device,
        options=options,
        measured=calibration.found(todo.pending),
    )


def _wandb(flag: str | None, matrix: Matrix, folder: Path, console: Console) -> list[Mirror]:
    mode, message = choose_mode(flag, os.environ)
    if message:
        console.print(Text(message), style="dim")
    if mode == "disabled":
        return []
    from harness.tracking.wandb_mirror import WandbMirror

    def announce(line: str) -> None:
        console.print(Text(line), style="dim")

    return [WandbMirror(mode, project="ganbench", folder=folder, announce=announce)]


def _complete(folder: Path, ids: frozenset[str]) -> bool:
    suite = read_suite(folder, skip_corrupt=True)
    outcomes = [suite.runs[i].outcome if i in suite.runs else None for i in ids]
    return all(outcome is not None and outcome["outcome"] in FINAL for outcome in outcomes)


def dry_run(
    matrix: Matrix, folder: Path, *, device: str, jobs: int | None, cohort: int | None
) -> None:
    """Print cells, skipped cells with their reasons, cohorts and an estimate of the cost.

    Args:
        matrix: The suite.
        folder: The results folder, which is only read: what it has need not be trained.
        device: ``auto``, ``cpu`` or ``cuda``.
        jobs: Processes at once; None for the default.
        cohort: Most runs that train together; None for what is best.
    """
    console = Console()
    device = choose_device(device)
    selected = [spec for spec in matrix.specs if spec.id in matrix.selected]
    labels = {run.id: run for run in matrix.plan.runs}
    table = Table(title=f"{matrix.plan.suite}: cells", title_justify="left", box=None)
    for heading in ("dataset", "variant", "tricks", "network"):
        table.add_column(heading)
    for heading in ("steps", "batch", "seeds"):
        table.add_column(heading, justify="right")
    cells: dict[tuple[str, ...], int] = {}
    for spec in selected:
        run = labels[spec.id]
        s = spec.settings
        key = (run.dataset, run.variant, run.tricks, s.network, str(s.steps), str(s.batch))
        cells[key] = cells.get(key, 0) + 1
    for names, count in cells.items():
        table.add_row(*map(Text, names), str(count))
    console.print(table)
    said = {
        (run.dataset, run.variant, run.tricks, remark)
        for run, spec in ((labels[spec.id], spec) for spec in selected)
        for remark in remarks(spec)
    }
    if said:
        notes = Table(title="remarks", title_justify="left", box=None)
        for heading in ("dataset", "variant", "tricks", "remark"):
            notes.add_column(heading)
        for line in sorted(said):
            notes.add_row(*map(Text, line))
        console.print(notes)
    if matrix.skipped:
        skipped = Table(title="skipped", title_justify="left", box=None)
        for heading in ("dataset", "variant", "tricks", "reason"):
            skipped.add_column(heading)
        for cell in matrix.skipped:
            skipped.add_row(*map(Text, (cell.dataset, cell.variant, cell.tricks, cell.reason)))
        console.print(skipped)
    pending = [s for s in selected if not has_result(folder / "runs" / s.slug, s.id)]
    check_precision(pending, device)
    places = slots(device, jobs)
    calibration = Calibration(device, places, largest=cohort)
    measured = calibration.known(pending)
    cohorts = make_cohorts(pending, device, measured=measured)
    if cohorts:
        console.print(_cohorts_by_kind(cohorts, calibration))
    rate = measure_rate()
    seconds = [cohort_seconds(cohort, rate) for cohort in cohorts]
    sizes = sorted({len(cohort.specs) for cohort in cohorts})
    console.print(
        f"{counted(len(cells), 'cell')}, {len(matrix.skipped)} skipped, "
        f"{counted(len(selected), 'run')}, {len(selected) - len(pending)} of them done; to train: "
        f"{counted(len(cohorts), 'cohort')} of {' or '.join(map(str, sizes)) or 'no'} runs"
    )
    run_steps = sum(spec.settings.steps for spec in pending)
    where = f"{len(places)} × {places[0].partition(':')[0]}"
    estimate = (
        "no estimate for GPUs"
        if device == "cuda"
        else f"about {duration(makespan(seconds, len(places)))} of training, give or take a factor "
        f"of two ({rate / 1e9:.0f} GFLOP/s measured per core; measuring the runs comes on top)"
    )
    console.print(f"cost: {run_steps:,} run-steps on {where}, {estimate}")


def _cohorts_by_kind(cohorts: Sequence[Cohort], calibration: Calibration) -> Table:
    """Tabulate how many runs train together, and what that rests on."""
    table = Table(title="cohorts", title_justify="left", box=None)
    for heading in ("networks", "cohorts", "of runs", "chosen by"):
        right = heading in ("cohorts", "of runs")
        table.add_column(heading, justify="right" if right else "left")
    sizes: dict[str, list[int]] = {}
    for cohort in cohorts:
        sizes.setdefault(workload_of(cohort.specs[0]), []).append(len(cohort.specs))
    for kind, found in sizes.items():
        origin = calibration.origins[kind]
        least, most = min(found), max(found)
        span = str(most) if least == most else f"{least} to {most}"
        table.add_row(Text(origin.kind), str(len(found)), span, origin.source)
    return table


def counted(count: int, noun: str) -> str:
    """Write a count with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def has_result(path: Path, run_id: str) -> bool:
    """Say whether a run's folder holds a result; a damaged one does not count as any."""
    try:
        return read_run(path, run_id).is_final
    except StoreError:
        return False


def push_results(folder: Path, *, wandb: str | None, project: str) -> None:
    """Mirror a results folder to W&B and say how many runs were sent.

    Raises:
        GanbenchError: if there is nowhere to push to.
    """
    from harness.tracking.wandb_mirror import push

    mode, message = choose_mode(wandb, os.environ)
    if mode == "disabled":
        raise GanbenchError(message or "--wandb disabled leaves nowhere to push to")
    print(f"pushed {push(folder, mode=mode, project=project, announce=print)} runs")


def tune_suite(
    matrix: Matrix,
    folder: Path,
    *,
    trials: int,
    batch: int,
    sampler: str,
    device: str,
    jobs: int | None,
    data_root: Path | None,
    plugins: tuple[str, ...],
) -> int:
    """Tune every selected cell with the same number of trials; print what came of it.

    Returns:
        The exit status.

    Raises:
        GanbenchError: if a cell is reported against the split that trials look at.
    """
    grouped: dict[tuple[str, str, str], list[RunSpec]] = {}
    labels = {run.id: run for run in matrix.plan.runs}
    selected = [spec for spec in matrix.specs if spec.id in matrix.selected]
    for spec in selected:
        run = labels[spec.id]
        grouped.setdefault((run.dataset, run.variant, run.tricks), []).append(spec)
    from harness.tuning.tune import TunedCell, Tuner, trial_spec

    cells = [TunedCell(*names, tuple(specs)) for names, specs in grouped.items()]
    device = choose_device(device)
    check_precision(selected, device)
    # Trials look at another split than what is reported: both must be there.
    check_data([*selected, *(trial_spec(cell, cell.default) for cell in cells)], data_root)
    store = Store(folder)
    with store.hold():
        if not (folder / "suite.json").exists():
            store.write_plan(matrix.plan)
        console, places = Console(), slots(device, jobs)
        calibration = Calibration(
            device, places, plugins, lambda line: console.print(Text(line), style="dim")
        )
        tuner = Tuner(
            folder,
            matrix.plan,
            LocalEngine(places),
            Mirrors([ConsoleMirror(console)]),
            device,
            JobOptions(folder, data_root, plugins, extractors=matrix.plan.extractors),
            sampler,
            calibration.found,
        )
        code = tuner.tune(cells, trials, batch)
    if code == DONE:
        for cell in cells:
            console.print(Text(f"{cell.dataset} · {cell.variant} · {cell.tricks}, on fresh seeds"))
            console.print(_answer(tuner, cell))
    return code


def _answer(tuner: Tuner, cell: TunedCell) -> Table:
    """Tabulate what tuning found for a cell: every setting on fresh seeds, the default first."""
    table = Table(box=None)
    for heading in ("setting", "rates"):
        table.add_column(heading)
    for heading in ("median", "failed"):
        table.add_column(heading, justify="right")
    for name, rates, values in tuner.on_fresh_seeds(cell):
        good = [value for value in values if value is not None]
        median = number(statistics.median(good)) if good else "–"
        table.add_row(name, str(rates), median, f"{len(values) - len(good)} of {len(values)}")
    return table
