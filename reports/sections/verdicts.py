"""First chapter: what each trick does, in one sentence, then in tables and two figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from reports.cells import BASELINE, CellRuns, SuiteCells
from reports.cost import Surcharge, surcharges
from reports.document import Block, Claim, Figure, Section, left_out
from reports.effects import (
    ALPHA,
    SEEDS_FOR_A_CLAIM,
    Effect,
    Shift,
    Verdict,
    cell_effects,
    differences,
    shifts,
    trick_effects,
)
from reports.figures.effects import effect_map, forest
from reports.statistics.intervals import LEVEL
from reports.tables import (
    ARROWS,
    NO_BREAK,
    Column,
    Row,
    Table,
    TableCell,
    entries,
    p_value,
    percent,
    percentage_points,
    significant,
)

METRIC_WORDS = {"frechet": "FD"}
ORDER: tuple[Verdict, ...] = ("helps", "fewer failures", "hurts", "no evidence", "screening")
"""What a reader looks for first."""
MOST_ROWS = 60
"""Data sets and variants in the map; the table has them all."""
MOST_NAMED = 4
"""Tricks that the first sentence names of a kind."""
NO_PAIR = "No run and its baseline both have a result yet."
BY_TRICK = "Every trick is compared with the same data set, variant and seed without it. "
MEANING = (
    "The ratio is that of the primary metric at the last checkpoint, with the trick over without "
    "it, or the other way round where more of it is better: below 1 is better. Logarithms are "
    "averaged over the pairs of a seed, then over seeds. A pair with a run that failed (collapsed, "
    "diverged) or has no positive value has no ratio; such runs rank worst in the tests and in "
    "P(better), and the rate of failures is compared on its own. Runs that crashed are no results "
    "and in no number.",
    f"Intervals of ratios are {percent(LEVEL)} t-intervals over seeds, because all cells of a "
    "seed share data order and latents; that of the change in failures is Newcombe's, over "
    "pairs. Each p is the larger of two, an exact sign-flip test over pairs and Student's test "
    "of the means over seeds, adjusted by Holm over the rows of its table. What is tested are "
    "the signed ranks of all pairs, and apart from them the changes in failure, where the sign "
    f"flips are McNemar's test. A claim needs at least {SEEDS_FOR_A_CLAIM} seeds, p below "
    f"{ALPHA}, and a {percent(LEVEL)} t-interval over seeds, of the ratio or of the change in the "
    "failure rate, on the side to which the test leans. Fewer seeds are a screening, which "
    "claims nothing.",
)
COLUMNS = (
    Column("Trick"),
    Column("Verdict", "verdict"),
    Column("Ratio", "ratio", "primary metric with / without; below 1 is better"),
    Column("Pairs", "text", "of which both runs have a result, of those planned"),
    Column("Seeds", "count"),
    Column(
        "P(better)",
        "share",
        "chance that a run with the trick beats one of the same cell without, ties counted half, "
        "mean over cells",
    ),
    Column(
        "p (Holm)",
        "p",
        "of signed ranks: the larger of exact sign flips of pairs and Student's test over seeds, "
        "adjusted over the table",
    ),
    Column("Failed runs", "text", "without the trick → with it, of as many each"),
    Column(
        "Change in failures",
        "points",
        "of the failure rate, in percentage points, paired, with Newcombe's interval",
    ),
    Column(
        "p failures (Holm)",
        "p",
        "of the change in failures: the larger of McNemar's exact test over pairs and Student's "
        "test over seeds, adjusted over the table",
    ),
)


def metric_word(cells: SuiteCells) -> str:
    """Name what verdicts go by, in a word."""
    ids = {cell.primary.metric for cell in cells.cells if cell.primary}
    return METRIC_WORDS.get(next(iter(ids)), next(iter(ids))) if len(ids) == 1 else "primary metric"


def sentence(effect: Effect, word: str) -> str:
    """Say in one sentence what a trick did, with every number's n."""
    if effect.pairs == 0:
        return f"no pair of runs is finished yet (0 of {effect.planned})."
    if effect.ratio is None:
        change = f"no ratio, because no pair survived (0 of {effect.pairs} pairs)"
    else:
        limits = (
            f" [{significant(effect.interval.low)}, {significant(effect.interval.high)}]"
            if effect.interval
            else ""
        )
        change = f"{word} ×{NO_BREAK}{significant(effect.ratio)}{limits}"
        change += f" in {effect.survivors} of {effect.pairs} pairs over {effect.seeds} "
        change += "seed" if effect.seeds == 1 else "seeds"
    treated, control = effect.failures
    failures = f"failed runs {control} → {treated} of {effect.pairs}"
    if effect.failure_change is not None and effect.failure_interval and (treated or control):
        low, high = (
            percentage_points(limit).removesuffix(f"{NO_BREAK}pp")
            for limit in effect.failure_interval
        )
        failures += f" ({percentage_points(effect.failure_change)} [{low}, {high}])"
    better = (
        f"; better in {percent(effect.better)} of comparisons" if effect.better is not None else ""
    )
    text = f"{change}{better}; {failures}; adjusted p {_p_words(effect.p_holm)}"
    if effect.verdict == "fewer failures":
        text += f", that of the failures {_p_words(effect.failure_p_holm)}"
    text += "."
    if effect.verdict == "screening":
        text += f" Under {SEEDS_FOR_A_CLAIM} seeds this claims nothing."
    elif effect.verdict == "no evidence" and effect.smallest_p >= ALPHA:
        text += f" {effect.pairs} pairs could not reach p < {ALPHA} whatever they showed."
    return text


