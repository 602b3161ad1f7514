"""Reads the plan of a results folder, ``suite.json``: of the right shape, and consistent."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from harness.errors import StoreError
from harness.store.fields import Count
from harness.store.files import read_json
from harness.store.records import (
    PLAN_SCHEMA,
    PlannedCell,
    PlannedRun,
    Seed,
    SuitePlan,
    joined,
)

REMEDY = "running the suite rewrites it"


def plain_name(name: str) -> str:
    """Accept the name of a folder that lies where it is looked for.

    Raises:
        ValueError: if it is none.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}", name, re.ASCII):
        raise ValueError("is no plain name of a folder")
    return name


@dataclass(frozen=True)
class WrittenRun:
    """A run as the file has it, with the place of its cell among the cells."""

    id: Annotated[str, Field(pattern="^[0-9a-f]{1,64}$")]
    folder: Annotated[str, AfterValidator(plain_name)]
    cell: Count
    seed: Seed


@dataclass(frozen=True)
class WrittenPlan(SuitePlan):
    """A plan as the file has it.

    Raises:
        ValueError: if it contradicts itself.
    """

    runs: tuple[WrittenRun, ...]  # type: ignore[assignment]
    cells: tuple[PlannedCell, ...] = field(kw_only=True)

    def __post_init__(self) -> None:
        for what, values in (
            ("id of a run", [run.id for run in self.runs]),
            ("folder of a run", [run.folder for run in self.runs]),
            ("cell", [(c.dataset.label, c.variant.label, joined(c.tricks)) for c in self.cells]),
            ("spent seed", list(self.spent)),
        ):
            if len(set(values)) < len(values):
                twice = next(value for value, times in Counter(values).items() if times > 1)
                raise ValueError(f"a {what} is there twice: {twice!r}")
        if {run.cell for run in self.runs} != {*range(len(self.cells))}:
            raise ValueError("its runs are not of its cells")
        combinations = {joined(cell.tricks) for cell in self.cells}
        recipes = {(cell.variant.label, joined(cell.tricks)) for cell in self.cells}
        if self.baseline is not None and self.baseline not in recipes:
            raise ValueError(f"baseline: no run is of {' × '.join(self.baseline)}")
        for name in (name for pair in self.contrasts for name in pair):
            if name not in combinations:
                raise ValueError(f"contrasts: no run is of {name}")
        if list(self.looks) != sorted({*self.looks}):
            raise ValueError("looks: do not ascend")
        if tuple(look.seeds for look in self.taken) != self.looks[: len(self.taken)]:
            raise ValueError("taken: these looks were not declared")

    def plan(self) -> SuitePlan:
        """Give each run its cell."""
        runs = tuple(
            PlannedRun(run.id, run.folder, self.cells[run.cell], run.seed) for run in self.runs
        )
        told = {each.name: getattr(self, each.name) for each in fields(SuitePlan)}
        return SuitePlan(**{**told, "runs": runs})


def read_plan(path: Path) -> SuitePlan:
    """Read ``suite.json`` of a results folder.

    Raises:
        StoreError: if there is none, or another version wrote it.
        CorruptRecordError: if it is damaged.
    """
    older = "delete it and run the suite again, which trains no finished run anew"
    try:
        return read_json(
            path / "suite.json", WrittenPlan, REMEDY, schema=PLAN_SCHEMA, older=older
        ).plan()
    except FileNotFoundError:
        raise StoreError(
            f"{path} holds no results (no suite.json); `ganbench run SUITE --out {path}` makes them"
        ) from None
