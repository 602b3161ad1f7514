"""The process that talks to W&B, seen from the one that must never wait for it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from harness.store.records import PlannedRun
from harness.tracking.choice import TrackingError
from harness.tracking.wandb_run import Target
from harness.tracking.wandb_worker import LIVE_SECONDS

LOG = "mirror.log"
"""In the results folder's ``wandb``: what W&B's client printed."""

OURS = ("RUN_ID", "RESUME", "MODE", "DISABLED", "DIR", "SWEEP_ID")
"""Variables, after ``WANDB_``, that would contradict what a mirrored run says of itself."""

Order = Literal["watch", "finish"]


@dataclass(frozen=True)
class Patience:
    """How long W&B may take, in seconds, before it is given up.

    Attributes:
        init: To accept a run.
        finish: To receive a run's last rows.
        quiet: Between two answers, while there is something to answer.
        last: At the end of a suite.
        live: Between two looks at the logs of runs that train.
    """

    init: float = 30.0
    finish: float = 60.0
    quiet: float = 100.0
    last: float = 120.0
    live: float = LIVE_SECONDS


class WorkerProcess:
    """The process that talks to W&B, seen from the one that must never wait for it.

    Args:
        target: Where runs go.
        patience: How long W&B may take.
    """

    def __init__(self, target: Target, patience: Patience) -> None:
        folder = target.root / "wandb"
        folder.mkdir(parents=True, exist_ok=True)
        # Caches beside the results, not in the user's home; and no prompt, whatever happens.
        environ = {
            **os.environ,
            "WANDB_CACHE_DIR": str(folder / "cache"),
            "WANDB_DATA_DIR": str(folder / "data"),
            "WANDB_ARTIFACT_DIR": str(folder / "artifacts"),
            "WANDB_SILENT": "true",
        }
        for name in OURS:
            environ.pop(f"WANDB_{name}", None)
        with (folder / LOG).open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "harness.tracking.wandb_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environ,
                text=True,
                # Ctrl-C is for the engine; this process ends when its input does.
                process_group=0,
            )
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._commands: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threads = (threading.Thread(target=loop, daemon=True) for loop in (self._read, self._write))
        self._threads = list(threads)
        for thread in self._threads:
            thread.start()
        fields = {**asdict(target), "root": str(target.root)}
        self._commands.put(json.dumps({"target": fields, "live_seconds": patience.live}))

    def tell(
        self, what: Literal["watch", "finish"], runs: Sequence[tuple[PlannedRun, Path]]
    ) -> None:
        """Hand over a command; never waits."""
        named = [[asdict(planned), str(path)] for planned, path in runs]
        self._commands.put(json.dumps({what: named}))

    def end_of_commands(self) -> None:
        """Let the process finish what it watches, and exit."""
        self._commands.put(None)

    def answer(self, seconds: float) -> dict[str, Any] | None:
        """Return the next answer; None at their end.

        Raises:
            queue.Empty: if none came in time.
        """
        if seconds <= 0:
            return self._answers.get_nowait()
        return self._answers.get(timeout=seconds)

    def stop(self) -> None:
        """Kill the process if it is still there, and give back all that it held."""
        self._commands.put(None)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for thread in self._threads:
            thread.join(timeout=5)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            try:
                self._answers.put(json.loads(line))
            except ValueError:
                break
        self._answers.put(None)

    def _write(self) -> None:
        """Write commands in a thread, because a pipe blocks when nobody reads its other end."""
        pipe = self._process.stdin
        if pipe is None:
            return
        with contextlib.suppress(OSError):
            while (line := self._commands.get()) is not None:
                pipe.write(line + "\n")
                pipe.flush()
            pipe.close()


def give_up(root: Path, why: str) -> TrackingError:
    """Word the one warning that a failing W&B causes."""
    return TrackingError(
        f"W&B stopped: {why}; the results are complete in {root}, `ganbench push {root}` sends the "
        f"rest (details: {root / 'wandb' / LOG})"
    )