def headline(overall: Sequence[Effect]) -> str:
    """Say in one sentence what helps, what hurts, and of how much nothing is known."""
    by_verdict: dict[Verdict, list[str]] = {verdict: [] for verdict in ORDER}
    for effect in overall:
        by_verdict[effect.verdict].append(effect.tricks)
    if len(by_verdict["screening"]) == len(overall):
        return f"Only a screening: with under {SEEDS_FOR_A_CLAIM} seeds nothing is claimed."
    parts = []
    for verdict, verb, rest in (
        ("helps", "help", ""),
        ("fewer failures", "make", " fewer runs fail"),
        ("hurts", "hurt", ""),
    ):
        names = by_verdict[cast(Verdict, verdict)]
        if names:
            parts.append(f"{_listed(names, len(overall))} {_verb(names, verb)}{rest}")
        if verdict == "fewer failures" and not parts:
            parts.append("Nothing is shown to help")
    unknown = len(by_verdict["no evidence"]) + len(by_verdict["screening"])
    if unknown:
        parts.append(f"of {unknown} more there is no evidence either way")
    return "; ".join(parts) + "."


def _listed(names: Sequence[str], total: int) -> str:
    # Names that are lists themselves, or many, are read in the verdicts below.
    if len(names) > MOST_NAMED or any(", " in name for name in names):
        return f"{len(names)} of {total}"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _verb(names: Sequence[str], verb: str) -> str:
    return verb if len(names) > 1 else f"{verb}s"


def cost_words(charge: Surcharge | None) -> str:
    """Say what a trick adds to the time of training; nothing where that is not known."""
    if charge is None:
        return ""
    span = f" ({significant(charge.least, 2)} to {significant(charge.most, 2)})"
    cells = "1 cell" if charge.cells == 1 else f"{charge.cells} cells{span}"
    return f" Cost: training time ×{NO_BREAK}{significant(charge.ratio)} over {cells}."


def _p_words(p: float) -> str:
    text = p_value(p)
    return text if text.startswith("<") else f"= {text}"


def effect_row(effect: Effect) -> Row:
    """Write an effect as a row of :data:`COLUMNS`."""
    n, runs = effect.pairs, effect.runs
    known = n > 0
    return entries(
        effect.tricks,
        effect.verdict,
        TableCell(effect.ratio, effect.interval, effect.survivors, runs, "lower"),
        f"{effect.pairs} of {effect.planned}",
        effect.seeds,
        TableCell(effect.better, None, n, runs, "higher"),
        TableCell(effect.p_holm if known else None, None, None, runs),
        f"{effect.failures[1]} → {effect.failures[0]} of {n}",
        TableCell(effect.failure_change, effect.failure_interval, n, runs, "lower"),
        TableCell(effect.failure_p_holm if known else None, None, None, runs),
    )


def effects_table(name: str, title: str, effects: Sequence[Effect], note: str) -> Table:
    """Lay effects out as a table."""
    by_dataset = any(effect.dataset is not None for effect in effects)
    columns = (Column("Data set"), *COLUMNS) if by_dataset else COLUMNS
    rows = tuple(
        (TableCell(e.dataset), *effect_row(e)) if by_dataset else effect_row(e) for e in effects
    )
    return Table(name, title, columns, rows, note, folded=by_dataset)


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
            entries(cell.dataset, cell.variant, cell.tricks, name, str(mine), str(base))
            for cell, name, mine, base in unlike_settings
        ),
        "An effect in these cells is that of the trick and of the setting together; cells that "
        "are measured by another protocol are not compared at all.",
    )


def lead(cells: SuiteCells, overall: Sequence[Effect]) -> tuple[str, ...]:
    """Say what is compared with what, and for a suite with a baseline what is least to change."""
    if cells.suite.plan.baseline is None:
        return (BY_TRICK + MEANING[0], *MEANING[1:])
    variant, tricks = cells.suite.plan.baseline
    compared = (
        f"Every cell is compared with the suite's baseline, {variant} × {tricks}, on the same data "
        "set and seed, and named by what it changes. "
    )
    return (least_change(cells, overall), compared + MEANING[0], *MEANING[1:])


