"""Brings W&B to the state of a results folder: once, or for as long as its runs train."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Literal, NamedTuple

from harness.errors import ExitStatus, GanbenchError, StoreError
from harness.store.folders import hold
from harness.store.plan import read_plan
from harness.tracking.choice import TrackingError
from harness.tracking.wandb_run import FINISH_SECONDS, INIT_SECONDS, Sender, Target

LOG = "mirror.log"
"""In the results folder's ``wandb``: what W&B's client printed."""
OURS = ("RUN_ID", "RESUME", "MODE", "DISABLED", "DIR", "SWEEP_ID")
"""Variables, after ``WANDB_``, that would contradict what a mirrored run says of itself."""
QUIET_SECONDS = int(INIT_SECONDS + FINISH_SECONDS) + 10
"""That W&B may take for one run before it is given up."""


class Pushed(NamedTuple):
    """What a push has done: runs that were sent, and that could not be, by id."""

    sent: set[str]
    skipped: set[str]


def push(
    folder: Path,
    *,
    mode: Literal["offline", "online"],
    project: str,
    announce: Callable[[str], None],
    looks: Iterable[bool] = (True,),
) -> Pushed:
    """Bring W&B to the state of a results folder; what it has already is not sent again.

    Takes the process for W&B's client: its variables, its descriptors 0 to 2 (``sys.stdout`` and
    ``sys.stderr`` still lead where they led), and its alarm, which ends it where the client hangs.

    Args:
        folder: Such as ``results/stability``; runs may be in progress.
        mode: ``offline`` or ``online``.
        project: W&B project, or ``entity/project``.
        announce: Called with each line for the user.
        looks: Gives leave for each look at the folder, True for the last one. There are fewer
            where all runs of the plan have results.

    Returns:
        What was sent, and what could not be.

    Raises:
        StoreError: if the folder holds no results, any more or at all, or cannot be read or
            written.
        TrackingError: if W&B fails; what was sent until then is remembered.
    """
    plan, root = read_plan(folder), folder.resolve()
    target = Target(root, mode, project, plan.suite, plan.fingerprint)
    try:
        (root / "wandb").mkdir(exist_ok=True)
        _yield_process(root)
        with ExitStack() as stack:
            try:
                stack.enter_context(hold(root / "wandb"))
            except StoreError:
                # Offline, both would rewrite the same files.
                raise TrackingError(f"another process is mirroring {root}") from None
            return _send(target, announce, looks)
    except GanbenchError:
        raise
    except (Exception, SystemExit) as error:  # W&B may raise anything
        if (place := _place_below(root, error)) is not None:
            raise StoreError(place) from error
        traceback.print_exc(file=sys.__stderr__)
        raise give_up(root, _reason(error)) from error


def _yield_process(root: Path) -> None:
    """Leave variables, descriptors and the alarm to W&B's client.

    Its caches are beside the results, not in the user's home; and it can prompt nobody.
    """
    folder = root / "wandb"
    for name in OURS:
        os.environ.pop(f"WANDB_{name}", None)
    os.environ.update(
        WANDB_CACHE_DIR=str(folder / "cache"),
        WANDB_DATA_DIR=str(folder / "data"),
        WANDB_ARTIFACT_DIR=str(folder / "artifacts"),
        WANDB_SILENT="true",
    )
    sys.stdout, sys.stderr = (
        os.fdopen(os.dup(stream.fileno()), "w", buffering=1, errors="replace")
        for stream in (sys.stdout, sys.stderr)
    )
    with Path(os.devnull).open() as nothing, (folder / LOG).open("ab") as log:
        for number, file in enumerate((nothing, log, log)):
            os.dup2(file.fileno(), number)

    def end(number: int, frame: FrameType | None) -> None:
        why = f"no answer for {QUIET_SECONDS} s"
        print(f"error: {give_up(root, why)}", file=sys.stderr)
        os._exit(ExitStatus.BAD_INPUT)

    signal.signal(signal.SIGALRM, end)


def _send(target: Target, announce: Callable[[str], None], looks: Iterable[bool]) -> Pushed:
    senders: dict[str, Sender] = {}
    pushed = Pushed(set(), set())
    url: str | None = None
    for last in looks:
        # The plan may have grown since, or be gone with its folder.
        for planned in read_plan(target.root).runs:
            senders.setdefault(planned.id, Sender(target, planned))
        for run, sender in senders.items():
            if sender.is_done:
                continue
            signal.alarm(QUIET_SECONDS)
            try:
                if sender.send(last=last):
                    pushed.sent.add(run)
            except (StoreError, OSError) as error:
                told = _place_below(sender.path, error) if isinstance(error, OSError) else error
                if told is None:
                    raise
                announce(f"skipped {told}")
                pushed.skipped.add(run)
                sender.is_done = True
            if sender.url not in (None, url):
                url = sender.url
                announce(f"W&B: {url}")
        signal.alarm(0)
        if all(sender.is_done for sender in senders.values()):
            break
    return pushed


def _place_below(folder: Path, error: BaseException) -> str | None:
    """Say what is wrong with a file of ours; None if the error is about something else."""
    # Of two names the second is the one that was to be.
    name = (error.filename2 or error.filename) if isinstance(error, OSError) else None
    if not isinstance(error, OSError) or not isinstance(name, str):
        return None
    place = Path(name)
    return f"{place}: {error.strerror}" if place.is_relative_to(folder) else None


def give_up(root: Path, why: str) -> TrackingError:
    """Word the one warning that a failing W&B causes."""
    return TrackingError(
        f"W&B stopped: {why}; the results are complete in {root}, `ganbench push {root}` sends the "
        f"rest (details: {root / 'wandb' / LOG})"
    )


def _reason(error: BaseException) -> str:
    """Describe a failure of W&B in one short line."""
    if isinstance(error, GanbenchError):
        return str(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
