"""Which modes or classes were found: a map of their number, and where points lie."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.store.events import EvaluationRow, SampleFile
from harness.store.records import NONE, DataFacts
from harness.store.wording import listing
from reports.cells import CellRuns, Result, SuiteCells
from reports.document import Block, Figure, left_out
from reports.figures.densities import Density, draw_densities, mass_of, true_mass
from reports.figures.effects import share_map
from reports.figures.samples import points_of, view_of
from reports.tables import Column, Row, Table, TableCell, entries, percent, unique_names

ORACLE = 1 - math.exp(-4.5)
"""Share of a round Gaussian in the plane within 3σ of its centre, 1 − exp(−9/2)."""
MOST_ROWS = 60
"""Variants in a map."""
MOST_PANELS = 48
"""Cells whose density is drawn."""
WRAP = 6
"""Panels side by side where no tricks are compared."""


def last_histogram(result: Result) -> list[int] | None:
    """Return the last counts of examples by mode or class; None where they were never counted."""
    evaluations = result.record.of_type(EvaluationRow) if result.record else ()
    return next((e.histogram for e in reversed(evaluations) if e.histogram), None)


def captured(result: Result) -> tuple[float, int] | None:
    """Return the share of modes or classes with a generated example, and how many there are."""
    histogram = last_histogram(result)
    if histogram is None:
        return None
    return sum(count > 0 for count in histogram) / len(histogram), len(histogram)


def coverage_figure(dataset: str, cells: list[CellRuns], name: str) -> Figure | None:
    """Draw which share of the modes each cell captured; None where no run counts them."""
    if not any(captured(result) for cell in cells for result in cell.results):
        return None
    shares: dict[tuple[str, str], tuple[float, str]] = {}
    for cell in cells:
        captures = [c for result in cell.finals if (c := captured(result)) is not None]
        if captures:
            share = float(np.mean([c[0] for c in captures]))
            total = captures[0][1]
            text = f"{share * total:.1f}".removesuffix(".0")
            shares[cell.variant, cell.tricks] = (share, f"{text} of {total}  (n={len(captures)})")
    variants = list(dict.fromkeys(cell.variant for cell in cells))
    rows = variants[:MOST_ROWS]
    columns = list(dict.fromkeys(cell.tricks for cell in cells))
    return Figure(
        name,
        f"{dataset}: modes or classes captured",
        f"A map of {len(rows)} variants by {len(columns)} tricks, deeper blue for more modes.",
        share_map(rows, columns, shares),
        "Mean over all finished runs, failed ones with what they had captured when they ended; "
        "a mode counts from one generated example on."
        + left_out("variants", len(variants), MOST_ROWS)
        + missed_classes(cells),
        empty="No run has a result yet.",
    )


def missed_classes(cells: list[CellRuns]) -> str:
    """Name the classes that finished runs missed at their end; empty where classes have no names.

    Those that most runs missed come first.
    """
    missed: Counter[str] = Counter()
    counted = 0
    for result in (result for cell in cells for result in cell.finals):
        names = result.record.data.class_names if result.record else None
        histogram = last_histogram(result)
        if names is not None and histogram is not None and len(names) == len(histogram):
            counted += 1
            missed.update(name for name, n in zip(names, histogram, strict=True) if n == 0)
    said = [f"{name} by {runs}" for name, runs in missed.most_common()]
    return f" Missed, of {counted} runs: {listing(said)}." if said else ""


@dataclass(frozen=True)
class Landed:
    """Where the samples of a cell's finished runs are at the end.

    Attributes:
        points: Stored points of all runs, ``(n, 2)``.
        counts: High-quality samples per mode, by run, ``(runs, modes)``.
        samples: Samples per run that these are counted among.
        runs: Ids.
    """

    points: NDArray[np.float32]
    counts: NDArray[np.float64]
    samples: int
    runs: tuple[str, ...]

    @property
    def shares(self) -> NDArray[np.float64]:
        """Share of all samples by mode, of high quality only."""
        shares: NDArray[np.float64] = self.counts.mean(0) / self.samples
        return shares

    @property
    def hit(self) -> NDArray[np.float64]:
        """Share of runs that hit each mode."""
        hit: NDArray[np.float64] = (self.counts > 0).mean(0)
        return hit


def landed(cell: CellRuns, modes: int) -> Landed | None:
    """Collect the last points and counts of a cell's finished runs; None without any."""
    points, counts, runs, samples = [], [], [], 0
    for result in cell.finals:
        record = result.record
        event = record.last_of(SampleFile) if record else None
        if record is None or event is None:
            continue
        data = result.read(event.file)
        stored = None if data is None else points_of(data)
        evaluations = reversed(record.of_type(EvaluationRow))
        histogram = next((e.histogram for e in evaluations if e.step == event.step), None)
        if stored is None or stored.shape[1] != 2 or not histogram or len(histogram) != modes:
            continue
        points.append(stored)
        counts.append(histogram)
        runs.append(result.planned.id)
        samples = record.spec.settings.evaluation_samples
    if not points:
        return None
    return Landed(np.concatenate(points), np.array(counts, dtype=float), samples, tuple(runs))


