"""Checkpoints of one run: safetensors beside a JSON sidecar, two kept, none ever overwritten.

Order of a save: temporary file, flush, fsync, rename, fsync of the folder; then the sidecar in
the same way; and only then is the oldest removed. A checkpoint counts once its sidecar is there
and agrees with the tensors' hash, so a kill anywhere leaves the one before intact.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from harness.errors import StoreError
from harness.failpoints import failpoint
from harness.store.folders import sync_folder, write_atomically

KEPT = 2
SCHEMA = 1
COUNTERS = ("step", "d_updates", "g_updates", "d_rows", "g_rows")


@dataclass(frozen=True)
class Checkpoint:
    """A valid checkpoint on disk.

    Attributes:
        path: The safetensors file.
        counters: From :meth:`harness.training.trainer.Trainer.counters`.
        seconds: Training time spent up to it, over all attempts.
        evaluation_seconds: Time spent in evaluations up to it.
    """

    path: Path
    counters: dict[str, int]
    seconds: float
    evaluation_seconds: float

    @property
    def step(self) -> int:
        """The step after which it was taken."""
        return self.counters["step"]

    def tensors(self) -> dict[str, Tensor]:
        """Read the tensors; nothing in the file can run code."""
        return load(self.path.read_bytes())


def save_checkpoint(
    folder: Path,
    run_id: str,
    tensors: dict[str, Tensor],
    counters: dict[str, int],
    *,
    seconds: float,
    evaluation_seconds: float,
) -> None:
    """Save a run's state, then remove all but the newest two.

    Args:
        folder: The run's ``checkpoints`` folder.
        run_id: Id of the run's spec, checked when it is loaded.
        tensors: From :meth:`harness.training.trainer.Trainer.state`.
        counters: From :meth:`harness.training.trainer.Trainer.counters`.
        seconds: Training time so far.
        evaluation_seconds: Evaluation time so far.
    """
    data = save(tensors)
    path = folder / f"step-{counters['step']:08d}.safetensors"
    failpoint("checkpoint-begin")
    write_atomically(path, data)
    failpoint("checkpoint-tensors")
    sidecar = {
        "schema": SCHEMA,
        "run": run_id,
        "counters": counters,
        "seconds": seconds,
        "evaluation_seconds": evaluation_seconds,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    write_atomically(path.with_suffix(".json"), json.dumps(sidecar).encode())
    failpoint("checkpoint-sidecar")
    for old in sorted(folder.glob("step-*.json"))[:-KEPT]:
        old.unlink()
        failpoint("checkpoint-delete")
        old.with_suffix(".safetensors").unlink(missing_ok=True)
    valid = {sidecar.stem for sidecar in folder.glob("step-*.json")}
    for orphan in folder.glob("*.safetensors"):
        if orphan.stem not in valid:
            orphan.unlink()
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink()
    sync_folder(folder)


def find_checkpoints(folder: Path, run_id: str) -> list[Checkpoint]:
    """Return a run's valid checkpoints, the newest first; damaged ones are passed over.

    Raises:
        StoreError: if one belongs to another run, or a newer version wrote it.
    """
    found = []
    for sidecar in sorted(folder.glob("step-*.json"), reverse=True):
        try:
            info = json.loads(sidecar.read_bytes())
            owner, schema = info["run"], info["schema"]
            counters = {name: int(info["counters"][name]) for name in COUNTERS}
            seconds = float(info["seconds"]), float(info["evaluation_seconds"])
            digest = info["sha256"]
        except (ValueError, KeyError, TypeError):
            continue
        if owner != run_id:
            raise StoreError(f"{sidecar} belongs to run {owner}, not {run_id}; remove it")
        if schema > SCHEMA:
            raise StoreError(f"{sidecar} was written by a newer ganbench; update to resume it")
        path = sidecar.with_suffix(".safetensors")
        try:
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() != digest:
                continue
            load(data)
        except (OSError, SafetensorError):
            continue
        found.append(Checkpoint(path, counters, *seconds))
    return found
