"""The server that forks jobs: it has imported PyTorch once and does nothing else.

Nothing here imports anything large, so that the server can be about its imports while the command
that will need it is about its own.
"""

from __future__ import annotations

import atexit
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import pkgutil
import signal
from contextlib import suppress
from pathlib import Path

from harness.registry import KINDS

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks an engine to stop."""


def preloaded() -> list[str]:
    """Name what every job imports, seconds of it: the server does so once for all of them.

    That is every module in which parts are found by being there. Plugins are not among them,
    since one that fails is to be told of by the job that needs it. The last is what PyTorch
    imports for the first gradient, half a second of it.
    """
    root = Path(__file__).parents[2]
    parts = [
        f"{kind.package}.{module.name}"
        for kind in KINDS.values()
        for module in pkgutil.iter_modules([str(root.joinpath(*kind.package.split(".")))])
    ]
    return ["harness.jobs.job", *parts, "torch.fx.experimental.symbolic_shapes"]


def start_fork_server() -> None:
    """Start the process that forks jobs, deaf to what is meant for the engine.

    Ctrl-C in a terminal, and a scheduler's signal, reach every process of the group. The server
    inherits blocked signals; jobs unblock them. It ends with the process that started it.
    """
    server = multiprocessing.forkserver
    server.set_forkserver_preload(preloaded())
    # First, because it unblocks the signals that it blocks for itself.
    multiprocessing.resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        server.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    atexit.unregister(end_fork_server)
    atexit.register(end_fork_server, os.getpid())


def end_fork_server(owner: int) -> None:
    """Kill the server of a process: amid its imports it would keep the terminal for seconds."""
    pid = getattr(multiprocessing.forkserver._forkserver, "_forkserver_pid", None)
    if pid is not None and os.getpid() == owner:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
