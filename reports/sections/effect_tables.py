"""The tables of the first chapter: effects, with verdicts or without, and what lies behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from reports.cells import CellRuns
from reports.effects import Effect, Shift
from reports.equal_cost import AtEqualCost
from reports.statistics.claims import POWER
from reports.statistics.paired import SEEDS_FOR_FLIPS
from reports.statistics.power import EFFECTS_OF_POWER
from reports.tables import ARROWS, Column, Row, Table, TableCell, entries, percent

SEEDS_TEST = (
    f"a test of whole seeds (Student's below {SEEDS_FOR_FLIPS} seeds, exact sign flips from there)"
)
RATIO = Column(
    "Ratio",
    "ratio",
    "primary metric with / without, failures counted; below 1 is better; interval of at least 95 %",
)
PAIRS = Column("Pairs", "text", "of which both runs have a result, of those planned")
SEEDS = Column("Seeds", "count")
FAILED = Column("Failed runs", "text", "without the trick → with it, of as many each")
CHANGE = Column(
    "Change in failures",
    "points",
    "of the failure rate, in percentage points, paired, with Newcombe's interval",
)
SURVIVORS = Column(
    "Survivors' ratio",
    "ratio",
    "of geometric means, with / without, over pairs that both survived; Student's interval over "
    "seeds; a description",
)
BETTER = Column(
    "P(better)",
    "share",
    "chance that a run with the trick beats one of the same cell without, ties counted half, "
    "mean over cells in which a run learnt; a description",
)
CLAIMED = (
    Column("Verdict", "verdict"),
    RATIO,
    PAIRS,
    SEEDS,
    Column(
        "p (Holm)",
        "p",
        f"of scaled signed ranks: the larger of exact sign flips of pairs and {SEEDS_TEST}, "
        "adjusted over the table",
    ),
    FAILED,
    CHANGE,
    Column(
        "p failures (Holm)",
        "p",
        f"of the change in failures: the larger of McNemar's exact test over pairs and "
        f"{SEEDS_TEST}, adjusted over the table",
    ),
    Column("Smallest margin", "ratio", "that would pass as no difference"),
    Column(
        "Seeds that would decide",
        "text",
        f"with a chance of {percent(POWER)}, by the spread as observed and by its upper limit; a "
        "dash where it is decided, or where the interval is open",
    ),
)
"""Columns of a family that claims, after the name of what it is about."""
DESCRIBED = (RATIO, PAIRS, SEEDS, FAILED, CHANGE, SURVIVORS, BETTER)
"""Columns of effects that claim nothing."""
PER_CELL = (SURVIVORS, PAIRS, SEEDS, BETTER, FAILED, CHANGE)


def claimed_row(effect: Effect) -> Row:
    """Write an effect as a row of :data:`CLAIMED`, if it was judged."""
    judgement, runs = effect.judgement, effect.runs
    if judgement is None:
        return entries(effect.tricks, *described(effect))
    known = effect.pairs > 0
    margin = judgement.smallest_margin
    needed = None if judgement.decided else judgement.seeds_to_decide
    return entries(
        effect.tricks,
        judgement.verdict,
        ratio(effect),
        pairs(effect),
        effect.seeds,
        TableCell(judgement.p if known else None, None, None, runs),
        failed(effect),
        failure_change(effect),
        TableCell(judgement.failure_p if known else None, None, None, runs),
        margin if math.isfinite(margin) else None,
        None if needed is None else " to ".join(str(n) for n in dict.fromkeys(needed)),
    )


def ratio(effect: Effect) -> TableCell:
    """Write the ratio that counts failures."""
    return TableCell(effect.ratio, effect.interval, effect.pairs, effect.runs, "lower")


def pairs(effect: Effect) -> str:
    """Write how many pairs there are."""
    return f"{effect.pairs} of {effect.planned}"


def failed(effect: Effect) -> str:
    """Write failures without and with."""
    return f"{effect.failures[1]} → {effect.failures[0]} of {effect.pairs}"


def failure_change(effect: Effect) -> TableCell:
    """Write the change in failures."""
    return TableCell(
        effect.failure_change, effect.failure_interval, effect.pairs, effect.runs, "lower"
    )


def survivors(effect: Effect) -> TableCell:
    """Write the ratio of pairs that both survived."""
    return TableCell(
        effect.survivors_ratio, effect.survivors_interval, effect.survivors, effect.runs, "lower"
    )


def better(effect: Effect) -> TableCell:
    """Write P(better)."""
    return TableCell(effect.better, None, effect.pairs, effect.runs, "higher")


def described(effect: Effect) -> Row:
    """Write an effect as :data:`DESCRIBED`."""
    return entries(
        ratio(effect),
        pairs(effect),
        effect.seeds,
        failed(effect),
        failure_change(effect),
        survivors(effect),
        better(effect),
    )


def claims_table(name: str, title: str, subject: str, effects: Sequence[Effect]) -> Table:
    """Lay a family out that claims, or, where nothing is judged yet, that only describes."""
    judged = any(effect.judgement for effect in effects)
    columns = CLAIMED if judged else DESCRIBED
    note = (
        "All rows are one family for Holm."
        if judged
        else "No verdict while runs are still to come."
    )
    return Table(
        name,
        title,
        (Column(subject), *columns),
        tuple(claimed_row(effect) for effect in effects),
        f"{note} The n of a ratio are all pairs, failures included.",
    )


def descriptions_table(effects: Sequence[Effect]) -> Table:
    """Describe what stands beside the verdicts and claims nothing."""
    return Table(
        "descriptions",
        "Beside the verdicts: survivors, and the chance to be better",
        (Column("Trick"), SURVIVORS, BETTER),
        tuple(entries(e.tricks, survivors(e), better(e)) for e in effects),
        "Descriptions, not tested. Survivors of a trick that kills the weak look better than they "
        "would otherwise, and those of one that saves them look worse.",
        folded=True,
    )


def dataset_table(effects: Sequence[Effect]) -> Table:
    """Lay out the effects on each data set."""
    return Table(
        "effects-by-dataset",
        "Effects on each data set",
        (Column("Data set"), Column("Trick"), *DESCRIBED),
        tuple(entries(e.dataset, e.tricks, *described(e)) for e in effects),
        "Intervals without verdicts: the table over all data sets claims, and it alone. Of twenty "
        "intervals of tricks that do nothing, one excludes 1 by chance.",
        folded=True,
    )


def equal_cost_table(rows: Sequence[tuple[Effect, Sequence[AtEqualCost]]]) -> Table:
    """Lay out effects at equal cost, beside what the tricks spend."""
    words = {"updates": "D-updates", "examples": "examples", "seconds": "seconds"}
    kinds = [one.kind for one in rows[0][1]] if rows else []
    return Table(
        "equal-cost",
        "Effects at equal cost",
        (
            Column("Trick"),
            Column("At the end", "ratio", "at the last checkpoint, as in the verdicts"),
            *(
                column
                for kind in kinds
                for column in (
                    Column(
                        f"At equal {words[kind]}", "ratio", "failures counted; interval over pairs"
                    ),
                    Column(f"{words[kind].capitalize()} spent", "ratio", "with / without, in all"),
                )
            ),
        ),
        tuple(
            entries(
                effect.tricks,
                ratio(effect),
                *(
                    entry
                    for one in equal
                    for entry in (ratio(one.effect), TableCell(one.spent, None, None))
                ),
            )
            for effect, equal in rows
        ),
        "The same pairs, each read where both runs have spent as much: the dearer one earlier, "
        "between evaluations on a straight line of logarithms. Examples are those that D has seen, "
        "seconds those of training, of runs on one kind of machine with as many at once. Updates "
        "and seconds are taken to grow with the examples. Intervals without verdicts.",
        folded=True,
    )


def power_table(powers: Mapping[str, Sequence[float]]) -> Table:
    """Lay out which effects the design sees how often, by trick."""
    return Table(
        "power",
        "What this design can see",
        (
            Column("Effect", "ratio", "a ratio as large as this, or its inverse"),
            *(Column(tricks, "share", "of suites like this one that see it") for tricks in powers),
        ),
        tuple(entries(*row) for row in zip(EFFECTS_OF_POWER, *powers.values(), strict=True)),
        "Simulated from this suite's own scatter, centred in each cell so that its own effects do "
        "not count: whole seeds are turned round, and failures fall to either side by chance. "
        "Tested at the level that the first of all tricks has to meet. An estimate: some "
        "hundredths to a tenth too high where seeds are few.",
        folded=True,
    )


def shifts_table(metric_shifts: Sequence[Shift]) -> Table:
    """Lay out what tricks do to metrics that verdicts do not go by."""
    return Table(
        "other-metrics",
        "Effects on the other metrics",
        (
            Column("Data set"),
            Column("Trick"),
            Column("Metric", "code"),
            Column("With", "number"),
            Column("Without", "number"),
            Column("Difference", "number", "with minus without, interval over seeds"),
        ),
        tuple(
            entries(
                shift.dataset,
                shift.tricks,
                f"{shift.metric.name} {ARROWS[shift.metric.better]}",
                TableCell(
                    shift.treated, None, None, shift.runs, shift.metric.better, shift.metric.name
                ),
                TableCell(
                    shift.control, None, None, shift.runs, shift.metric.better, shift.metric.name
                ),
                TableCell(shift.difference, shift.interval, shift.pairs, (), shift.metric.better),
            )
            for shift in metric_shifts
        ),
        "Over pairs that both survived: means within each seed, then over seeds. Descriptive: "
        "not tested. A distance can fall while fewer samples lie on a mode, and the other way "
        "round; look here before believing either.",
        folded=True,
        empty="No pair has both survived and been measured otherwise.",
    )


def cells_table(effects: Sequence[tuple[CellRuns, Effect]]) -> Table:
    """Lay out the effect in every cell."""
    return Table(
        "effects-by-cell",
        "Effects in every cell",
        (Column("Data set"), Column("Variant"), Column("Trick"), *PER_CELL),
        tuple(
            entries(
                cell.dataset,
                cell.variant,
                e.tricks,
                survivors(e),
                pairs(e),
                e.seeds,
                better(e),
                failed(e),
                failure_change(e),
            )
            for cell, e in effects
        ),
        "Descriptive: not tested cell by cell.",
        folded=True,
    )


def differences_table(unlike_settings: Sequence[tuple[CellRuns, str, Any, Any]]) -> Table:
    """List what a suite gives to a cell and not to its baseline."""
    return Table(
        "unlike",
        "Settings that differ between a trick's cell and its baseline",
        (
            Column("Data set"),
            Column("Variant"),
            Column("Trick"),
            Column("Setting", "code"),
            Column("With"),
            Column("Without"),
        ),
        tuple(
            entries(*cell.labels, name, str(mine), str(base))
            for cell, name, mine, base in unlike_settings
        ),
        "An effect in these cells is that of the trick and of the setting together; cells that "
        "are measured by another protocol are not compared at all.",
    )
