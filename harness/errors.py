"""Errors that a user can cause, each with what to do about it; what a command ends with."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class ExitStatus(IntEnum):
    """What a command, or a job, ends with."""

    DONE = 0
    """Everything has a result; a diverged run is one."""
    INCOMPLETE = 1
    """Some runs crashed, or are missing."""
    BAD_INPUT = 2
    PREEMPTED = 75
    """Asked to stop, and saved: the same command goes on."""
    INTERRUPTED = 130


class GanbenchError(Exception):
    """A fault of the input or of the surroundings; printed without a traceback."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with an input file.

    Attributes:
        message: What is wrong, and where it can be guessed, what was meant.
        path: Where in the document, such as ``tricks[2].d``; empty for the whole file.
        line: Line in the file, counted from 1; None where the input had no file.
    """

    message: str
    path: str = ""
    line: int | None = None


class SuiteError(GanbenchError):
    """Every problem of one suite, listed at once."""

    def __init__(self, source: str, problems: list[Problem]) -> None:
        self.source = source
        self.problems = problems
        lines = [f"{source}: {len(problems)} problem{'s' if len(problems) != 1 else ''}"]
        for problem in sorted(problems, key=lambda p: (p.line or 0, p.path)):
            where = f"{source}:{problem.line}" if problem.line else source
            path = f"{problem.path}: " if problem.path else ""
            lines.append(f"  {where}: {path}{problem.message}")
        super().__init__("\n".join(lines))


class MetricRequestError(GanbenchError):
    """A metric is asked for where it cannot be measured, or needs no asking."""


class UnknownNameError(GanbenchError):
    """A name that nothing is registered under."""


class PartError(GanbenchError):
    """A variant or trick that fails where it is asked to change a plan."""


class DataError(GanbenchError):
    """A data set or weights file that is absent, truncated or not what it should be."""


class AbsentDataError(DataError):
    """Files of a data set that are not where they belong."""


class DataWarning(UserWarning):
    """Something about a data set's files that whoever uses them should know."""


class CodeWarning(UserWarning):
    """Code that is not what trained a run, which whoever uses the run should know."""


class Incomplete(GanbenchError):
    """Called from Python: some runs crashed or are missing, or some checks failed.

    Attributes:
        results: What the call would have returned.
    """

    def __init__(self, message: str, results: Any) -> None:
        super().__init__(message)
        self.results = results


class Preempted(GanbenchError):
    """Called from Python: it was asked to stop, and saved; the same call goes on."""


class StoreError(GanbenchError):
    """A results folder that cannot be read or written."""


class ComparisonError(GanbenchError):
    """Two results folders that have nothing to compare."""


class CorruptRecordError(StoreError):
    """A record in the middle of an event log that is not what was written."""
