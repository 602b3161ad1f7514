"""What training costs: seconds, images per second and memory, and which cells are worth it.

**Runs that train together share their time.** A cohort's seconds are divided equally among the runs
that were in it, so a run's seconds are its share, and would be more if it had trained alone. Its
images per second are those of the whole cohort, and its memory is that of the cohort's process.

**Only like is compared with like**: seconds on the same kind of device with the same number of
threads, and for the ratio of a trick also with as many runs at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from reports.cells import CellRuns, Result, SuiteCells, cached_per_suite
from reports.statistics.intervals import geometric_mean
from reports.statistics.ranks import median_with_failures


@dataclass(frozen=True)
class Spent:
    """What one run cost.

    Attributes:
        machine: Kind of device and threads, such as ``cpu x86_64, 1 thread``.
        together: Runs that trained at once.
        seconds: Its share of the time that training took.
        evaluation: Seconds of evaluations.
        rate: Images or points per second that D saw, of the whole cohort.
        memory: Bytes at the peak, of the whole cohort; None where it is not known.
        whole: Whether it trained to the end.
    """

    machine: str
    together: int
    seconds: float
    evaluation: float
    rate: float
    memory: int | None
    whole: bool


def machine_of(result: Result) -> str | None:
    """Name the kind of device that a run was trained on last; None where nothing says so."""
    environment = result.environment or {}
    device, threads = environment.get("device"), environment.get("threads")
    if not device:
        return None
    return f"{device}, {threads} thread{'s' * (threads != 1)}" if threads else str(device)


def spent(result: Result) -> Spent | None:
    """Return what a final run cost; None where its record does not say."""
    end = result.outcome
    if not result.final or result.record is None or end is None:
        return None
    if not end.seconds or end.kimg is None:
        return None
    machine = machine_of(result)
    if machine is None:
        return None
    attempts = result.record.attempts
    return Spent(
        machine,
        len(attempts[-1].cohort) if attempts else 1,
        end.seconds,
        end.evaluation_seconds or 0.0,
        1000 * end.kimg / end.seconds,
        end.peak_memory,
        end.step >= result.record.spec.settings.steps,
    )


@dataclass(frozen=True)
class Cost:
    """What the runs of one cell cost on one kind of machine, and what they gave.

    Attributes:
        cell: The cell.
        machine: The kind of machine.
        together: Runs that trained at once, the median.
        seconds: Median over runs that trained to the end; None without any.
        whole: How many these are.
        evaluation: Median seconds of their evaluations.
        rate: Median images or points per second, over all runs.
        memory: Most bytes at the peak.
        quality: Median of the primary metric over all runs, failed ones ranked worst, so that it
            is infinite where the median run failed; None without a metric.
        failures: How many runs failed.
        runs: Ids of all runs.
    """

    cell: CellRuns
    machine: str
    together: int
    seconds: float | None
    whole: int
    evaluation: float | None
    rate: float
    memory: int | None
    quality: float | None
    failures: int
    runs: tuple[str, ...]


def costs_of(cell: CellRuns) -> list[Cost]:
    """Return what a cell cost on each kind of machine that it was trained on."""
    by_machine: dict[str, list[tuple[Result, Spent]]] = {}
    for result in cell.finals:
        one = spent(result)
        if one is not None:
            by_machine.setdefault(one.machine, []).append((result, one))
    costs = []
    for machine, runs in sorted(by_machine.items()):
        whole = [one for _, one in runs if one.whole]
        memory = [one.memory for _, one in runs if one.memory is not None]
        costs.append(
            Cost(
                cell,
                machine,
                round(median(one.together for _, one in runs)),
                median(one.seconds for one in whole) if whole else None,
                len(whole),
                median(one.evaluation for one in whole) if whole else None,
                median(one.rate for _, one in runs),
                max(memory, default=None),
                _quality(cell, [result for result, _ in runs]),
                sum(result.failed for result, _ in runs),
                tuple(result.planned.id for result, _ in runs),
            )
        )
    return costs


@cached_per_suite
def costs_by_cell(cells: SuiteCells) -> dict[CellRuns, list[Cost]]:
    """Return what every cell cost."""
    return {cell: costs_of(cell) for cell in cells.cells}


def _quality(cell: CellRuns, results: Sequence[Result]) -> float | None:
    primary = cell.primary
    if primary is None or primary.better == "none":
        return None
    values = [result.last(primary.name) for result in results if not result.failed]
    known = [value for value in values if value is not None]
    return median_with_failures(
        known, len(results) - len(known), lower_is_better=primary.better == "lower"
    )


def front(costs: Sequence[Cost], *, lower: bool) -> list[Cost]:
    """Return the cells than which none is both cheaper and better, the cheapest first.

    Args:
        costs: Of one data set and one kind of machine.
        lower: Whether less of the metric is better.
    """
    sign = 1 if lower else -1
    known = [
        (cost.seconds, sign * cost.quality, cost)
        for cost in costs
        if cost.seconds is not None and cost.quality is not None and abs(cost.quality) < math.inf
    ]
    efficient: list[Cost] = []
    best = math.inf
    for _, quality, cost in sorted(known, key=lambda row: row[:2]):
        if quality < best:
            efficient.append(cost)
            best = quality
    return efficient


@dataclass(frozen=True)
class Surcharge:
    """What a trick adds to the time of training.

    Attributes:
        tricks: Label of the trick.
        ratio: Geometric mean over cells, of seconds with the trick over seconds without.
        least: The smallest ratio of a cell.
        most: The largest.
        cells: How many cells can be compared.
        memory: Geometric mean of the ratio of peak memories; None where it is not known.
        runs: Ids of all runs that went in.
    """

    tricks: str
    ratio: float
    least: float
    most: float
    cells: int
    memory: float | None
    runs: tuple[str, ...]


@cached_per_suite
def surcharges(cells: SuiteCells) -> dict[str, Surcharge]:
    """Compare every cell's seconds with its control's, where machine and cohort are alike."""
    by_cell = {
        cell: {cost.machine: cost for cost in costs} for cell, costs in costs_by_cell(cells).items()
    }
    ratios: dict[str, list[tuple[float, float | None, tuple[str, ...]]]] = {}
    for cell, control in cells.controlled:
        for machine, cost in by_cell[cell].items():
            base = by_cell[control].get(machine)
            if base is None or base.together != cost.together:
                continue
            if cost.seconds is None or base.seconds is None:
                continue
            memory = cost.memory / base.memory if cost.memory and base.memory else None
            comparison = (cost.seconds / base.seconds, memory, cost.runs + base.runs)
            ratios.setdefault(cells.treatment(cell), []).append(comparison)
    charges = {}
    for tricks, group in ratios.items():
        seconds = [ratio for ratio, _, _ in group]
        memories = [memory for _, memory, _ in group if memory is not None]
        mean = geometric_mean(seconds)
        if mean is not None:
            charges[tricks] = Surcharge(
                tricks, mean, min(seconds), max(seconds), len(seconds), geometric_mean(memories),
                tuple(dict.fromkeys(run for _, _, runs in group for run in runs)),
            )  # fmt: skip
    return charges
