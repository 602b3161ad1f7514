"""The chapter that pools data sets: scores between untrained and real, means and profiles."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.store.records import NONE
from reports.cells import CellRuns, SuiteCells
from reports.document import Block, Figure, Section
from reports.figures.pooled import Profile, draw_profiles, draw_scores
from reports.statistics.pooled import (
    COVERED,
    normalized_score,
    performance_band,
    performance_profile,
    pooled_mean,
    pooled_mean_interval,
    probability_of_improvement,
)
from reports.tables import Column, Table, TableCell, entries, percent

FEWEST = 2
"""Data sets from which on there is something to pool, and runs of each."""
MOST_DRAWN = 40
"""Entrants in the figure; the table has them all."""
THRESHOLDS = tuple(k / 40 for k in range(41))
SIMULATED = ", ".join(
    f"{100 * low:.0f} to {percent(high)} at {runs} runs" for runs, (low, high) in COVERED.items()
)
LEAD = (
    "Distances on different data sets have no common unit, so each run is given a score: 0 if it "
    "ended as far from the data as an untrained generator, or farther, or failed; 1 if it came as "
    "close as real held-out data; logarithms in between. The mean is interquartile: that of the "
    "middle half of all runs.",
    "Intervals are a stratified bootstrap's: runs are drawn again within each data set. With few "
    "runs per data set they are too narrow: rather than in 95 %, they hold the mean in "
    f"{SIMULATED} of simulations. So this chapter describes. Claims rest on the paired tests of "
    "the first chapter.",
)
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """What scores 0 and what scores 1 on one data set, by which metric."""

    metric: str
    reference: float
    floor: float


def scale_of(cells: Sequence[CellRuns]) -> Scale | None:
    """Find a data set's scale; None where it has no floor or no untrained measurement."""
    primary = next((cell.primary for cell in cells if cell.primary), None)
    if primary is None or primary.better != "lower" or primary.floor is None:
        return None
    starts = [
        points[0][1]
        for cell in cells
        for result in cell.finals
        if (points := result.curve(primary.name)) and points[0][0] == 0
    ]
    if not starts:
        return None
    reference = float(np.median(starts))
    if not 0 < primary.floor < reference:
        return None
    return Scale(primary.name, reference, primary.floor)


def scores_of(cell: CellRuns, scale: Scale) -> Scores:
    """Score all final runs of a cell."""
    if cell.primary is None or cell.primary.name != scale.metric:
        return np.array([])
    scores = []
    for result in cell.finals:
        value = None if result.failed else result.last(scale.metric)
        known = value is not None and value > 0
        distance = value if known and value is not None else math.inf
        scores.append(normalized_score(distance, scale.reference, scale.floor))
    return np.array(scores)


@dataclass(frozen=True)
class Entrant:
    """One variant with its tricks, over all data sets.

    Attributes:
        variant: Its label.
        tricks: Theirs.
        tasks: Scores by data set.
        control: Those of what it is compared with; None without any, or for that itself.
        runs: Ids.
    """

    variant: str
    tricks: str
    tasks: tuple[Scores, ...]
    control: tuple[Scores, ...] | None
    runs: tuple[str, ...]

    @property
    def label(self) -> str:
        """Its name in a figure."""
        return self.variant if self.tricks == NONE else f"{self.variant} · {self.tricks}"


def entrants(cells: SuiteCells, scales: dict[str, Scale]) -> tuple[list[Entrant], list[str]]:
    """Collect what has runs on every data set, and name what has not."""
    complete, lacking = [], []
    for variant, tricks in dict.fromkeys((cell.variant, cell.tricks) for cell in cells.cells):
        group = [cells.cell(dataset, variant, tricks) for dataset in scales]
        tasks = tuple(
            scores_of(cell, scales[cell.dataset]) if cell else np.array([]) for cell in group
        )
        whole = [cell for cell in group if cell is not None]
        if min(len(scores) for scores in tasks) < FEWEST:
            lacking.append(f"{variant} · {tricks}")
            continue
        controls = [cells.control(cell) for cell in whole]
        against = tuple(
            scores_of(control, scales[control.dataset]) for control in controls if control
        )
        compared = len(against) == len(tasks) and all(len(scores) for scores in against)
        runs = tuple(result.planned.id for cell in whole for result in cell.finals)
        complete.append(Entrant(variant, tricks, tasks, against if compared else None, runs))
    return complete, lacking


def generator_for(*names: str) -> np.random.Generator:
    """Return a generator that depends on what is drawn for, so that a report is the same twice."""
    return np.random.default_rng(zlib.crc32("\0".join(names).encode(errors="replace")))