def density_blocks(
    dataset: str, cells: Sequence[CellRuns], facts: DataFacts, name: str, most: int
) -> list[Block]:
    """Draw and tabulate where points lie; nothing where data is not a mixture in the plane.

    Args:
        dataset: Its label.
        cells: Of it.
        facts: Of its data.
        name: Of the blocks.
        most: Cells to draw.
    """
    modes, sigma = np.array(facts.modes or (), dtype=float), facts.sigma
    if modes.ndim != 2 or modes.shape[1:] != (2,) or not sigma:
        return []
    landings = [(cell, one) for cell in cells if (one := landed(cell, len(modes))) is not None]
    reach = view_of(modes.tolist(), np.zeros((0, 2), np.float32))
    shown = landings[:most]
    left_out = (
        f" Of {len(landings)} cells, the first {most} are drawn; the table has them all."
        if len(landings) > most
        else ""
    )
    truth = Density(
        ("true density",),
        true_mass(modes, float(sigma), reach),
        (ORACLE / len(modes),) * len(modes),
        (1.0,) * len(modes),
    )
    figure = Figure(
        f"density-{name}",
        f"{dataset}: where the points of all seeds lie",
        f"Densities of generated points for {len(shown)} cells beside the true density of "
        f"{len(modes)} modes; the table below says how many modes each cell hit.",
        draw_densities(panels(shown, truth, reach) if shown else [], modes, float(sigma), reach),
        "The stored points of all finished runs of a cell at their end, failed ones included, on "
        "the scale of the true density; what is out of view is in no bin. A number is a mode's "
        "percentage of all samples, high-quality ones only (within 3σ); the mark says how many "
        f"runs hit it.{left_out}",
        empty="No run has a result with its last samples and counts of modes.",
    )
    table = modes_table(dataset, landings, len(modes), name)
    return [figure, table] if landings else [figure]


def panels(
    shown: Sequence[tuple[CellRuns, Landed]], truth: Density, reach: float
) -> list[tuple[str, list[Density | None]]]:
    """Lay panels out: a row per variant and a column per trick, or one after the other."""

    def panel(title: tuple[str, ...], one: Landed) -> Density:
        return Density(title, mass_of(one.points, reach), tuple(one.shares), tuple(one.hit))

    variants = list(dict.fromkeys(cell.variant for cell, _ in shown))
    tricks = list(dict.fromkeys(cell.tricks for cell, _ in shown))
    tricks.sort(key=lambda trick: trick != NONE)
    if len(tricks) == 1 or 2 * len(shown) < len(variants) * len(tricks):
        line: list[Density | None] = [truth]
        for cell, one in shown:
            plain = len(tricks) == 1 or cell.tricks == NONE
            line.append(panel((cell.variant,) if plain else (cell.variant, cell.tricks), one))
        line += [None] * (-len(line) % WRAP if len(line) > WRAP else 0)
        return [("", line[i : i + WRAP]) for i in range(0, len(line), WRAP)]
    rows: list[tuple[str, list[Density | None]]] = []
    untitled = set(tricks)
    for variant in variants:
        by_trick = {cell.tricks: one for cell, one in shown if cell.variant == variant}
        line = [truth if not rows else replace(truth, title=())]
        for trick in tricks:
            if trick not in by_trick:
                line.append(None)
                continue
            line.append(panel((trick,) if trick in untitled else (), by_trick[trick]))
            untitled.discard(trick)
        rows.append((variant, line))
    return rows


def modes_table(
    dataset: str, landings: Sequence[tuple[CellRuns, Landed]], modes: int, name: str
) -> Table:
    """Say of each cell which modes its runs hit, and how evenly."""
    oracle = ("true density", None, None, modes, 0, 0, ORACLE, *[ORACLE / modes] * 2)
    rows: list[Row] = [tuple(map(TableCell, oracle))]
    for cell, one in landings:
        hit, shares, n = one.hit, one.shares, len(one.runs)
        rows.append(
            entries(
                cell.variant,
                cell.tricks,
                n,
                int((hit == 1).sum()),
                int(((hit > 0) & (hit < 1)).sum()),
                int((hit == 0).sum()),
                TableCell(float(shares.sum()), None, n, one.runs),
                TableCell(float(shares.max()), None, n, one.runs),
                TableCell(float(shares.min()), None, n, one.runs),
            )
        )
    return Table(
        f"modes-{name}",
        f"{dataset}: which modes were hit",
        (
            Column("Variant"),
            Column("Tricks"),
            Column("Runs", "count"),
            Column("By every run", "count", "modes that every run hit"),
            Column("By some", "count", "modes that some runs hit and others did not"),
            Column("By none", "count", "modes that no run hit"),
            Column("High quality", "share", "samples within 3σ of a mode, mean over runs"),
            Column("Commonest mode", "share", "its share of all samples, mean over runs"),
            Column("Rarest mode", "share", "its share of all samples, mean over runs"),
        ),
        tuple(rows),
        f"A fair sampler gives each of {modes} modes {percent(ORACLE / modes)} of its samples "
        "within 3σ. More high quality than the truth has, with few modes, is collapse.",
        folded=True,
    )


def build_maps(cells: SuiteCells) -> list[Block]:
    """Make the maps of all data sets whose modes or classes are counted."""
    blocks: list[Block] = []
    for dataset, name in zip(cells.datasets, unique_names(cells.datasets), strict=True):
        group = cells.of_dataset(dataset)
        figure = coverage_figure(dataset, group, f"coverage-{name}")
        if figure:
            blocks.append(figure)
        facts = cells.data_facts(dataset)
        blocks += density_blocks(dataset, group, facts, name, cells.room_for(MOST_PANELS))
    return blocks
