"""What a worker process does: one cohort, from its specs to its outcomes.

``python -m harness.job COHORT.json --store DIR`` is the same entry for every engine. Exit status:
0 all runs have a result, 1 some crashed, 75 preempted (run the same command again).
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType

import torch

from harness.datasets.base import Dataset, datasets
from harness.environment import environment
from harness.errors import GanbenchError, StoreError
from harness.metrics.evaluation import Evaluator
from harness.outcomes import judge, warning_signs
from harness.registry import load_plugin
from harness.samples import save_samples
from harness.spec import RunSpec
from harness.store.events import EventLog
from harness.store.folders import Store, hold, write_json
from harness.store.records import read_run
from harness.training.checkpoint import Checkpoint, find_checkpoints, save_checkpoint
from harness.training.monitor import Divergence
from harness.training.trainer import Trainer

PREEMPTED = 75
CRASHED = 1
CHECKPOINT_SECONDS = 30.0


@dataclass
class Run:
    """One run of the cohort, with where it is recorded."""

    spec: RunSpec
    path: Path
    log: EventLog
    checkpoints: list[Checkpoint]
    seconds: float = 0.0
    evaluation_seconds: float = 0.0


@dataclass
class Job:
    """The training of one cohort, recorded.

    Attributes:
        store: Where the runs are kept.
        device: Where to compute.
        data_root: Folder of data sets that are not synthesised; None where none is needed.
        checkpoint_seconds: At most so much work is lost to a kill.
    """

    store: Store
    device: torch.device
    data_root: Path | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    terminated: bool = field(default=False, init=False)

    def terminate(self, number: int = 0, frame: FrameType | None = None) -> None:
        """Ask the training to stop after the step it is in; usable as a signal handler."""
        self.terminated = True

    def train(self, specs: Sequence[RunSpec]) -> int:
        """Train all runs that have no result yet; return the exit status.

        Raises:
            StoreError: if another live process trains one of them.
        """
        with ExitStack() as stack:
            runs = []
            for spec in specs:
                path = self.store.create(spec)
                stack.enter_context(hold(path))
                if not read_run(path).is_final:
                    log = stack.enter_context(EventLog(path / "events.jsonl"))
                    found = find_checkpoints(path / "checkpoints", spec.id)
                    runs.append(Run(spec, path, log, found))
            if not runs:
                return 0
            try:
                return self._train(runs)
            except Exception:  # noqa: BLE001 - whatever stopped it is recorded, then reported
                traceback.print_exc()
                for run in runs:
                    self._crashed(run, traceback.format_exc(limit=-3))
                return CRASHED

    def _crashed(self, run: Run, reason: str) -> None:
        try:
            record = read_run(run.path)
            if not record.is_final:
                steps = [e["step"] for e in record.events if "step" in e]
                run.log.append(
                    {
                        "type": "outcome",
                        "outcome": "crashed",
                        "step": max(steps, default=0),
                        "reason": reason.strip(),
                    },
                    durable=True,
                )
        except (OSError, GanbenchError) as error:
            print(f"{run.path}: could not record the crash: {error}", file=sys.stderr)

    def _train(self, runs: list[Run]) -> int:
        spec = runs[0].spec
        settings = spec.settings
        dataset = datasets.get(spec.dataset.id).model_validate(spec.dataset.options)
        evaluator = Evaluator(
            dataset,
            extractor=settings.extractor,
            samples=settings.evaluation_samples,
            reference=settings.reference,
            root=self.data_root,
            device=self.device,
        )
        training = dataset.load("train", self.data_root)
        trainer = Trainer([run.spec for run in runs], training.values, self.device)
        self._resume(runs, trainer)
        self._announce(runs, trainer, evaluator)
        course = Course(self, runs, trainer, evaluator, dataset)
        return course.follow()

    def _resume(self, runs: list[Run], trainer: Trainer) -> None:
        """Load the newest checkpoint that all runs share; without one, start over."""
        shared = set.intersection(*({c.step for c in run.checkpoints} for run in runs))
        if not shared:
            return
        step = max(shared)
        for position, run in enumerate(runs):
            checkpoint = next(c for c in run.checkpoints if c.step == step)
            trainer.load(position, checkpoint.tensors(), checkpoint.counters)
            run.seconds = checkpoint.seconds
            run.evaluation_seconds = checkpoint.evaluation_seconds

    def _announce(self, runs: list[Run], trainer: Trainer, evaluator: Evaluator) -> None:
        for run in runs:
            number = len(read_run(run.path).attempts) + 1
            write_json(run.path / f"environment-{number:03d}.json", environment(self.device))
            run.log.append(
                {
                    "type": "attempt",
                    "attempt": number,
                    "resumed_from": trainer.step,
                    "cohort": [other.spec.id for other in runs],
                    "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                },
                durable=True,
            )
            run.log.append(
                {
                    "type": "protocol",
                    "metrics": [asdict(metric) for metric in evaluator.metrics],
                    "data": evaluator.data,
                }
            )


@dataclass
class Course:
    """A cohort's way from its first step to its outcomes."""

    job: Job
    runs: list[Run]
    trainer: Trainer
    evaluator: Evaluator
    dataset: Dataset

    def __post_init__(self) -> None:
        self.saved_at = time.monotonic()
        self.primary = next(m for m in self.evaluator.metrics if m.primary)

    def follow(self) -> int:
        """Train to the end, or until asked to stop; return the exit status."""
        settings = self.runs[0].spec.settings
        trainer = self.trainer
        if trainer.step == 0:
            self._evaluate()
        mark = time.perf_counter()
        while trainer.step < settings.steps and self.runs:
            trainer.train_step()
            last = trainer.step == settings.steps
            if last or trainer.step % settings.log_every == 0:
                self._log()
                if not self.runs:
                    return 0
            due = last or trainer.step % settings.evaluate_every == 0
            if due or self.job.terminated:
                mark = self._account(mark)
            if due:
                self._evaluate()
                mark = time.perf_counter()
            if self.job.terminated and not last:
                self._save()
                self._preempted()
                return PREEMPTED
            overdue = time.monotonic() - self.saved_at >= self.job.checkpoint_seconds
            if last or (due and overdue):
                self._save()
        for run in self.runs:
            self._finish(run)
        return 0

    def _account(self, mark: float) -> float:
        """Share the time since ``mark`` among the runs that trained in it."""
        now = time.perf_counter()
        for run in self.runs:
            run.seconds += (now - mark) / len(self.runs)
        return now

    def _log(self) -> None:
        rows, divergences = self.trainer.read()
        for run, row in zip(self.runs, rows, strict=True):
            run.log.append(
                {
                    "type": "losses",
                    "step": self.trainer.step,
                    "kimg": self.trainer.kimg,
                    "values": row,
                }
            )
        self._drop(divergences)

    def _drop(self, divergences: Sequence[Divergence | None]) -> None:
        """Record diverged runs and go on without them.

        The others are saved first, so that whoever resumes them finds a state that was taken
        without the diverged ones, and computes what an uninterrupted cohort would.
        """
        if not any(divergences):
            return
        alive = [i for i, found in enumerate(divergences) if found is None]
        gone = [(self.runs[i], found) for i, found in enumerate(divergences) if found is not None]
        self.runs = [self.runs[i] for i in alive]
        if self.runs:
            self.trainer.keep(alive)
            self._save()
        for run, found in gone:
            self._outcome(run, "diverged", found.step, f"{found.what} became non-finite")

    def _evaluate(self) -> None:
        settings = self.runs[0].spec.settings
        start = time.perf_counter()
        generated = self.trainer.game.sample(settings.evaluation_samples, "evaluation")
        finite = generated.flatten(1).isfinite().all(1).tolist()
        evaluations = self.evaluator(generated)
        elapsed = (time.perf_counter() - start) / len(self.runs)
        step = self.trainer.step
        for position, (run, found) in enumerate(zip(self.runs, evaluations, strict=True)):
            run.evaluation_seconds += elapsed
            if finite[position]:
                file = save_samples(run.path, step, generated[position], self.dataset.kind)
                run.log.append({"type": "samples", "step": step, "file": file})
            run.log.append(
                {
                    "type": "evaluation",
                    "step": step,
                    "kimg": self.trainer.kimg,
                    "values": found.values,
                    "histogram": found.histogram,
                    "diversity": found.diversity,
                    "coverage": found.coverage,
                    "seconds": elapsed,
                },
                durable=True,
            )
        self._drop([None if ok else Divergence(step, "generator output") for ok in finite])

    def _save(self) -> None:
        trainer = self.trainer
        for position, run in enumerate(self.runs):
            save_checkpoint(
                run.path / "checkpoints",
                run.spec.id,
                trainer.state(position),
                trainer.counters(),
                seconds=run.seconds,
                evaluation_seconds=run.evaluation_seconds,
            )
        self.saved_at = time.monotonic()

    def _preempted(self) -> None:
        for run in self.runs:
            self._outcome(run, "preempted", None, "asked to stop")

    def _finish(self, run: Run) -> None:
        record = read_run(run.path)
        verdict = judge(record.of_type("evaluation"), run.spec.settings)
        self._outcome(run, verdict.outcome, verdict.onset, verdict.reason)

    def _outcome(self, run: Run, outcome: str, onset: int | None, reason: str) -> None:
        record = read_run(run.path)
        run.log.append(
            {
                "type": "outcome",
                "outcome": outcome,
                "step": self.trainer.step,
                "onset": onset,
                "reason": reason,
                "signs": warning_signs(
                    record.of_type("losses"), record.of_type("evaluation"), self.primary.name
                ),
                "seconds": run.seconds,
                "evaluation_seconds": run.evaluation_seconds,
                "kimg": self.trainer.kimg,
                "updates": {
                    "d": self.trainer.optimizer_d.updates,
                    "g": self.trainer.optimizer_g.updates,
                },
                "peak_memory": peak_memory(self.job.device),
            },
            durable=True,
        )


