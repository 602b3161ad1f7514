"""Checkpoints of one run: safetensors beside a JSON sidecar, two kept, none ever overwritten.

Order of a save: temporary file, flush, fsync, rename, fsync of the folder; then the sidecar in
the same way; and only then is the oldest removed. A checkpoint counts once its sidecar is there
and agrees with the tensors' hash, so a kill anywhere leaves the one before intact.

A run that has its result goes no further: all that stays of its checkpoints is ``networks.*``, in
the same format, without what only training needs.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from harness.errors import StoreError
from harness.store.failpoints import failpoint
from harness.store.folders import sync_folder, write_atomically

KEPT = 2
SCHEMA = 1
COUNTERS = ("step", "d_updates", "g_updates", "d_rows", "g_rows")
NETWORKS = "networks"
TRAINING_ONLY = ("optimizer_g", "optimizer_d", "monitor")
"""Parts of a state that nobody needs who only looks at the networks."""


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
    failpoint("checkpoint-begin")
    _write(
        folder / f"step-{counters['step']:08d}",
        tensors,
        {
            "run": run_id,
            "counters": counters,
            "seconds": seconds,
            "evaluation_seconds": evaluation_seconds,
        },
    )
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


def keep_networks(folder: Path, run_id: str) -> None:
    """Reduce a run that has its result to its networks at their last checkpoint, if it has one.

    Args:
        folder: The run's folder.
        run_id: Id of the run's spec.
    """
    checkpoints = find_checkpoints(folder / "checkpoints", run_id)
    if not checkpoints:
        return
    last = checkpoints[0]
    tensors = {
        name: tensor
        for name, tensor in last.tensors().items()
        if name.partition("/")[0] not in TRAINING_ONLY
    }
    info = json.loads(last.path.with_suffix(".json").read_bytes())
    _write(folder / NETWORKS, tensors, info)
    failpoint("networks-kept")
    for file in (folder / "checkpoints").iterdir():
        file.unlink()


def _write(path: Path, tensors: dict[str, Tensor], info: dict[str, Any]) -> None:
    """Write tensors and then the sidecar that makes them count, each durably."""
    data = save(tensors)
    write_atomically(path.with_suffix(".safetensors"), data)
    failpoint("checkpoint-tensors")
    sidecar = {**info, "schema": SCHEMA, "sha256": hashlib.sha256(data).hexdigest()}
    write_atomically(path.with_suffix(".json"), json.dumps(sidecar).encode())
    failpoint("checkpoint-sidecar")


def find_checkpoints(folder: Path, run_id: str) -> list[Checkpoint]:
    """Return a run's valid checkpoints, the newest first; damaged ones are passed over.

    Raises:
        StoreError: if one belongs to another run, or a newer version wrote it.
    """
    sidecars = sorted(folder.glob("step-*.json"), reverse=True)
    checkpoints = [_read(sidecar, run_id) for sidecar in sidecars]
    return [checkpoint for checkpoint in checkpoints if checkpoint is not None]


def last_state(folder: Path, run_id: str) -> Checkpoint | None:
    """Return the newest state of a run's networks: of training, else what is kept at its end.

    Args:
        folder: The run's folder.
        run_id: Id of the run's spec.

    Raises:
        StoreError: if one belongs to another run, or a newer version wrote it.
    """
    checkpoints = find_checkpoints(folder / "checkpoints", run_id)
    return checkpoints[0] if checkpoints else _read(folder / f"{NETWORKS}.json", run_id)


def _read(sidecar: Path, run_id: str) -> Checkpoint | None:
    try:
        info = json.loads(sidecar.read_bytes())
        owner, schema = info["run"], info["schema"]
        counters = {name: int(info["counters"][name]) for name in COUNTERS}
        seconds = float(info["seconds"]), float(info["evaluation_seconds"])
        digest = info["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if owner != run_id:
        raise StoreError(f"{sidecar} belongs to run {owner}, not {run_id}; remove it")
    if schema > SCHEMA:
        raise StoreError(f"{sidecar} was written by a newer ganbench; update to resume it")
    path = sidecar.with_suffix(".safetensors")
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            return None
        load(data)
    except (OSError, SafetensorError):
        return None
    return Checkpoint(path, counters, *seconds)
