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
from typing import Literal

from harness.errors import CorruptRecordError, ExitStatus, GanbenchError, StoreError
from harness.store.folders import hold
from harness.store.plan import read_plan
from harness.store.records import SuitePlan
from harness.tracking.choice import TrackingError
from harness.tracking.wandb_run import FINISH_SECONDS, INIT_SECONDS, Sender, Target

LOG = "mirror.log"
"""In the results folder's ``wandb``: what W&B's client printed."""
OURS = ("RUN_ID", "RESUME", "MODE", "DISABLED", "DIR", "SWEEP_ID")
"""Variables, after ``WANDB_``, that would contradict what a mirrored run says of itself."""
QUIET_SECONDS = int(INIT_SECONDS + FINISH_SECONDS) + 10
"""That W&B may take for one run before it is given up."""


def push(
    folder: Path,
    *,
    mode: Literal["offline", "online"],
    project: str,
    announce: Callable[[str], None],
    looks: Iterable[bool] = (True,),
) -> int:
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
        How many runs were sent.

    Raises:
        StoreError: if the folder holds no results.
        TrackingError: if W&B fails; what was sent until then is remembered.
    """
    plan, root = read_plan(folder), folder.resolve()
    target = Target(root, mode, project, plan.suite, plan.fingerprint)
    (root / "wandb").mkdir(exist_ok=True)
    _yield_process(root)
    try:
        with ExitStack() as stack:
            try:
                stack.enter_context(hold(root / "wandb"))
            except StoreError:
                # Offline, both would rewrite the same files.
                raise TrackingError(f"another process is mirroring {root}") from None
            return _send(target, plan, announce, looks)
    except StoreError:
        raise
    except (Exception, SystemExit) as error:  # W&B may raise anything
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


def _send(
    target: Target, plan: SuitePlan, announce: Callable[[str], None], looks: Iterable[bool]
) -> int:
    senders = [Sender(target, planned) for planned in plan.runs]
    sent: set[str] = set()
    url: str | None = None
    for last in looks:
        for sender in senders:
            signal.alarm(QUIET_SECONDS)
            try:
                if sender.send(last=last):
                    sent.add(sender.planned.id)
            except CorruptRecordError as error:
                announce(f"skipped {error}")
                sender.is_done = True
            if sender.url not in (None, url):
                url = sender.url
                announce(f"W&B: {url}")
        signal.alarm(0)
        senders = [sender for sender in senders if not sender.is_done]
        if not senders:
            break
    return len(sent)


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
