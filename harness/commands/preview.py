"""``ganbench run --dry-run``: what would be trained, together with what, and what that costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Column, Table
from rich.text import Text

from harness.commands.begun import check_looks
from harness.commands.options import RunOptions
from harness.jobs.cohort import Cohort
from harness.jobs.environment import choose_device
from harness.jobs.job import common_step, usable_checkpoints
from harness.parts import remarks
from harness.planning.backlog import Backlog, readable
from harness.planning.calibration import Calibration, in_words
from harness.planning.changed_code import settle_code
from harness.planning.checks import check_device, check_precision
from harness.planning.cohorts import cohort_seconds, make_cohorts, measure_rate, workload_of
from harness.planning.cost_model import makespan
from harness.planning.machine import slots
from harness.planning.rehearsal import rehearse
from harness.suite.matrix import Matrix
from harness.tracking.console import standard_console
from harness.tracking.progress import duration
from harness.tracking.wording import counted


def preview(matrix: Matrix, options: RunOptions) -> None:
    """Print cells, skipped cells with their reasons, cohorts and an estimate of the cost.

    The results folder is only read: what it has need not be trained.
    """
    console = standard_console()
    folder = options.folder(matrix.plan.suite)
    check_looks(folder, matrix.plan)
    device = choose_device(options.device)
    selected = [spec for spec in matrix.specs if spec.id in matrix.selected]
    labels = {run.id: run for run in matrix.plan.runs}
    table = Table(
        *("dataset", "variant", "tricks", "network"),
        *(Column(heading, justify="right") for heading in ("steps", "batch", "seeds")),
        title=f"{matrix.plan.suite}: cells",
        title_justify="left",
        box=None,
    )
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
        headings = ("dataset", "variant", "tricks", "remark")
        notes = Table(*headings, title="remarks", title_justify="left", box=None)
        for line in sorted(said):
            notes.add_row(*map(Text, line))
        console.print(notes)
    if matrix.skipped:
        headings = ("dataset", "variant", "tricks", "reason")
        skipped = Table(*headings, title="skipped", title_justify="left", box=None)
        for cell in matrix.skipped:
            skipped.add_row(*map(Text, (cell.dataset, cell.variant, cell.tricks, cell.reason)))
        console.print(skipped)
    # A damaged run counts as not begun.
    records = readable(folder, selected)
    others = [spec for spec in matrix.specs if spec.id not in matrix.selected]
    answer = options.changed_code
    todo = settle_code(folder, selected, records, matrix.plan.code, answer, others).todo
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
    cohort_counts, sizes_of = (Column(name, justify="right") for name in ("cohorts", "of runs"))
    headings = ("networks", cohort_counts, sizes_of, "chosen by")
    table = Table(*headings, title="cohorts", title_justify="left", box=None)
    sizes: dict[str, list[int]] = {}
    for cohort in cohorts:
        sizes.setdefault(workload_of(cohort.specs[0]), []).append(len(cohort.specs))
    for kind, run_counts in sizes.items():
        least, most = min(run_counts), max(run_counts)
        span = str(most) if least == most else f"{least} to {most}"
        table.add_row(Text(in_words(kind)), str(len(run_counts)), span, calibration.sources[kind])
    return table


def steps_done(cohort: Cohort, todo: Backlog) -> int:
    """Return the step from which a cohort goes on; 0 where it begins."""
    records = [todo.begun.get(spec.id) for spec in cohort.specs]
    return common_step(usable_checkpoints(record) if record else [] for record in records)
