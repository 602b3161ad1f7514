"""Which parts of a suite say nothing, because no run of them has learnt anything, and why."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.store.records import MetricInfo, short_name
from reports.cells import CellRuns, Result, SuiteCells

FALLING = 0.8
"""A distance that in the last third of training came down to less than so much still falls."""
UNMOVED = 0.9
"""A distance that is above so much of the untrained generator's has not moved."""
MOST = 0.5
"""A sign that more than this share of the runs shows is their probable reason."""


def learnt_nothing(cells: SuiteCells) -> tuple[str, ...]:
    """Say in a sentence each which data sets and variants no run of which has learnt.

    A cell counts as soon as one of its runs has a result and all that have are unlearned. What is
    compared then ties. A trick without which others learn is an effect, and not listed.
    """
    sentences = []
    for dataset in cells.datasets:
        of_dataset = [cell for cell in cells.of_dataset(dataset) if cell.finals]
        mute = [cell for cell in of_dataset if is_mute(cell)]
        if mute and len(mute) == len(of_dataset):
            sentences.append(
                f"On {dataset} nothing has learnt anything, so {dataset} says nothing about "
                f"any trick. {reason(mute)}"
            )
            continue
        for variant in dict.fromkeys(cell.variant for cell in of_dataset):
            of_variant = [cell for cell in of_dataset if cell.variant == variant]
            sentences += _of_variant(cells, dataset, variant, of_variant)
    return tuple(sentences)


def _of_variant(
    cells: SuiteCells, dataset: str, variant: str, of_variant: Sequence[CellRuns]
) -> list[str]:
    """Say whether a variant has learnt nothing on a data set, or nothing in some comparisons."""
    if all(map(is_mute, of_variant)):
        how = ", with or without any trick" if len(of_variant) > 1 else ""
        return [
            f"On {dataset} {variant} has learnt nothing{how}: this part of the suite says nothing. "
            f"{reason(of_variant)}"
        ]
    tied = [
        cell
        for cell in of_variant
        if is_mute(cell) and (control := cells.control(cell)) is not None and is_mute(control)
    ]
    if not tied:
        return []
    named = ", ".join(cells.treatment(cell) for cell in tied)
    return [
        f"On {dataset} {variant} has learnt nothing with {named}, nor has what that is compared "
        f"with: these comparisons tie and say nothing. {reason(tied)}"
    ]


def is_mute(cell: CellRuns) -> bool:
    """Whether a cell has results, and none of them has learnt anything."""
    return bool(cell.finals) and all(result.status == "unlearned" for result in cell.finals)


def reason(cells: Sequence[CellRuns]) -> str:
    """Name the probable reason why runs learnt nothing, as their diagnostics have it."""
    runs = [(result, cell.primary) for cell in cells for result in cell.finals]
    steps = {r.record.spec.settings.steps for r, _ in runs if r.record is not None}
    length = f"{steps.pop()} steps" if len(steps) == 1 else "the steps"
    shown = {
        name: sum(name in ((r.outcome and r.outcome.signs) or {}) for r, _ in runs)
        for name in ("vanishing_gradient", "overpowered")
    }
    trends = [trend(result, primary) for result, primary in runs if primary is not None]
    name = next((short_name(primary.name) for _, primary in runs if primary), "distance")
    if trends.count("falling") > MOST * len(runs):
        return f"The {name} was still falling at the end: probably {length} are too few."
    if shown["vanishing_gradient"] > MOST * len(runs):
        return "G's gradient vanished while D told real from generated: probably D is too strong."
    if shown["overpowered"] > MOST * len(runs):
        return "D was right nearly always: probably D is too strong, or its rate too high."
    if trends.count("unmoved") > MOST * len(runs):
        return f"After {length} the {name} is where it began: probably the rates do not suit."
    return f"The {name} fell and then stood still: look at the samples and the losses."


def trend(result: Result, primary: MetricInfo) -> str:
    """Say how a run's distance ended: ``falling``, ``unmoved``, ``still``, or empty if unknown."""
    curve = result.curve(primary.name)
    if primary.better != "lower" or len(curve) < 3:
        return ""
    (_, untrained), (end, last) = curve[0], curve[-1]
    before = next(value for kimg, value in curve if kimg >= end * 2 / 3 or math.isclose(kimg, end))
    if last < FALLING * before:
        return "falling"
    return "unmoved" if last > UNMOVED * untrained else "still"