def scores_table(rated: Sequence[tuple[Entrant, TableCell]], count: int, note: str) -> Table:
    """List the pooled scores, the best first."""
    rows = []
    for entrant, mean in rated:
        better = (
            probability_of_improvement(entrant.tasks, entrant.control)
            if entrant.control is not None
            else None
        )
        everything = np.concatenate(entrant.tasks)
        n = len(everything)
        rows.append(
            entries(
                entrant.variant,
                entrant.tricks,
                mean,
                TableCell(float(np.median(everything)), None, n, entrant.runs, "higher"),
                TableCell(float((everything == 0).mean()), None, n, entrant.runs, "lower"),
                TableCell(better, None, n if better is not None else None, entrant.runs, "higher"),
            )
        )
    return Table(
        "pooled",
        f"Scores over {count} data sets",
        (
            Column("Variant"),
            Column("Tricks"),
            Column("Interquartile mean ↑", "number", "over all runs, stratified bootstrap"),
            Column("Median ↑", "number", "over all runs"),
            Column("Score 0 ↓", "share", "runs that failed or ended no better than untrained"),
            Column(
                "P(better)",
                "share",
                "chance that a run scores above one of the cell it is compared with, ties counted "
                "half, mean over data sets",
            ),
        ),
        tuple(rows),
        note,
    )


def profiles_figure(cells: SuiteCells, scales: dict[str, Scale]) -> Figure | None:
    """Draw for each trick the profile of its cells, beside the same cells without it."""
    panels = {}
    for treatment in cells.treatments:
        pairs = []
        for cell, control in cells.controlled:
            scale = scales.get(cell.dataset)
            if scale is None or cells.treatment(cell) != treatment:
                continue
            both = scores_of(cell, scale), scores_of(control, scale)
            if min(map(len, both)) >= FEWEST:
                pairs.append(both)
        if not pairs:
            continue
        made = []
        for side, name in enumerate(("with", "without")):
            tasks = [pair[side] for pair in pairs]
            low, high = performance_band(tasks, THRESHOLDS, generator_for(treatment, name))
            shares = performance_profile(tasks, THRESHOLDS)
            made.append(Profile(shares.tolist(), low.tolist(), high.tolist()))
        panels[treatment] = (made[0], made[1])
    if not cells.treatments:
        return None
    return Figure(
        "profiles",
        "Performance profiles of each trick",
        f"For each of {len(panels)} tricks, the share of runs above every score, with the trick "
        "and without.",
        draw_profiles(panels, THRESHOLDS),
        "Higher is better. Where a line starts, at score 0, it says how many runs neither failed "
        "nor ended as they began; every data set and variant counts alike. Bands are pointwise.",
        empty=f"No cell and its baseline have {FEWEST} runs with a result each.",
    )


def build(cells: SuiteCells) -> Section | None:
    """Make the chapter; None for fewer than two data sets with a floor."""
    known = {dataset: scale_of(cells.of_dataset(dataset)) for dataset in cells.datasets}
    scales = {dataset: scale for dataset, scale in known.items() if scale is not None}
    if len(scales) < FEWEST:
        return None
    complete, lacking = entrants(cells, scales)
    rated = []
    for entrant in complete:
        generator = generator_for(entrant.variant, entrant.tricks)
        limits = pooled_mean_interval(entrant.tasks, generator)
        n = sum(map(len, entrant.tasks))
        mean = pooled_mean(entrant.tasks)
        rated.append((entrant, TableCell(mean, limits, n, entrant.runs, "higher")))
    rated.sort(key=lambda row: -float(row[1].value or 0.0))
    blocks: list[Block] = []
    if lacking and not rated:
        blocks.append(
            Figure(
                "pooled", f"Scores over {len(scales)} data sets", "Nothing.", draw_scores([]),
                empty=f"Nothing has {FEWEST} runs with a result on each of {', '.join(scales)}.",
            )
        )  # fmt: skip
    if rated:
        note = f"Data sets: {', '.join(scales)}. n are runs, failed ones included."
        note += f" Without runs on all of them: {'; '.join(lacking)}." if lacking else ""
        drawn = rated[:MOST_DRAWN]
        more = (
            f" The best {MOST_DRAWN} of {len(rated)} are drawn." if len(rated) > MOST_DRAWN else ""
        )
        blocks.append(
            Figure(
                "pooled",
                f"Scores over {len(scales)} data sets",
                f"Interquartile means of {len(drawn)} variants and tricks; the table below has "
                "the numbers.",
                draw_scores(
                    [
                        (entrant.label, float(mean.value or 0.0), mean.interval)
                        for entrant, mean in drawn
                    ]
                ),
                f"Interquartile means with their 95 % bootstrap intervals, the best first.{more}",
            )
        )
        blocks.append(scores_table(rated, len(scales), note))
    profiles = profiles_figure(cells, scales)
    if profiles is not None:
        blocks.append(profiles)
    return Section("pooled", "Over all data sets", LEAD, (), tuple(blocks)) if blocks else None
