"""Decodes many image files at once, to a file of bytes, and says what became of each."""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.datasets.images.cache import ArrayCache
from harness.datasets.images.decoding import (
    SIXTEEN_BIT,
    SIXTEEN_BIT_CHANNELS,
    Crop,
    Picture,
    Undecodable,
    decode,
    depth_of,
    shallow,
    shallow_channels,
)
from harness.datasets.images.files import Entry, ImageArchive, ImageFolder
from harness.datasets.images.layout import few
from harness.errors import DataError

GROUP = 256
"""Files that are in memory at once."""
ANNOUNCED = 2_000
"""Files from which on a message says that decoding takes a while."""
Outcome = tuple[bytes, Picture] | str
"""SHA-256 of a file and what it decodes to, or why it does not."""


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

    Levels of 16 bits, of which all images together use only some, are taken as if they had no more.

    Raises:
        DataError: if the cache has no room for the images.
    """
    if len(entries) >= ANNOUNCED:
        print(f"decoding {len(entries):,} images of {source.path}, once", file=sys.stderr)
    names: list[str] = []
    hashes: list[bytes] = []
    skipped: dict[str, str] = {}
    remarks: Counter[str] = Counter()
    peaks: dict[str, list[int]] = {SIXTEEN_BIT: [], SIXTEEN_BIT_CHANNELS: []}
    grey: dict[Entry, int] = {}
    workers = min(8, len(os.sched_getaffinity(0)))
    temporary = cache.temporary()
    try:
        with (
            temporary.open("wb") as file,
            ThreadPoolExecutor(workers) as pool,
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # Pillow's, of files that are odd but readable
            one = partial(_read_one, source, size=size, crop=crop, channels=channels)
            for entry, outcome in _in_groups(pool, one, entries):
                if isinstance(outcome, str):
                    skipped[entry.name] = outcome
                    continue
                digest, picture = outcome
                for remark in picture.remarks & peaks.keys():
                    peaks[remark].append(picture.peak or 0)
                if SIXTEEN_BIT in picture.remarks:
                    grey[entry] = len(names)
                names.append(entry.name)
                hashes.append(digest)
                remarks.update(picture.remarks)
                file.write(picture.pixels.tobytes())
            bits = depth_of(max(peaks[SIXTEEN_BIT], default=65535))
            if bits < 16:
                remarks[shallow(bits)] = remarks.pop(SIXTEEN_BIT)
                for entry, outcome in _in_groups(pool, partial(one, bits=bits), list(grey)):
                    if isinstance(outcome, str) or outcome[0] != hashes[grey[entry]]:
                        raise DataError(
                            f"{source.path}: {entry.name} has changed while it was read; run the "
                            "same command again"
                        )
                    file.seek(grey[entry] * outcome[1].pixels.nbytes)
                    file.write(outcome[1].pixels.tobytes())
            bits = depth_of(max(peaks[SIXTEEN_BIT_CHANNELS], default=65535))
            if bits < 16:
                remarks[shallow_channels(bits)] = remarks.pop(SIXTEEN_BIT_CHANNELS)
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
    source: ImageFolder | ImageArchive,
    entry: Entry,
    *,
    size: int,
    crop: Crop,
    channels: int,
    bits: int = 16,
) -> Outcome:
    try:
        data = source.read(entry)
        picture = decode(data, size=size, crop=crop, channels=channels, bits=bits)
    except Undecodable as reason:
        return str(reason)
    return hashlib.sha256(data).digest(), picture


def _in_groups(
    pool: ThreadPoolExecutor, one: Callable[[Entry], Outcome], entries: Sequence[Entry]
) -> Iterator[tuple[Entry, Outcome]]:
    """Read files by the pool, and hold no more than a group of them in memory."""
    for start in range(0, len(entries), GROUP):
        group = entries[start : start + GROUP]
        yield from zip(group, pool.map(one, group), strict=True)


def notes_of(
    read: ReadImages,
    broken: dict[str, str],
    others: int,
    split_of: Callable[[str], str | None] = lambda name: None,
) -> tuple[str, ...]:
    """Put in words what was odd about the files: skipped ones by name, the rest in counts.

    Nothing is said of files that are no images, unless there is more to say.

    Args:
        read: The images.
        broken: What could not be read at all.
        others: Files that are no images.
        split_of: Gives the split of an image, by name, where its folder says it.
    """
    notes = []
    failed = {**read.skipped, **broken}
    if failed:
        listed = few(f"{name} ({why})" for name, why in sorted(failed.items()))
        notes.append(f"{len(failed):,} of {len(read.names) + len(failed):,} skipped: {listed}")
    notes += [f"{count:,} {remark}" for remark, count in sorted(read.remarks.items())]
    within = set(zip(read.hashes, map(split_of, read.names), strict=True))
    if twice := len(read.hashes) - len(within):
        notes.append(f"{twice:,} byte for byte like another, and in the same split")
    if across := len(within) - len(set(read.hashes)):
        notes.append(f"{across:,} byte for byte like another in another split's folder")
    if notes and others:
        notes.append(f"{others:,} left alone, whose names are not those of images")
    return tuple(notes)


def listed(path: Path, notes: Sequence[str]) -> str:
    """Write notes as one message."""
    return f"{path}: {'; '.join(notes)}"
