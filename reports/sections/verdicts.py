"""Chapter: what each trick does, in one sentence, then in tables and two figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.store.records import NONE, SEEDS_FOR_A_CLAIM, SuitePlan
from reports.cells import SuiteCells
from reports.cost import surcharges
from reports.document import Block, Claim, Figure, Section, left_out
from reports.effects import (
    NEAR_FLOOR,
    Effect,
    cell_effects,
    contrast_effects,
    dataset_effects,
    differences,
    margin_of,
    near_floor,
    shifts,
    trick_effects,
    unfinished,
    without_learning,
)
from reports.equal_cost import at_equal_cost
from reports.figures.effects import effect_map, forest
from reports.sections.effect_tables import (
    cells_table,
    claims_table,
    dataset_table,
    descriptions_table,
    differences_table,
    equal_cost_table,
    power_table,
    shifts_table,
)
from reports.sections.verdict_words import (
    ORDER,
    cost_words,
    headline,
    least_change,
    power_words,
    sentence,
    times,
)
from reports.statistics.claims import (
    ERROR,
    FAILURE_LEVEL,
    FAILURE_MARGIN,
    FEW_SEEDS_LEVEL,
    PAIRS_FOR_NO_DIFFERENCE,
    RANK_LEVEL,
    SEEDS_FOR_ANY_LEVEL,
)
from reports.statistics.intervals import LEVEL
from reports.statistics.paired import SEEDS_FOR_FLIPS
from reports.statistics.power import EFFECTS_OF_POWER, power_curves
from reports.tables import percent, significant

METRIC_WORDS = {"frechet": "FD", "energy": "energy distance"}
MOST_ROWS = 60
"""Data sets and variants in the map; the table has them all."""
NO_PAIR = "No run and its baseline both have a result yet."
TUNED = "These are verdicts at the suite's own numbers; the next chapter has those at tuned ones."
BY_TRICK = "Every trick is compared with the same data set, variant and seed without it."
MEANING = (
    "The ratio is that of the primary metric at the last checkpoint, with the trick over without "
    "it, or the other way round where more of it is better: below 1 is better. It is the one at "
    "which neither side ranks better once it is divided out of the pairs that survived; so runs "
    "that failed (collapsed, diverged, never learnt) count in it: they rank worst, and two that "
    "failed tie. The rate of failures is compared on its own too. Runs that crashed are no results "
    "and in no number.",
    "Log-ratios are divided by the median size of their cell, so that cells that scatter much do "
    "not drown the others, and ranked with their signs. Each p is the larger of two, of exact "
    "sign flips of pairs and of a test of whole seeds, because all cells of a seed share data "
    f"order and latents: below {SEEDS_FOR_FLIPS} seeds that is Student's, which takes sums of "
    "ranks as near to normal, from there on exact sign flips of seeds. Failures are tested in the "
    f"same way. The levels are {RANK_LEVEL:g} for ranks and {FAILURE_LEVEL:g} for failures, "
    "adjusted by Holm over all tricks, so that of suites in which nothing works at most one in "
    "twenty claims something; where nothing but the seed made a difference, seven to nine seeds "
    f"would err up to twice as often. Below {SEEDS_FOR_ANY_LEVEL} seeds no level is above "
    f"{FEW_SEEDS_LEVEL:g}. Under {SEEDS_FOR_A_CLAIM} seeds nothing is claimed.",
    f"The {percent(LEVEL)} interval of a ratio holds every ratio that this test does not reject, "
    "each trick taken by itself; it may be open on a side, and below seven seeds it has 98.75 %. "
    f"That of the change in failures is Newcombe's. No difference is claimed where the "
    f"{percent(1 - 2 * ERROR)} interval lies within the margin and the change in failures within "
    f"{100 * FAILURE_MARGIN:.0f} points, by at least {PAIRS_FOR_NO_DIFFERENCE} pairs.",
)


def metric_word(cells: SuiteCells) -> str:
    """Name what verdicts go by, in a word."""
    ids = {cell.primary.metric for cell in cells.cells if cell.primary}
    return METRIC_WORDS.get(next(iter(ids)), next(iter(ids))) if len(ids) == 1 else "primary metric"


def lead(
    cells: SuiteCells, overall: Sequence[Effect], powers: Mapping[str, Sequence[float]]
) -> tuple[str, ...]:
    """Say what is compared with what, and what the design can see."""
    said = [
        *study(cells.suite.plan),
        *never_learnt(overall),
        *compressed(cells),
        power_words(powers),
    ]
    if cells.suite.plan.baseline is None:
        said.append(BY_TRICK)
    else:
        variant, tricks = cells.suite.plan.baseline
        said += [] if unfinished(cells) else [least_change(cells, overall)]
        said.append(
            f"Every cell is compared with the suite's baseline, {variant} × {tricks}, on the same "
            "data set and seed, and named by what it changes."
        )
    return tuple(filter(None, said))


def study(plan: SuitePlan) -> list[str]:
    """Say which seeds are judged, and at which looks."""
    said = []
    if plan.spent:
        fresh = len({run.seed for run in plan.runs} - set(plan.spent))
        said.append(
            f"{len(plan.spent)} of the seeds had been judged before the others were added. Those "
            f"others, {fresh}, are a new study: they alone are judged."
        )
    if plan.looks:
        declared = ", ".join(map(str, plan.looks))
        said.append(
            f"This suite goes on until it is decided. Its results are looked at after {declared} "
            "seeds, as declared before the first run; what is decided gets no more seeds. So that "
            f"looking more than once costs no certainty, each p is the smallest so far times "
            f"{len(plan.looks)}, and intervals have "
            f"{100 * (1 - ERROR / len(plan.looks)):.4g} % at least."
        )
    return said


def compressed(cells: SuiteCells) -> list[str]:
    """List the controls that are so near to real data that ratios say less than there is."""
    near = near_floor(cells)
    if not near:
        return []
    listed = "; ".join(
        f"{cell.variant} on {cell.dataset} ({significant(floors)} floors)" for cell, floors in near
    )
    return [
        f"Without the trick, some cells are under {NEAR_FLOOR:g} floors from real data: {listed}. "
        "Their ratios are compressed: an effect there is larger than its ratio."
    ]


def never_learnt(overall: Sequence[Effect]) -> list[str]:
    """List where neither a trick nor its control ever learnt, so that pairs say nothing."""
    where: dict[tuple[str, str], list[str]] = {}
    for effect in overall:
        for cell in without_learning(effect.paired):
            where.setdefault(cell, []).append(effect.tricks)
    if not where:
        return []
    listed = "; ".join(
        f"{variant} on {dataset} ({', '.join(tricks)})"
        for (dataset, variant), tricks in where.items()
    )
    return [
        f"Neither with nor without the trick does anything ever learn in: {listed}. These pairs "
        "are ties, and P(better) leaves them out: they say nothing of the trick."
    ]


def powers_of(overall: Sequence[Effect]) -> dict[str, list[float]]:
    """Return the share of suites that see each effect, by trick; none under five seeds."""
    asked = [e for e in overall if e.seeds >= SEEDS_FOR_A_CLAIM and e.survivors]
    if not asked:
        return {}
    family = [effect.evidence for effect in asked]
    shares = power_curves(family, EFFECTS_OF_POWER, np.random.default_rng(0))
    return {effect.tricks: row.tolist() for effect, row in zip(asked, shares, strict=True)}


def claims_of(cells: SuiteCells, effects: Sequence[Effect], word: str) -> tuple[Claim, ...]:
    """Put a family's verdicts in sentences, in the order in which readers look for them."""
    charges, plan = surcharges(cells), cells.suite.plan
    return tuple(
        Claim(
            e.judgement.verdict,
            e.tricks,
            sentence(e, word, plan) + cost_words(charges.get(e.tricks)),
            less_than_margin=e.judgement.within_margin,
        )
        for e in sorted(effects, key=lambda e: ORDER.index(e.verdict or "screening"))
        if e.judgement
    )


