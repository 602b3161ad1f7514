"""``ganbench push``: mirrors a results folder to W&B."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from harness.errors import ExitStatus, GanbenchError
from harness.store.wording import printable
from harness.tracking.choice import check_project, choose_mode
from harness.tracking.wording import counted

LOOK_SECONDS = 15.0
"""Between two looks at the logs of runs that train; shorter runs are sent when they end."""


def push_results(
    folder: Path, *, wandb: str | None, project: str, follow: bool, until_eof: bool
) -> NoReturn:
    """Mirror a results folder to W&B, say how many runs were sent, and end the process.

    Args:
        folder: The results folder; while it is followed, its plan may grow.
        wandb: What ``--wandb`` says.
        project: W&B project, or ``entity/project``.
        follow: Go on until all runs have results.
        until_eof: Until standard input ends, if that is sooner.

    Raises:
        GanbenchError: if there is nowhere to push to.
    """
    from harness.tracking.wandb_push import push

    check_project(project)
    mode, message = choose_mode(wandb, os.environ)
    if mode == "disabled":
        raise GanbenchError(message or "--wandb disabled leaves nowhere to push to")
    looks = _looks(os.dup(0) if until_eof else None) if follow else (True,)
    code = ExitStatus.DONE
    try:
        pushed = push(folder, mode=mode, project=project, announce=print, looks=looks)
        if pushed.skipped:
            code = ExitStatus.INCOMPLETE
        if not follow:
            print(f"pushed {counted(len(pushed.sent), 'run')}")
    except GanbenchError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        code = ExitStatus.BAD_INPUT
    except KeyboardInterrupt:
        code = ExitStatus.INTERRUPTED
    with suppress(OSError):
        sys.stdout.flush()
    # Past W&B's exit handlers, which wait for the network; its service ends with this process.
    os._exit(code)


def _looks(source: int | None) -> Iterator[bool]:
    """Give leave for a look at the folder now and then, and for the last one when input ends."""
    ended: list[int] = []
    while not ended:
        yield False
        ended, _, _ = select.select([] if source is None else [source], [], [], LOOK_SECONDS)
    yield True
