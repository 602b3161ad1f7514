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
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor

from harness.datasets.base import Dataset, dataset_of
from harness.environment import environment
from harness.errors import DataError, GanbenchError, StoreError
from harness.metrics.cache import ReferenceCache
from harness.metrics.evaluation import Evaluation, Evaluator
from harness.metrics.extractors.exported import register_file
from harness.metrics.probes.base import Probe, probes
from harness.networks.layers import evaluation_statistics
from harness.outcomes import Verdict, judge, warning_signs
from harness.registry import load_plugin
from harness.samples import save_profile, save_samples
from harness.spec import RunSpec
from harness.store.events import EventLog
from harness.store.folders import Store, cache_folder, hold, write_json
from harness.store.records import FINAL, Provenance, RunRecord, read_run
from harness.training.checkpoint import (
    Checkpoint,
    find_checkpoints,
    keep_networks,
    save_checkpoint,
)
from harness.training.game import Game
from harness.training.line import Line, Profile, estimates_share
from harness.training.trainer import Trainer

PREEMPTED = 75
CRASHED = 1
CHECKPOINT_SECONDS = 30.0
PATIENCE_SECONDS = 30.0
"""For which a job waits for a run whose last process is still saving it."""


@dataclass
class Run:
    """One run of the cohort, with where it is recorded."""

    spec: RunSpec
    path: Path
    log: EventLog
    checkpoints: list[Checkpoint]
    seconds: float = 0.0
    evaluation_seconds: float = 0.0


Failed = tuple[Run, Verdict]
"""A run that goes no further, and why."""


