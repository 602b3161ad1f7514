"""The chapter on tuning: verdicts at tuned numbers beside those at the suite's own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.store.records import SEEDS_FOR_A_CLAIM
from reports.cells import SuiteCells
from reports.document import Block, Figure, Section, left_out
from reports.effects import Effect
from reports.figures.curves import Cliff, draw_cliff
from reports.statistics.claims import Verdict
from reports.statistics.intervals import geometric_interval, geometric_mean
from reports.statistics.paired import CELLS_FOR_STUDENT
from reports.tables import Column, Row, Table, TableCell, entries, unique_names
from reports.tuned import (
    Comparison,
    Search,
    Setting,
    compare,
    read_searches,
)

METHOD = (
    "A trick that helps at the suite's numbers may only have repaired them. So every cell, with a "
    "trick and without, was searched by the same number of trials on the validation half, and a "
    "cell and its control in the same places; the setting with the best mean over three seeds was "
    "chosen, failures worst. Default and choice are compared here on the suite's own seeds, "
    "which no trial has had, and measured as everything else in this report.",
    "A claim after tuning needs what every claim needs, and Student's test over cells too, at "
    f"least {CELLS_FOR_STUDENT}: what a search chose by luck is the same for all seeds of a cell, "
    f"and more seeds do not average it out. Below {SEEDS_FOR_A_CLAIM} seeds nothing is claimed.",
)
SILENT: tuple[Verdict, ...] = ("no evidence", "screening")
MOST_CLIFFS = 12
"""Cells whose trials are drawn; the files of tuning have them all."""


def numbers(setting: Setting) -> str:
    """Write a setting, such as ``lr_g 0.0002, lr_d/lr_g 1``; what is at an edge is marked."""
    written = (
        f"{name} {value:.3g}{' (at the edge)' if name in setting.edges else ''}"
        for name, value in setting.numbers.items()
    )
    return ", ".join(written) or "nothing was searched"


def effect_row(before: Effect, after: Effect) -> Row:
    """Write a trick before tuning and after as a row."""
    halves: list[TableCell | float | str | None] = []
    for effect in (before, after):
        halves += [
            effect.verdict,
            TableCell(effect.ratio, effect.interval, effect.survivors, effect.runs, "lower"),
            f"{effect.failures[1]} → {effect.failures[0]} of {effect.pairs}",
        ]
    judged = after.judgement
    tests = (judged.p, judged.failure_p) if judged else (None, None)
    return entries(after.tricks, *halves, after.cells, after.seeds, *tests)


def effects_table(comparison: Comparison) -> Table:
    """Lay out the verdicts after tuning beside those before."""
    notes = [
        "Of the same cells and seeds. The n of a ratio are the pairs that both survived; ratio and "
        "interval are those of all pairs, failures included. All rows are one family for Holm, "
        "before and after tuning apart."
    ]
    if comparison.missing:
        notes.append(
            f"{comparison.missing} cells with a control are left out, because one of the two was "
            "not tuned; while there are such, nothing is judged."
        )
    if comparison.apart:
        notes.append(
            "Left out, because cell and control were tried at other places: "
            f"{'; '.join(comparison.apart)}. While there are such, nothing is judged."
        )
    failed = "without the trick → with it, of as many each"
    ratio = "primary metric with / without; below 1 is better"
    return Table(
        "after-tuning",
        "Verdicts after tuning, beside those before",
        (
            Column("Trick"),
            Column("Before", "verdict", "at the suite's numbers"),
            Column("Ratio before", "ratio", ratio),
            Column("Failed before", "text", failed),
            Column("After", "verdict", "at the numbers that were chosen for each cell"),
            Column("Ratio after", "ratio", ratio),
            Column("Failed after", "text", failed),
            Column("Cells", "count"),
            Column("Seeds", "count"),
            Column("p after (Holm)", "p", "of signed ranks, over pairs, seeds and cells"),
            Column("p failures (Holm)", "p", "of the change in failures after tuning, likewise"),
        ),
        tuple(effect_row(*effects) for effects in comparison.effects),
        " ".join(notes),
        empty="No cell was tuned together with its control.",
    )


def headline(comparison: Comparison) -> str:
    """Say of each trick that anything is claimed of what becomes of it by tuning."""
    verdicts = [
        (after.tricks, before.verdict, after.verdict) for before, after in comparison.effects
    ]
    if not verdicts or any(after is None for _, _, after in verdicts):
        return ""
    if all(after == "screening" for _, _, after in verdicts):
        return f"Only a screening: with under {SEEDS_FOR_A_CLAIM} seeds nothing is claimed."
    told = [
        f"{tricks}: {before}, after tuning too"
        if before == after
        else f"{tricks}: {before}; after tuning {after}"
        for tricks, before, after in verdicts
        if before not in SILENT or after not in SILENT
    ]
    return ". ".join(told) + "." if told else "Nothing is claimed, neither before tuning nor after."


def setting_row(search: Search) -> Row:
    """Write a cell's default and choice on fresh seeds as a row."""
    same = search.chosen.numbers == search.default.numbers
    ratio, interval, n = search.ratio()
    return entries(
        search.title,
        numbers(search.default),
        "the default" if same else numbers(search.chosen),
        *(
            TableCell(
                geometric_mean(setting.good),
                geometric_interval(setting.good),
                len(setting.good),
                tuple(result.planned.id for result in setting.results.values()),
                "higher" if search.better == "higher" else "lower",
                search.reported,
            )
            for setting in (search.default, search.chosen)
        ),
        TableCell(None if same else ratio, None if same else interval, n, (), "lower"),
        *(f"{s.failures} of {len(s.results)}" for s in (search.default, search.chosen)),
    )


