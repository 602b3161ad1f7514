"""What a worker process does: one cohort, from its specs to its outcomes.

``python -m harness.jobs FILE DEVICE`` is the same entry for every engine. Exit status:
0 all runs have a result, 1 some crashed, 75 preempted (run the same command again).
"""

from __future__ import annotations

import gc
import signal
import sys
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

import torch

from harness.datasets.base import dataset_of
from harness.errors import DataError, ExitStatus, GanbenchError
from harness.jobs.cohort import JobOptions, JobRequest
from harness.jobs.environment import environment
from harness.jobs.outcomes import Verdict, record_outcome
from harness.jobs.training_loop import Run, TrainingLoop, explain, peak_memory
from harness.metrics.cache import ReferenceCache
from harness.metrics.evaluation import Evaluator
from harness.metrics.extractors.exported import register_file
from harness.metrics.line import Line
from harness.metrics.probes.base import Probe, probes
from harness.networks.layers import evaluation_statistics
from harness.parts import Variant
from harness.parts.foreign import foreign_parts
from harness.registry import load_plugin
from harness.spec import RunSpec
from harness.store.code import PartCode
from harness.store.events import Attempt, EvaluationRow, ProbeRow, Protocol, last_step
from harness.store.folders import Store, cache_folder, hold, write_json
from harness.store.log import EventLog
from harness.store.reading import RunRecord, read_run
from harness.store.records import Provenance
from harness.training.checkpoint import Checkpoint, find_checkpoints
from harness.training.game import Game
from harness.training.programs import recorder_for
from harness.training.trainer import Trainer


@dataclass
class Job:
    """The training of one cohort, recorded.

    Attributes:
        store: Where the runs are kept.
        device: Where to compute.
        options: What else it is told; plugins and extractors are loaded.
    """

    store: Store
    device: torch.device
    options: JobOptions = field(default_factory=lambda: JobOptions(patience=0.0))
    terminated: bool = field(default=False, init=False)

    def terminate(self, number: int = 0, frame: FrameType | None = None) -> None:
        """Ask the training to stop after the step it is in; usable as a signal handler."""
        self.terminated = True

    def train(self, specs: Sequence[RunSpec]) -> ExitStatus:
        """Train all runs that have no result yet; return the exit status.

        Raises:
            StoreError: if another live process trains one of them.
        """
        with ExitStack() as stack:
            runs = []
            for spec in specs:
                path = self.store.create(spec)
                stack.enter_context(hold(path, self.options.patience))
                record = read_run(path)
                if not record.is_final:
                    log = stack.enter_context(EventLog(path / "events.jsonl", record.events))
                    runs.append(begin(record, log))
            if not runs:
                return ExitStatus.DONE
            try:
                return self._attempt(runs)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - recorded, then reported
                traceback.print_exc()
                for run in runs:
                    self._crashed(run, explain(error))
                return ExitStatus.INCOMPLETE

    def _attempt(self, runs: list[Run]) -> ExitStatus:
        """Train runs together; where they need too much memory, half of them after the others."""
        try:
            return self._train(runs)
        except torch.OutOfMemoryError as error:
            traceback.print_exc()
            reason = explain(error)
        # What the failed attempt held is let go only now that its frames are gone.
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if len(runs) == 1:
            self._out_of_memory(runs[0], reason)
            return ExitStatus.INCOMPLETE
        middle = len(runs) // 2
        codes = set()
        for part in (runs[:middle], runs[middle:]):
            print(f"out of memory with {len(runs)} runs; going on with {len(part)}", flush=True)
            left = [begin(run.record, run.log) for run in part if not run.record.is_final]
            if left:
                codes.add(self._attempt(left))
        return max(codes, default=ExitStatus.DONE)

    def _out_of_memory(self, run: Run, reason: str) -> None:
        """Record that a run does not fit even alone, with the memory that it took."""
        record = run.record
        record_outcome(
            record,
            run.log,
            Verdict("oom", last_step(record.events), reason),
            seconds=run.seconds,
            evaluation_seconds=run.evaluation_seconds,
            peak_memory=peak_memory(self.device),
        )

    def _crashed(self, run: Run, reason: str) -> None:
        try:
            record_outcome(run.record, run.log, Verdict("crashed", None, reason))
        except (OSError, GanbenchError) as error:
            print(f"{run.path}: could not record the crash: {error}", file=sys.stderr)

    def _train(self, runs: list[Run]) -> ExitStatus:
        spec = runs[0].spec
        settings = spec.settings
        dataset = dataset_of(spec)
        if dataset.fingerprint() != spec.dataset.fingerprint:
            raise DataError(
                f"data set {dataset.id!r} is no longer what it was when this run was planned "
                f"({dataset.fingerprint()}, not {spec.dataset.fingerprint}); run the suite again"
            )
        code = self._code_of(spec)
        evaluator = Evaluator(
            dataset,
            extractor=settings.extractor,
            samples=settings.evaluation_samples,
            reference=settings.reference,
            root=self.options.data_root,
            device=self.device,
            requested=settings.metrics,
        )
        for run in runs:
            check_content(run, evaluator.data.content or {})
        cache = ReferenceCache(cache_folder())
        chosen = [
            probes.get(name)(dataset, settings.reference, self.options.data_root, cache)
            for name in settings.probes
        ]
        training = dataset.load("train", self.options.data_root)
        recorder = recorder_for(self.device)
        trainer = Trainer([run.spec for run in runs], training, self.device, recorder)
        if evaluator.data.class_counts is not None:
            trainer.game.class_counts = evaluator.data.class_counts
        self._resume(runs, trainer)
        self._announce(runs, trainer, evaluator, chosen, code)
        line = Line.of(dataset, training)
        loop = TrainingLoop(
            runs,
            trainer,
            evaluator,
            dataset,
            line,
            chosen,
            self.device,
            self.options.data_root,
            self.options.checkpoint_seconds,
            lambda: self.terminated,
        )
        return loop.run()

    def _resume(self, runs: list[Run], trainer: Trainer) -> None:
        """Load the newest checkpoint that all runs share; without one, start over."""
        step = common_step(run.checkpoints for run in runs)
        if not step:
            return
        for position, run in enumerate(runs):
            checkpoint = next(c for c in run.checkpoints if c.step == step)
            trainer.load(position, checkpoint.tensors(), checkpoint.counters)
            run.seconds = checkpoint.seconds
            run.evaluation_seconds = checkpoint.evaluation_seconds

    def _code_of(self, spec: RunSpec) -> list[PartCode]:
        """Return the code of a run's foreign parts, with what the command accepts as that.

        Raises:
            GanbenchError: if it has changed since the command began.
        """
        planned = {(part.kind, part.id): part for part in self.options.code}
        found = []
        for part in foreign_parts(spec):
            expected = planned.get((part.kind, part.id), part)
            if part.name != expected.name:
                raise GanbenchError(
                    f"the code of {part.part} has changed since the command began "
                    f"({expected.name} then, {part.name} now); run the suite again"
                )
            found.append(expected)
        return found

    def _announce(
        self,
        runs: list[Run],
        trainer: Trainer,
        evaluator: Evaluator,
        chosen: Sequence[Probe],
        code: Sequence[PartCode],
    ) -> None:
        here = environment(self.device)
        for run in runs:
            number = len(run.record.attempts) + 1
            write_json(run.path / f"environment-{number:03d}.json", here)
            run.log.append(
                Attempt(
                    attempt=number,
                    resumed_from=trainer.step,
                    cohort=tuple(other.spec.id for other in runs),
                    device=self.device.type,
                    time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                    code=tuple(code),
                ),
                durable=True,
            )
            run.log.append(
                Protocol(
                    metrics=tuple(evaluator.metrics),
                    provenance=provenance_of(evaluator, trainer.game),
                    data=evaluator.data,
                    probes={probe.id: probe.describe() for probe in chosen},
                    parameters={"g": sum(trainer.game.G.sizes), "d": sum(trainer.game.D.sizes)},
                )
            )


