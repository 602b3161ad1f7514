"""Keeps reference statistics on disk, under a key that holds all that they depend on."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from harness.spec import canonical_json, content_id
from harness.store.folders import write_atomically


class ReferenceCache:
    """A folder of statistics; deleting it costs only the time to compute them again.

    A file starts with the SHA-256 of the rest, so a damaged one is noticed and computed anew.

    Args:
        folder: Created when first written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: dict[str, Any]) -> Path:
        """Name the file of a key."""
        return self.folder / f"reference-{content_id(key, 32)}.safetensors"

    def read(self, key: dict[str, Any]) -> dict[str, Tensor] | None:
        """Return what was kept under a key; None if there is nothing, or nothing whole."""
        try:
            data = self.path(key).read_bytes()
        except OSError:
            return None
        digest, content = data[:32], data[32:]
        if hashlib.sha256(content).digest() != digest:
            return None
        try:
            tensors = load(content)
        except SafetensorError:
            return None
        return tensors

    def write(self, key: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Keep tensors under a key; where that is impossible, warn and go on."""
        content = save(
            {name: tensor.contiguous() for name, tensor in tensors.items()},
            metadata={"key": canonical_json(key)},
        )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path(key), hashlib.sha256(content).digest() + content)
        except OSError as error:
            warnings.warn(
                f"reference statistics cannot be kept in {self.folder} ({error.strerror}) and "
                "will be computed again each time",
                stacklevel=2,
            )
