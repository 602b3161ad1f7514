"""A cohort, and the file from which a job reads it with all that it is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from harness.errors import StoreError
from harness.spec import RunSpec, content_id
from harness.store.code import PartCode
from harness.store.folders import write_json

SCHEMA = 3


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
        data_root: Folder of data sets that are files; None where none is needed.
        plugins: Modules that a job imports first.
        extractors: Networks in files, each ``NAME@SHA256=FILE``.
        checkpoint_seconds: At most so much work is lost to a kill.
        patience: Seconds to wait for a run whose last process is still saving it.
        code: Of all foreign parts, as the command has found it.
    """

    data_root: Path | None = None
    plugins: tuple[str, ...] = ()
    extractors: tuple[str, ...] = ()
    checkpoint_seconds: float = 30.0
    patience: float = 30.0
    code: tuple[PartCode, ...] = ()


@dataclass(frozen=True)
class JobRequest:
    """All that a job is told: a file of it and a device are its only arguments.

    Attributes:
        store: The results folder.
        options: What every job of the command is told.
        specs: The runs of its cohort.
    """

    store: Path
    options: JobOptions
    specs: tuple[RunSpec, ...]

    def write(self, file: Path) -> None:
        """Write the file of a job."""
        write_json(file, {"schema": SCHEMA, **REQUEST.dump_python(self, mode="json")})

    @classmethod
    def read(cls, file: Path) -> JobRequest:
        """Read the file of a job.

        Raises:
            StoreError: if it is none.
        """
        try:
            return REQUEST.validate_json(file.read_bytes())
        except (OSError, ValueError) as error:
            raise StoreError(f"{file} is not a job's file: {error}") from error


REQUEST = TypeAdapter(JobRequest)
