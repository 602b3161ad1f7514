"""How long a person waits: for ``--help``, and for a finished suite run again."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 5


def measure(suite: str, folder: Path) -> dict[str, object]:
    """Return median seconds of ``ganbench --help`` and of running a finished suite again."""
    program = [sys.executable, "-m", "harness.cli"]
    again = [*program, "run", suite, "--out", str(folder), "--wandb", "disabled"]
    return {
        "benchmark": "starting",
        "help_seconds": median_seconds([*program, "--help"]),
        "finished_suite_again_seconds": median_seconds(again),
    }


def median_seconds(command: list[str]) -> float:
    """Time a command as a whole process."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)