def settings_table(searches: Sequence[Search]) -> Table:
    """List what was chosen for each cell, and what came of it on fresh seeds."""
    return Table(
        "tuning",
        "What was chosen, on fresh seeds",
        (
            Column("Cell"),
            Column("Default"),
            Column("Choice", "text", "at the edge: better numbers may lie outside the range"),
            Column("Metric at the default", "number", "geometric mean over surviving seeds"),
            Column("Metric at the choice", "number", "likewise"),
            Column("Choice / default", "ratio", "over seeds that both survived"),
            Column("Failed at the default"),
            Column("Failed at the choice"),
        ),
        tuple(setting_row(search) for search in searches),
        "Numbers on fresh seeds only; no trial's own value is among them. The metric is "
        f"{' or '.join(dict.fromkeys(search.reported for search in searches))}. Descriptive: not "
        "tested cell by cell.",
        folded=True,
    )


def cliff_figure(search: Search, name: str) -> Figure:
    """Draw a cell's trials by each number that was searched."""
    cliffs: dict[str, Cliff] = {}
    for parameter, ends in search.space.items():
        points = [(float(trial["params"][parameter]), value_of(trial)) for trial in search.trials]
        default = search.default.numbers.get(parameter)
        cliffs[parameter] = Cliff(points, default, bool(ends.get("log")))
    counted = f"{len(search.trials)} trials ({search.sampler}, optuna {search.version})"
    return Figure(
        name,
        f"{search.title}: {search.metric} by what was searched",
        f"{counted} over {', '.join(cliffs)}.",
        draw_cliff(cliffs),
        f"{counted}. Crosses on the upper edge failed: that is the cliff.",
        folded=True,
    )


def value_of(trial: Mapping[str, object]) -> float | None:
    """Return a trial's value; None for one that failed or has none."""
    value = trial["value"]
    if trial["outcome"] != "ok" or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def build(cells: SuiteCells, folders: Sequence[Path]) -> Section | None:
    """Make the chapter; None where nothing was tuned."""
    places = {cell.labels: place for place, cell in enumerate(cells.cells)}
    searches = sorted(read_searches(folders), key=lambda s: places.get(s.cell, len(places)))
    if not searches:
        return None
    comparison = compare(cells, searches)
    names = unique_names([f"tuning-{search.title}" for search in searches])
    tried = [pair for pair in zip(searches, names, strict=True) if pair[0].trials]
    treated = {cell.labels for cell in cells.cells if cells.control(cell) is not None}
    tried.sort(key=lambda pair: pair[0].cell in treated)  # first the plain ones
    most = cells.room_for(MOST_CLIFFS)
    blocks: list[Block] = [effects_table(comparison), settings_table(searches)]
    blocks += [cliff_figure(*pair) for pair in tried[:most]]
    left = left_out("cells", len(tried), most).strip()
    lead = (f"{left} Those without a trick come first.",) if left else ()
    title = "After tuning"
    return Section("tuning", title, lead, (), tuple(blocks), headline(comparison), METHOD)
