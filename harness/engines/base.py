"""What an engine is given and what it owes: jobs placed, watched, and never left behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from harness.errors import ExitStatus

if TYPE_CHECKING:
    from harness.jobs.cohort import Cohort
    from harness.tracking.base import Mirror, TrackedRun


@dataclass(frozen=True)
class Assignment:
    """A cohort to train, with its runs as mirrors know them.

    Attributes:
        cohort: What to train.
        runs: The same runs, in the same order.
        file: The cohort file that a job reads.
    """

    cohort: Cohort
    runs: tuple[TrackedRun, ...]
    file: Path


@dataclass(frozen=True)
class JobOptions:
    """What every job of an invocation is told.

    Attributes:
        store: The results folder.
        data_root: Folder of data sets that are files; None where none is needed.
        plugins: Modules that a job imports first.
        checkpoint_seconds: Most work that a kill may cost.
        extractors: Networks in files, as ``--extractor`` takes them.
    """

    store: Path
    data_root: Path | None = None
    plugins: tuple[str, ...] = ()
    checkpoint_seconds: float = 30.0
    extractors: tuple[str, ...] = ()

    def arguments(self, file: Path, device: str) -> list[str]:
        """Return the command line of ``python -m harness.jobs`` for a cohort file."""
        arguments = [str(file), "--store", str(self.store), "--device", device]
        if self.data_root is not None:
            arguments += ["--data-root", str(self.data_root)]
        for plugin in self.plugins:
            arguments += ["--plugin", plugin]
        for extractor in self.extractors:
            arguments += ["--extractor", extractor]
        return [*arguments, "--checkpoint-seconds", str(self.checkpoint_seconds)]


class Engine(Protocol):
    """Places jobs and waits for them."""

    def run(
        self, assignments: Sequence[Assignment], options: JobOptions, mirror: Mirror
    ) -> ExitStatus:
        """Train everything; say how that ended."""
        ...
