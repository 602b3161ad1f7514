"""The process that talks to W&B: told on stdin what to mirror, it says on stdout how it went.

A process of its own, because W&B's client can hang, abort, wait for the network at exit or change
the environment, and none of that may touch training. Whoever started it may kill it at any time:
the store has everything, and what W&B lacks is sent by the next ``ganbench push``.

One JSON value per line. In: a :class:`Target` first; then ``{"watch": [[planned, path], …]}`` for
runs to mirror while they train, ``{"finish": [[planned, path], …]}`` for runs to complete. The end
of the input finishes the watched ones. Out: ``{"finished": id, "rows": n}`` (null where there was
nothing to send), ``{"url": …}``, ``{"skipped": message}`` for a run whose records are damaged, and
``{"failed": message}`` before it gives up.
"""

from __future__ import annotations

import fcntl
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from harness.errors import GanbenchError, StoreError
from harness.store.records import PlannedRun
from harness.tracking.choice import TrackingError
from harness.tracking.wandb_run import Sender, Target

LIVE_SECONDS = 15.0
"""Between two looks at the logs of runs that train; shorter runs are sent when they end."""

Command = dict[str, list[list[Any]]]


class Worker:
    """Mirrors the runs that it is told of.

    Args:
        target: Where to.
        out: For answers, one line each.
        live_seconds: Between two looks at the logs of watched runs.
    """

    def __init__(self, target: Target, out: TextIO, live_seconds: float = LIVE_SECONDS) -> None:
        self._target = target
        self._out = out
        self._live_seconds = live_seconds
        self._senders: dict[str, Sender] = {}
        self._url: str | None = None

    def run(self, commands: Iterable[str]) -> None:
        """Obey until the commands end, then finish what is still watched."""
        waiting: queue.SimpleQueue[Command | None] = queue.SimpleQueue()
        reader = threading.Thread(target=_read_commands, args=(commands, waiting), daemon=True)
        reader.start()
        next_look = time.monotonic() + self._live_seconds
        while True:
            try:
                command = waiting.get(timeout=max(0.0, next_look - time.monotonic()))
            except queue.Empty:
                for sender in list(self._senders.values()):
                    self._update(sender)
                next_look = time.monotonic() + self._live_seconds
                continue
            if command is None:
                break
            for sender in self._named(command.get("watch", [])):
                self._senders[sender.planned.id] = sender
            for sender in self._named(command.get("finish", [])):
                self._finish(sender)
        for sender in list(self._senders.values()):
            self._finish(sender)

    def _named(self, runs: list[list[Any]]) -> Iterator[Sender]:
        for planned, path in runs:
            known = self._senders.get(planned["id"])
            yield known or Sender(self._target, PlannedRun(**planned), Path(path))

    def _update(self, sender: Sender) -> None:
        with self._skipping_damage(sender):
            sender.update()
        self._tell_url(sender)

    def _finish(self, sender: Sender) -> None:
        sent: int | None = None
        self._senders.pop(sender.planned.id, None)
        with self._skipping_damage(sender):
            sent = sender.finish()
        self._tell_url(sender)
        self._tell({"finished": sender.planned.id, "rows": sent})

    @contextmanager
    def _skipping_damage(self, sender: Sender) -> Iterator[None]:
        try:
            yield
        except StoreError as error:
            self._senders.pop(sender.planned.id, None)
            self._tell({"skipped": str(error)})

    def _tell_url(self, sender: Sender) -> None:
        if sender.url and sender.url != self._url:
            self._url = sender.url
            self._tell({"url": self._url})

    def _tell(self, answer: dict[str, Any]) -> None:
        self._out.write(json.dumps(answer) + "\n")
        self._out.flush()


def _read_commands(lines: Iterable[str], waiting: queue.SimpleQueue[Command | None]) -> None:
    """Pass commands on; None at the end. A line cut by the death of the sender is the end."""
    try:
        for line in lines:
            waiting.put(json.loads(line))
    except ValueError:
        pass
    finally:
        waiting.put(None)


@contextmanager
def sole(root: Path) -> Iterator[None]:
    """Hold the results folder's mirror; the kernel lets go of it however this process ends.

    Raises:
        TrackingError: if another process holds it: offline, both would rewrite the same files.
    """
    descriptor = os.open(root / "wandb" / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise TrackingError(f"another process is mirroring {root}") from None
    finally:
        os.close(descriptor)


def reason_of(error: BaseException) -> str:
    """Describe a failure of W&B in one short line."""
    if isinstance(error, GanbenchError):
        return str(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def main() -> None:
    """Run the worker on this process's pipes; whatever else prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    setup = json.loads(sys.stdin.readline())
    target = Target(**{**setup["target"], "root": Path(setup["target"]["root"])})
    code = 0
    try:
        with sole(target.root):
            Worker(target, answers, setup["live_seconds"]).run(sys.stdin)
    except BaseException as error:  # noqa: BLE001 - W&B may raise anything, also at exit
        import traceback

        traceback.print_exc()
        answers.write(json.dumps({"failed": reason_of(error)}) + "\n")
        code = 1
    answers.flush()
    # Past W&B's exit handlers, which wait for the network; its service ends with this process.
    os._exit(code)


if __name__ == "__main__":
    main()
