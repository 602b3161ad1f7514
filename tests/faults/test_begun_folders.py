"""Every command that would go into a results folder holds to what the folder was begun with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.commands.expansion import expanded
from harness.commands.options import RunOptions
from harness.commands.preview import preview
from harness.commands.run import run_suite
from harness.commands.tune import TuneOptions, preview_tuning, tune_suite
from harness.errors import GanbenchError
from harness.store.folders import Store
from harness.suite.matrix import Matrix

SUITE = """
suite: begun
summary: Whose folder is it?
seeds: 1
datasets: [ring8]
variants: [gan, wgan]
tricks: [none]
settings: {steps: 8, batch: 8, width: 8, latent: 4, evaluation_samples: 64, evaluate_every: 2}
"""
OPTIONS = TuneOptions(2, ("lr_g=1e-4..1e-3:log",))
COMMANDS: dict[str, Callable[[Matrix, RunOptions], object]] = {
    "run": run_suite,
    "run --dry-run": preview,
    "tune": lambda matrix, options: tune_suite(matrix, options, OPTIONS),
    "tune --dry-run": lambda matrix, options: preview_tuning(matrix, options, OPTIONS),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"schema": 3}, "newer ganbench"),
        ({"schema": 1}, "older ganbench"),
        ({"suite": "another"}, "holds results of suite 'another', not 'begun'"),
    ],
)
def test_a_folder_of_something_else_is_refused_before_anything_trains(
    command: str, change: dict[str, object], why: str, tmp_path: Path
) -> None:
    (tmp_path / "begun.yaml").write_text(SUITE)
    options = RunOptions(str(tmp_path / "begun.yaml"), tmp_path / "out", device="cpu")
    matrix = expanded(options)
    Store(tmp_path / "out").write_plan(matrix.plan)
    file = tmp_path / "out" / "suite.json"
    text = json.dumps(json.loads(file.read_bytes()) | change)
    file.write_text(text)
    with pytest.raises(GanbenchError, match=why):
        COMMANDS[command](matrix, options)
    assert file.read_text() == text
    assert not list((tmp_path / "out" / "runs").iterdir())
    assert not (tmp_path / "out" / "tuning").exists()


@pytest.mark.parametrize("command", ["tune", "tune --dry-run"])
def test_what_another_version_has_tuned_is_refused(command: str, tmp_path: Path) -> None:
    (tmp_path / "begun.yaml").write_text(SUITE)
    options = RunOptions(str(tmp_path / "begun.yaml"), tmp_path / "out", device="cpu")
    (tmp_path / "out" / "tuning").mkdir(parents=True)
    (tmp_path / "out" / "tuning" / "suite.json").write_text('{"schema": 99}')
    with pytest.raises(GanbenchError, match=r"tuning/suite\.json was written by a newer ganbench"):
        COMMANDS[command](expanded(options), options)
