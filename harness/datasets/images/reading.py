"""Decodes many image files at once, to a file of bytes, and says what became of each."""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.datasets.images.cache import ArrayCache
from harness.datasets.images.decoding import Crop, Undecodable, decode
from harness.datasets.images.files import Entry, ImageArchive, ImageFolder
from harness.errors import DataError

GROUP = 256
"""Files that are in memory at once."""
ANNOUNCED = 2_000
"""Files from which on a message says that decoding takes a while."""
LISTED = 5
"""Skipped files that a note names."""


@dataclass(frozen=True)
class ReadImages:
    """The image files that could be decoded.

    Attributes:
        images: ``(n, channels, size, size)``, mapped from a temporary file.
        names: Of the files, in the order in which they were given.
        hashes: SHA-256 of each file.
        skipped: Why each of the others could not be decoded, by name.
        remarks: How many images something had to be done to, by what it was.
    """

    images: NDArray[np.uint8]
    names: tuple[str, ...]
    hashes: tuple[bytes, ...]
    skipped: dict[str, str]
    remarks: Counter[str]


@contextmanager
def read_images(
    source: ImageFolder | ImageArchive,
    entries: Sequence[Entry],
    cache: ArrayCache,
    *,
    size: int,
    crop: Crop,
    channels: int,
) -> Iterator[ReadImages]:
    """Read and decode files with all cores; the images are gone after the context.

    Raises:
        DataError: if the cache has no room for the images.
    """
    if len(entries) >= ANNOUNCED:
        print(f"decoding {len(entries):,} images of {source.path}, once", file=sys.stderr)
    one = partial(_read_one, source, size=size, crop=crop, channels=channels)
    names: list[str] = []
    hashes: list[bytes] = []
    skipped: dict[str, str] = {}
    remarks: Counter[str] = Counter()
    workers = min(8, len(os.sched_getaffinity(0)))
    temporary = cache.temporary()
    try:
        with (
            temporary.open("wb") as file,
            ThreadPoolExecutor(workers) as pool,
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # Pillow's, of files that are odd but readable
            for start in range(0, len(entries), GROUP):
                group = entries[start : start + GROUP]
                for entry, outcome in zip(group, pool.map(one, group), strict=True):
                    if isinstance(outcome, str):
                        skipped[entry.name] = outcome
                        continue
                    digest, pixels, done = outcome
                    names.append(entry.name)
                    hashes.append(digest)
                    remarks.update(done)
                    file.write(pixels.tobytes())
        shape = (len(names), channels, size, size)
        images: NDArray[np.uint8] = np.zeros(shape, np.uint8)
        if names:
            images = np.memmap(temporary, np.uint8, "r", shape=shape)
        yield ReadImages(images, tuple(names), tuple(hashes), skipped, remarks)
    except OSError as error:
        raise DataError(f"cannot keep decoded images in {cache.folder}: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _read_one(
    source: ImageFolder | ImageArchive, entry: Entry, *, size: int, crop: Crop, channels: int
) -> tuple[bytes, NDArray[np.uint8], frozenset[str]] | str:
    try:
        data = source.read(entry)
        pixels, done = decode(data, size=size, crop=crop, channels=channels)
    except Undecodable as reason:
        return str(reason)
    return hashlib.sha256(data).digest(), pixels, done


def notes_of(read: ReadImages, broken: dict[str, str], others: int) -> tuple[str, ...]:
    """Put in words what was odd about the files: skipped ones by name, the rest in counts.

    Nothing is said of files that are no images, unless there is more to say.
    """
    notes = []
    failed = {**read.skipped, **broken}
    if failed:
        listed = [f"{name} ({why})" for name, why in sorted(failed.items())[:LISTED]]
        more = f" and {len(failed) - LISTED:,} more" if len(failed) > LISTED else ""
        total = len(read.names) + len(failed)
        notes.append(f"{len(failed):,} of {total:,} skipped: {', '.join(listed)}{more}")
    notes += [f"{count:,} {remark}" for remark, count in sorted(read.remarks.items())]
    twice = len(read.hashes) - len(set(read.hashes))
    if twice:
        notes.append(f"{twice:,} byte for byte like another, and in the same split")
    if notes and others:
        notes.append(f"{others:,} left alone, whose names are not those of images")
    return tuple(notes)


def listed(path: Path, notes: Sequence[str]) -> str:
    """Write notes as one message."""
    return f"{path}: {'; '.join(notes)}"
