"""Remembers that a command has been carried out whole, so that the same one need not load PyTorch.

A finished suite that is run again has to say so at once. What its runs *are* takes every part of
the program to tell; whether anything has changed since they were all done takes the suite file,
the program's files and those of plugins, and size and time of the runs' records. Where in doubt,
the long way is gone.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands.options import RunOptions
from harness.errors import GanbenchError
from harness.registry import any_installed
from harness.store.code import sources_of
from harness.suite.files import suite_bytes
from harness.suite.strict_yaml import parse
from harness.tracking.choice import choose_mode

if TYPE_CHECKING:
    from harness.suite.matrix import Matrix

MARK = ".finished.json"
"""In a results folder: which command left nothing to do there, and what it left."""


@dataclass(frozen=True)
class RerunShortcut:
    """What lets the same ``ganbench run`` answer at once that all is done.

    Attributes:
        options: What the command was asked.
    """

    options: RunOptions

    @cached_property
    def content(self) -> bytes | None:
        """The suite file; None if it cannot be read."""
        try:
            return suite_bytes(self.options.suite)
        except (GanbenchError, OSError):
            return None

    @property
    def folder(self) -> Path | None:
        """The results folder; None if the suite does not say its name."""
        if self.options.out is not None:
            return self.options.out
        value = None if self.content is None else parse(self.content).value
        name = value.get("suite") if isinstance(value, dict) else None
        return self.options.folder(name) if isinstance(name, str) else None

    @property
    def foreign(self) -> bool:
        """Whether something takes part whose files nobody here knows: only plugins' files are."""
        plugins = self.options.plugins
        named = any(not name.endswith(".py") for name in plugins)
        return named or not all(self.plugin_code) or bool(self.options.extractors)

    @cached_property
    def plugin_code(self) -> list[dict[str, str]]:
        """What each plugin's files hold, without importing them; nothing where they are absent."""
        return [sources_of(Path(name)) for name in self.options.plugins]

    def key(self) -> str:
        """Name the command, the suite and the program together."""
        options = self.options
        asked: list[Any] = [options.suite, sorted(options.only), options.seeds, options.profile]
        asked += self.plugin_code
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
        if self.foreign or self.options.device not in ("auto", "cpu") or folder is None:
            return None
        try:
            mark = json.loads((folder / MARK).read_bytes())
            same = mark["key"] == self.key() and mark["records"] == records(folder)
            told = str(mark["told"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if not same or any_installed():
            return None
        choose_mode(self.options.wandb, os.environ)
        return told

    def remember(self, folder: Path, matrix: Matrix) -> None:
        """Note that the command left nothing to do, unless what it rests on lies elsewhere."""
        from harness.datasets.base import datasets
        from harness.store.folders import write_json

        elsewhere = any(
            spec.dataset.where or datasets.get(spec.dataset.id).needs_root for spec in matrix.specs
        )
        if self.foreign or elsewhere or any_installed() or self.content is None:
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
