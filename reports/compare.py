"""What changed between two results folders, cell by cell; it speaks only where it can be sure.

Cells are matched by their labels and runs by their seeds. **All intervals of a table hold together
with 95 %**: each row has two, and each is widened to 1 − 0.05 / (2 rows) (Bonferroni), so that
comparing a folder with a repeat of itself raises an alarm at most once in twenty times, however
many cells there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.errors import ComparisonError
from harness.store.reading import read_suite
from reports.cells import CellRuns, SuiteCells, group
from reports.code import codes_of, differences
from reports.document import Document, Section
from reports.effects import Pair, pairs_of, seed_means, settings_of
from reports.statistics.intervals import LEVEL, Interval, paired_rate_change, t_interval
from reports.tables import Column, Row, Table, TableCell, entries, significant

Change = Literal["better", "worse", "identical", "no change shown", "not comparable"]
MARKS: dict[Change, str] = {
    "better": "▲ better",
    "worse": "▼ worse",
    "identical": "= identical",
    "no change shown": "○ no change shown",
    "not comparable": "– not comparable",
}
WORDS: dict[Change, str] = {
    "worse": "worse",
    "better": "better",
    "identical": "identical",
    "no change shown": "without a change that can be shown",
    "not comparable": "not comparable",
}
MOST_NAMED = 8
"""Labels of a kind that a message lists."""
NOTE = (
    "The ratio is of the primary metric at the last checkpoint, second folder over first, or the "
    "other way round where more of it is better: below 1 is better. Logarithms are averaged over "
    "the pairs of a seed that survived in both, then over seeds. Failures are of the second "
    "folder minus the first. Intervals are Student's over seeds and Newcombe's over pairs, "
    "widened so that all of the table hold together with 95 % (Bonferroni); a change is marked "
    "only where one of them excludes no change."
)


@dataclass(frozen=True)
class Difference:
    """How a cell of the second folder differs from the same cell of the first.

    Attributes:
        label: Data set, variant and tricks; or all cells.
        pairs: Runs of the same seed in both folders.
        ratio: Of geometric means of the primary metric, second over first; None without pairs
            that survived in both.
        interval: Of the ratio, over seeds.
        failures: Failed runs of the first folder, and of the second.
        failure_change: Change of the failure rate.
        failure_interval: Of that change.
        identical: Whether all runs ended alike, to the last digit.
        reason: Why the cells cannot be compared; empty where they can.
    """

    label: tuple[str, str, str]
    pairs: int
    ratio: float | None = None
    interval: Interval | None = None
    failures: tuple[int, int] = (0, 0)
    failure_change: float | None = None
    failure_interval: Interval | None = None
    identical: bool = False
    reason: str = ""
    runs: tuple[str, ...] = ()

    @property
    def change(self) -> Change:
        """What may be said."""
        if self.reason:
            return "not comparable"
        if self.identical:
            return "identical"
        rate, ratio = self.failure_interval, self.interval
        if (rate and rate.low > 0) or (ratio and ratio.low > 1):
            return "worse"
        if (rate and rate.high < 0) or (ratio and ratio.high < 1):
            return "better"
        return "no change shown"


@dataclass(frozen=True)
class Comparison:
    """Two results folders beside each other.

    Attributes:
        first: Name of the first folder.
        second: Name of the second.
        overall: All cells together.
        cells: One by one.
        alone: Cells that only one of the folders has: label, and which folder.
        settings: Settings that differ: label, name, first, second.
        code: Parts that are not the same code in both folders, in sentences.
    """

    first: str
    second: str
    overall: Difference
    cells: tuple[Difference, ...]
    alone: tuple[tuple[tuple[str, str, str], str], ...]
    settings: tuple[tuple[tuple[str, str, str], str, str, str], ...]
    code: tuple[str, ...] = ()

    @property
    def regressions(self) -> list[Difference]:
        """What became worse."""
        return [one for one in (self.overall, *self.cells) if one.change == "worse"]


def compare(first: Path, second: Path) -> Comparison:
    """Compare two results folders.

    Raises:
        StoreError: if one of them holds no results.
        CorruptRecordError: naming file and line of a damaged record.
        ComparisonError: if they are one folder, or have no two runs to compare.
    """
    if first.resolve() == second.resolve():
        raise ComparisonError(f"{first} and {second} are the same folder; give two")
    one, other = (group(read_suite(folder)) for folder in (first, second))
    mine, theirs = by_label(one), by_label(other)
    shared = [label for label in mine if label in theirs]
    if not shared:
        raise ComparisonError(nothing_shared((first, one), (second, other)))
    level = 1 - (1 - LEVEL) / (2 * (len(shared) + 1))
    cells, pooled = [], []
    settings: list[tuple[tuple[str, str, str], str, str, str]] = []
    for label in shared:
        old, new = mine[label], theirs[label]
        pairs = pairs_of(new, old)
        reason = "" if pairs else reason_of(old, new)
        cells.append(difference(label, pairs, level, reason))
        pooled += pairs
        before, after = settings_of(old), settings_of(new)
        settings += [
            (label, name, str(before[name]), str(after[name]))
            for name in sorted(before.keys() & after.keys())
            if before[name] != after[name]
        ]
    if not pooled:
        raise ComparisonError(nothing_paired(first, second, cells))
    everything = ("all", "all", "all")
    alone = [(label, str(first)) for label in mine if label not in theirs]
    alone += [(label, str(second)) for label in theirs if label not in mine]
    return Comparison(
        str(first),
        str(second),
        difference(everything, pooled, level),
        tuple(cells),
        tuple(alone),
        tuple(settings),
        differences(codes_of(one), codes_of(other)),
    )


def by_label(cells: SuiteCells) -> dict[tuple[str, str, str], CellRuns]:
    """Index cells by data set, variant and tricks."""
    return {cell.labels: cell for cell in cells.cells}


def nothing_shared(*folders: tuple[Path, SuiteCells]) -> str:
    """Say of two folders without a common cell what each has instead."""
    lines = ["no cell is in both folders, so there is nothing to compare"]
    for path, cells in folders:
        lines.append(f"  {path} holds suite {cells.suite.plan.suite}:")
        for what, labels in (
            ("data sets", cells.datasets),
            ("variants", cells.variants),
            ("tricks", cells.tricks),
        ):
            more = f" and {len(labels) - MOST_NAMED} more" if len(labels) > MOST_NAMED else ""
            lines.append(f"    {what}: {', '.join(labels[:MOST_NAMED]) or 'none'}{more}")
    lines.append("give two results folders of one suite, or of suites that share cells")
    return "\n".join(lines)


def nothing_paired(first: Path, second: Path, cells: Sequence[Difference]) -> str:
    """Say of two folders with common cells, but no pair of runs, why that is."""
    reasons: dict[str, list[str]] = {}
    for one in cells:
        reasons.setdefault(one.reason, []).append(" · ".join(one.label))
    lines = [f"{first} and {second} have common cells, but no two runs to compare"]
    for reason, labels in reasons.items():
        more = f" and {len(labels) - 1} more" if len(labels) > 1 else ""
        lines.append(f"  {labels[0]}{more}: {reason}")
    lines.append("finish both suites, with the same seeds, reference and evaluation_samples")
    return "\n".join(lines)


def reason_of(old: CellRuns, new: CellRuns) -> str:
    """Say why two cells have no pairs of runs."""
    if old.primary and new.primary and old.primary.name != new.primary.name:
        return f"measured by {old.primary.name} and by {new.primary.name}"
    seeds = [", ".join(str(r.planned.seed) for r in cell.finals) for cell in (old, new)]
    if not all(seeds):
        return f"no run has a result in the {'second' if seeds[0] else 'first'} folder"
    return f"no seed has a result in both: seeds {seeds[0]} in the first, {seeds[1]} in the second"


def difference(
    label: tuple[str, str, str], pairs: Sequence[Pair], level: float, reason: str = ""
) -> Difference:
    """Summarise pairs of runs of the same seed, the first folder's as control."""
    if reason:
        return Difference(label, 0, reason=reason)
    survivors = [pair for pair in pairs if pair.survived]
    means = seed_means(survivors, [pair.difference for pair in survivors])
    limits = t_interval(means, level)
    rate = paired_rate_change(
        [pair.treated.failed for pair in pairs], [pair.control.failed for pair in pairs], level
    )
    return Difference(
        label=label,
        pairs=len(pairs),
        ratio=math.exp(sum(means) / len(means)) if means else None,
        interval=Interval(math.exp(limits.low), math.exp(limits.high)) if limits else None,
        failures=(
            sum(pair.control.failed for pair in pairs),
            sum(pair.treated.failed for pair in pairs),
        ),
        failure_change=rate[0] if rate else None,
        failure_interval=rate[1] if rate else None,
        identical=all(pair.scores[0] == pair.scores[1] for pair in pairs)
        and all(pair.treated.status == pair.control.status for pair in pairs),
        runs=tuple(r.planned.id for pair in pairs for r in (pair.treated, pair.control)),
    )