def build(cells: SuiteCells, *, tuned: bool = False) -> Section:
    """Make the chapter.

    Args:
        cells: The suite.
        tuned: Whether a chapter on tuning follows.
    """
    overall, contrasts = trick_effects(cells), contrast_effects(cells)
    if not overall and not contrasts:
        return Section(
            "verdicts",
            "Verdicts",
            (
                f"No cell has both a trick and its baseline “{NONE}”, so there is no effect of "
                "a trick to test. The tables below compare variants by their intervals.",
            ),
        )
    word, powers = metric_word(cells), powers_of(overall)
    claims = claims_of(cells, overall, word) + claims_of(cells, contrasts, word)
    heat_map = cell_map(cells, word)
    blocks: list[Block] = [
        overall_figure(overall, word),
        heat_map,
        claims_table("verdicts", "Verdicts over all data sets", "Trick", overall),
    ]
    if contrasts:
        blocks.append(claims_table("contrasts", "Declared contrasts", "Contrast", contrasts))
    blocks.append(descriptions_table(overall))
    if len(cells.datasets) > 1:
        blocks.append(dataset_table(dataset_effects(cells)))
    blocks.append(equal_cost_table(at_equal_cost(cells)))
    if powers:
        blocks.append(power_table(powers))
    blocks += [shifts_table(shifts(cells)), cells_table(cell_effects(cells))]
    unlike = differences(cells)
    if unlike:
        blocks.append(differences_table(unlike))
    return Section(
        "verdicts",
        "Verdicts",
        (TUNED,) * tuned + lead(cells, overall, powers),
        claims,
        tuple(blocks),
        headline(overall, unfinished(cells)),
        (*MEANING, f"The margin of this suite is {times(margin_of(cells))}."),
    )


