"""Remembers that a command has been carried out whole, so that the same one need not load PyTorch.

A finished suite that is run again has to say so at once. What its runs *are* takes every part of
the program to tell; whether anything has changed since they were all done takes the suite file,
the program's files, and size and time of the runs' records. Where in doubt, the long way is gone.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import GanbenchError
from harness.suite.files import suite_bytes
from harness.suite.strict_yaml import parse
from harness.tracking.choice import choose_mode

if TYPE_CHECKING:
    from harness.suite.matrix import Matrix

MARK = ".finished.json"
"""In a results folder: which command left nothing to do there, and what it left."""
GROUPS = ("variants", "tricks", "datasets", "networks", "metrics", "extractors", "probes")


@dataclass(frozen=True)
class RerunShortcut:
    """What ``ganbench run`` was asked.

    Attributes:
        suite: Name or path.
        out: The results folder; None for the suite's own.
        only: Conditions on cells.
        seeds: Number of seeds, in place of the suite's.
        profile: Profile of the suite file.
        device: ``auto``, ``cpu`` or ``cuda``.
        wandb: Mode of the mirror; None for the default.
        foreign: Plugins and extractors, whose files nobody here knows.
    """

    suite: str
    out: Path | None
    only: Sequence[str]
    seeds: int | None
    profile: str | None
    device: str
    wandb: str | None
    foreign: Sequence[str]

    @cached_property
    def content(self) -> bytes | None:
        """The suite file; None if it cannot be read."""
        try:
            return suite_bytes(self.suite)
        except (GanbenchError, OSError):
            return None

    @property
    def folder(self) -> Path | None:
        """The results folder; None if the suite does not say its name."""
        if self.out is not None:
            return self.out
        value = None if self.content is None else parse(self.content).value
        name = value.get("suite") if isinstance(value, dict) else None
        return Path("results") / name if isinstance(name, str) else None

    def key(self) -> str:
        """Name the command, the suite and the program together."""
        asked = [self.suite, sorted(self.only), self.seeds, self.profile]
        digest = hashlib.sha256(json.dumps(asked).encode() + (self.content or b""))
        root = Path(__file__).parents[2]
        for package in ("harness", "suites"):
            for line in stamps(sorted((root / package).rglob("*.py")), root):
                digest.update(line)
        return digest.hexdigest()

    def result(self) -> str | None:
        """Say that all is done, if nothing has changed since it was; None if that is not known.

        Raises:
            GanbenchError: if W&B is asked for in a way that there is not.
        """
        folder = self.folder
        if self.foreign or self.device not in ("auto", "cpu") or folder is None:
            return None
        try:
            mark = json.loads((folder / MARK).read_bytes())
            same = mark["key"] == self.key() and mark["records"] == records(folder)
            told = str(mark["told"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if not same:
            return None
        choose_mode(self.wandb, os.environ)
        return told

    def remember(self, folder: Path, matrix: Matrix) -> None:
        """Note that the command left nothing to do, unless what it rests on lies elsewhere."""
        from harness.datasets.base import datasets
        from harness.store.folders import write_json

        elsewhere = any(
            spec.dataset.where or datasets.get(spec.dataset.id).needs_root for spec in matrix.specs
        )
        parts = any(entry_points(group=f"ganbench.{group}") for group in GROUPS)
        if self.foreign or elsewhere or parts or self.content is None:
            return
        told = f"all {len(matrix.selected)} runs of {matrix.plan.suite} are done"
        mark: dict[str, Any] = {"key": self.key(), "records": records(folder)}
        write_json(folder / MARK, {**mark, "told": told})


def records(folder: Path) -> str:
    """Name the plan and the records of all runs by place, size and time of change."""
    digest = hashlib.sha256()
    runs = sorted(entry.path for entry in os.scandir(folder / "runs"))
    files = [Path(run) / name for run in runs for name in ("spec.json", "events.jsonl")]
    for line in stamps([folder / "suite.json", *files], folder):
        digest.update(line)
    return digest.hexdigest()


def stamps(files: Sequence[Path], root: Path) -> Iterator[bytes]:
    """Write a line for each file: its place, size and time of change."""
    for file in files:
        stat = os.stat(file)  # noqa: PTH116 - thousands of them
        line = f"{str(file)[len(str(root)) :]}\0{stat.st_size}\0{stat.st_mtime_ns}\n"
        yield line.encode(errors="surrogateescape")
