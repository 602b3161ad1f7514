"""The preview of a suite: it counts what is left to train, from the checkpoints that runs have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from harness.cli import app
from harness.commands.expansion import expanded
from harness.commands.options import RunOptions
from harness.errors import ExitStatus
from harness.jobs.cohort import JobOptions
from harness.jobs.job import Job
from harness.store.folders import Store
from harness.training.trainer import Trainer

SUITE = """
suite: halves
summary: How far is it?
seeds: 2
datasets: [ring8]
variants: [gan, lsgan]
tricks: [none]
settings: {steps: 40, batch: 8, width: 8, latent: 4, evaluation_samples: 64, evaluate_every: 10}
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    file = tmp_path / "halves.yaml"
    file.write_text(SUITE)
    return file


def preview(suite: Path) -> str:
    out = suite.parent / "out"
    shown = CliRunner().invoke(
        app, ["run", str(suite), "--dry-run", "--device", "cpu", "--out", str(out)]
    )
    assert shown.exit_code == 0, shown.output
    return " ".join(shown.output.split())


def run_steps(told: str) -> int:
    (steps,) = re.findall(r"cost: ([\d,]+) run-steps", told)
    return int(steps.replace(",", ""))


def train(suite: Path, variant: str, monkeypatch: pytest.MonkeyPatch, stop: int | None) -> int:
    """Train one variant's runs together, to the end or until they are asked to stop at a step."""
    matrix = expanded(RunOptions(str(suite), suite.parent / "out"))
    specs = [spec for spec in matrix.specs if spec.variant.id == variant]
    job = Job(Store(suite.parent / "out"), torch.device("cpu"), JobOptions(checkpoint_seconds=0))
    inner = Trainer.train_step

    def stopping(self: Trainer) -> None:
        inner(self)
        if self.step == stop:
            job.terminate()

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", stopping)
        return job.train(specs)


def test_nothing_is_trained_yet(suite: Path) -> None:
    told = preview(suite)
    assert run_steps(told) == 4 * 40 and "checkpoint" not in told
    assert not (suite.parent / "out").exists()


@pytest.mark.parametrize("stop", [10, 17, 30])
def test_what_interrupted_runs_have_done_is_not_counted_again(
    stop: int, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(suite, "gan", monkeypatch, stop) == ExitStatus.PREEMPTED
    told = preview(suite)
    assert run_steps(told) == 2 * 40 + 2 * (40 - stop)
    assert "0 of them done, 2 to go on from a checkpoint" in told


def test_a_run_without_its_checkpoint_begins_again(
    suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(suite, "gan", monkeypatch, 17)
    one, *_ = (suite.parent / "out" / "runs").glob("*/checkpoints")
    for file in one.iterdir():
        file.unlink()
    # Its companion cannot go on alone: a cohort resumes from what all of its runs have.
    assert run_steps(preview(suite)) == 4 * 40


def test_only_the_steps_that_are_left_are_estimated(
    suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(suite, "gan", monkeypatch, None)
    train(suite, "lsgan", monkeypatch, 30)
    monkeypatch.setattr("harness.commands.preview.measure_rate", lambda: 1e3)
    monkeypatch.setattr("harness.commands.preview.duration", lambda seconds: f"<{seconds}>")

    def estimate() -> float:
        (seconds,) = re.findall(r"about <([\d.e+-]+)>", preview(suite))
        return float(seconds)

    quarter = estimate()
    for file in (suite.parent / "out" / "runs").glob("*lsgan*/checkpoints/*"):
        file.unlink()
    assert quarter == pytest.approx(estimate() / 4)
    train(suite, "lsgan", monkeypatch, None)
    told = preview(suite)
    assert run_steps(told) == 0 and "4 of them done; to train: 0 cohorts" in told