def overall_figure(overall: Sequence[Effect], word: str) -> Figure:
    """Draw every trick's ratio with its interval."""
    told = (f"{e.tricks}: {e.verdict}" if e.verdict else e.tricks for e in overall)
    colours = (
        "Filled dots are claims that a trick helps or hurts, open coloured ones that fewer or more "
        "runs fail; blue is better, orange is worse, grey is no claim."
        if any(e.verdict for e in overall)
        else "All are grey: nothing is claimed while runs are still to come."
    )
    return Figure(
        "verdicts",
        "Effect of each trick over all data sets and variants",
        "Ratios with intervals: " + "; ".join(told),
        forest(overall),
        f"A dot is the ratio of {word} with the trick over without, failures counted, its line the "
        "interval; an arrow stands where a line or a dot lies beyond the axis, or where the "
        f"interval is open. {colours}",
        empty="In every pair a run failed or has no value, so there is no ratio to draw."
        if any(effect.pairs for effect in overall)
        else NO_PAIR,
    )


def cell_map(cells: SuiteCells, word: str) -> Figure:
    """Draw the survivors' ratio in every cell."""
    effects = cell_effects(cells)
    everything = list(dict.fromkeys(f"{cell.dataset} · {cell.variant}" for cell, _ in effects))
    most = cells.room_for(MOST_ROWS)
    rows = everything[:most]
    by_place = {(f"{c.dataset} · {c.variant}", e.tricks): e for c, e in effects}
    columns = cells.treatments
    return Figure(
        "effects-by-cell",
        f"Ratio of {word} in every cell",
        f"A map of {len(rows)} rows (data set and variant) by {len(columns)} tricks; its "
        "numbers are in the table of effects in every cell.",
        effect_map(rows, columns, by_place),
        "Ratios of pairs that both survived. Blue fields are better with the trick, orange ones "
        "worse; colours end at a factor of 4. A frame and a star (★) mark where Student's 95 % "
        "interval over seeds excludes 1, taken for itself: of twenty fields without any effect, "
        "one is marked by chance, so no field is a claim. Hatched fields have no ratio, because in "
        "every pair a run failed or has no positive value; a dash stands for a cell that was "
        "skipped or is no comparison." + left_out("rows", len(everything), most),
        empty=NO_PAIR,
    )
