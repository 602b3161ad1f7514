"""The Python face of ganbench: results as frames and figures, and its commands as functions.

    r = ganbench.load("results/stability")
    r.verdicts, r.runs, r.evaluations

Nothing is imported before it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reports.results import Results, load

__all__ = ["Results", "load"]

_HOMES = {"Results": "reports.results", "load": "reports.results"}
"""Where each name lives."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ganbench' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__]
