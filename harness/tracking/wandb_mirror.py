"""Mirrors runs to W&B: while they train (:class:`WandbMirror`), or from the store (`push`)."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.store.reading import read_plan, read_suite
from harness.store.records import SuitePlan
from harness.tracking.base import Mirror, TrackedRun
from harness.tracking.choice import Mode, TrackingError
from harness.tracking.wandb_process import Order, Patience, WorkerProcess, give_up
from harness.tracking.wandb_rows import rows
from harness.tracking.wandb_run import Target, is_mirrored


class WandbMirror(Mirror):
    """Mirrors runs to W&B while they train: each is there at the latest when its cohort ends.

    Args:
        mode: ``disabled`` does nothing.
        project: W&B project, or ``entity/project``.
        folder: The results folder.
        announce: Called once with the project's address, and with what was skipped.
        patience: How long W&B may take.

    Its methods never wait for W&B, except the last one, and that for ``patience.last`` seconds at
    most. When W&B fails they raise TrackingError once; from then on they do nothing.
    """

    def __init__(
        self,
        mode: Mode,
        *,
        project: str,
        folder: Path,
        announce: Callable[[str], None] | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._mode = mode
        self._project = project
        self._folder = folder.resolve()
        self._announce = announce or (lambda line: None)
        self._patience = patience or Patience()
        self._worker: WorkerProcess | None = None
        self._asked: set[str] = set()
        self._ending = False
        self._heard = time.monotonic()

    def suite_started(self, plan: SuitePlan, pending: Sequence[TrackedRun], finished: int) -> None:
        """Start the process that talks to W&B."""
        if self._mode == "disabled" or not pending:
            return
        target = target_of(plan, self._folder, self._mode, self._project, self._patience)
        self._worker = WorkerProcess(target, self._patience)

    def cohort_started(self, name: str, runs: Sequence[TrackedRun]) -> None:
        """Have the runs watched."""
        self._tell("watch", runs)

    def event(self, run: TrackedRun, event: Any) -> None:
        """See whether W&B is well; what happened is read from the store."""
        self._check()

    def cohort_ended(self, name: str, runs: Sequence[TrackedRun]) -> None:
        """Have the runs completed."""
        if self._worker is not None and not self._asked:
            self._heard = time.monotonic()
        self._asked.update(run.planned.id for run in runs)
        self._tell("finish", runs)

    def suite_ended(self) -> None:
        """Wait for W&B, but not for long."""
        if self._worker is None:
            return
        self._worker.end_of_commands()
        self._ending = True
        deadline = time.monotonic() + self._patience.last
        self._heard = time.monotonic()
        try:
            while self._worker is not None:
                limit = min(deadline, self._heard + self._patience.quiet)
                self._listen(self._worker, max(0.01, limit - time.monotonic()))
        except queue.Empty:
            self._stop()
            raise give_up(self._folder, "it took too long at the end") from None
        except BaseException:
            self._stop()
            raise

    def _tell(self, what: Order, runs: Sequence[TrackedRun]) -> None:
        if self._worker is not None:
            self._worker.tell(what, [(run.planned, run.path.resolve()) for run in runs])
            self._check()

    def _check(self) -> None:
        """Take in the answers that are there."""
        while self._worker is not None:
            try:
                self._listen(self._worker, 0)
            except queue.Empty:
                break
        if self._worker is None or not self._asked:
            return
        if time.monotonic() - self._heard > self._patience.quiet:
            self._stop()
            raise give_up(self._folder, f"no answer for {self._patience.quiet:.0f} s")

    def _listen(self, worker: WorkerProcess, seconds: float) -> None:
        answer = worker.answer(seconds)
        self._heard = time.monotonic()
        if answer is None:
            self._stop()
            if self._asked or not self._ending:
                raise give_up(self._folder, "its process ended early")
        elif "failed" in answer:
            self._stop()
            raise give_up(self._folder, answer["failed"])
        elif "finished" in answer:
            self._asked.discard(answer["finished"])
        elif "url" in answer:
            self._announce(f"W&B: {answer['url']}")
        else:
            self._announce(f"W&B: skipped {answer['skipped']}")

    def _stop(self) -> None:
        if self._worker is not None:
            self._worker.stop()
            self._worker = None


def target_of(
    plan: SuitePlan, folder: Path, mode: Mode, project: str, patience: Patience
) -> Target:
    """Say where a suite's runs go.

    Raises:
        TrackingError: if the mode is ``disabled``.
    """
    if mode == "disabled":
        raise TrackingError("W&B is disabled; --wandb offline or online says where to push to")
    return Target(
        folder.resolve(),
        mode,
        project,
        plan.suite,
        plan.fingerprint,
        patience.init,
        patience.finish,
    )


def push(
    folder: Path,
    *,
    mode: Mode,
    project: str,
    announce: Callable[[str], None] | None = None,
    patience: Patience | None = None,
) -> int:
    """Bring W&B to the state of a results folder; what it has already is not sent again.

    Args:
        folder: Such as ``results/stability``; runs may be in progress.
        mode: ``offline`` or ``online``.
        project: W&B project, or ``entity/project``.
        announce: Called with each line for the user.
        patience: How long W&B may take.

    Returns:
        How many runs were sent.

    Raises:
        StoreError: if the folder holds no results.
        TrackingError: if W&B fails; what was sent until then is remembered.
    """
    patience = patience or Patience()
    say = announce or (lambda line: None)
    root = folder.resolve()
    target = target_of(read_plan(folder), folder, mode, project, patience)
    suite = read_suite(folder, skip_corrupt=True)
    for problem in suite.corrupt.values():
        say(f"skipped {problem}")
    wanted = {
        planned.id: (planned, suite.runs[planned.id].path.resolve())
        for planned in suite.plan.runs
        if planned.id in suite.runs
        and (rows(suite.runs[planned.id].events) or suite.runs[planned.id].outcome)
        and not is_mirrored(target, planned, suite.runs[planned.id])
    }
    if not wanted:
        return 0
    count = 0
    worker = WorkerProcess(target, patience)
    try:
        worker.tell("finish", list(wanted.values()))
        worker.end_of_commands()
        while (answer := worker.answer(patience.quiet)) is not None:
            if "failed" in answer:
                raise give_up(root, answer["failed"])
            if "url" in answer:
                say(f"W&B: {answer['url']}")
            elif "skipped" in answer:
                say(f"skipped {answer['skipped']}")
            else:
                wanted.pop(answer["finished"], None)
                count += answer["rows"] is not None
    except queue.Empty:
        raise give_up(root, f"no answer for {patience.quiet:.0f} s") from None
    finally:
        worker.stop()
    if wanted:
        raise give_up(root, f"its process ended with {len(wanted)} runs to go")
    return count
