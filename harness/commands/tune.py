"""``ganbench tune``: searches learning rates, every cell with the same budget."""

from __future__ import annotations

import statistics

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.commands.options import RunOptions
from harness.commands.run import job_options
from harness.engines.local import LocalEngine
from harness.errors import ExitStatus
from harness.jobs.environment import choose_device
from harness.planning.calibration import Calibration
from harness.planning.changed_code import unreadable
from harness.planning.checks import check_data, check_precision
from harness.planning.machine import slots
from harness.planning.rehearsal import rehearse
from harness.spec import RunSpec
from harness.store.folders import Store
from harness.suite.matrix import Matrix
from harness.tracking.base import Mirrors
from harness.tracking.console import ConsoleMirror, quietly
from harness.tracking.progress import number
from harness.tuning.tune import TunedCell, Tuner, trial_spec


def tune_suite(
    matrix: Matrix, options: RunOptions, *, trials: int, batch: int, sampler: str
) -> ExitStatus:
    """Tune every selected cell with the same number of trials; print what came of it.

    Args:
        matrix: The suite.
        options: What the command was asked.
        trials: Trials per cell, the default among them.
        batch: Trials trained together.
        sampler: ``tpe`` or ``random``.

    Raises:
        GanbenchError: if a cell is reported against the split that trials look at.
    """
    folder = options.folder(matrix.plan.suite)
    grouped: dict[tuple[str, str, str], list[RunSpec]] = {}
    labels = {run.id: run for run in matrix.plan.runs}
    selected = [spec for spec in matrix.specs if spec.id in matrix.selected]
    for spec in selected:
        run = labels[spec.id]
        grouped.setdefault((run.dataset, run.variant, run.tricks), []).append(spec)
    cells = [TunedCell(*names, tuple(specs)) for names, specs in grouped.items()]
    device = choose_device(options.device)
    check_precision(selected, device)
    # Trials look at another split than what is reported: both must be there.
    check_data([*selected, *(trial_spec(cell, cell.default) for cell in cells)], options.data_root)
    rehearse(selected, options.plugins)
    store = Store(folder)
    with store.hold():
        if not (folder / "suite.json").exists():
            store.write_plan(matrix.plan)
        console, places = Console(), slots(device, options.jobs)
        for line in unreadable(matrix.plan.code):
            quietly(console)(line)
        calibration = Calibration(device, places, options.plugins, quietly(console))
        tuner = Tuner(
            folder,
            matrix.plan,
            LocalEngine(places),
            Mirrors([ConsoleMirror(console)]),
            device,
            job_options(matrix.plan, options, folder),
            sampler,
            calibration.measure_missing,
            options.changed_code,
            quietly(console),
        )
        code = tuner.tune(cells, trials, batch)
    if code == ExitStatus.DONE:
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
