"""Runs every benchmark and prints what it found; ``--json FILE`` keeps it."""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from tests.benchmarks import evaluating, repeating, reporting, stacking, starting


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--suite", default="smoke", help="suite that is run and then run again")
    given = parser.parse_args()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    print(f"{platform.machine()}, torch {torch.__version__}, {gpu}")
    found = []
    for benchmark in (
        stacking.measure,
        repeating.measure,
        repeating.measure_on_gpu,
        evaluating.measure_stability,
        reporting.measure,
    ):
        found.append(benchmark())
        print(json.dumps(found[-1], indent=1))
    with tempfile.TemporaryDirectory() as folder:
        program = [sys.executable, "-m", "harness.cli", "run", given.suite, "--out", folder]
        subprocess.run([*program, "--wandb", "disabled"], check=True, capture_output=True)
        for measured in (
            evaluating.measure(Path(folder)),
            starting.measure(given.suite, Path(folder)),
        ):
            print(json.dumps(measured, indent=1))
            found.append(measured)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
