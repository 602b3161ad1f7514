"""Writes a results folder: atomically, and never outside its root."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from typing import Any

from harness.errors import CorruptRecordError, StoreError
from harness.spec import RunSpec
from harness.store.failpoints import failpoint
from harness.store.plan import read_plan
from harness.store.records import PLAN_SCHEMA, SuitePlan

REPLACED = "replaced"
"""Where in a results folder runs lie that were trained again, by their old folders."""


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file so that a reader, or a restart after a kill, sees the old or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        failpoint("replace")
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cache_folder() -> Path:
    """Return ``$XDG_CACHE_HOME/ganbench``, by default ``~/.cache/ganbench``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "ganbench"


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file atomically."""
    write_atomically(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


class Store:
    """The results folder of one suite.

    Args:
        root: Such as ``results/stability``; created if absent.

    Raises:
        StoreError: if it cannot be written, or is a link that leads elsewhere.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        if root.is_symlink():
            raise StoreError(f"{root} is a symbolic link; give the folder it points to")
        self._made = [each for each in (root / "runs", root, *root.parents) if not each.exists()]
        try:
            (root / "runs").mkdir(parents=True, exist_ok=True)
            probe = root / f".writable-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise StoreError(
                f"cannot write to {root}: {error.strerror}; choose another folder with --out"
            ) from error
        if (root / "runs").is_symlink():
            raise StoreError(f"{root / 'runs'} is a symbolic link; results stay under their root")

    def write_plan(self, plan: SuitePlan) -> None:
        """Write ``suite.json`` unless it already says the same."""
        places = {cell: i for i, cell in enumerate(dict.fromkeys(run.cell for run in plan.runs))}
        value = {
            "schema": PLAN_SCHEMA,
            **asdict(replace(plan, runs=())),
            "cells": [asdict(cell) for cell in places],
            "runs": [{**vars(run), "cell": places[run.cell]} for run in plan.runs],
        }
        data = (json.dumps(value, indent=1) + "\n").encode()
        file = self.root / "suite.json"
        if not file.exists() or file.read_bytes() != data:
            write_atomically(file, data)

    def folder(self, spec: RunSpec) -> Path:
        """Return a run's folder, which may not exist yet.

        Raises:
            StoreError: if the name would lead out of the root, or is a link.
        """
        path = self.root / "runs" / spec.slug
        if path.parent != self.root / "runs" or path.is_symlink():
            raise StoreError(f"{path} leads out of {self.root}")
        return path

    def create(self, spec: RunSpec) -> Path:
        """Create a run's folder with its ``spec.json``, or check the one that is there.

        Raises:
            StoreError: if the folder holds another spec.
        """
        path = self.folder(spec)
        (path / "samples").mkdir(parents=True, exist_ok=True)
        (path / "checkpoints").mkdir(exist_ok=True)
        file = path / "spec.json"
        if not file.exists():
            write_atomically(file, (spec.model_dump_json(indent=1) + "\n").encode())
        elif RunSpec.model_validate_json(file.read_bytes()).id != spec.id:
            raise StoreError(f"{file} describes another run; delete the folder to train it again")
        return path

    def make_room(self, spec: RunSpec) -> None:
        """Move the folder of a run that is to be trained again to ``replaced/``, whole.

        Raises:
            StoreError: if a live process trains it, or the folder leads elsewhere.
        """
        path, kept = self.folder(spec), self.root / REPLACED
        if kept.is_symlink():
            raise StoreError(f"{kept} is a symbolic link; results stay under their root")
        kept.mkdir(exist_ok=True)
        with hold(path):
            names = (kept / f"{path.name}-{number}" for number in count(1))
            path.rename(next(name for name in names if not name.exists()))
        sync_folder(kept)
        sync_folder(path.parent)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the whole folder for one invocation; see :func:`hold`.

        A command that is refused before it has a plan leaves nothing: folders that were made for
        it go again.
        """
        try:
            with hold(self.root):
                yield
        except BaseException:
            if self.root in self._made and not (self.root / "suite.json").exists():
                (self.root / ".lock").unlink(missing_ok=True)
                with suppress(OSError):  # something is in it after all
                    for folder in self._made:
                        folder.rmdir()
            raise


def begun_plan(root: Path) -> SuitePlan | None:
    """Return the plan that a results folder holds; None if there is none, or a damaged one.

    Raises:
        StoreError: if another version wrote it.
    """
    if not (root / "suite.json").exists():
        return None
    try:
        return read_plan(root)
    except CorruptRecordError:
        return None


@contextmanager
def hold(folder: Path, patience: float = 0.0) -> Iterator[None]:
    """Hold a folder's lock; the kernel drops it when the process dies, however it dies.

    Args:
        folder: Where the lock is.
        patience: Seconds to wait for a live process that has it.

    Raises:
        StoreError: naming the holder, if a live process has it.
    """
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    deadline = time.monotonic() + patience
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.1)
                    continue
                holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
                raise StoreError(
                    f"{folder} is in use by {holder or 'another process'}; "
                    "wait for it to end, or choose another folder with --out"
                ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield
    finally:
        os.close(descriptor)
