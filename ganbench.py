"""The Python face of ganbench: results as frames and figures, and its commands as functions.

    r = ganbench.load("results/stability")
    r.verdicts, r.runs, r.evaluations

Nothing is imported before it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.calls import check, report, run, tune
    from harness.errors import GanbenchError, Incomplete, Preempted, StoreError, SuiteError
    from reports.results import Results, load

__all__ = [
    "GanbenchError",
    "Incomplete",
    "Preempted",
    "Results",
    "StoreError",
    "SuiteError",
    "check",
    "load",
    "report",
    "run",
    "tune",
]

_HOMES = {
    **dict.fromkeys(("check", "report", "run", "tune"), "harness.calls"),
    **dict.fromkeys(("Results", "load"), "reports.results"),
    **dict.fromkeys(
        ("GanbenchError", "Incomplete", "Preempted", "StoreError", "SuiteError"), "harness.errors"
    ),
}
"""Where each name lives."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ganbench' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__]
