"""Simulated suites of which the truth is known: pairs of runs under several laws."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from reports.statistics.paired import Pairs

CELLS = 6
UNLIKE = (1.0, 1.0, 0.2, 0.2, 0.2, 0.05)
"""Scatter of the cells of a suite: ring8 scatters by 1.0, digits by 0.2."""


@dataclass(frozen=True)
class Law:
    """How simulated runs come out; standard deviations are of the log-distance.

    Attributes:
        noise: From run to run, of each cell.
        shape: ``normal``, ``heavy`` (Student's t with two degrees) or ``skewed`` (exponential).
        seed_effect: Of a seed on all cells with a trick alike, beside what it does without.
        failures: Chance of a run to fail.
        seed_failures: Chance of a seed to fail in all cells of an arm at once.
    """

    noise: tuple[float, ...] = (0.3,) * CELLS
    shape: str = "normal"
    seed_effect: float = 0.0
    failures: float = 0.0
    seed_failures: float = 0.0


LAWS = {
    "independent": Law(),
    "heavy tails": Law(shape="heavy"),
    "skewed": Law(shape="skewed"),
    "unlike cells": Law(noise=UNLIKE),
    "seeds that matter": Law(seed_effect=0.3),
    "nothing but the seed": Law(noise=(1e-3,) * CELLS, seed_effect=0.3),
    "failures": Law(failures=0.2),
    "many failures": Law(failures=0.5),
    "rare failures": Law(failures=0.03, seed_effect=0.1),
    "seeds that fail": Law(failures=0.1, seed_failures=0.2, seed_effect=0.2),
}


def simulate(
    law: Law,
    suites: int,
    tricks: int,
    seeds: int,
    draw: np.random.Generator,
    *,
    ratio: float = 1.0,
    failures: float | None = None,
) -> Pairs:
    """Draw the pairs of suites ``(suites, tricks, pairs)``, tricks sharing their control.

    Args:
        law: Of all runs.
        suites: How many.
        tricks: Of each suite.
        seeds: Of each cell, the pairs of a seed standing together.
        draw: Of everything.
        ratio: What every trick does to the metric.
        failures: Chance of a run with a trick to fail; None for that of the law.
    """
    shape = suites, tricks, seeds, CELLS
    shared = suites, 1, seeds, CELLS

    def scores(size: tuple[int, ...]) -> np.ndarray:
        if law.shape == "heavy":
            made = draw.standard_t(2, size)
        else:
            made = draw.exponential(1.5, size) if law.shape == "skewed" else draw.normal(0, 1, size)
        return made * np.array(law.noise)

    def ruined() -> np.ndarray:
        return draw.random((suites, tricks, seeds, 1)) < law.seed_failures

    risk = law.failures if failures is None else failures
    control = scores(shared), draw.random(shared) < law.failures
    treated = scores(shape), draw.random(shape) < risk
    moved = law.seed_effect * draw.normal(0, 1, (suites, tricks, seeds, 1)) + math.log(ratio)
    return paired(
        np.where(treated[1] | ruined(), math.inf, treated[0] + moved),
        np.where(np.broadcast_to(control[1], shape) | ruined(), math.inf, control[0]),
    )


def paired(treated: np.ndarray, control: np.ndarray) -> Pairs:
    """Make pairs of log scores ``(…, seeds, cells)``, infinite ones being failures."""
    *sets, seeds, cells = treated.shape
    flat = (*sets, seeds * cells)
    treated, control = treated.reshape(flat), control.reshape(flat)
    return Pairs(
        np.tile(np.arange(cells), seeds), np.repeat(np.arange(seeds), cells),
        treated, control, np.isinf(treated), np.isinf(control),
    )  # fmt: skip


def chosen(pairs: Pairs, *index: int | np.ndarray) -> Pairs:
    """Return one of several sets of pairs, or those that a mask says."""
    arrays = pairs.treated, pairs.control, pairs.treated_failed, pairs.control_failed
    return Pairs(pairs.cells, pairs.seeds, *(array[index] for array in arrays))


def first_seeds(pairs: Pairs, seeds: int) -> Pairs:
    """Return what was known after so many seeds."""
    early = pairs.seeds < seeds
    arrays = pairs.treated, pairs.control, pairs.treated_failed, pairs.control_failed
    return Pairs(pairs.cells[early], pairs.seeds[early], *(array[..., early] for array in arrays))
