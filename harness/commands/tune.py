"""``ganbench tune``: searches numbers of all cells, a trick and its control with one budget."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Column, Table
from rich.text import Text

from harness.commands.begun import check_folder
from harness.commands.options import RunOptions
from harness.commands.preview import cost
from harness.commands.run import job_options
from harness.engines.local import LocalEngine
from harness.errors import ExitStatus, GanbenchError
from harness.jobs.environment import choose_device
from harness.planning.backlog import readable
from harness.planning.calibration import Calibration
from harness.planning.changed_code import unreadable
from harness.planning.checks import check_data, check_precision
from harness.planning.cohorts import make_cohorts
from harness.planning.machine import slots
from harness.planning.rehearsal import rehearse
from harness.spec import RunSpec
from harness.store.folders import Store, begun_plan
from harness.store.reading import RunRecord
from harness.store.records import PlannedCell, SuitePlan
from harness.suite.matrix import Matrix, parse_only
from harness.tracking.base import Mirrors
from harness.tracking.console import ConsoleMirror, quietly, standard_console
from harness.tracking.progress import number
from harness.tracking.wording import counted
from harness.tuning.course import Course, TunedCell, succeeded, value_of
from harness.tuning.numbers import DEFAULT, Range, check_names, extremes, space_of, written
from harness.tuning.study import BATCH, SAMPLERS, propose
from harness.tuning.tune import Tuner, course_of, remembered


@dataclass(frozen=True)
class TuneOptions:
    """What ``ganbench tune`` is asked beside what it has in common with ``run``.

    Attributes:
        trials: Settings per cell, its own among them.
        params: What is searched, as ``--param`` takes it; empty for both learning rates.
        sampler: ``sobol`` or ``tpe``.
        batch: Settings that TPE proposes at once.
    """

    trials: int
    params: tuple[str, ...] = ()
    sampler: str = "sobol"
    batch: int | None = None

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise GanbenchError(
                f"--sampler {self.sampler}: there is {' and '.join(SAMPLERS)}; sobol searches all "
                "cells at the same places, tpe goes by what each has found"
            )
        if self.batch is not None and self.sampler != "tpe":
            raise GanbenchError(
                f"--batch is for --sampler tpe; {self.sampler} proposes all trials at once"
            )


def tune_suite(matrix: Matrix, options: RunOptions, search: TuneOptions) -> ExitStatus:
    """Tune every selected cell with the same number of trials; print what came of it.

    Args:
        matrix: The suite.
        options: What the command was asked.
        search: What is searched, and how.

    Raises:
        GanbenchError: if a number or a range cannot be searched, or a cell is reported against the
            split that trials look at.
    """
    folder = options.folder(matrix.plan.suite)
    check_begun(folder, matrix.plan)
    cells = cells_of(matrix, search.params)
    device = choose_device(options.device)
    # Trials look at another split than what is reported: both must be there.
    check_data(
        [each for cell in cells for each in (cell.specs[0], cell.trial(cell.default))],
        options.data_root,
    )
    check_cells(cells, device, options.plugins)
    store = Store(folder)
    with store.hold():
        if begun_plan(folder) is None:
            store.write_plan(matrix.plan)
        console, places = standard_console(), slots(device, options.jobs)
        for line in unreadable(matrix.plan.code):
            quietly(console)(line)
        calibration = Calibration(device, places, options.plugins, quietly(console))
        tuner = Tuner(
            folder,
            matrix.plan,
            LocalEngine(places),
            Mirrors([ConsoleMirror(console)]),
            device,
            job_options(matrix.plan, options),
            search.sampler,
            calibration.measure_missing,
            options.changed_code,
            quietly(console),
        )
        code = tuner.tune(cells, search.trials, search.batch or BATCH)
        if code == ExitStatus.DONE:
            console.print(answer(tuner, tuner.courses(cells, search.trials)))
    return code


def preview_tuning(matrix: Matrix, options: RunOptions, search: TuneOptions) -> None:
    """Print what tuning would train, and what that costs; the results folder is only read."""
    folder = options.folder(matrix.plan.suite)
    check_begun(folder, matrix.plan)
    cells = cells_of(matrix, search.params)
    device = choose_device(options.device)
    check_cells(cells, device, options.plugins)
    console, places = standard_console(), slots(device, options.jobs)
    rounds: dict[str, list[RunSpec]] = {"trials": [], "the best again": [], "fresh seeds": []}
    for cell in cells:
        course, fresh = expected(cell, folder, search)
        known = course.records.keys() | readable_finals(folder, fresh).keys()
        for specs, wanted in zip(rounds.values(), (course.once, course.again, fresh), strict=True):
            specs += [spec for spec in wanted if spec.id not in known]
    calibration = Calibration(device, places)
    cohorts = [
        make_cohorts(specs, device, None, calibration.cached(specs)) for specs in rounds.values()
    ]
    headings = (Column("cells", justify="right"), "searched")
    title = f"{matrix.plan.suite}: tuning"
    table = Table(*headings, title=title, title_justify="left", box=None)
    spaces = Counter("; ".join(map(str, c.searched.values())) or "nothing" for c in cells)
    for space, count in spaces.items():
        table.add_row(str(count), Text(space))
    console.print(table)
    for what, specs, together in zip(rounds, rounds.values(), cohorts, strict=True):
        console.print(f"{what}: {counted(len(specs), 'run')} in {counted(len(together), 'cohort')}")
    console.print(
        cost([[(c, c.specs[0].settings.steps) for c in each] for each in cohorts], places)
    )


def check_begun(folder: Path, plan: SuitePlan) -> None:
    """Refuse a results folder, or what tuning has left in it, that is of something else."""
    check_folder(folder, plan)
    begun_plan(folder / "tuning")


def expected(cell: TunedCell, folder: Path, search: TuneOptions) -> tuple[Course, list[RunSpec]]:
    """Say what a cell's search is expected to train, fresh seeds apart; nothing is written.

    What TPE will propose is not known, nor what will be chosen: that costs as much as what a Sobol
    list has.
    """
    root = folder / "tuning"
    settings = remembered(root, cell, search.sampler)[: search.trials]
    if cell.searched:
        listed = propose(cell.space, cell.default, [], search.trials, "sobol")
        settings += listed[len(settings) :]
    course = course_of(cell, settings, lambda specs: readable_finals(root, specs))
    if all(spec.id in course.records for spec in (*course.once, *course.again)):
        return course, course.fresh
    return course, [*cell.specs, *(s for s in cell.fresh(settings[-1]) if s not in cell.specs)]


def readable_finals(folder: Path, specs: Sequence[RunSpec]) -> dict[str, RunRecord]:
    """Read the finished among some runs of a results folder, or of its tuning, by id."""
    records = readable(folder, specs) | readable(folder / "tuning", specs)
    return {run: record for run, record in records.items() if record.is_final}


def cells_of(matrix: Matrix, params: Sequence[str]) -> list[TunedCell]:
    """Group the selected runs into cells, each with what is searched in it.

    Raises:
        GanbenchError: if a number or a range cannot be searched.
    """
    ranges = [Range.parse(text) for text in params] or list(DEFAULT)
    about = [(each, matrix.matching(parse_only(each.only), f"--param {each} @")) for each in ranges]
    grouped: dict[PlannedCell, list[RunSpec]] = {}
    for spec, run in zip(matrix.specs, matrix.plan.runs, strict=True):
        if run.id in matrix.selected:
            grouped.setdefault(run.cell, []).append(spec)
    check_names(about, [spec for specs in grouped.values() for spec in specs[:1]])
    return [
        TunedCell(planned, tuple(specs), space_of(specs[0], about))
        for planned, specs in grouped.items()
    ]


def check_cells(cells: Sequence[TunedCell], device: str, plugins: Sequence[str]) -> None:
    """Refuse what could not be trained, at the suite's numbers and at both ends of all ranges.

    Args:
        cells: What is tuned.
        device: ``cpu`` or ``cuda``.
        plugins: Modules that register what they are made of.

    Raises:
        GanbenchError: with a sentence for each cell that cannot work.
    """
    specs: list[RunSpec] = []
    problems: dict[str, list[str]] = {}
    for cell in cells:
        try:
            specs += [cell.specs[0], *extremes(cell.specs[0], cell.space)]
        except GanbenchError as error:
            problems.setdefault(str(error), []).append(cell.title)
    if problems:
        lines = [f"  {reason} ({titles[0]})" for reason, titles in problems.items()]
        raise GanbenchError("\n".join(["--param reaches values that cannot be tried", *lines]))
    check_precision(specs, device)
    rehearse(specs, plugins)


def answer(tuner: Tuner, courses: Sequence[Course]) -> Table:
    """Tabulate what tuning found: each cell's default and choice on fresh seeds."""
    table = Table(box=None)
    for heading in ("cell", "setting", "numbers"):
        table.add_column(heading, overflow="fold")
    for heading in ("median", "failed"):
        table.add_column(heading, justify="right")
    for course in courses:
        cell, chosen = course.cell, course.chosen
        edges = f"; at an edge: {', '.join(course.edges)}" if course.edges else ""
        rows = [("default", cell.default, ""), ("chosen", chosen, edges)]
        if chosen == cell.default:
            rows = [("default = chosen", chosen, edges)]
        for name, numbers, marks in rows:
            records = tuner.reported(cell.fresh(numbers)).values()
            good = [
                value
                for record in records
                if succeeded(record) and (value := value_of(record)) is not None
            ]
            median = number(statistics.median(good)) if good else "–"
            failed = f"{len(records) - len(good)} of {len(records)}"
            table.add_row(*map(Text, (cell.title, name, written(numbers) + marks, median, failed)))
    return table
