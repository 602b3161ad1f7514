"""The local engine: one process per job, as many at once as there are slots.

Jobs are forked from a server process that has imported PyTorch once and does nothing else, so a
job starts in milliseconds instead of seconds; it is still a process of its own, with its own
device context, that can die without taking anything along.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType

from harness.engines.base import Assignment
from harness.engines.server import STOPPING, start_fork_server
from harness.errors import ExitStatus, StoreError
from harness.jobs.outcomes import Verdict, record_outcome
from harness.store.events import Event
from harness.store.folders import hold
from harness.store.log import EventLog, decode, split_lines
from harness.store.reading import read_run
from harness.tracking.base import Mirror

POLL_SECONDS = 0.1
GRACE_SECONDS = 20.0


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
            with suppress(ValueError, StoreError):
                events.append(decode(line))
        return [event for event in events if event is not None]


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

    def run(self, assignments: Sequence[Assignment], mirror: Mirror) -> ExitStatus:
        """Train everything; say how that ended."""
        context = multiprocessing.get_context("forkserver")
        waiting = list(assignments)
        free = list(range(len(self.devices)))
        running: list[Running] = []
        worst = ExitStatus.DONE
        # Only the main thread hears signals; another one is not stopped by them.
        heard = STOPPING if threading.current_thread() is threading.main_thread() else ()
        handlers = {number: signal.signal(number, self._interrupt) for number in heard}
        try:
            start_fork_server()
            while waiting or running:
                while waiting and free and self._signal is None:
                    slot = free.pop(0)
                    running.append(self._start(context.Process, waiting.pop(0), slot, mirror))
                if self._signal is not None:
                    self._stop(running, mirror)
                    return (
                        ExitStatus.INTERRUPTED
                        if self._signal == signal.SIGINT
                        else ExitStatus.PREEMPTED
                    )
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
        self._signal = number if self._signal is None else self._signal

    def _start(
        self, process: Callable[..., BaseProcess], assignment: Assignment, slot: int, mirror: Mirror
    ) -> Running:
        logs = [str(run.path / "log.txt") for run in assignment.runs]
        child = process(target=child_main, args=(assignment.file, self.devices[slot], logs))
        tails = []
        for run in assignment.runs:
            run.path.mkdir(parents=True, exist_ok=True)
            events = run.path / "events.jsonl"
            tails.append(Tail(events, events.stat().st_size if events.exists() else 0))
        mirror.cohort_started(assignment.cohort, assignment.runs)
        child.start()
        return Running(assignment, child, slot, tails)

    def _report(self, job: Running, mirror: Mirror) -> None:
        for run, tail in zip(job.assignment.runs, job.tails, strict=True):
            for event in tail.new_events():
                mirror.event(run, event)

    def _end(self, job: Running, mirror: Mirror) -> ExitStatus:
        """Record what a job that died could not, and return how it ended."""
        job.process.join()
        code = job.process.exitcode or 0
        silent = [run.path for run in job.assignment.runs if not has_outcome(run.path)]
        for path in silent:
            record_death(path, cause_of_death(path, code))
        if silent and code == 0:
            code = ExitStatus.INCOMPLETE
        self._report(job, mirror)
        mirror.cohort_ended(job.assignment.cohort, job.assignment.runs)
        job.process.close()
        if code == ExitStatus.PREEMPTED:
            return ExitStatus.PREEMPTED
        return ExitStatus.DONE if code == 0 else ExitStatus.INCOMPLETE

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


def has_outcome(path: Path) -> bool:
    """Say whether a run's job left word of what became of it; True for a folder not begun."""
    try:
        return read_run(path).outcome is not None
    except StoreError:
        # Damaged records are told of by whoever reads them next, with file and line.
        return True


def cause_of_death(path: Path, code: int) -> str:
    """Say why a job ended without an outcome: its signal, or the last error in its output."""
    if code < 0:
        return f"its process {ending(code)}"
    try:
        lines = (path / "log.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    told = [line for line in lines if line.startswith("error: ")]
    what = told[-1].removeprefix("error: ") if told else "and left no word; see log.txt"
    return f"its process {ending(code)}: {what}"


def ending(code: int) -> str:
    """Say how a process ended, by its exit status; less than 0 stands for a signal."""
    if code >= 0:
        return f"ended with status {code}"
    hint = "; the kernel does so when memory runs out" if code == -signal.SIGKILL else ""
    return f"was killed by signal {-code} ({signal.Signals(-code).name}){hint}"


def record_death(path: Path, reason: str) -> None:
    """Record that a run's job ended without an outcome, unless another process has the run."""
    with suppress(StoreError), hold(path), EventLog(path / "events.jsonl") as log:
        record_outcome(read_run(path), log, Verdict("crashed", None, reason))


def child_main(file: Path, device: str, logs: list[str]) -> None:
    """Run a job in a forked process, with its output in the runs' ``log.txt``."""
    from harness.jobs import job

    # A group of its own: Ctrl-C in the terminal reaches the engine alone, which asks jobs to stop.
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    first = Path(logs[0])
    descriptor = os.open(first, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for path in map(Path, logs[1:]):
        if not path.exists():
            os.link(first, path)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    # Whatever the command's own streams are: closed, or of an encoding that lacks half of Unicode.
    sys.stdout, sys.stderr = (
        open(number, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
        for number in (1, 2)
    )
    die_with_parent()
    code = job.main(file, device)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def die_with_parent() -> None:
    """Ask Linux for SIGTERM when the fork server dies, as it does when the engine is killed.

    The server lives while anyone has the other end of its pipe. Python hands that to every job,
    so that jobs could start jobs; they give it up, and only the engine is left.
    """
    alive = getattr(multiprocessing.forkserver._forkserver, "_forkserver_alive_fd", None)
    if alive is not None:
        os.close(alive)
    if sys.platform != "linux":
        return
    import ctypes

    set_death_signal = 1
    ctypes.CDLL(None).prctl(set_death_signal, signal.SIGTERM)
