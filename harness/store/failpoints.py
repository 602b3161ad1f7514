"""Named places where tests make a process die or fail; inert unless the environment names one.

``GANBENCH_FAILPOINT=name:count:action`` acts the ``count``-th time that ``name`` is reached.
Actions: ``kill`` (SIGKILL to itself), ``term`` (SIGTERM to itself), ``full`` (no space left on
device), ``hang`` (sleep for an hour).
"""

from __future__ import annotations

import errno
import os
import signal
import time

_reached: dict[str, int] = {}


def failpoint(name: str) -> None:
    """Fail here if the environment asks for it."""
    plan = os.environ.get("GANBENCH_FAILPOINT")
    if not plan:
        return
    wanted, count, action = plan.split(":")
    if wanted != name:
        return
    _reached[name] = _reached.get(name, 0) + 1
    if _reached[name] != int(count):
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "term":
        os.kill(os.getpid(), signal.SIGTERM)
    elif action == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
    elif action == "hang":
        time.sleep(3600)
    else:
        raise ValueError(f"unknown failpoint action {action!r}")
