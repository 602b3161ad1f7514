"""``ganbench run --until-decided``: adds seeds to what is open, look by look, as declared.

The looks stand in the plan before the first run. After each, what is decided is frozen, what would
take more seeds than there may be is given up, and the rest, with its controls, gets the seeds of
the next look. What is decided, and what that costs in certainty, is the reports' business: they
hand in a function that reads the folder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from rich.table import Table
from rich.text import Text

from harness.commands.expansion import expander
from harness.commands.options import RunOptions
from harness.commands.run import run_suite
from harness.errors import ExitStatus, GanbenchError
from harness.jobs.environment import choose_device
from harness.planning.machine import slots
from harness.planning.studies import spent_seeds
from harness.store.folders import Store, begun_plan
from harness.store.reading import read_suite
from harness.store.records import LOOKS, SEEDS_FOR_A_CLAIM, CellKey, Look, PlannedRun, Standing
from harness.suite.matrix import Matrix, fingerprint
from harness.tracking.console import standard_console
from harness.tracking.progress import duration
from harness.tracking.wording import counted

MOST_SEEDS = 40
UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}

Judge = Callable[[Path], Sequence[Standing]]
"""Reads a results folder, all runs of whose look are done, and says how each trick stands."""


def looks_until(most: int) -> tuple[int, ...]:
    """Return the looks of a suite of at most so many seeds, the last of which is that number.

    Raises:
        GanbenchError: if it allows no claim at all.
    """
    if most < SEEDS_FOR_A_CLAIM:
        raise GanbenchError(
            f"--max-seeds {most}: under {SEEDS_FOR_A_CLAIM} seeds nothing can be claimed"
        )
    return (*(look for look in LOOKS if look < most), most)


def seconds_of(text: str) -> float:
    """Read a time such as ``2h``, ``90m`` or ``1h30m``.

    Raises:
        GanbenchError: if it is none.
    """
    parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text.strip())
    numbers = [int(part or 0) for part in parts.groups()] if parts else []
    seconds = sum(n * unit for n, unit in zip(numbers, UNITS.values(), strict=False))
    if seconds <= 0:
        raise GanbenchError(f"--budget {text}: write a time such as 2h, 90m or 1h30m")
    return seconds


def run_until_decided(
    options: RunOptions, judge: Judge, *, most: int | None, budget: str | None
) -> tuple[Path, ExitStatus]:
    """Train look by look until everything is decided or given up, or seeds or time end.

    Args:
        options: What the command was asked.
        judge: Says how tricks stand.
        most: Seeds at most; None for those that the folder's study has declared, else 40.
        budget: Time after which no look begins that is not expected to end within it.

    Returns:
        The results folder, and how it ended.
    """
    ends = monotonic() + seconds_of(budget) if budget is not None else None
    if options.only or options.seeds is not None:
        raise GanbenchError(
            "--until-decided chooses seeds and cells by itself: leave --seeds and --only out"
        )
    console = standard_console()
    matrix, counts = _begun(options, most)
    folder, looks = options.folder(matrix.plan.suite), matrix.plan.looks
    while (taken := len(matrix.plan.taken)) < len(looks):
        if taken and max(counts.values()) < looks[taken]:
            grown = {key for s in judge(folder) if not s.settled for key in s.cells}
            more = dict.fromkeys(grown, looks[taken])
            if not more:
                break
            need = _seconds(folder, counts, more, options)
            if ends is not None and monotonic() + need > ends:
                console.print(
                    f"the next look would take about {duration(need)}, which is more than is left "
                    f"of --budget {budget}; the same command goes on with it"
                )
                return folder, ExitStatus.DONE
            counts |= more
        console.print(f"look {taken + 1} of {len(looks)}: {looks[taken]} seeds", highlight=False)
        code = run_suite(restricted(matrix, counts), options)
        if code != ExitStatus.DONE:
            return folder, code
        standings = judge(folder)
        matrix = _recorded(folder, matrix, standings, looks[taken])
        console.print(_table(standings, looks[taken]))
    console.print(_ending(judge(folder), looks[-1]))
    return folder, ExitStatus.DONE


def first_look(options: RunOptions, most: int | None) -> Matrix:
    """Return what the next look of a suite trains, for ``--dry-run``."""
    return restricted(*_begun(options, most))


def _begun(options: RunOptions, most: int | None) -> tuple[Matrix, dict[CellKey, int]]:
    """Return all runs that there may be, and how many seeds each cell has by now."""
    expand = expander(options)
    folder = options.folder(expand(seeds=1).plan.suite)
    before = begun_plan(folder)
    declared = before.looks if before is not None else ()
    looks = declared or looks_until(MOST_SEEDS if most is None else most)
    if most is not None and declared and declared[-1] != most:
        raise GanbenchError(
            f"{folder} is a study with looks at {', '.join(map(str, declared))} seeds, declared "
            f"before its first run: go on with --max-seeds {declared[-1]}, or begin another with "
            "--out"
        )
    most_seen = max((run.seed for run in before.runs), default=-1) + 1 if before else 0
    whole = expand(seeds=looks[-1] + most_seen)
    spent = before.spent if before is not None else ()
    if not declared:
        # Seeds that have been judged before are passed over.
        spent = tuple(sorted(spent_seeds(folder, before, whole.plan.runs)))
    taken = before.taken if before is not None and declared else ()
    plan = replace(whole.plan, spent=spent, looks=looks, taken=taken)
    counts = dict.fromkeys((run.labels for run in plan.runs), looks[0])
    if declared and before is not None:
        for key in counts:
            of_cell = [r for r in before.runs if r.labels == key and r.seed not in spent]
            counts[key] = max(len(of_cell), looks[0])
    return replace(whole, plan=plan), counts


def restricted(matrix: Matrix, counts: Mapping[CellKey, int]) -> Matrix:
    """Keep the first seeds of each cell, beside those that are spent."""
    plan, spent = matrix.plan, set(matrix.plan.spent)
    left = dict(counts)
    kept: list[PlannedRun] = []
    for run in sorted(plan.runs, key=lambda run: run.seed):
        if run.seed in spent:
            kept.append(run)
        elif left[run.labels] > 0:
            left[run.labels] -= 1
            kept.append(run)
    ids = {run.id for run in kept}
    highest = max(run.seed for run in kept)
    runs = tuple(run for run in plan.runs if run.id in ids)
    named = fingerprint(plan.suite, runs, plan.skipped)
    return replace(
        matrix,
        plan=replace(plan, runs=runs, fingerprint=named, seeds=highest + 1),
        specs=tuple(spec for spec in matrix.specs if spec.id in ids),
        selected=frozenset(ids),
    )


def _recorded(folder: Path, matrix: Matrix, standings: Iterable[Standing], seeds: int) -> Matrix:
    """Write the look into the plan."""
    store = Store(folder)
    known = {tricks for look in matrix.plan.taken for tricks in look.settled}
    settled = {s.tricks: s.verdict for s in standings if s.settled and s.tricks not in known}
    look = Look(seeds, datetime.now(UTC).isoformat(timespec="seconds"), settled)
    taken = (*matrix.plan.taken, look)
    with store.hold():
        plan = begun_plan(folder)
        if plan is not None:
            store.write_plan(replace(plan, taken=taken))
    return replace(matrix, plan=replace(matrix.plan, taken=taken))


def _seconds(
    folder: Path, counts: Mapping[CellKey, int], more: Mapping[CellKey, int], options: RunOptions
) -> float:
    """Estimate how long the seeds of the next look take, by those that there are."""
    suite = read_suite(folder, skip_corrupt=True)
    spent: dict[CellKey, list[float]] = {}
    for run in suite.plan.runs:
        outcome = suite.runs[run.id].outcome if run.id in suite.runs else None
        if outcome is not None:
            took = (outcome.seconds or 0.0) + (outcome.evaluation_seconds or 0.0)
            spent.setdefault(run.labels, []).append(took)
    total = sum(
        (seeds - counts[key]) * sum(spent[key]) / len(spent[key])
        for key, seeds in more.items()
        if key in spent
    )
    return total / len(slots(choose_device(options.device), options.jobs))


def _table(standings: Iterable[Standing], seeds: int) -> Table:
    headings = ("trick", "verdict", "ratio", "seeds that would decide")
    table = Table(*headings, title=f"after {seeds} seeds", title_justify="left", box=None)
    for standing in standings:
        words = standing.verdict if standing.settled else f"open ({standing.verdict})"
        table.add_row(*map(Text, (standing.tricks, words, standing.ratio, standing.need)))
    return table


def _ending(standings: Iterable[Standing], most: int) -> str:
    left = sum(not standing.settled for standing in standings)
    if not left:
        return "nothing is open any more"
    return f"{counted(left, 'trick')} not decided within {most} seeds"
