"""Finds the processes that serve a folder, so that a test can show that none is left behind."""

from __future__ import annotations

import time
from pathlib import Path


def serving(root: Path) -> list[str]:
    """Return the commands of live processes whose environment names a folder (Linux)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environ = (process / "environ").read_bytes()
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except OSError:
            continue
        if f"={root}/".encode() in environ:
            found.append(command)
    return found


def still_serving(root: Path, patience: float = 10.0) -> list[str]:
    """Wait until no process serves a folder; return those that stay."""
    deadline = time.monotonic() + patience
    while (found := serving(root)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found
