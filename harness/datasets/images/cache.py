"""Keeps decoded images as arrays on disk, mapped into memory when they are used."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.datasets.base import Examples
from harness.errors import DataError
from harness.spec import Split, content_id
from harness.store.folders import cache_folder, write_json

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Kept:
    """One split as it is kept.

    Attributes:
        count: Images.
        sha256: Hash of values and labels, as :attr:`Examples.sha256` has it; names the files.
        labels: Whether there are labels.
    """

    count: int
    sha256: str
    labels: bool


@dataclass(frozen=True)
class Decoded:
    """A decoded set of images.

    Attributes:
        fingerprint: Names the files' content, whatever decoded them.
        classes: Names of the classes, in the order of their labels; None without labels.
        notes: What is to be known of the files: skipped, converted.
        splits: The three arrays.
    """

    fingerprint: str
    classes: tuple[str, ...] | None
    notes: tuple[str, ...]
    splits: dict[Split, Kept]


class ArrayCache:
    """A folder of decoded images; deleting it costs only the time to decode them again."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder if folder is not None else cache_folder() / "images"

    def find(self, key: dict[str, Any]) -> Decoded | None:
        """Return what was kept under a key; None if there is nothing, or not all of it."""
        try:
            record = json.loads(self._record(key).read_bytes())
            splits: dict[Split, Kept] = {s: Kept(**record["splits"][s]) for s in SPLITS}
            classes = record["classes"]
            decoded = Decoded(
                record["fingerprint"],
                tuple(classes) if classes is not None else None,
                tuple(record["notes"]),
                splits,
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
        files = [file for kept in splits.values() for file in self._files(kept)]
        return decoded if all(file.is_file() for file in files) else None

    def keep(self, key: dict[str, Any], decoded: Decoded) -> None:
        """Keep a record whose arrays are there.

        Raises:
            DataError: if there is no room for it.
        """
        try:
            write_json(self._record(key), asdict(decoded))
        except OSError as error:
            raise DataError(f"cannot keep decoded images in {self.folder}: {error}") from error

    def write(self, images: NDArray[np.uint8], order: NDArray[np.int64], labels: Any) -> Kept:
        """Write one split.

        Args:
            images: All decoded images ``(n, channels, size, size)``, in any order.
            order: Which of them are the split's, in the split's order.
            labels: int64 label of every image; None without.

        Raises:
            DataError: if there is no room for it.
        """
        own = torch.from_numpy(labels[order]) if labels is not None else None
        temporary = self.temporary()
        try:
            with temporary.open("wb") as file:
                header = {
                    "descr": "|u1",
                    "fortran_order": False,
                    "shape": (len(order), *images.shape[1:]),
                }
                np.lib.format.write_array_header_1_0(file, header)
                for start in range(0, len(order), 1024):
                    file.write(images[order[start : start + 1024]].tobytes())
                file.flush()
                os.fsync(file.fileno())
            values = torch.from_numpy(np.load(temporary, mmap_mode="c"))
            kept = Kept(len(order), Examples(values, own).sha256, own is not None)
            files = self._files(kept)
            if own is not None:
                scratch = self.temporary()
                with scratch.open("wb") as file:
                    np.save(file, own.numpy())
                scratch.replace(files[1])
            temporary.replace(files[0])
        except OSError as error:
            raise DataError(f"cannot keep decoded images in {self.folder}: {error}") from error
        finally:
            temporary.unlink(missing_ok=True)
        return kept

    def load(self, kept: Kept) -> Examples | None:
        """Map one split into memory; None if its files are not what they were."""
        files = self._files(kept)
        with suppress(OSError, ValueError, EOFError):
            values = torch.from_numpy(np.load(files[0], mmap_mode="c"))
            labels = torch.from_numpy(np.load(files[1])) if kept.labels else None
            examples = Examples(values, labels)
            if examples.sha256 == kept.sha256:
                return examples
        return None

    def temporary(self) -> Path:
        """Name a new file in the folder.

        Raises:
            DataError: if the folder cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"decoded images need a cache, and {self.folder} cannot be made "
                f"({error.strerror}); set XDG_CACHE_HOME to a folder that can be written"
            ) from error
        self._sweep()
        return self.folder / f".{os.getpid()}-{os.urandom(4).hex()}.tmp"

    def _sweep(self) -> None:
        """Delete what a killed process left behind a day ago or longer."""
        for file in self.folder.glob(".*.tmp"):
            with suppress(OSError):
                if time.time() - file.stat().st_mtime > 86_400:
                    file.unlink()

    def _record(self, key: dict[str, Any]) -> Path:
        return self.folder / f"{content_id(key, 32)}.json"

    def _files(self, kept: Kept) -> list[Path]:
        stem = self.folder / kept.sha256[:32]
        return [
            stem.with_suffix(s) for s in ((".npy", ".labels.npy") if kept.labels else (".npy",))
        ]
