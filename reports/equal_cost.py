"""What a trick does at equal cost: the same pairs, each read where both runs have spent as much.

A trick that updates D twice for each update of G has seen twice the data at the same step. Here
both runs of a pair are read at the smaller of their two totals, of D's updates, of examples or of
seconds: the dearer one earlier, on a straight line between the logarithms of neighbouring
evaluations. A run that failed counts as failed. Updates and seconds of a run are taken to grow in
proportion to the examples that its D has seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.store.records import MetricInfo
from reports.cells import Result, SuiteCells
from reports.cost import spent
from reports.effects import Effect, Pair, trick_effects

Kind = Literal["updates", "examples", "seconds"]
KINDS: tuple[Kind, ...] = ("updates", "examples", "seconds")


def total(result: Result, kind: Kind) -> float | None:
    """Return what a run spent in all; None where its record does not say."""
    end = result.outcome
    if end is None:
        return None
    found = {
        "updates": end.updates and end.updates["d"],
        "examples": end.kimg,
        "seconds": end.seconds,
    }[kind]
    return float(found) if found else None


def score_at(result: Result, metric: MetricInfo, share: float) -> float | None:
    """Return the log of a metric after a share of a run's training, smaller being better.

    Args:
        result: A run that did not fail.
        metric: Its primary metric.
        share: Of all that it spent, 0…1.

    Returns:
        None where no evaluation has a positive value; at the whole, what the last of them says.
    """
    points = [(kimg, value) for kimg, value in result.curve(metric.name) if value > 0]
    if not points:
        return None
    kimg, values = np.array(points).T
    found = float(np.interp(share * kimg[-1], kimg, np.log(values)))
    return -found if metric.better == "higher" else found


@dataclass(frozen=True)
class AtEqualCost:
    """A trick's effect at equal cost of one kind.

    Attributes:
        kind: What is equal.
        spent: Ratio of what runs spend in all, with the trick over without; geometric mean over
            pairs that both survived.
        effect: The effect over the pairs whose costs are known; the trick's own where both runs
            of every pair cost the same.
    """

    kind: Kind
    spent: float | None
    effect: Effect


def at_equal_cost(cells: SuiteCells) -> list[tuple[Effect, list[AtEqualCost]]]:
    """Return for every trick its effect, and that at equal cost of each kind."""
    primaries = {cell.dataset: cell.primary for cell in cells.cells if cell.primary}
    found = []
    for effect in trick_effects(cells):
        kinds = []
        for kind in KINDS:
            read = [equally(pair, primaries.get(pair.cell[0]), kind) for pair in effect.paired]
            known = [one for one in read if one is not None]
            ratios = [ratio for ratio, _ in known if ratio is not None]
            pairs = tuple(pair for _, pair in known)
            kinds.append(
                AtEqualCost(
                    kind,
                    math.exp(float(np.mean(np.log(ratios)))) if ratios else None,
                    # Where costs are equal anyway, nothing has to be worked out again.
                    effect
                    if pairs == effect.paired
                    else Effect(effect.tricks, None, effect.planned, pairs),
                )
            )
        found.append((effect, kinds))
    return found


def equally(pair: Pair, metric: MetricInfo | None, kind: Kind) -> tuple[float | None, Pair] | None:
    """Read a pair at equal cost, with the ratio of what its runs spend; None if that is unknown.

    Seconds are compared only between runs on one kind of machine, with as many runs at once. A pair
    of which a run failed stays what it is, and has no ratio: a failed run may have ended early.
    """
    if not pair.survived:
        return None, pair
    runs = pair.treated, pair.control
    treated, control = (total(run, kind) for run in runs)
    if treated is None or control is None or metric is None:
        return None
    if kind == "seconds":
        machines = [(one.machine, one.together) if (one := spent(run)) else None for run in runs]
        if None in machines or machines[0] != machines[1]:
            return None
    if treated == control:
        return 1.0, pair
    scores = [
        score_at(run, metric, min(treated, control) / whole)
        for run, whole in zip(runs, (treated, control), strict=True)
    ]
    if scores[0] is None or scores[1] is None:
        return None
    at = Pair(pair.cell, pair.seed, pair.treated, pair.control, (scores[0], scores[1]))
    return treated / control, at
