"""What comes before a failure: diagnostics of failed runs beside those of runs that survived.

Losses and gradients of different objectives have no common scale. What can be pooled is where a
failing run's value lies among those of surviving runs at the same step: its percentile. It is 50 %
where a diagnostic tells the two apart no better than chance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from harness.store.columns import Numbers
from harness.store.events import EvaluationRow, LossRow
from reports.cells import Result, SuiteCells
from reports.document import Block, Figure
from reports.figures.failures import Course, draw_courses
from reports.statistics.intervals import Interval, t_interval
from reports.tables import Column, Table, TableCell, entries, percent

DIAGNOSTICS = (
    "d_loss",
    "g_loss",
    "d_accuracy_real",
    "d_accuracy_fake",
    "logit_gap",
    "saturation",
    "d_grad_norm",
    "g_grad_norm",
)
BIN = 0.05
"""Share of training that is taken together."""
REACH = (-0.4, 0.2)
"""Shares of training before and after a failure that are shown."""
WARNING = 0.05
"""Share of training before a failure that the table looks at."""
FEWEST = 3
"""Survivors, and failed runs, under which nothing is said."""
MOST_FAILED, MOST_SURVIVORS = 400, 100
"""Failed runs in all, and survivors of a data set and variant, that are looked at."""
EARLY, LATE = "at the first evaluation", "later"


def aligned(numbers: Numbers, steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lay a run's diagnostics out by step.

    Args:
        numbers: What training told.
        steps: Those that are asked for, ascending.

    Returns:
        ``(steps, diagnostics)``; NaN where it told nothing, or nothing finite.
    """
    table = np.full((len(steps), len(DIAGNOSTICS)), np.nan)
    asked = np.isin(numbers.steps, steps)
    places = np.searchsorted(steps, numbers.steps[asked])
    for column, name in enumerate(DIAGNOSTICS):
        if name in numbers.names:
            table[places, column] = numbers.values[asked, numbers.names.index(name)]
    table[~np.isfinite(table)] = np.nan
    return table