def sentences(comparison: Comparison) -> list[str]:
    """Say in plain lines what changed, the summary last."""
    lines = [*comparison.code]
    for one in (comparison.overall, *comparison.cells):
        if one.change in ("better", "worse"):
            ratio = f"× {significant(one.ratio)}" if one.ratio is not None else "no ratio"
            where = " · ".join(one.label) if one is not comparison.overall else "all cells"
            lines.append(
                f"{MARKS[one.change]}  {where}: {ratio}, failed {one.failures[0]} → "
                f"{one.failures[1]} of {one.pairs}"
            )
    return [*lines, summary(comparison)]


def summary(comparison: Comparison) -> str:
    """Count the changes in one sentence."""
    marks = [one.change for one in comparison.cells]
    counted = ", ".join(
        f"{marks.count(mark)} {words}" for mark, words in WORDS.items() if marks.count(mark)
    )
    return (
        f"{comparison.second} against {comparison.first}: "
        f"of {len(marks)} cells {counted or 'none'}."
    )


def difference_row(one: Difference) -> Row:
    """Write one difference as a row."""
    return entries(
        *one.label,
        MARKS[one.change] + (f": {one.reason}" if one.reason else ""),
        TableCell(one.ratio, one.interval, one.pairs, one.runs, "lower"),
        one.pairs,
        f"{one.failures[0]} → {one.failures[1]}",
        TableCell(one.failure_change, one.failure_interval, None, one.runs, "lower"),
    )


