"""A cohort, and the file from which a job reads it with all that it is told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from harness.errors import StoreError
from harness.spec import RunSpec, content_id
from harness.store.code import PartCode
from harness.store.folders import write_json

SCHEMA = 2


@dataclass(frozen=True)
class Cohort:
    """Runs that differ only in seed and scalars, and train as one computation."""

    specs: tuple[RunSpec, ...]

    @property
    def name(self) -> str:
        """A hash of the runs' ids."""
        return content_id([spec.id for spec in self.specs])


@dataclass(frozen=True)
class JobOptions:
    """What every job of an invocation is told.

    Attributes:
        store: The results folder.
        data_root: Folder of data sets that are files; None where none is needed.
        plugins: Modules that a job imports first.
        extractors: Networks in files, each ``NAME@SHA256=FILE``.
        checkpoint_seconds: At most so much work is lost to a kill.
        patience: Seconds to wait for a run whose last process is still saving it.
        code: Of all foreign parts, as the command has found it.
    """

    store: Path
    data_root: Path | None = None
    plugins: tuple[str, ...] = ()
    extractors: tuple[str, ...] = ()
    checkpoint_seconds: float = 30.0
    patience: float = 30.0
    code: tuple[PartCode, ...] = ()


def write_job(file: Path, specs: Sequence[RunSpec], options: JobOptions) -> None:
    """Write the file of a job."""
    told = TypeAdapter(JobOptions).dump_python(options, mode="json")
    described = [spec.model_dump(mode="json") for spec in specs]
    write_json(file, {"schema": SCHEMA, "options": told, "specs": described})


def read_job(file: Path) -> tuple[list[RunSpec], JobOptions]:
    """Read the runs of a job, and what it is told.

    Raises:
        StoreError: if it is no such file.
    """
    try:
        data = json.loads(file.read_bytes())
        options = TypeAdapter(JobOptions).validate_python(data["options"])
        return [RunSpec.model_validate(spec) for spec in data["specs"]], options
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{file} is not a job's file: {error}") from error