def least_change(cells: SuiteCells, overall: Sequence[Effect]) -> str:
    """Name the cells that do better than the baseline with the fewest changes."""
    counts = {cells.treatment(c): len(cells.changes(c) or ()) for c in cells.cells}
    better = [e for e in overall if e.verdict in ("helps", "fewer failures")]
    if not better:
        return "No change is shown to do better than the baseline."
    fewest = min(counts[effect.tricks] for effect in better)
    least = [effect for effect in better if counts[effect.tricks] == fewest]
    least.sort(key=lambda effect: (effect.failures[0], -(effect.better or 0)))
    named = "; ".join(
        f"{effect.tricks} ({effect.failures[0]} of {effect.pairs} fail, {effect.failures[1]} "
        "without the change)"
        for effect in least
    )
    number = "one change" if fewest == 1 else f"{fewest} changes at once"
    return f"The least that does better than the baseline is {number}: {named}."


def build(cells: SuiteCells) -> Section:
    """Make the chapter."""
    overall = trick_effects(cells, by_dataset=False)
    if not overall:
        return Section(
            "verdicts",
            "Verdicts",
            (
                f"No cell has both a trick and its baseline “{BASELINE}”, so there is no effect of "
                "a trick to test. The tables below compare variants by their intervals.",
            ),
        )
    word = metric_word(cells)
    charges = surcharges(cells)
    claims = tuple(
        Claim(e.verdict, e.tricks, sentence(e, word) + cost_words(charges.get(e.tricks)))
        for e in sorted(overall, key=lambda e: ORDER.index(e.verdict))
    )
    blocks: list[Block] = []
    blocks.append(
        Figure(
            "verdicts",
            "Effect of each trick over all data sets and variants",
            "Ratios with intervals: " + "; ".join(f"{c.subject}: {c.verdict}" for c in claims),
            forest(overall),
            f"A dot is the ratio of {word} with the trick over without, its line the 95 % interval "
            "over seeds; an arrow stands where a line or a dot lies beyond the axis. Filled dots "
            "are claims that a trick helps or hurts, an open blue one that fewer runs fail; blue "
            "is better, orange is worse, grey is no claim.",
            empty="In every pair a run failed or has no value, so there is no ratio to draw."
            if any(effect.pairs for effect in overall)
            else NO_PAIR,
        )
    )
    heat_map, every_cell = _per_cell(cells, word)
    blocks.append(heat_map)
    blocks.append(
        effects_table(
            "verdicts",
            "Verdicts over all data sets",
            overall,
            "The n of a ratio are the pairs that both survived. All rows are one family for Holm.",
        )
    )
    if len(cells.datasets) > 1:
        by_dataset = trick_effects(cells, by_dataset=True)
        blocks.append(
            effects_table(
                "verdicts-by-dataset",
                "Verdicts on each data set",
                by_dataset,
                f"All {len(by_dataset)} rows are one family for Holm, apart from the one above.",
            )
        )
    blocks.append(shifts_table(shifts(cells)))
    blocks.append(every_cell)
    unlike = differences(cells)
    if unlike:
        blocks.append(differences_table(unlike))
    return Section(
        "verdicts", "Verdicts", lead(cells, overall), claims, tuple(blocks), headline(overall)
    )


def _per_cell(cells: SuiteCells, word: str) -> tuple[Figure, Table]:
    effects = cell_effects(cells)
    everything = list(dict.fromkeys(f"{cell.dataset} · {cell.variant}" for cell, _ in effects))
    most = cells.room_for(MOST_ROWS)
    rows = everything[:most]
    by_place = {(f"{c.dataset} · {c.variant}", e.tricks): e for c, e in effects}
    columns = cells.treatments
    return (
        Figure(
            "effects-by-cell",
            f"Which trick helps which variant: ratio of {word} in every cell",
            f"A map of {len(rows)} rows (data set and variant) by {len(columns)} tricks; its "
            "numbers are in the table of effects in every cell.",
            effect_map(rows, columns, by_place),
            "Blue fields are better with the trick, orange ones worse; colours end at a factor of "
            "4. A frame and a star (★) mark where the 95 % interval over seeds excludes 1, taken "
            "for itself: of twenty fields without any effect, one is marked by chance, so no "
            "field is a claim. Hatched fields have no ratio, because in every pair a run failed "
            "or has no positive value; a dash stands for a cell that was skipped or is no "
            "comparison." + left_out("rows", len(everything), most),
            empty=NO_PAIR,
        ),
        Table(
            "effects-by-cell",
            "Effects in every cell",
            (Column("Data set"), Column("Variant"), COLUMNS[0], *COLUMNS[2:6], *COLUMNS[7:9]),
            tuple(
                (TableCell(c.dataset), TableCell(c.variant), row[0], *row[2:6], *row[7:9])
                for c, effect in effects
                for row in [effect_row(effect)]
            ),
            "Descriptive: not tested cell by cell.",
            folded=True,
        ),
    )
