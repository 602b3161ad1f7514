"""Holds a suite to what its results folder was begun with; the folder is only read."""

from __future__ import annotations

import json
from pathlib import Path

from harness.errors import GanbenchError
from harness.store.folders import begun_plan
from harness.store.records import PlannedRun, SuitePlan


def check_folder(root: Path, now: SuitePlan) -> SuitePlan | None:
    """Refuse a results folder that was begun with something else; return what it was begun with.

    Raises:
        GanbenchError: if it holds another suite, or another version's plan, or was begun with
            another margin or other contrasts.
    """
    before = begun_plan(root)
    if before is None:
        return None
    if before.suite != now.suite:
        raise GanbenchError(
            f"{root} holds results of suite {before.suite!r}, not {now.suite!r}; "
            "choose another folder with --out"
        )
    check_unchanged(root, before, now)
    return before


def check_looks(root: Path, now: SuitePlan) -> SuitePlan | None:
    """As :func:`check_folder`; refuse to go on otherwise with what goes on until it is decided."""
    before = check_folder(root, now)
    if before is not None and before.looks and not now.looks:
        raise GanbenchError(
            f"{root} holds a suite that goes on until it is decided, with looks at "
            f"{', '.join(map(str, before.looks))} seeds: go on with --until-decided, or choose "
            "another folder with --out"
        )
    return before


def check_unchanged(root: Path, before: SuitePlan, now: SuitePlan) -> None:
    """Refuse another margin or other contrasts once there are results to choose them by.

    Raises:
        GanbenchError: saying what the folder's plan has.
    """
    asked = [
        (name, was)
        for name, was, new in (
            ("margin", before.margin, now.margin),
            (
                "contrasts",
                [list(pair) for pair in before.contrasts],
                list(map(list, now.contrasts)),
            ),
        )
        if was != new
    ]
    if asked and any(results_version(root, run) is not None for run in before.runs):
        had = " and ".join(f"{name} {was or 'not given'}" for name, was in asked)
        raise GanbenchError(
            f"{root} was begun with {had}; margin and contrasts are declared before the "
            "first run: give the suite these again, or choose another folder with --out"
        )


def results_version(root: Path, run: PlannedRun) -> int | None:
    """Return the results version of a run that has begun, or None."""
    try:
        described = json.loads((root / "runs" / run.folder / "spec.json").read_bytes())
        return int(described.get("results_version", 0))
    except (OSError, ValueError, AttributeError, TypeError):
        return None
