"""Runs ``ganbench push`` as users do, in a process of its own, with the patience of a test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from harness.errors import ExitStatus
from harness.tracking.choice import TrackingError

PATIENCE = "TEST_PATIENCE"


@dataclass(frozen=True)
class Patience:
    """Seconds: to accept a run, to end it, for one run in all, and between two looks at logs."""

    init: float = 30.0
    finish: float = 60.0
    quiet: int = 100
    look: float = 0.1


def be_impatient(monkeypatch: pytest.MonkeyPatch, patience: Patience) -> None:
    """Let every push from now on, also that of a mirror, wait no longer."""
    monkeypatch.setenv(PATIENCE, json.dumps(asdict(patience)))
    monkeypatch.setattr("harness.tracking.wandb_mirror.PUSH", (__name__, "push"))


def command(root: Path, mode: str, project: str, *options: str) -> list[str]:
    """Return the words of a push."""
    words = [sys.executable, "-m", __name__, "push", str(root), "--wandb", mode]
    return [*words, "--project", project, *options]


def push(
    root: Path, *, mode: str, project: str, announce: Callable[[str], None] | None = None
) -> int:
    """Push a results folder; return how many runs it says it has sent.

    Raises:
        TrackingError: with what it says went wrong, unless it has only left out damaged runs.
    """
    done = subprocess.run(
        command(root, mode, project),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    left_out = any(line.startswith("skipped ") for line in lines)
    if done.returncode not in (ExitStatus.DONE, ExitStatus.INCOMPLETE):
        raise TrackingError(done.stderr)
    assert done.stderr == ""
    assert left_out == (done.returncode == ExitStatus.INCOMPLETE)
    for line in lines[:-1]:
        if announce is not None:
            announce(line)
    return int(lines[-1].split()[1])


if __name__ == "__main__":
    from harness import cli
    from harness.commands import push as command_module
    from harness.tracking import wandb_push, wandb_run

    chosen = Patience(**json.loads(os.environ.get(PATIENCE, "{}")))
    wandb_run.INIT_SECONDS = chosen.init
    wandb_run.FINISH_SECONDS = chosen.finish
    wandb_push.QUIET_SECONDS = chosen.quiet
    command_module.LOOK_SECONDS = chosen.look
    cli.main()
