"""Which seeds of a suite have been judged before, so that others added to them are judged alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.store.reading import read_suite
from harness.store.records import SEEDS_FOR_A_CLAIM, PlannedRun, SuitePlan


def spent_seeds(folder: Path, before: SuitePlan | None, runs: Iterable[PlannedRun]) -> set[int]:
    """List the seeds of some runs that an earlier plan of a folder has judged.

    They are those of that plan, if others come in now and its verdicts were there to be read: every
    run had ended, and there were seeds enough for a claim. What was spent before stays so, unless
    nothing else is left.

    Args:
        folder: The results folder.
        before: Its plan so far.
        runs: Those that are planned now.
    """
    planned = {run.id: run.seed for run in runs}
    seeds = set(planned.values())
    if before is None or not before.runs:
        return set()
    spent = set(before.spent) & seeds
    judged = {run.seed for run in before.runs if run.id in planned} | spent
    fresh = judged - spent
    if seeds - judged and len(fresh) >= SEEDS_FOR_A_CLAIM:
        records = read_suite(folder, skip_corrupt=True).runs
        if all(run.id in records and records[run.id].outcome for run in before.runs):
            spent = judged
    return spent if seeds - spent else set()
