"""How long a person waits: for ``--help``, for the first step, for a finished suite run again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

from harness.store.events import LossRow
from harness.store.folders import Store
from harness.store.log import read_events
from harness.suite.load import load_suite
from harness.suite.matrix import Matrix, expand
from tests.benchmarks.table import Row
from tests.stores import Where, plausible, write_run

ROUNDS = 5
SUITE = """\
suite: finished
summary: How long does it take to find that everything is done?
seeds: {seeds}
datasets: [ring8]
variants: [gan, lsgan]
tricks: [none, label-smoothing, feature-matching, dropout-g, instance-noise]
settings: {{steps: 400}}
"""
CELLS = 10
PROGRAM = [sys.executable, "-m", "harness.cli"]


def timed(command: list[str]) -> float:
    """Time a command as a whole process."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def measure_help(rounds: int = ROUNDS) -> Row:
    """Return the seconds of ``ganbench --help``."""
    values = [timed([*PROGRAM, "--help"]) for _ in range(rounds)]
    return Row("ganbench --help", 0.5, "s", values)


def finished_suite(folder: Path, runs: int) -> Path:
    """Write a suite of ten cells and a results folder in which all of its runs are finished.

    Args:
        folder: Gets ``finished.yaml`` and the results folder ``finished``.
        runs: A multiple of ten.

    Returns:
        The suite's file.
    """
    file = folder / "finished.yaml"
    file.write_text(SUITE.format(seeds=runs // CELLS), encoding="utf-8")
    matrix: Matrix = expand(load_suite(str(file)))
    if len(matrix.specs) != runs:
        raise ValueError(f"the suite has {len(matrix.specs)} runs, not {runs}")
    store = Store(folder / "finished")
    for spec, run in zip(matrix.specs, matrix.plan.runs, strict=True):
        fate = plausible(Where(run.dataset, run.variant, run.tricks, run.seed))
        write_run(store, spec, fate, images=False, noise=zlib.crc32(spec.id.encode()))
    return file


def measure_again(rounds: int = ROUNDS, runs: int = 1000) -> Row:
    """Return the seconds of running a finished suite again, its report written before."""
    with tempfile.TemporaryDirectory() as folder:
        file = finished_suite(Path(folder), runs)
        command = [*PROGRAM, "run", str(file), "--out", f"{folder}/finished"]
        command += ["--wandb", "disabled", "--device", "cpu"]
        first = timed(command)  # writes the report
        values = [timed(command) for _ in range(rounds)]
    return Row(
        f"finished suite of {runs:,} runs, again", 2, "s", values, figures={"with_report": first}
    )


def first_step(suite: str, folder: Path, device: str, poll: float = 0.02) -> float:
    """Start a suite, and stop it as soon as a run has recorded losses.

    Returns:
        Seconds from the command to the first record of losses: a fortieth of the training, not
        one step, so that the first step was made before.

    Raises:
        RuntimeError: if it ends without any.
    """
    command = [*PROGRAM, "run", suite, "--out", str(folder), "--wandb", "disabled"]
    start = time.perf_counter()
    with subprocess.Popen(
        [*command, "--device", device], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        try:
            while process.poll() is None:
                for log in folder.glob("runs/*/events.jsonl"):
                    if any(isinstance(event, LossRow) for event in read_events(log)):
                        return time.perf_counter() - start
                time.sleep(poll)
            assert process.stderr is not None
            raise RuntimeError(f"{suite} ended without a step: {process.stderr.read().decode()}")
        finally:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGTERM)


def measure_first_step(rounds: int = ROUNDS, suite: str = "smoke", device: str = "auto") -> Row:
    """Return the seconds from the command to the first losses."""
    values = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            values.append(first_step(suite, Path(folder), device))
    return Row(f"command to first losses, {suite}", 5, "s", values)
