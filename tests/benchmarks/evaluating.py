"""The share of a suite's time that its evaluations took, from the records of finished runs."""

from __future__ import annotations

from pathlib import Path

from harness.store.records import read_suite


def measure(folder: Path) -> dict[str, object]:
    """Return the seconds of training and of evaluation of a results folder, and the share."""
    suite = read_suite(folder)
    outcomes = [run.outcome for run in suite.runs.values() if run.outcome is not None]
    training = sum(outcome.get("seconds", 0.0) for outcome in outcomes)
    evaluation = sum(outcome.get("evaluation_seconds", 0.0) for outcome in outcomes)
    return {
        "benchmark": f"share of evaluation in {suite.plan.suite}",
        "training_seconds": training,
        "evaluation_seconds": evaluation,
        "share": evaluation / (training + evaluation),
    }
