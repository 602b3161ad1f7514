"""The share of a suite's time that its evaluations took, from the records of finished runs."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from harness.store.reading import read_suite


def measure(folder: Path) -> dict[str, object]:
    """Return the seconds of training and of evaluation of a results folder, and the share."""
    suite = read_suite(folder)
    found = share(folder, None)
    data = {run.dataset for run in suite.plan.runs}
    return {
        "benchmark": f"share of evaluation in {suite.plan.suite}",
        **found,
        "shares": {dataset: share(folder, dataset)["share"] for dataset in sorted(data)},
    }


def share(folder: Path, dataset: str | None) -> dict[str, float]:
    """Add up the seconds of the runs of a data set, or of all."""
    suite = read_suite(folder)
    outcomes = [
        suite.runs[run.id].outcome
        for run in suite.plan.runs
        if run.id in suite.runs and dataset in (None, run.dataset)
    ]
    training = sum(end.seconds or 0.0 for end in outcomes if end)
    evaluation = sum(end.evaluation_seconds or 0.0 for end in outcomes if end)
    return {
        "training_seconds": training,
        "evaluation_seconds": evaluation,
        "share": evaluation / (training + evaluation),
    }


def measure_stability() -> dict[str, object]:
    """Return the share in a short form of `stability`: all its variants, no tricks, one seed."""
    with tempfile.TemporaryDirectory() as folder:
        program = [sys.executable, "-m", "harness.cli", "run", "stability", "--out", folder]
        chosen = ["--only", "trick=none", "--seeds", "1", "--device", "cpu"]
        subprocess.run([*program, *chosen, "--wandb", "disabled"], check=True, capture_output=True)
        return measure(Path(folder))
