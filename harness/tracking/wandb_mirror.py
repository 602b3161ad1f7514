"""Mirrors runs to W&B while they train: by ``ganbench push DIR --follow``, a process beside."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from harness.errors import ExitStatus
from harness.store.events import Event
from harness.store.records import SuitePlan
from harness.tracking.base import Mirror, TrackedRun
from harness.tracking.choice import TrackingError
from harness.tracking.wandb_push import give_up

PATIENCE = 120.0
"""Seconds that W&B may take at the end of a suite."""
UNTOLD = 2.0
"""Seconds of waiting for it that need no word."""
PUSH = ("harness.cli", "push")
"""Module and command that the process runs."""


class WandbMirror(Mirror):
    """Has a process of its own follow the results folder, and says how it fares.

    Args:
        mode: Where to.
        project: W&B project, or ``entity/project``.
        folder: The results folder.
        announce: Called from a thread with each line of the process, such as the project's address.
        patience: Seconds that W&B may take at the end.

    Its methods never wait for W&B, except the last one. When W&B fails they raise TrackingError
    once; from then on they do nothing.
    """

    def __init__(
        self,
        mode: Literal["offline", "online"],
        *,
        project: str,
        folder: Path,
        announce: Callable[[str], None],
        patience: float = PATIENCE,
    ) -> None:
        self._mode = mode
        self._project = project
        self._folder = folder.resolve()
        self._announce = announce
        self._patience = patience
        self._process: subprocess.Popen[str] | None = None
        self._listener: threading.Thread | None = None
        self._error = ""

    def suite_started(self, plan: SuitePlan, pending: Sequence[TrackedRun], finished: int) -> None:
        """Start the process."""
        if not pending:
            return
        asked = ("--follow", "--until-eof", "--wandb", self._mode, "--project", self._project)
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", *PUSH, str(self._folder), *asked],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Ctrl-C is for the engine; this process ends when its input does.
            process_group=0,
        )
        self._listener = threading.Thread(target=self._listen, args=(self._process,), daemon=True)
        self._listener.start()

    def event(self, run: TrackedRun, event: Event) -> None:
        """See whether the process is well; what happened it reads from the store."""
        if self._process is not None and self._process.poll() is not None:
            self._end(self._process)

    def suite_ended(self) -> None:
        """Wait for W&B to have everything, but not for long."""
        process = self._process
        if process is None:
            return
        try:
            if process.stdin is not None:
                process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(min(UNTOLD, self._patience))
            if process.poll() is None:
                self._announce(
                    f"waiting for W&B to take what is left, {self._patience:.0f} s at most"
                )
                process.wait(max(0.0, self._patience - UNTOLD))
        except subprocess.TimeoutExpired:
            self._error = str(give_up(self._folder, "it took too long at the end"))
        finally:
            process.kill()
        self._end(process)

    def _listen(self, process: subprocess.Popen[str]) -> None:
        for line in process.stdout or ():
            if line.startswith("error: "):
                self._error = line.removeprefix("error: ").strip()
            else:
                self._announce(line.rstrip("\n"))

    def _end(self, process: subprocess.Popen[str]) -> None:
        """Give back all that the process held.

        Raises:
            TrackingError: unless it ended well.
        """
        self._process = None
        if self._listener is not None:
            self._listener.join()
        with process:
            code = process.wait()
        # A run that could not be read has been named.
        if code not in (ExitStatus.DONE, ExitStatus.INCOMPLETE):
            why = self._error or str(give_up(self._folder, "its process ended early"))
            raise TrackingError(why)