def provenance_of(evaluator: Evaluator, game: Game) -> Provenance:
    """Say what a cohort's numbers rest on, with how its generators are evaluated."""
    return replace(
        evaluator.provenance,
        weights=game.averaging or "raw",
        normalization=evaluation_statistics(game.G.modules()),
        classes=class_law(game, evaluator.provenance.reference),
    )


def class_law(game: Game, reference: str) -> str:
    """Say which classes a conditional generator's samples have; empty where it has none."""
    if type(game.variant).condition is not Variant.condition:
        return f"as {game.variant.id} draws it"
    return f"as often as in {reference}" if game.variant.joins(game.classes).classes else ""


def begin(record: RunRecord, log: EventLog) -> Run:
    """Describe a run to be trained, with the checkpoints from which it can go on."""
    return Run(record.spec, record.path, log, usable_checkpoints(record))


def usable_checkpoints(record: RunRecord) -> list[Checkpoint]:
    """Return the checkpoints from which a run can go on, the newest first."""
    checkpoints = find_checkpoints(record.path / "checkpoints", record.spec.id)
    return [c for c in checkpoints if has_evaluations(record, c.step)]


def common_step(checkpoints: Iterable[Sequence[Checkpoint]]) -> int:
    """Return the newest step of which every run of a cohort has a checkpoint; 0 without one."""
    steps = ({checkpoint.step for checkpoint in of_run} for of_run in checkpoints)
    return max(set.intersection(*steps), default=0)


def check_content(run: Run, content: Mapping[str, str]) -> None:
    """Refuse to go on with other data than those that a run began with.

    Raises:
        DataError: if what no hash pins is no longer what it was.
    """
    before = run.record.data.content or {} if run.checkpoints else {}
    changed = [split for split in before if before[split] != content.get(split, before[split])]
    if changed:
        raise DataError(
            f"data set {run.spec.dataset.id!r} is not what {run.path} began with: other content of "
            f"{' and '.join(changed)}; bring it back, or delete the folder to train the run again"
        )


def has_evaluations(record: RunRecord, step: int) -> bool:
    """Say whether a run's log has all that it should have up to a step.

    A checkpoint beyond a log that was cut short is of no use: the run would end unmeasured.
    """
    settings = record.spec.settings
    last = {step} & {settings.steps}
    due = {*range(0, step + 1, settings.evaluate_every)} | last
    if not due <= {row.step for row in record.of_type(EvaluationRow)}:
        return False
    owed = {(name, place) for name in settings.probes for place in {0} | last}
    return owed <= {(row.probe, row.step) for row in record.of_type(ProbeRow)}


def compute_as_declared() -> None:
    """Let float32 mean float32 on a GPU too, and the same kernels be chosen every time."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False


def main(file: Path, device: str) -> ExitStatus:
    """Train the cohort of a job's file on a device, ``cpu`` or ``cuda:N``."""
    torch.set_num_threads(1)
    compute_as_declared()
    try:
        request = JobRequest.read(file)
        for plugin in request.options.plugins:
            load_plugin(plugin)
        for extractor in request.options.extractors:
            register_file(extractor)
        job = Job(Store(request.store), torch.device(device), request.options)
        signal.signal(signal.SIGTERM, job.terminate)
        return job.train(request.specs)
    except GanbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return ExitStatus.INCOMPLETE
