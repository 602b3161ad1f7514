"""What the harness's whole loop costs beyond the training step itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import torch

from harness.jobs.training_loop import Failed, Run, TrainingLoop
from harness.store.log import EventLog
from harness.training.trainer import Trainer
from tests.benchmarks.racing import race
from tests.benchmarks.table import Row
from tests.benchmarks.training import CASES, EXAMPLES, Case, as_jobs_do, examples_of

ROUNDS = 61
"""Short ones: what disturbs the machine then seldom falls between the two that are compared."""
SECONDS = 0.0
BLOCK = 10
"""Steps for which the loop is entered and left once."""
TARGET = 3.0
"""Per cent."""


class QuietLoop(TrainingLoop):
    """A training loop in which nothing is measured, logged or saved."""

    def _evaluate(self) -> list[Failed]:
        return []

    def _probe(self) -> list[Failed]:
        return []

    def _log(self) -> list[Failed]:
        return []

    def _save(self) -> None:
        pass

    def _finish(self, run: Run) -> None:
        pass


def loop_over(trainer: Trainer, log: EventLog) -> Callable[[], object]:
    """Return what sends a trainer through the whole loop, for as many steps as its specs say."""
    silent: Any = SimpleNamespace(metrics=[SimpleNamespace(primary=True, name="none")])
    runs = [Run(spec, log.path.parent, log, []) for spec in trainer.specs]
    nothing: Any = None
    loop = QuietLoop(
        runs, trainer, silent, nothing, None, [], trainer.device, None, 1e9, lambda: False
    )

    def follow() -> int:
        trainer.step = 0
        return loop.run()

    return follow


def measure(
    case: Case | None = None,
    *,
    device: str | None = None,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
    examples: int = EXAMPLES,
) -> Row:
    """Return by how many per cent the loop is slower than its steps; both are of one trainer."""
    gpu = torch.cuda.is_available() if device is None else device == "cuda"
    where = torch.device("cuda" if gpu else "cpu")
    case = case or CASES["dcgan-16" if gpu else "mlp"]
    case = replace(case, settings={**case.settings, "steps": BLOCK, "log_every": BLOCK})
    with as_jobs_do(), TemporaryDirectory() as folder:
        trainer = case.trainer(examples_of(case.dataset, examples), where)
        with EventLog(Path(folder) / "events.jsonl") as log:

            def bare() -> None:
                for _ in range(BLOCK):
                    trainer.train_step()

            whole = loop_over(trainer, log)
            # All that the loop adds is work of this process, and on a CPU so is the step: there
            # the process's own time is less noisy than the clock on the wall.
            clock = time.perf_counter if gpu else time.process_time
            ways = {"whole loop": whole, "bare step": bare}
            found = race(ways, rounds, where, seconds, clock)
    pairs = zip(found["whole loop"], found["bare step"], strict=True)
    return Row(
        f"harness overhead, {case.name.rpartition(',')[0]}, {'GPU' if gpu else 'CPU'}",
        TARGET,
        "%",
        [100 * (loop / step - 1) for loop, step in pairs],
        figures={"seconds_per_block": found, "steps_per_block": BLOCK},
    )
