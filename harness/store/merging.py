"""Reads several results folders of one suite as one: its runs may be trained on many machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.store.events import EvaluationRow, last_step
from harness.store.reading import ReportedRun, SuiteRecord, read_suite
from harness.store.records import SuitePlan

REMEDY = (
    "Give all machines the same suite, profile and --seeds, and divide the work by --only, which "
    "leaves the plan as it is"
)


def read_suites(paths: Sequence[Path], *, skip_corrupt: bool = False) -> SuiteRecord:
    """Read results folders of the same plan as one suite.

    The first folder's plan stands for all; only where its file lay, and which options made it, may
    differ. A run that is in several folders is taken from where it is finished, or has come
    furthest; two finished ones must have measured the same.

    Args:
        paths: The folders, such as copies from several machines.
        skip_corrupt: List damaged runs instead of raising; a whole copy elsewhere is taken.

    Raises:
        StoreError: if one holds no results, their plans differ, or a run has two results.
        CorruptRecordError: naming file and line of a damaged record.
    """
    distinct = list({path.resolve(): path for path in paths}.values())
    suites = [read_suite(path, skip_corrupt=skip_corrupt) for path in distinct]
    first, *others = suites
    if not others:
        return first
    for other in others:
        check_same_plan(first, other)
    runs: dict[str, ReportedRun] = {}
    corrupt: dict[str, str] = {}
    for planned in first.plan.runs:
        copies = [suite.runs[planned.id] for suite in suites if planned.id in suite.runs]
        damaged = [suite.corrupt[planned.id] for suite in suites if planned.id in suite.corrupt]
        if copies:
            runs[planned.id] = choose(copies)
        elif damaged:
            corrupt[planned.id] = damaged[0]
    names = distinguished(distinct)
    stale = [f"{name}/{run}" for name, s in zip(names, suites, strict=True) for run in s.stale]
    return SuiteRecord(
        first.path, first.plan, runs, corrupt, stale, dict(zip(names, distinct, strict=True))
    )


def check_same_plan(first: SuiteRecord, other: SuiteRecord) -> None:
    """Refuse folders that plan different runs, or call the same ones differently.

    Raises:
        StoreError: naming both folders, and what differs.
    """
    mine, theirs = first.plan, other.plan
    if mine.fingerprint == theirs.fingerprint and alike(mine) == alike(theirs):
        return
    mismatches = differences(mine, theirs)
    raise StoreError(
        f"{first.path} and {other.path} are not of one plan: {'; '.join(mismatches)}. {REMEDY}"
    )


def alike(plan: SuitePlan) -> tuple[Any, ...]:
    """Return what plans of one report share."""
    asked = plan.baseline, plan.margin, plan.contrasts
    return plan.suite, frozenset(plan.runs), frozenset(plan.skipped), asked


def differences(mine: SuitePlan, theirs: SuitePlan) -> list[str]:
    """Say in what two plans differ."""
    if mine.suite != theirs.suite:
        return [f"suites {mine.suite!r} and {theirs.suite!r}"]
    pairs = [
        ("fingerprint", mine.fingerprint, theirs.fingerprint),
        ("profile", mine.profile or "none", theirs.profile or "none"),
        ("--seeds", mine.seeds or "none", theirs.seeds or "none"),
        ("runs", len(mine.runs), len(theirs.runs)),
        ("skipped cells", len(mine.skipped), len(theirs.skipped)),
        ("baseline", mine.baseline, theirs.baseline),
        ("margin", mine.margin or "none", theirs.margin or "none"),
        ("contrasts", mine.contrasts, theirs.contrasts),
    ]
    mismatches = [f"{name} {one} and {other}" for name, one, other in pairs if one != other]
    ours, others = {run.id for run in mine.runs}, {run.id for run in theirs.runs}
    if ours != others:
        mismatches.append(
            f"{len(ours & others)} runs are the same, of the others settings, data or versions are "
            "not"
        )
    elif set(mine.runs) != set(theirs.runs):
        mismatches.append("the same runs have other labels")
    return mismatches


def choose(copies: Sequence[ReportedRun]) -> ReportedRun:
    """Return the copy of a run that is finished, or else the one that has come furthest.

    Raises:
        StoreError: naming both, if two are finished and did not measure the same.
    """
    finished = [copy for copy in copies if copy.is_final]
    for other in finished[1:]:
        if result_of(other) != result_of(finished[0]):
            raise StoreError(
                f"{finished[0].path} and {other.path} are different results of one run; delete or "
                "move away the one that shall not count"
            )
    return max(finished[:1] or copies, key=lambda copy: last_step(copy.events))


def result_of(run: ReportedRun) -> str:
    """Write what a run has measured and how it ended, without what took how long where."""
    end = run.outcome
    ended = end and (end.outcome, end.step, end.onset)
    measured = [replace(evaluation, seconds=None) for evaluation in run.of_type(EvaluationRow)]
    # As text, for not even NaN equals NaN otherwise.
    return repr((ended, measured))


def distinguished(paths: Sequence[Path]) -> list[str]:
    """Name folders by as few of their last parts as tell them apart."""
    parts = [path.resolve().parts for path in paths]
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(own[-count:]) for own in parts]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]