def peak_memory(device: torch.device) -> int:
    """Return the most memory used so far, in bytes: the device's, or the process's on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def read_cohort(path: Path) -> list[RunSpec]:
    """Read the specs of a cohort file.

    Raises:
        StoreError: if it is not one.
    """
    try:
        data = json.loads(path.read_bytes())
        return [RunSpec.model_validate(spec) for spec in data["specs"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is not a cohort file: {error}") from error


def write_cohort(path: Path, specs: Sequence[RunSpec]) -> None:
    """Write a cohort file."""
    write_json(path, {"schema": 1, "specs": [spec.model_dump(mode="json") for spec in specs]})


def main(arguments: Sequence[str] | None = None) -> int:
    """Train a cohort file; the entry of every engine."""
    parser = argparse.ArgumentParser(prog="python -m harness.job", description=__doc__)
    parser.add_argument("cohort", type=Path, help="file with the runs' specs")
    parser.add_argument("--store", type=Path, required=True, help="results folder of the suite")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:N")
    parser.add_argument("--data-root", type=Path, help="folder of data sets that are files")
    parser.add_argument("--plugin", action="append", default=[], help="module to import first")
    parser.add_argument(
        "--checkpoint-seconds",
        type=float,
        default=CHECKPOINT_SECONDS,
        help="most work that a kill may cost",
    )
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        for plugin in given.plugin:
            load_plugin(plugin)
        job = Job(
            Store(given.store),
            torch.device(given.device),
            given.data_root,
            given.checkpoint_seconds,
        )
        signal.signal(signal.SIGTERM, job.terminate)
        return job.train(read_cohort(given.cohort))
    except GanbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return CRASHED


if __name__ == "__main__":
    sys.exit(main())
