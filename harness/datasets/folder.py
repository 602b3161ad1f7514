"""Images of your own: a folder or a zip archive, decoded once and kept as one array."""

from __future__ import annotations

import hashlib
import warnings
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.datasets.base import Dataset, Examples, Kind, Place, datasets, from_options
from harness.datasets.images.cache import SPLITS, ArrayCache, Decoded
from harness.datasets.images.decoding import DECODING, SUFFIXES, Crop
from harness.datasets.images.files import Listing, open_images
from harness.datasets.images.layout import Layout, layout_of
from harness.datasets.images.reading import ReadImages, listed, notes_of, read_images
from harness.errors import DataError, DataWarning
from harness.spec import Split, content_id

HELD_OUT = 10
"""One image of so many is for validation, and one for testing."""
FEWEST = 20
"""Different images that are needed, which leaves two to validate and two to test with."""
FEWEST_OF_SPLIT = 2
"""Different images that a split of its own folder needs."""


@datasets.register("folder", source="a folder or zip archive of images, given by its path")
class Folder(Dataset):
    """Images of your own: a folder or zip archive, each cut to a square and resized.

    Folders at the top that are called train, val and test are the splits. Folders below them, or
    else at the top, are the classes if there are several and most images lie directly in one.
    Where no folder says it, a tenth of the images, those with the smallest hashes, is the
    validation split, and the next tenth the test split. What the images are, not where they lie or
    what they are called, names a run.
    """

    path: Annotated[str, Place()] = Field(
        min_length=1, description="folder or .zip; what is relative begins at the suite file"
    )
    size: int = Field(default=64, ge=8, le=1024, description="pixels along each side")
    crop: Crop = Field(
        default="center", description="center: the largest square; none: all, squeezed"
    )
    channels: Literal[1, 3] = Field(default=3, description="3 in colour, 1 in grey")

    kind: ClassVar[Kind] = "images"

    @from_options
    def shape(self) -> tuple[int, ...]:
        """Follows from channels and size."""
        return self.channels, self.size, self.size

    @from_options
    def classes(self) -> int | None:
        """Number of folders, if they are classes."""
        return len(self._decoded.classes) if self._decoded.classes is not None else None

    @from_options
    def class_names(self) -> tuple[str, ...] | None:
        """Names of these folders, in natural order."""
        return self._decoded.classes

    @from_options
    def train_size(self) -> int | None:
        """Images that are neither for validation nor for testing."""
        return self._decoded.splits["train"].count

    @property
    def notes(self) -> tuple[str, ...]:
        """What was skipped, left out, converted or cut."""
        return self._decoded.notes

    def pin(self, split: Split) -> str | None:
        """Name a split by the hash of its decoded images."""
        return self._decoded.splits[split].sha256

    def fingerprint(self) -> str:
        """Name the files' content and the options; the path is no part of it."""
        return self._decoded.fingerprint

    def check(self, root: Path | None = None) -> None:
        """Read every split."""
        for split in SPLITS:
            self.load(split, root)

    def read(self, split: Split, root: Path | None = None) -> Examples:
        """Map one split into memory; the data root is not used."""
        examples = ArrayCache().load(self._decoded.splits[split])
        if examples is None:  # the cache was cleared or damaged since
            self.__dict__["_decoded"] = self._decode()
            examples = ArrayCache().load(self._decoded.splits[split])
        if examples is None:
            raise DataError(f"{self.path}: decoded images cannot be read back from the cache")
        return examples

    @cached_property
    def _decoded(self) -> Decoded:
        """What the cache has of the files as they are now; decodes them if it has nothing."""
        listing = open_images(Path(self.path)).list()
        decoded = ArrayCache().find(self._key(listing))
        if decoded is None:
            return self._decode()
        if decoded.notes:
            warnings.warn(listed(Path(self.path), decoded.notes), DataWarning, stacklevel=2)
        return decoded

    def _key(self, listing: Listing) -> dict[str, Any]:
        """Hold all that a decoded set depends on, as far as can be told without reading files."""
        files = [[entry.name, entry.size, entry.stamp] for entry in listing.entries]
        return {
            "path": str(Path(self.path).resolve()),
            "files": content_id(
                [files, sorted(listing.folders), sorted(listing.broken), listing.others], 64
            ),
            "options": self.identity,
            "decoding": [DECODING, version("pillow"), HELD_OUT],
        }

    def _decode(self) -> Decoded:
        path = Path(self.path)
        source = open_images(path)
        listing = source.list()
        if not listing.entries and not listing.broken:
            others = f" among its {listing.others:,} files" if listing.others else ""
            raise DataError(
                f"{path} has no images{others}; they are known by their endings, "
                f"{', '.join(sorted(SUFFIXES))}"
            )
        layout = layout_of(path, [entry.name for entry in listing.entries], listing.folders)
        entries = [entry for entry in listing.entries if layout.holds(entry.name)]
        cache = ArrayCache()
        options = {"size": self.size, "crop": self.crop, "channels": self.channels}
        with read_images(source, entries, cache, **options) as read:  # type: ignore[arg-type]
            notes = (
                *notes_of(read, listing.broken, listing.others, layout.split_of),
                *layout.notes,
            )
            distinct = len(set(read.hashes))
            if distinct < FEWEST:
                raise DataError(
                    f"{path} has {distinct} different images that can be read, at least {FEWEST} "
                    + "; ".join(("are needed", *notes))
                )
            classes = layout.classes(path, read.names)
            labels = labels_of(read, layout, classes)
            indices = split_images(path, read, layout, labels)
            splits = {
                split: cache.write(read.images, order, labels) for split, order in indices.items()
            }
            decoded = Decoded(self._name(read, labels, indices), classes, notes, splits)
        cache.keep(self._key(listing), decoded)
        if notes:
            warnings.warn(listed(path, notes), DataWarning, stacklevel=2)
        return decoded

    def _name(
        self,
        read: ReadImages,
        labels: NDArray[np.int64] | None,
        indices: dict[Split, NDArray[np.int64]],
    ) -> str:
        digest = hashlib.sha256()
        for split, order in indices.items():
            digest.update(f"{split} {len(order)} ".encode())
            for i in order:
                digest.update(read.hashes[i])
                digest.update(b"" if labels is None else int(labels[i]).to_bytes(4, "big"))
        return content_id(
            {
                "id": self.id,
                "content": digest.hexdigest(),
                "options": self.identity,
                "decoding": DECODING,
                "held out": HELD_OUT,
            }
        )