def document(comparison: Comparison) -> Document:
    """Lay out a comparison."""
    titles = (Column("Data set"), Column("Variant"), Column("Tricks"))
    table = Table(
        "changes",
        "Change of every cell",
        (
            *titles,
            Column("Change", "prose"),
            Column("Ratio", "ratio", "second over first; below 1 is better"),
            Column("Pairs", "count", "runs of the same seed with a result in both"),
            Column("Failed runs", "text", "first → second"),
            Column("Change in failures", "points", "paired, Newcombe's interval"),
        ),
        (difference_row(comparison.overall), *(difference_row(one) for one in comparison.cells)),
        NOTE,
    )
    settings = Table(
        "settings",
        "Settings that differ",
        (*titles, Column("Setting"), Column("First"), Column("Second")),
        tuple(entries(*label, name, old, new) for label, name, old, new in comparison.settings),
        "The same labels do not mean the same training where settings differ.",
        empty="None: the cells of both folders have the same settings.",
    )
    alone = Table(
        "alone",
        "Cells of one folder only",
        (*titles, Column("Folder", "code")),
        tuple(entries(*label, folder) for label, folder in comparison.alone),
        empty="None: both folders have the same cells.",
    )
    section = Section(
        "changes", "What changed", (summary(comparison),), (), (table, settings, alone)
    )
    facts = (
        ("First", comparison.first),
        ("Second", comparison.second),
        ("Cells", str(len(comparison.cells))),
    )
    title = f"What changed from {comparison.first}?"
    return Document("compare", title, facts, (section,), comparison.code)