def percentile(
    values: float | NDArray[np.float64], others: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the share of others that are less, equal ones counted half.

    Args:
        values: One or many.
        others: For each of these, along the first axis; NaN does not count.

    Returns:
        As many; NaN where there are no others.
    """
    less = (others < values).sum(0) + 0.5 * (others == values).sum(0)
    count = np.isfinite(others).sum(0)
    shares: NDArray[np.float64] = np.divide(
        less, count, np.full_like(less, np.nan), where=count > 0
    )
    return shares


def began(result: Result) -> tuple[int, str] | None:
    """Return the step at which a run failed, and whether it was ever seen without its failure.

    None where its record does not say.
    """
    step = result.failed_at
    if step is None or result.record is None:
        return None
    evaluated = result.record.numbers(EvaluationRow).steps
    first = min(evaluated[evaluated > 0], default=math.inf)
    return step, EARLY if step <= first else LATE


@dataclass(frozen=True)
class Trace:
    """One failed run among the survivors.

    Attributes:
        result: The run.
        when: :data:`EARLY` or :data:`LATE`.
        percentiles: By diagnostic: (share of training from the failure on, percentile).
    """

    result: Result
    when: str
    percentiles: Mapping[str, Sequence[tuple[float, float]]]


@dataclass(frozen=True)
class Survivors:
    """Diagnostics of the runs that failed ones are placed among.

    Attributes:
        steps: At which any of them told something, ascending.
        values: ``(runs, steps, diagnostics)``, NaN where one did not.
    """

    steps: NDArray[np.float64]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, results: Sequence[Result]) -> Self:
        """Collect what runs tell."""
        told = [r.record.numbers(LossRow) for r in results if r.record]
        steps = np.unique(np.concatenate([numbers.steps for numbers in told]))
        return cls(steps, np.stack([aligned(numbers, steps) for numbers in told]))


def trace(result: Result, survivors: Survivors) -> Trace | None:
    """Place a failed run's diagnostics among the survivors' at the same steps."""
    failed = began(result)
    if failed is None or result.record is None:
        return None
    step, when = failed
    since = (survivors.steps - step) / result.record.spec.settings.steps
    near = (since >= REACH[0]) & (since <= REACH[1])
    others, since = survivors.values[:, near], since[near]
    values = aligned(result.record.numbers(LossRow), survivors.steps[near])
    shares = percentile(values, others)
    known = np.isfinite(values) & (np.isfinite(others).sum(0) >= FEWEST)
    percentiles = {
        name: list(zip(since[seen].tolist(), shares[seen, column].tolist(), strict=True))
        for column, (name, seen) in enumerate(zip(DIAGNOSTICS, known.T, strict=True))
        if seen.any()
    }
    return Trace(result, when, percentiles) if percentiles else None


def traces(cells: SuiteCells) -> tuple[list[Trace], int]:
    """Return failed runs among the survivors of their data set and variant, and all failed."""
    groups: dict[tuple[str, str], tuple[list[Result], list[Result]]] = {}
    for cell in cells.cells:
        failed, survived = groups.setdefault((cell.dataset, cell.variant), ([], []))
        failed += [result for result in cell.finals if result.failed]
        survived += [result for result in cell.finals if not result.failed]
    total = sum(len(failed) for failed, _ in groups.values())
    stride = max(1, -(-total // MOST_FAILED))
    traced_runs = []
    for failed, survived in groups.values():
        if len(survived) < FEWEST:
            continue
        beside = Survivors.of(survived[:: max(1, -(-len(survived) // MOST_SURVIVORS))])
        for result in failed[::stride]:
            one = trace(result, beside)
            if one is not None:
                traced_runs.append(one)
    return traced_runs, total


def course(group: Sequence[Trace], diagnostic: str) -> Course:
    """Pool traces: median and quartiles of the percentile by time since the failure."""
    bins: dict[int, dict[str, list[float]]] = {}
    for one in group:
        for since, share in one.percentiles.get(diagnostic, ()):
            by_run = bins.setdefault(math.floor(since / BIN), {})
            by_run.setdefault(one.result.planned.id, []).append(share)
    rows = []
    for place, by_run in sorted(bins.items()):
        if len(by_run) >= FEWEST:
            means = [sum(shares) / len(shares) for shares in by_run.values()]
            low, middle, high = np.quantile(means, (0.25, 0.5, 0.75))
            rows.append(((place + 0.5) * BIN, float(low), float(middle), float(high)))
    return Course(tuple(rows))


def before(group: Sequence[Trace], diagnostic: str) -> TableCell:
    """Say how likely a failing run's value exceeds a survivor's just before the failure."""
    by_seed: dict[int, list[float]] = {}
    runs = []
    for one in group:
        shares = [p for since, p in one.percentiles.get(diagnostic, ()) if -WARNING <= since < 0]
        if shares:
            by_seed.setdefault(one.result.planned.seed, []).append(float(np.mean(shares)))
            runs.append(one.result.planned.id)
    if len(runs) < FEWEST:
        return TableCell(None)
    means = [float(np.mean(values)) for values in by_seed.values()]
    limits = t_interval(means)
    if limits is not None:
        limits = Interval(max(0.0, limits.low), min(1.0, limits.high))
    return TableCell(float(np.mean(means)), limits, len(runs), tuple(runs))


def build_blocks(cells: SuiteCells) -> list[Block]:
    """Make figure and table; nothing where no failed run has survivors to stand beside."""
    traced_runs, total = traces(cells)
    groups = {when: [one for one in traced_runs if one.when == when] for when in (EARLY, LATE)}
    groups = {when: group for when, group in groups.items() if len(group) >= FEWEST}
    if not groups:
        return []
    names = [n for n in DIAGNOSTICS if any(n in one.percentiles for one in traced_runs)]
    courses = {
        name: {when: course(group, name) for when, group in groups.items()} for name in names
    }
    sizes = ", ".join(f"{len(group)} {when}" for when, group in groups.items())
    figure = Figure(
        "before-failures",
        "What comes before a failure",
        f"Percentiles of {', '.join(names)} of failed runs among survivors, by time since the "
        "failure; the table below has the numbers just before it.",
        draw_courses(courses),
        f"{len(traced_runs)} of {total} failed runs ({sizes}), each placed among the surviving "
        "runs of its data set and variant at the same step, whatever their tricks. Lines are "
        "medians over failed runs, bands their quartiles. A line that leaves the middle half "
        "(grey) to the left of 0 is a warning; after 0 it only describes the failure. A failure "
        "is seen at an evaluation, and began at some time since the one before. Part of a line "
        "may be the trick's doing, where one trick fails and others survive.",
    )
    table = Table(
        "before-failures",
        "How far a diagnostic tells a failing run from a surviving one",
        (
            Column("Diagnostic"),
            *(
                Column(f"Fails {when}", "share", "chance that its value exceeds a survivor's")
                for when in groups
            ),
        ),
        tuple(entries(name, *(before(group, name) for group in groups.values())) for name in names),
        f"Over the last {percent(WARNING)} of training before the failure: the chance that a "
        "failing run's value exceeds a survivor's at the same step; 50 % tells nothing, and far "
        "above or below it is a warning. Ties count half; "
        "means are over seeds, as are the intervals, and n are failed runs. "
        "Descriptive: not tested.",
        folded=True,
    )
    return [figure, table]