def labels_of(
    read: ReadImages, layout: Layout, classes: tuple[str, ...] | None
) -> NDArray[np.int64] | None:
    """Number the classes of images; None without classes."""
    if classes is None:
        return None
    number = {name: i for i, name in enumerate(classes)}
    found = (layout.class_of(name) for name in read.names)
    return np.array([number[name] for name in found if name is not None], dtype=np.int64)


def in_order(read: ReadImages, labels: NDArray[np.int64] | None) -> list[int]:
    """Sort images by the hash of their file, then by label: whatever they are called."""
    return sorted(
        range(len(read.hashes)),
        key=lambda i: (read.hashes[i], 0 if labels is None else int(labels[i])),
    )


def split_images(
    path: Path, read: ReadImages, layout: Layout, labels: NDArray[np.int64] | None
) -> dict[Split, NDArray[np.int64]]:
    """Divide the images as their folders say, or else by the rank of their hash.

    A split without a folder is cut out of the training images, where equal files stay together.

    Returns:
        Indices of each split, in the order of the hashes.

    Raises:
        DataError: if there are too few different images.
    """
    given = [layout.split_of(name) or "train" for name in read.names]
    distinct: dict[Split, list[bytes]] = {
        split: sorted({h for h, own in zip(read.hashes, given, strict=True) if own == split})
        for split in SPLITS
    }
    absent: list[Split] = [s for s in SPLITS if s != "train" and s not in layout.splits]
    for split, folder in layout.splits.items():
        fewest = FEWEST if split == "train" and absent else FEWEST_OF_SPLIT
        if len(distinct[split]) < fewest:
            raise DataError(
                f"{path}: the split {folder} has {len(distinct[split])} different images that can "
                f"be read, at least {fewest} are needed"
                + (f" to cut {' and '.join(absent)} out of them" if fewest == FEWEST else "")
            )
    held = max(1, len(distinct["train"]) // HELD_OUT)
    rank_of = {digest: rank // held for rank, digest in enumerate(distinct["train"])}
    cut: dict[int, Split] = {rank: s for rank, s in enumerate(SPLITS[1:]) if s in absent}
    parts: dict[Split, list[int]] = {split: [] for split in SPLITS}
    for i in in_order(read, labels):
        own = given[i]
        parts[cut.get(rank_of[read.hashes[i]], own) if own == "train" else own].append(i)
    return {split: np.array(indices, dtype=np.int64) for split, indices in parts.items()}
