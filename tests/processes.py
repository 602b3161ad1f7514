"""Finds the processes that serve a folder, so that a test can show that none is left behind."""

from __future__ import annotations

import time
from pathlib import Path


def serving(root: Path) -> list[str]:
    """Return the commands of live processes that name a folder, or a variable of which does."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environ = (process / "environ").read_bytes()
            words = (process / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if f"={root}/".encode() in environ or str(root) in words:
            found.append(" ".join(words).strip())
    return found


def still_serving(root: Path, patience: float = 10.0) -> list[str]:
    """Wait until no process serves a folder; return those that stay."""
    deadline = time.monotonic() + patience
    while (found := serving(root)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found
