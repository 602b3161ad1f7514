"""Measures speed and prints one table; ``python -m tests.benchmarks NAME …`` measures single rows.

Without names every row that has a target is measured, and the figures go to
``tests/benchmarks/results/DEVICE.json`` unless ``--json`` says where.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.benchmarks import (
    compiling,
    convolving,
    evaluating,
    overhead,
    repeating,
    reporting,
    starting,
    suite,
    training,
)
from tests.benchmarks.table import Row, default_file, machine, render, write

ROWS: dict[str, Callable[[], Row]] = {
    **{name: partial(training.measure, case) for name, case in training.CASES.items()},
    "suite": suite.measure,
    "overhead": overhead.measure,
    "again": starting.measure_again,
    "help": starting.measure_help,
    "first-step": starting.measure_first_step,
    "report": reporting.measure,
}
"""What has a target, in the order of the table."""

OTHERS: dict[str, Callable[[], dict[str, Any]]] = {
    "repeating": repeating.measure,
    "repeating-gpu": repeating.measure_on_gpu,
    "evaluating": evaluating.measure_stability,
    "convolving": convolving.measure,
    "compiling": compiling.measure,
}
"""What is measured by name only."""


BUSY = 0.5
"""Load of each core from which on others are said to disturb the figures."""


def main() -> None:
    """Measure, print, and write JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    entries = [*ROWS, *OTHERS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(entries)}")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in entries]
    if unknown:
        parser.error(f"unknown benchmark {unknown[0]!r}; choose of {', '.join(entries)}")
    described = machine()
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(
        f"{described['gpu'] or 'no GPU'}, {described['cpu']} × {described['cores']}, "
        f"torch {described['versions']['torch']}",
        highlight=False,
    )
    busy = os.getloadavg()[0]
    if busy > BUSY * described["cores"]:
        console.print(f"busy: load {busy:.1f} before anything was measured", highlight=False)
    rows = []
    for name in given.names or ROWS:
        if name in OTHERS:
            print(json.dumps(OTHERS[name](), indent=1))
            continue
        rows.append(ROWS[name]())
        if len(given.names or ROWS) > 1:
            console.print(f"{name}: {rows[-1].verdict}", style="dim", highlight=False)
    if rows:
        render(rows, console)
    file = given.json or (None if given.names else default_file(described))
    if file and rows:
        write(rows, file, busy)
        console.print(f"figures: {file}", highlight=False)


if __name__ == "__main__":
    main()
