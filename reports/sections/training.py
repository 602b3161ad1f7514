"""Chapter: how distance and diagnostics went over training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.store.events import EvaluationRow, LossRow
from harness.store.packed import Row
from harness.store.records import short_name
from reports.cells import CellRuns, Result, SuiteCells
from reports.document import Block, Figure, Section
from reports.figures.curves import Curve, draw_curves, draw_diagnostics, median_curve
from reports.figures.style import MOST_STYLES, thin
from reports.sections import failures
from reports.tables import ARROWS, unique_names

DIAGNOSTICS = (
    "d_loss",
    "g_loss",
    "d_accuracy_real",
    "d_accuracy_fake",
    "d_off_half",
    "d_grad_norm",
    "g_grad_norm",
)
COMPARABLE = frozenset({"d_accuracy_real", "d_accuracy_fake", "d_off_half"})
"""What is on one scale for every objective; losses and gradient norms are not."""
MOST_PLOTS = 24
"""Variants in a figure of distances."""
MOST_COLUMNS = 6
"""Variants in a figure of diagnostics."""
MOST_SEEDS = 300
"""Thin lines in a figure, over all its plots."""


def drawable(cells: list[CellRuns], labels: SuiteCells, most: int) -> tuple[list[CellRuns], str]:
    """Choose the cells of a figure, the first ones in order, and say what is left out."""
    variants = list(dict.fromkeys(cell.variant for cell in cells))
    treatments = list(dict.fromkeys(labels.treatment(cell) for cell in cells))
    styles = labels.room_for(MOST_STYLES)
    chosen = [
        cell
        for cell in cells
        if cell.variant in variants[:most] and labels.treatment(cell) in treatments[:styles]
    ]
    missing = [
        f"the first {limit} of {len(names)} {noun}"
        for names, limit, noun in ((variants, most, "variants"), (treatments, styles, "tricks"))
        if len(names) > limit
    ]
    said = f" To stay readable, {' and '.join(missing)} are drawn." if missing else ""
    return chosen, said


def curve_of(result: Result, metric: str) -> Curve:
    """Return a run's curve, with where it died or collapsed."""
    points = result.curve(metric)
    onset = result.onset
    evaluations = result.record.of_type(EvaluationRow) if result.record and onset else ()
    place = next((e.kimg for e in reversed(evaluations) if e.step == onset), None)
    return Curve(points, result.status == "diverged", place)


def distance_figure(
    dataset: str, cells: list[CellRuns], name: str, labels: SuiteCells
) -> Figure | None:
    """Draw the primary metric over training on one data set; None before any evaluation."""
    primary = next((cell.primary for cell in cells if cell.primary), None)
    if primary is None:
        return None
    alike = [c for c in cells if c.primary is not None and c.primary.name == primary.name]
    chosen, said = drawable(alike, labels, labels.room_for(MOST_PLOTS))
    most = max(1, MOST_SEEDS // len(chosen))
    panels: dict[str, dict[str, list[Curve]]] = {}
    for cell in chosen:
        curves = [curve_of(result, primary.name) for result in cell.courses]
        panels.setdefault(cell.variant, {})[labels.treatment(cell)] = [
            replace(curve, drawn=i < most) for i, curve in enumerate(c for c in curves if c.points)
        ]
    if any(len(cell.courses) > most for cell in chosen):
        seeds = "seed has a line" if most == 1 else f"{most} seeds have lines"
        said += f" Only each cell's first {seeds} of its own; medians are over all."
    return Figure(
        name,
        f"{dataset}: {primary.name} {ARROWS[primary.better]} over training".strip(),
        f"Small plots for {len(panels)} variants on {dataset}, one colour per trick.",
        draw_curves(panels, short_name(primary.name)),
        "Thin lines are seeds, bold ones their median where at least half of the seeds are still "
        "alive; × marks where a run diverged, ▽ where a collapse began. Runs that crashed are not "
        "drawn." + said,
        empty=why_empty(alike, EvaluationRow),
    )


def diagnostics_figure(
    dataset: str, cells: list[CellRuns], name: str, labels: SuiteCells
) -> Figure | None:
    """Draw medians of training diagnostics on one data set; None if there are none."""
    rows: dict[str, dict[str, dict[str, list[tuple[float, float]]]]] = {}
    chosen, said = drawable(cells, labels, labels.room_for(MOST_COLUMNS))
    variants = list(dict.fromkeys(cell.variant for cell in chosen))
    for diagnostic in DIAGNOSTICS:
        row: dict[str, dict[str, list[tuple[float, float]]]] = {}
        for cell in chosen:
            curves = [result.points(LossRow, diagnostic) for result in cell.courses]
            present = [thin(curve, 200) for curve in curves if curve]
            if present:
                row.setdefault(cell.variant, {})[labels.treatment(cell)] = median_curve(present)
        if row:
            rows[diagnostic] = row
    if not any(cell.metrics for cell in cells):
        return None
    return Figure(
        name,
        f"{dataset}: training diagnostics",
        f"Medians over seeds of {', '.join(rows)} for {len(variants)} variants on {dataset}.",
        draw_diagnostics(rows, variants, COMPARABLE),
        "Medians over seeds. Losses and gradients of different objectives are not comparable, so "
        "each has its own scale; an accuracy of D "
        "near 1 on both real and generated data means that G learns little from it. d_off_half "
        "is the mean of |D(x) − ½|, which is 0 where D can no longer tell them apart." + said,
        folded=True,
        empty=why_empty(cells, LossRow),
    )


def why_empty(cells: Sequence[CellRuns], kind: type[Row]) -> str:
    """Say why some cells have nothing to draw of what their runs recorded.

    Args:
        cells: Of which some run has begun.
        kind: Of what it would be drawn.
    """
    records = [result.record for cell in cells for result in cell.courses if result.record]
    if not records:
        return "All runs that have begun crashed, and what crashed is not drawn."
    if not any(record.of_type(kind) for record in records):
        return "No run has recorded anything of this yet."
    return "No run has recorded a finite number of this."


def build(cells: SuiteCells) -> Section:
    """Make the chapter."""
    blocks: list[Block] = []
    names = unique_names(cells.datasets)
    ordered = {label: i for i, label in enumerate(cells.tricks)}
    for dataset, name in zip(cells.datasets, names, strict=True):
        group = sorted(
            cells.of_dataset(dataset),
            key=lambda cell: (cells.control(cell) is not None, ordered[cell.tricks]),
        )
        group = sorted(group, key=lambda cell: cells.variants.index(cell.variant))
        for figure in (
            distance_figure(dataset, group, f"curves-{name}", cells),
            diagnostics_figure(dataset, group, f"diagnostics-{name}", cells),
        ):
            if figure:
                blocks.append(figure)
    blocks += failures.build_blocks(cells)
    lead = () if blocks else ("No run has been evaluated yet.",)
    return Section("training", "Over training", lead, (), tuple(blocks))
