"""What an engine is given and what it owes: jobs placed, watched, and never left behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.errors import ExitStatus
from harness.tracking.base import Mirror, TrackedRun


@dataclass(frozen=True)
class Assignment:
    """A cohort to train, with its runs as mirrors know them.

    Attributes:
        cohort: Its name.
        runs: Its runs.
        file: What a job reads: the cohort, and all that it is told.
    """

    cohort: str
    runs: tuple[TrackedRun, ...]
    file: Path


class Engine(Protocol):
    """Places jobs and waits for them."""

    def run(self, assignments: Sequence[Assignment], mirror: Mirror) -> ExitStatus:
        """Train everything; say how that ended."""
