"""A chapter where theory has an answer: G's gradient under two losses, and the optimal D."""

from __future__ import annotations

import io
import math
import zipfile

import numpy as np

from harness.store.events import LineFile, LossRow
from reports.cells import CellRuns, Result, SuiteCells
from reports.document import Block, Figure, Section
from reports.figures.theory import (
    Snapshot,
    Values,
    draw_generator_gradients,
    draw_optimal_discriminator,
)
from reports.statistics.intervals import Interval, t_interval
from reports.tables import Column, Row, Table, TableCell, entries, unique_names

COMPARED = ("gan", "gan-saturating")
"""Variants that differ in nothing but G's loss."""
MOST_ROWS = 12
"""Cells that the figure of D beside D* shows at most; the table has all."""
ARRAYS = ("x", "data", "generated")


def early_answer(cells: list[CellRuns]) -> float | None:
    """Return the median over runs of the mean D(G(z)) in their first record."""
    answers = []
    for cell in cells:
        for result in cell.courses:
            rows = result.record.of_type(LossRow) if result.record else []
            value = rows[0].values.get("d_fake", math.nan) if rows else math.nan
            answers += [value] if math.isfinite(value) else []
    return float(np.median(answers)) if answers else None


def gradient_figure(cells: SuiteCells) -> Figure | None:
    """Draw G's gradient under both losses; None unless the suite compares them."""
    by_variant = {
        name: [cell for cell in cells.cells if cell.cell.variant.id == name] for name in COMPARED
    }
    if not all(by_variant.values()):
        return None
    early = {name: early_answer(group) for name, group in by_variant.items()}
    observed = {name: value for name, value in early.items() if value is not None}
    return Figure(
        "generator-gradients",
        "Why log(1 − D) saturates early",
        "Two plots against D(G(z)): both losses of G, and the size of their gradients at D's "
        "logit, which is D for log(1 − D) and 1 − D for −log D.",
        draw_generator_gradients(observed),
        "Computed, not measured: with D = σ(f), ∂ log(1 − D)/∂f = −D and ∂(−log D)/∂f = −(1 − D). "
        "While D rejects what G makes, D(G(z)) is near 0 and only the second still teaches G; "
        "both losses fall in the same direction. Vertical lines show where this suite's runs were: "
        "the median over runs of mean D(G(z)) in their first record.",
    )


def read_snapshot(result: Result, event: LineFile) -> Snapshot | None:
    """Read what a run recorded of the line at one step; None if absent, damaged or not finite."""
    held = result.read(event.file)
    arrays = None if held is None else read_arrays(held)
    if arrays is None:
        return None
    x, data, generated = (arrays[name] for name in ARRAYS)
    return Snapshot(event.step, x, data, generated, arrays.get("answer"), event.share)


def read_arrays(data: bytes) -> dict[str, Values] | None:
    """Read arrays of one length by name; None if they are not all there, or not finite."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as held:
            arrays = {
                name: np.asarray(held[name], dtype=float)
                for name in (*ARRAYS, "answer")
                if name in held
            }
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile):
        return None
    shapes = {array.shape for array in arrays.values()}
    if not set(ARRAYS) <= set(arrays) or len(shapes) != 1 or arrays["x"].ndim != 1:
        return None
    if arrays["x"].size < 2 or not all(np.isfinite(array).all() for array in arrays.values()):
        return None
    return arrays


def snapshots_of(result: Result, most: int) -> list[Snapshot]:
    """Read evenly many snapshots of a run, the first and the last among them."""
    events = result.record.of_type(LineFile) if result.record else []
    if len(events) > most:
        events = [events[round(i * (len(events) - 1) / (most - 1))] for i in range(most)]
    return [snapshot for event in events if (snapshot := read_snapshot(result, event)) is not None]


def deviations(shown: Snapshot) -> dict[str, float]:
    """Measure a snapshot, with means over an equal mixture of data and generated samples.

    Returns:
        ``optimum``, the mean of |D − D*|, and ``half``, of |D − ½|, where the best D is
        p / (p + q); ``variation``, ½∫|p − q|, with all generated samples off the grid.
    """
    width = float(shown.x[1] - shown.x[0])
    p, q = shown.data * width, shown.generated * width
    outside = abs(1 - p.sum()) + abs(1 - q.sum())
    distances = {"variation": float(np.abs(p - q).sum() + outside) / 2}
    if shown.share and shown.answer is not None:
        both = p + q
        optimum = np.divide(p, both, out=np.full_like(p, 0.5), where=both > 0)
        weight = both / both.sum()
        distances["optimum"] = float(weight @ np.abs(shown.answer - optimum))
        distances["half"] = float(weight @ np.abs(shown.answer - 0.5))
    return distances


def optimum_row(cell: CellRuns) -> Row | None:
    """Write how near D came to its optimum at the end, over a cell's seeds; None without any."""
    last = [(r, s[-1]) for r in cell.finals if (s := snapshots_of(r, 2))]
    if not last:
        return None
    measured = [(result.planned.id, deviations(shown)) for result, shown in last]

    def made(name: str) -> TableCell:
        values = [(run, distances[name]) for run, distances in measured if name in distances]
        numbers = [value for _, value in values]
        if not numbers:
            return TableCell(None)
        limits = t_interval(numbers)
        # None of the three can be below 0 or above 1, as a t-interval does not know.
        interval = limits and Interval(max(limits.low, 0.0), min(limits.high, 1.0))
        ids = tuple(run for run, _ in values)
        return TableCell(float(np.mean(numbers)), interval, len(numbers), ids, "lower")

    return entries(cell.variant, cell.tricks, made("optimum"), made("half"), made("variation"))


