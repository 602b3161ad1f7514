"""A cohort, and the file from which a job reads it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import StoreError
from harness.spec import RunSpec, content_id
from harness.store.folders import write_json


@dataclass(frozen=True)
class Cohort:
    """Runs that differ only in seed and scalars, and train as one computation."""

    specs: tuple[RunSpec, ...]

    @property
    def name(self) -> str:
        """A hash of the runs' ids."""
        return content_id([spec.id for spec in self.specs])


def read_cohort(path: Path) -> list[RunSpec]:
    """Read the specs of a cohort file.

    Raises:
        StoreError: if it is not one.
    """
    try:
        data = json.loads(path.read_bytes())
        return [RunSpec.model_validate(spec) for spec in data["specs"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is not a cohort file: {error}") from error


def write_cohort(path: Path, specs: Sequence[RunSpec]) -> None:
    """Write a cohort file."""
    write_json(path, {"schema": 1, "specs": [spec.model_dump(mode="json") for spec in specs]})
