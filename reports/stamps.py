"""Tells quickly whether the records of a thousand runs have changed: by size and time of each."""

from __future__ import annotations

import os
from pathlib import Path

Stamp = tuple[tuple[str, int, int], ...]
"""Name, size and time of change of what a report shows of a run's folder."""
SHOWN = ("events.jsonl", "spec.json", "checkpoints", "networks.json")
"""Beside environments."""


def stamp(folder: str) -> Stamp:
    """Return the stamp of a run's folder; nothing where it is none."""
    try:
        with os.scandir(folder) as entries:
            stats = [
                (entry.name, entry.stat())
                for entry in entries
                if entry.name in SHOWN or entry.name.startswith("environment-")
            ]
    except OSError:
        return ()
    return tuple(sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats))


def stamps(folder: Path) -> dict[str, Stamp]:
    """Return the stamps of all runs of a results folder, by the name of each folder."""
    try:
        with os.scandir(folder / "runs") as entries:
            return {entry.name: stamp(entry.path) for entry in entries}
    except OSError:
        return {}
