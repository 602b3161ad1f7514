"""The training loop of a cohort: train, measure, save and record, step by step to the outcomes."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from harness.datasets.base import Dataset, Examples
from harness.datasets.splits import splits_of
from harness.errors import ExitStatus
from harness.jobs.injection import altered, with_real
from harness.jobs.outcomes import Verdict, judge, record_outcome
from harness.jobs.samples import save_profile, save_samples
from harness.metrics.evaluation import Evaluation, Evaluator
from harness.metrics.line import Line, Profile
from harness.metrics.probes.base import Probe
from harness.spec import RunSpec
from harness.store.events import (
    EvaluationRow,
    LineFile,
    LossRow,
    ProbeRow,
    SampleFile,
    effective,
)
from harness.store.log import EventLog
from harness.store.packed import Packed
from harness.store.reading import RunRecord
from harness.store.records import FINAL
from harness.training.checkpoint import Checkpoint, keep_networks, save_checkpoint
from harness.training.trainer import Trainer


@dataclass
class Run:
    """One run of the cohort, with where it is recorded."""

    spec: RunSpec
    path: Path
    log: EventLog
    checkpoints: list[Checkpoint]
    seconds: float = 0.0
    evaluation_seconds: float = 0.0

    @property
    def record(self) -> RunRecord:
        """What it did so far."""
        return RunRecord(self.path, self.spec, Packed(effective(self.log.events)))


Failed = tuple[Run, Verdict]
"""A run that goes no further, and why."""


@dataclass
class TrainingLoop:
    """The way of a cohort from its first step to its outcomes.

    Attributes:
        runs: Those that still train.
        trainer: Their training.
        evaluator: Measures their samples.
        dataset: What they learn.
        line: Draws profiles of data on a line; None for other data.
        probes: Measure D before and after training.
        device: Where all of it is computed.
        data_root: The data root.
        checkpoint_seconds: At most so much work is lost to a kill.
        asked_to_stop: Whether to save and end after the step under way.
    """

    runs: list[Run]
    trainer: Trainer
    evaluator: Evaluator
    dataset: Dataset
    line: Line | None
    probes: Sequence[Probe]
    device: torch.device
    data_root: Path | None
    checkpoint_seconds: float
    asked_to_stop: Callable[[], bool]

    def __post_init__(self) -> None:
        self.saved_at = time.monotonic()
        self.mark = time.perf_counter()
        self.primary = next(m for m in self.evaluator.metrics if m.primary)

    def run(self) -> ExitStatus:
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
            stopping = self.asked_to_stop() and not last
            overdue = time.monotonic() - self.saved_at >= self.checkpoint_seconds
            if self.runs and (last or failed or stopping or (overdue and (logging or due))):
                self._account()
                self._save()
            crashed |= self._end(failed)
            if stopping and self.runs:
                self._preempted()
                return ExitStatus.PREEMPTED
        for run in self.runs:
            self._finish(run)
        return ExitStatus.INCOMPLETE if crashed else ExitStatus.DONE

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
            run.log.append(LossRow(step=self.trainer.step, kimg=self.trainer.kimg, values=row))
        return self._drop(
            [
                None if divergence is None else diverged(divergence.step, divergence.what)
                for divergence in divergences
            ]
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
        generated = self._with_real(game.sample(settings.evaluation_samples, "evaluation"))
        look = self.evaluator.observe(generated)
        look_raw = None
        if game.averaging is not None:
            raw = game.sample(settings.evaluation_samples, "evaluation", theta=game.G.theta)
            look_raw = self.evaluator.observe(self._with_real(raw))
        profiles: Sequence[Profile | None] = [None] * len(self.runs)
        if self.line is not None:
            profiles = self.line.profiles(
                generated, self.trainer.game.answers(self.line.x[:, None])
            )
        drawn = (time.perf_counter() - self.mark) / len(self.runs)
        verdicts: list[Verdict | None] = []
        for position, run in enumerate(self.runs):
            start = time.perf_counter() - drawn
            try:
                seen = look(position)
                whole = seen.whole
                evaluation = altered(self.evaluator.measure(seen), run.spec, self.primary.name)
                beside = look_raw and altered(
                    self.evaluator.measure(look_raw(position)), run.spec, self.primary.name
                )
                samples = generated[position] if whole else None
                profile = profiles[position] if whole else None
                self._record(run, evaluation, beside, samples, profile, time.perf_counter() - start)
            except torch.OutOfMemoryError:
                raise  # fewer runs together may fit
            except Exception as error:  # noqa: BLE001 - one run's failure must not end the others
                traceback.print_exc()
                verdicts.append(Verdict("crashed", None, f"evaluation failed: {explain(error)}"))
            else:
                step = self.trainer.step
                verdicts.append(None if whole else diverged(step, "generator output"))
            run.evaluation_seconds += time.perf_counter() - start
        self.mark = time.perf_counter()
        return self._drop(verdicts)

    def _with_real(self, generated: Tensor) -> Tensor:
        """Put real examples among the samples of runs that ask for it."""
        specs = [run.spec for run in self.runs]
        if not any(spec.settings.injected_real for spec in specs):
            return generated
        return with_real(generated, specs, self.trainer.step, self._held_out)

    @cached_property
    def _held_out(self) -> Examples:
        split = splits_of(self.runs[0].spec.settings.reference).held_out
        return self.dataset.load(split, self.data_root)

    def _record(
        self,
        run: Run,
        evaluation: Evaluation,
        raw: Evaluation | None,
        samples: Tensor | None,
        profile: Profile | None,
        seconds: float,
    ) -> None:
        step = self.trainer.step
        if samples is not None:
            file = save_samples(run.path, step, samples, self.dataset.kind)
            run.log.append(SampleFile(step=step, file=file))
        if profile is not None:
            arrays = {"x": profile.x, "data": profile.data, "generated": profile.generated}
            if profile.answer is not None:
                arrays["answer"] = profile.answer
            share = self.trainer.game.estimates_share
            file = save_profile(run.path, step, arrays)
            run.log.append(LineFile(step=step, file=file, share=share))
        run.log.append(
            EvaluationRow(
                step=step,
                kimg=self.trainer.kimg,
                values=evaluation.values,
                raw=None if raw is None else raw.values,
                histogram=evaluation.histogram,
                diversity=evaluation.diversity,
                mode_coverage=evaluation.mode_coverage,
                seconds=seconds,
            ),
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
                    finding = probe(hidden)
                    run.log.append(
                        ProbeRow(
                            probe=probe.id,
                            step=self.trainer.step,
                            values=finding.values,
                            details=finding.details,
                            seconds=time.perf_counter() - start,
                        ),
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
        self._outcome(run, judge(run.record.of_type(EvaluationRow), run.spec.settings))

    def _outcome(self, run: Run, verdict: Verdict) -> None:
        trainer = self.trainer
        record_outcome(
            run.record,
            run.log,
            verdict,
            step=trainer.step,
            primary=self.primary,
            seconds=run.seconds,
            evaluation_seconds=run.evaluation_seconds,
            kimg=trainer.kimg,
            updates={"d": trainer.optimizer_d.updates, "g": trainer.optimizer_g.updates},
            peak_memory=peak_memory(self.device),
        )
        if verdict.outcome in FINAL:
            try:
                keep_networks(run.path, run.spec.id)
            except OSError as error:  # the result stands, and its checkpoints are still there
                print(f"{run.path}: could not tidy up the checkpoints: {error}", file=sys.stderr)


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