def optimum_blocks(dataset: str, cells: list[CellRuns], name: str) -> list[Block]:
    """Draw and tabulate D beside the optimal one on a one-dimensional data set."""
    rows: dict[str, list[Snapshot]] = {}
    seeds = set()
    several = len({cell.tricks for cell in cells}) > 1
    for cell in cells:
        for result in cell.courses:
            snapshots = snapshots_of(result, 3)
            if snapshots and len(rows) < MOST_ROWS:
                label = f"{cell.variant}, {cell.tricks}" if several else cell.variant
                rows[label] = snapshots
                seeds.add(result.planned.seed)
                break
    if not rows:
        return []
    shown = ", ".join(str(seed) for seed in sorted(seeds))
    figure = Figure(
        f"optimum-{name}",
        f"{dataset}: D beside the optimal one",
        f"Small plots for {len(rows)} cells on {dataset}, at the start, in the middle and at the "
        "end: the data's density, the generated one, D and the optimal D*.",
        draw_optimal_discriminator(rows),
        f"Seed {shown}. For a generated density q, D* = p / (p + q) is the best that a "
        "discriminator of the plain logistic or least-squares objective can answer; where G makes "
        "the data's distribution it is ½ everywhere. q is counted in cells from a finite sample, "
        "so D* is as ragged as q. Elsewhere, as for a critic, another optimum holds or none: "
        "values are stretched to the plot. Densities share one scale, on which a peak much higher "
        "than the data's is cut.",
    )
    table = Table(
        f"optimum-{name}",
        f"{dataset}: how near D came to its optimum",
        (
            Column("Variant"),
            Column("Tricks"),
            Column("|D − D*| ↓", "number", "mean over equal parts of data and generated samples"),
            Column("|D − ½| ↓", "number", "0 at equilibrium"),
            Column("½∫|p − q| ↓", "number", "total variation: 0 equal, 1 disjoint"),
        ),
        tuple(row for cell in cells if (row := optimum_row(cell)) is not None),
        "At the last evaluation of every finished run, failed ones with what they were when they "
        "ended; means and 95 % t-intervals over seeds. Sampling alone keeps the total variation of "
        "counted cells above 0. Tricks that change D's targets move its optimum too, and D* is "
        "that without them. D near ½ with p and q far apart is a D that has learned nothing, not "
        "an equilibrium.",
        empty="No run has finished yet.",
    )
    return [figure, table]


def build(cells: SuiteCells) -> Section | None:
    """Make the chapter; None where theory has nothing to say of the suite."""
    blocks: list[Block] = []
    gradients = gradient_figure(cells)
    if gradients is not None:
        blocks.append(gradients)
    for dataset, name in zip(cells.datasets, unique_names(cells.datasets), strict=True):
        blocks += optimum_blocks(dataset, cells.of_dataset(dataset), name)
    return Section("theory", "Beside theory", (), (), tuple(blocks)) if blocks else None
