"""``ganbench run --dry-run``: what would be trained, together with what, and what that costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.commands.options import RunOptions
from harness.jobs.cohort import Cohort
from harness.jobs.environment import choose_device
from harness.jobs.job import common_step, usable_checkpoints
from harness.parts import remarks
from harness.planning.backlog import Backlog, readable
from harness.planning.calibration import Calibration, in_words
from harness.planning.changed_code import changed_beside, changed_runs, code_for, refuse
from harness.planning.checks import check_device, check_precision
from harness.planning.cohorts import cohort_seconds, make_cohorts, measure_rate, workload_of
from harness.planning.cost_model import makespan
from harness.planning.machine import slots
from harness.planning.rehearsal import rehearse
from harness.spec import RunSpec
from harness.store.code import Answer
from harness.suite.matrix import Matrix
from harness.tracking.progress import duration
from harness.tracking.wording import counted


def preview(matrix: Matrix, options: RunOptions) -> None:
    """Print cells, skipped cells with their reasons, cohorts and an estimate of the cost.

    The results folder is only read: what it has need not be trained.
    """
    console = Console()
    folder = options.folder(matrix.plan.suite)
    device = choose_device(options.device)
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
        key = (*run.labels, s.network, str(s.steps), str(s.batch))
        cells[key] = cells.get(key, 0) + 1
    for names, count in cells.items():
        table.add_row(*map(Text, names), str(count))
    console.print(table)
    said = {
        (*run.labels, remark)
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
    todo = left_to_do(folder, selected, matrix, options.changed_code)
    pending = todo.pending
    check_precision(pending, device)
    check_device(todo, device)
    with console.status("trying every cell for a moment"):
        rehearse(pending, options.plugins)
    places = slots(device, options.jobs)
    calibration = Calibration(device, places, largest=options.cohort)
    measured = calibration.cached(pending)
    cohorts = make_cohorts(pending, device, todo.together, measured)
    if cohorts:
        console.print(_cohorts_by_kind(cohorts, calibration))
    done = [steps_done(cohort, todo) for cohort in cohorts]
    left = [c.specs[0].settings.steps - steps for c, steps in zip(cohorts, done, strict=True)]
    resumed = sum(len(c.specs) for c, steps in zip(cohorts, done, strict=True) if steps)
    sizes = sorted({len(cohort.specs) for cohort in cohorts})
    console.print(
        f"{counted(len(cells), 'cell')}, {len(matrix.skipped)} skipped, "
        f"{counted(len(selected), 'run')}, {len(todo.finished)} of them done"
        + (f", {resumed} to go on from a checkpoint" if resumed else "")
        + "; to train: "
        f"{counted(len(cohorts), 'cohort')} of {' or '.join(map(str, sizes)) or 'no'} runs"
    )
    console.print(cost([list(zip(cohorts, left, strict=True))], places))


def cost(rounds: Iterable[Sequence[tuple[Cohort, int]]], places: Sequence[str]) -> str:
    """Say in a line what training costs.

    Args:
        rounds: Cohorts with the steps that they have left; a round begins when the one before it
            has ended.
        places: Devices, one for each process at once.
    """
    rate = measure_rate()
    run_steps, total = 0, 0.0
    for cohorts in rounds:
        run_steps += sum(len(cohort.specs) * left for cohort, left in cohorts)
        seconds = [
            cohort_seconds(cohort, rate) * left / cohort.specs[0].settings.steps
            for cohort, left in cohorts
        ]
        total += makespan(seconds, len(places))
    kind = places[0].partition(":")[0]
    estimate = (
        "no estimate for GPUs"
        if kind == "cuda"
        else f"about {duration(total)} of training, give or take a factor of two "
        f"({rate / 1e9:.0f} GFLOP/s measured per core; measuring the runs comes on top)"
    )
    return f"cost: {run_steps:,} run-steps on {len(places)} × {kind}, {estimate}"


def _cohorts_by_kind(cohorts: Sequence[Cohort], calibration: Calibration) -> Table:
    """Tabulate how many runs train together, and what that rests on."""
    table = Table(title="cohorts", title_justify="left", box=None)
    for heading in ("networks", "cohorts", "of runs", "chosen by"):
        right = heading in ("cohorts", "of runs")
        table.add_column(heading, justify="right" if right else "left")
    sizes: dict[str, list[int]] = {}
    for cohort in cohorts:
        sizes.setdefault(workload_of(cohort.specs[0]), []).append(len(cohort.specs))
    for kind, run_counts in sizes.items():
        least, most = min(run_counts), max(run_counts)
        span = str(most) if least == most else f"{least} to {most}"
        table.add_row(Text(in_words(kind)), str(len(run_counts)), span, calibration.sources[kind])
    return table


def left_to_do(
    folder: Path, selected: Sequence[RunSpec], matrix: Matrix, answer: Answer
) -> Backlog:
    """Sort runs as a real run does, but touch nothing; a damaged one counts as not begun.

    Raises:
        GanbenchError: if other code has trained some of them, and nothing was answered.
    """
    records = readable(folder, selected)
    code = code_for(folder, matrix.plan.code)
    changed = changed_runs(records.values(), code)
    if answer == "retrain":
        records = {run: record for run, record in records.items() if run not in changed}
    finished = {run: record for run, record in records.items() if record.is_final}
    begun = {run: r for run, r in records.items() if run not in finished and r.attempts}
    pending = tuple(spec for spec in selected if spec.id not in finished)
    if answer == "refuse":
        others = [spec for spec in matrix.specs if spec.id not in matrix.selected]
        refuse([*changed.values(), *changed_beside(folder, others, pending, code).values()], folder)
    return Backlog(finished, pending, begun)


def steps_done(cohort: Cohort, todo: Backlog) -> int:
    """Return the step from which a cohort goes on; 0 where it begins."""
    records = [todo.begun.get(spec.id) for spec in cohort.specs]
    return common_step(usable_checkpoints(record) if record else [] for record in records)
