"""What benchmarks found: rows with a target, as a table and as JSON."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.table import Table

from harness.planning.machine import processor
from harness.version import RESULTS_VERSION, VERSION

Unit = Literal["×", "%", "s"]
RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "torchvision", "numpy")
NO_GPU = "no GPU"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        benchmark: What is measured.
        target: What its median shall reach: at least where it is a ratio, at most where it is
            per cent or seconds.
        unit: Of the target and the values.
        values: One per round.
        skipped: Why there are no values.
        floor: Share of the time that the device needs at the least, of the time that it took.
        figures: Whatever else was measured, for the JSON.
    """

    benchmark: str
    target: float
    unit: Unit
    values: Sequence[float] = ()
    skipped: str = ""
    floor: float | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """The median round."""
        return statistics.median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """The quartiles of the rounds."""
        if len(self.values) == 1:
            return self.values[0], self.values[0]
        lower, _, upper = statistics.quantiles(self.values, n=4, method="inclusive")
        return lower, upper

    @property
    def verdict(self) -> str:
        """``pass``, ``falls short``, or why it was skipped."""
        if self.skipped:
            return f"skipped ({self.skipped})"
        enough = self.median >= self.target if self.unit == "×" else self.median <= self.target
        return "pass" if enough else "falls short"

    def as_json(self) -> dict[str, Any]:
        """Return everything, by name."""
        found: dict[str, Any] = {
            "benchmark": self.benchmark,
            "target": self.target,
            "unit": self.unit,
            "verdict": self.verdict,
        }
        if self.values:
            found |= {"median": self.median, "quartiles": list(self.spread)}
            found["values"] = list(self.values)
        if self.floor is not None:
            found["share_of_floor"] = self.floor
        return {**found, **self.figures}


def number(value: float, unit: Unit) -> str:
    """Write a value with its unit, three digits of it."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}{'×' if unit == '×' else f' {unit}'}"


def render(rows: Sequence[Row], console: Console) -> None:
    """Print the table."""
    table = Table(box=None, pad_edge=False)
    for heading in ("benchmark", "median", "middle half", "target", "of floor", "verdict"):
        right = heading not in ("benchmark", "verdict")
        table.add_column(heading, justify="right" if right else "left")
    for row in rows:
        bound = "≥" if row.unit == "×" else "≤"
        measured = ("–", "–")
        if row.values:
            spread = " – ".join(number(value, row.unit) for value in row.spread)
            measured = number(row.median, row.unit), spread
        share = "" if row.floor is None else f"{row.floor:.0%}"
        table.add_row(
            row.benchmark, *measured, f"{bound} {row.target:g} {row.unit}", share, row.verdict
        )
    console.print(table)


def machine() -> dict[str, Any]:
    """Describe what was measured on: devices and versions, nothing that changes by itself."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "gpu": gpu,
        "cpu": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "ganbench": VERSION,
        "results_version": RESULTS_VERSION,
        "cuda": torch.version.cuda if gpu else None,
        "versions": {name: version(name) for name in PACKAGES},
    }


def default_file(described: Mapping[str, Any]) -> Path:
    """Name the file of a machine's results: by its GPU, or by its CPU and how many cores."""
    name = described["gpu"] or f"{described['cpu']} {described['cores']} cores"
    return RESULTS / f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.json"


def write(rows: Sequence[Row], file: Path, load: float) -> None:
    """Write machine, its load before the first row, and rows as JSON."""
    value = {"machine": machine(), "load_before": load, "rows": [row.as_json() for row in rows]}
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    file.write_text(text, encoding="utf-8")