@dataclass
class Job:
    """The training of one cohort, recorded.

    Attributes:
        store: Where the runs are kept.
        device: Where to compute.
        data_root: Folder of data sets that are not synthesised; None where none is needed.
        checkpoint_seconds: At most so much work is lost to a kill.
        patience: Seconds to wait for a run that another process is about to give up.
    """

    store: Store
    device: torch.device
    data_root: Path | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    patience: float = 0.0
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
                stack.enter_context(hold(path, self.patience))
                record = read_run(path)
                if not record.is_final:
                    log = stack.enter_context(EventLog(path / "events.jsonl"))
                    found = find_checkpoints(path / "checkpoints", spec.id)
                    covered = [c for c in found if has_evaluations(record, c.step)]
                    runs.append(Run(spec, path, log, covered))
            if not runs:
                return 0
            try:
                return self._train(runs)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - recorded, then reported
                traceback.print_exc()
                for run in runs:
                    self._crashed(run, explain(error))
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
                        "reason": reason,
                    },
                    durable=True,
                )
        except (OSError, GanbenchError) as error:
            print(f"{run.path}: could not record the crash: {error}", file=sys.stderr)

    def _train(self, runs: list[Run]) -> int:
        spec = runs[0].spec
        settings = spec.settings
        dataset = dataset_of(spec)
        if dataset.fingerprint() != spec.dataset.fingerprint:
            raise DataError(
                f"data set {dataset.id!r} is no longer what it was when this run was planned "
                f"({dataset.fingerprint()}, not {spec.dataset.fingerprint}); run the suite again"
            )
        evaluator = Evaluator(
            dataset,
            extractor=settings.extractor,
            samples=settings.evaluation_samples,
            reference=settings.reference,
            root=self.data_root,
            device=self.device,
            requested=settings.metrics,
        )
        cache = ReferenceCache(cache_folder())
        chosen = [
            probes.get(name)(dataset, settings.reference, self.data_root, cache)
            for name in settings.probes
        ]
        training = dataset.load("train", self.data_root)
        trainer = Trainer([run.spec for run in runs], training, self.device)
        self._resume(runs, trainer)
        self._announce(runs, trainer, evaluator, chosen)
        line = Line.of(dataset, training)
        course = Course(self, runs, trainer, evaluator, dataset, line, chosen)
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

    def _announce(
        self,
        runs: list[Run],
        trainer: Trainer,
        evaluator: Evaluator,
        chosen: Sequence[Probe],
    ) -> None:
        for run in runs:
            number = len(read_run(run.path).attempts) + 1
            write_json(run.path / f"environment-{number:03d}.json", environment(self.device))
            run.log.append(
                {
                    "type": "attempt",
                    "attempt": number,
                    "resumed_from": trainer.step,
                    "cohort": [other.spec.id for other in runs],
                    "device": self.device.type,
                    "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                },
                durable=True,
            )
            run.log.append(
                {
                    "type": "protocol",
                    "metrics": [asdict(metric) for metric in evaluator.metrics],
                    "provenance": asdict(provenance_of(evaluator, trainer.game)),
                    "data": evaluator.data,
                    "probes": {probe.id: probe.describe() for probe in chosen},
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
    line: Line | None
    probes: Sequence[Probe]

    def __post_init__(self) -> None:
        self.saved_at = time.monotonic()
        self.mark = time.perf_counter()
        self.primary = next(m for m in self.evaluator.metrics if m.primary)

    def follow(self) -> int:
        """Train to the end, or until asked to stop; return the exit status.

        What is due after a step comes in one order: losses, evaluation, probes, checkpoint, and
        only then the outcomes of runs that failed in it. So a checkpoint never lies ahead of an
        evaluation that its step owes, and whoever resumes it finds a cohort without the failed
        runs.
        """
        settings = self.runs[0].spec.settings
        trainer = self.trainer
        crashed = False
        self.mark = time.perf_counter()
        if trainer.step == 0:
            failed = self._evaluate() + self._probe()
            crashed = self._end(failed)
        while trainer.step < settings.steps and self.runs:
            trainer.train_step()
            last = trainer.step == settings.steps
            failed = []
            logging = last or trainer.step % settings.log_every == 0
            if logging:
                failed += self._log()
            due = last or trainer.step % settings.evaluate_every == 0
            if due and self.runs:
                failed += self._evaluate()
            if last and self.runs:
                failed += self._probe()
            stopping = self.job.terminated and not last
            overdue = time.monotonic() - self.saved_at >= self.job.checkpoint_seconds
            if self.runs and (last or failed or stopping or (overdue and (logging or due))):
                self._account()
                self._save()
            crashed |= self._end(failed)
            if stopping and self.runs:
                self._preempted()
                return PREEMPTED
        for run in self.runs:
            self._finish(run)
        return CRASHED if crashed else 0

    def _account(self) -> None:
        """Share the time since the mark among the runs that trained in it."""
        now = time.perf_counter()
        for run in self.runs:
            run.seconds += (now - self.mark) / len(self.runs)
        self.mark = now

    def _log(self) -> list[Failed]:
        """Write the losses; drop the runs that diverged, and return them."""
        rows, divergences = self.trainer.read()
        self._account()
        for run, row in zip(self.runs, rows, strict=True):
            run.log.append(
                {
                    "type": "losses",
                    "step": self.trainer.step,
                    "kimg": self.trainer.kimg,
                    "values": row,
                }
            )
        return self._drop(
            [None if found is None else diverged(found.step, found.what) for found in divergences]
        )

    def _drop(self, verdicts: Sequence[Verdict | None]) -> list[Failed]:
        """Go on without the runs that have a verdict; return them."""
        if not any(verdicts):
            return []
        alive = [i for i, verdict in enumerate(verdicts) if verdict is None]
        gone = [(self.runs[i], v) for i, v in enumerate(verdicts) if v is not None]
        self.runs = [self.runs[i] for i in alive]
        if self.runs:
            self.trainer.keep(alive)
        return gone

    def _end(self, failed: Sequence[Failed]) -> bool:
        """Record the outcomes of runs that failed; return whether one of them crashed."""
        for run, verdict in failed:
            self._outcome(run, verdict)
        return any(verdict.outcome == "crashed" for _, verdict in failed)

    def _evaluate(self) -> list[Failed]:
        """Measure every run; drop those that cannot be measured, and return them."""
        self._account()
        settings = self.runs[0].spec.settings
        game = self.trainer.game
        generated = game.sample(settings.evaluation_samples, "evaluation")
        look = self.evaluator.observe(generated)
        look_raw = None
        if game.averaging is not None:
            raw = game.sample(settings.evaluation_samples, "evaluation", theta=game.G.theta)
            look_raw = self.evaluator.observe(raw)
        profiles: Sequence[Profile | None] = [None] * len(self.runs)
        if self.line is not None:
            profiles = self.line.profiles(self.trainer.game, generated)
        drawn = (time.perf_counter() - self.mark) / len(self.runs)
        verdicts: list[Verdict | None] = []
        for position, run in enumerate(self.runs):
            start = time.perf_counter() - drawn
            try:
                seen = look(position)
                whole = seen.whole
                found = self.evaluator.measure(seen)
                beside = look_raw and self.evaluator.measure(look_raw(position))
                samples = generated[position] if whole else None
                profile = profiles[position] if whole else None
                self._record(run, found, beside, samples, profile, time.perf_counter() - start)
            except Exception as error:  # noqa: BLE001 - one run's failure must not end the others
                traceback.print_exc()
                verdicts.append(Verdict("crashed", None, f"evaluation failed: {explain(error)}"))
            else:
                step = self.trainer.step
                verdicts.append(None if whole else diverged(step, "generator output"))
            run.evaluation_seconds += time.perf_counter() - start
        self.mark = time.perf_counter()
        return self._drop(verdicts)

    def _record(
        self,
        run: Run,
        found: Evaluation,
        raw: Evaluation | None,
        samples: Tensor | None,
        profile: Profile | None,
        seconds: float,
    ) -> None:
        step = self.trainer.step
        if samples is not None:
            file = save_samples(run.path, step, samples, self.dataset.kind)
            run.log.append({"type": "samples", "step": step, "file": file})
        if profile is not None:
            arrays = {"x": profile.x, "data": profile.data, "generated": profile.generated}
            if profile.answer is not None:
                arrays["answer"] = profile.answer
            share = estimates_share(self.trainer.game)
            file = save_profile(run.path, step, arrays)
            run.log.append({"type": "line", "step": step, "file": file, "share": share})
        run.log.append(
            {
                "type": "evaluation",
                "step": step,
                "kimg": self.trainer.kimg,
                "values": found.values,
                **({} if raw is None else {"raw": raw.values}),
                "histogram": found.histogram,
                "diversity": found.diversity,
                "coverage": found.coverage,
                "seconds": seconds,
            },
            durable=True,
        )

    def _probe(self) -> list[Failed]:
        """Let the probes look at every run's D; drop those that cannot be measured."""
        if not self.probes:
            return []
        self._account()
        verdicts: list[Verdict | None] = []
        for position, run in enumerate(self.runs):
            start = time.perf_counter()
            try:
                hidden = self.trainer.game.hidden(position)
                for probe in self.probes:
                    found = probe(hidden)
                    run.log.append(
                        {
                            "type": "probe",
                            "probe": probe.id,
                            "step": self.trainer.step,
                            "values": found.values,
                            "details": found.details,
                            "seconds": time.perf_counter() - start,
                        },
                        durable=True,
                    )
            except Exception as error:  # noqa: BLE001 - one run's failure must not end the others
                traceback.print_exc()
                verdicts.append(Verdict("crashed", None, f"a probe failed: {explain(error)}"))
            else:
                verdicts.append(None)
            run.evaluation_seconds += time.perf_counter() - start
        self.mark = time.perf_counter()
        return self._drop(verdicts)

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
            self._outcome(run, Verdict("preempted", None, "asked to stop"))

    def _finish(self, run: Run) -> None:
        record = read_run(run.path)
        self._outcome(run, judge(record.of_type("evaluation"), run.spec.settings))

    def _outcome(self, run: Run, verdict: Verdict) -> None:
        record = read_run(run.path)
        run.log.append(
            {
                "type": "outcome",
                "outcome": verdict.outcome,
                "step": self.trainer.step,
                "onset": verdict.onset,
                "reason": verdict.reason,
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
        if verdict.outcome in FINAL:
            try:
                keep_networks(run.path, run.spec.id)
            except OSError as error:  # the result stands, and its checkpoints are still there
                print(f"{run.path}: could not tidy up the checkpoints: {error}", file=sys.stderr)


def provenance_of(evaluator: Evaluator, game: Game) -> Provenance:
    """Say what a cohort's numbers rest on, with how its generators are evaluated."""
    return replace(
        evaluator.provenance,
        weights=game.averaging or "raw",
        normalization=evaluation_statistics(game.G.modules()),
    )


def has_evaluations(record: RunRecord, step: int) -> bool:
    """Say whether a run's log has all that it should have up to a step.

    A checkpoint beyond a log that was cut short is of no use: the run would end unmeasured.
    """
    settings = record.spec.settings
    last = {step} & {settings.steps}
    due = {*range(0, step + 1, settings.evaluate_every)} | last
    if not due <= {event["step"] for event in record.of_type("evaluation")}:
        return False
    owed = {(name, place) for name in settings.probes for place in {0} | last}
    return owed <= {(event["probe"], event["step"]) for event in record.of_type("probe")}


def explain(error: BaseException) -> str:
    """Say in one line what went wrong, and where; the whole story is in ``log.txt``."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    lines = traceback.format_exception_only(error)
    return " ".join(lines[-1].split()) + where


def diverged(step: int, what: str) -> Verdict:
    """Say what stopped being finite, and when."""
    return Verdict("diverged", step, f"{what} became non-finite")


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


def compute_as_declared() -> None:
    """Let float32 mean float32 on a GPU too, and the same kernels be chosen every time."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Train a cohort file; the entry of every engine."""
    parser = argparse.ArgumentParser(prog="python -m harness.job", description=__doc__)
    parser.add_argument("cohort", type=Path, help="file with the runs' specs")
    parser.add_argument("--store", type=Path, required=True, help="results folder of the suite")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:N")
    parser.add_argument("--data-root", type=Path, help="folder of data sets that are files")
    parser.add_argument("--plugin", action="append", default=[], help="module to import first")
    parser.add_argument(
        "--extractor", action="append", default=[], help="NAME@SHA256=FILE, a network to load"
    )
    parser.add_argument(
        "--checkpoint-seconds",
        type=float,
        default=CHECKPOINT_SECONDS,
        help="most work that a kill may cost",
    )
    parser.add_argument(
        "--patience-seconds",
        type=float,
        default=PATIENCE_SECONDS,
        help="how long to wait for a run that another process holds",
    )
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    compute_as_declared()
    try:
        for plugin in given.plugin:
            load_plugin(plugin)
        for extractor in given.extractor:
            register_file(extractor)
        job = Job(
            Store(given.store),
            torch.device(given.device),
            given.data_root,
            given.checkpoint_seconds,
            given.patience_seconds,
        )
        signal.signal(signal.SIGTERM, job.terminate)
        return job.train(read_cohort(given.cohort))
    except GanbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return CRASHED


if __name__ == "__main__":
    sys.exit(main())
