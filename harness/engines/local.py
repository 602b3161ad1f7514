"""The local engine: one process per job, as many at once as there are slots.

Jobs are forked from a server process that has imported PyTorch once and does nothing else, so a
job starts in milliseconds instead of seconds; it is still a process of its own, with its own
device context, that can die without taking anything along.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType

from harness.engines.base import (
    DONE,
    INCOMPLETE,
    INTERRUPTED,
    PREEMPTED,
    Assignment,
    JobOptions,
)
from harness.store.events import Event, EventLog, decode, split_lines
from harness.store.records import read_run
from harness.tracking.base import Mirror

POLL_SECONDS = 0.1
GRACE_SECONDS = 20.0

PRELOADED = ["harness.job", "torch_fidelity.metric_fid", "torch_fidelity.metric_isc"]
"""What every job imports, seconds of it: the fork server does so once for all of them."""


@dataclass
class Tail:
    """Follows a run's event log."""

    path: Path
    offset: int = 0

    def new_events(self) -> list[Event]:
        """Return the whole records written since the last call; bad ones are left to readers."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                data = file.read()
        except FileNotFoundError:
            return []
        lines, end = split_lines(data)
        self.offset += end
        events = []
        for line in lines:
            try:
                events.append(decode(line))
            except ValueError:
                continue
        return events


@dataclass
class Running:
    """A job in progress."""

    assignment: Assignment
    process: BaseProcess
    slot: int
    tails: list[Tail]


class LocalEngine:
    """Trains cohorts in processes of this machine.

    Args:
        devices: One device per slot, such as ``["cpu", "cpu"]`` or ``["cuda:0"]``.
        grace: Seconds that jobs get to save their state before they are killed.
    """

    def __init__(self, devices: Sequence[str], grace: float = GRACE_SECONDS) -> None:
        self.devices = list(devices)
        self.grace = grace
        self._signal: int | None = None

    def run(self, assignments: Sequence[Assignment], options: JobOptions, mirror: Mirror) -> int:
        """Train everything; return 0, 1 (some crashed), 75 (preempted) or 130 (interrupted)."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        waiting = list(assignments)
        free = list(range(len(self.devices)))
        running: list[Running] = []
        worst = DONE
        handlers = {
            number: signal.signal(number, self._interrupt)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            while waiting or running:
                while waiting and free and self._signal is None:
                    slot = free.pop(0)
                    running.append(
                        self._start(context.Process, waiting.pop(0), slot, options, mirror)
                    )
                if self._signal is not None:
                    self._stop(running, mirror)
                    return INTERRUPTED if self._signal == signal.SIGINT else PREEMPTED
                ended = [job for job in running if not job.process.is_alive()]
                for job in running:
                    self._report(job, mirror)
                for job in ended:
                    running.remove(job)
                    free.append(job.slot)
                    worst = max(worst, self._end(job, mirror))
                if not ended:
                    time.sleep(POLL_SECONDS)
            return worst
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            for job in running:
                job.process.kill()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._signal = number

    def _start(
        self,
        process: Callable[..., BaseProcess],
        assignment: Assignment,
        slot: int,
        options: JobOptions,
        mirror: Mirror,
    ) -> Running:
        arguments = options.arguments(assignment.file, self.devices[slot])
        logs = [str(run.path / "log.txt") for run in assignment.runs]
        child = process(target=child_main, args=(arguments, logs))
        tails = []
        for run in assignment.runs:
            run.path.mkdir(parents=True, exist_ok=True)
            events = run.path / "events.jsonl"
            tails.append(Tail(events, events.stat().st_size if events.exists() else 0))
        mirror.cohort_started(assignment.cohort.name, assignment.runs)
        child.start()
        return Running(assignment, child, slot, tails)

    def _report(self, job: Running, mirror: Mirror) -> None:
        for run, tail in zip(job.assignment.runs, job.tails, strict=True):
            for event in tail.new_events():
                mirror.event(run, event)

    def _end(self, job: Running, mirror: Mirror) -> int:
        """Record what a job that died could not, and return how it ended."""
        job.process.join()
        code = job.process.exitcode or 0
        if code < 0:
            for run in job.assignment.runs:
                if run.path.joinpath("spec.json").exists():
                    record_death(run.path, -code)
        self._report(job, mirror)
        mirror.cohort_ended(job.assignment.cohort.name, job.assignment.runs)
        job.process.close()
        if code == PREEMPTED:
            return PREEMPTED
        return DONE if code == 0 else INCOMPLETE

    def _stop(self, running: list[Running], mirror: Mirror) -> None:
        """Ask all jobs to save their state, and kill those that take too long."""
        for job in running:
            job.process.terminate()
        deadline = time.monotonic() + self.grace
        while running and time.monotonic() < deadline:
            for job in [job for job in running if not job.process.is_alive()]:
                running.remove(job)
                self._end(job, mirror)
            time.sleep(POLL_SECONDS)
        for job in list(running):
            job.process.kill()
            running.remove(job)
            self._end(job, mirror)


def record_death(path: Path, number: int) -> None:
    """Record that a run's process was killed by a signal, unless the run already has an outcome."""
    record = read_run(path)
    if record.outcome is not None:
        return
    steps = [event["step"] for event in record.events if "step" in event]
    name = signal.Signals(number).name
    hint = "; the kernel does so when memory runs out" if number == signal.SIGKILL else ""
    with EventLog(path / "events.jsonl") as log:
        log.append(
            {
                "type": "outcome",
                "outcome": "crashed",
                "step": max(steps, default=0),
                "onset": None,
                "reason": f"its process was killed by signal {number} ({name}){hint}",
            },
            durable=True,
        )


def child_main(arguments: list[str], logs: list[str]) -> None:
    """Run a job in a forked process, with its output in the runs' ``log.txt``."""
    from harness import job

    # A group of its own: Ctrl-C in the terminal reaches the engine alone, which asks jobs to stop.
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    first = Path(logs[0])
    descriptor = os.open(first, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for path in map(Path, logs[1:]):
        if not path.exists():
            os.link(first, path)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    die_with_parent()
    code = job.main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def die_with_parent() -> None:
    """Ask Linux for SIGTERM when the fork server dies, as it does when the engine is killed."""
    if sys.platform != "linux":
        return
    import ctypes

    set_death_signal = 1
    ctypes.CDLL(None).prctl(set_death_signal, signal.SIGTERM)
