"""The sample files of a run: read safely, checked, and drawn as small images."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.store.records import DataFacts
from reports.figures.samples import (
    LARGEST,
    PNG_SIGNATURE,
    encode_png,
    histogram_png,
    points_of,
    read_grid,
    scatter_png,
    spaced,
)


def _no_link(path: str, flags: int) -> int:
    """Open a file, and neither what a link leads to nor what waits for a writer."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


class SampleFolder:
    """Reads the files that a run wrote, and none that lies elsewhere.

    Args:
        path: The run's folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._root = os.path.realpath(path)

    def read(self, name: str) -> bytes | None:
        """Return what is in a file, by its name relative to the run's folder; None for no file."""
        file = Path(self._root, name)
        try:
            if not Path(os.path.realpath(file.parent)).is_relative_to(self._root):
                return None
            with open(file, "rb", buffering=0, opener=_no_link) as opened:
                return opened.read()
        except (OSError, ValueError):  # no file can have such a name, as with half a surrogate pair
            return None


def is_whole_png(data: bytes) -> bool:
    """Say whether bytes are a whole PNG of a sensible size, without decoding its pixels."""
    if not data.startswith(PNG_SIGNATURE) or data[12:16] != b"IHDR":
        return False
    width, height = struct.unpack(">II", data[16:24])
    if not (0 < width <= LARGEST and 0 < height <= LARGEST):
        return False
    place = len(PNG_SIGNATURE)
    while place + 12 <= len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        end = place + 8 + length
        checksum = data[end : end + 4]
        if checksum != struct.pack(">I", zlib.crc32(data[place + 4 : end])):
            return False
        if data[place + 4 : place + 8] == b"IEND":
            return True
        place = end + 4
    return False


@dataclass(frozen=True)
class Picture:
    """A sample file as an image.

    Attributes:
        png: The image.
        shows: What it shows.
        beyond: What of that is out of view; mostly empty.
        pixelated: Whether its pixels are data: a grid of samples, to be enlarged unsmoothed.
    """

    png: bytes = field(repr=False)
    shows: str
    beyond: str = ""
    pixelated: bool = False

    def tiled(self, tiles: int) -> Picture | None:
        """Keep so many tiles of a grid in each direction, apart; None if it cannot be read."""
        if not self.pixelated:
            return self
        grid = read_grid(self.png)
        return None if grid is None else replace(self, png=encode_png(spaced(grid, tiles)))


def picture_of(
    name: str, data: bytes, facts: DataFacts, counts: Sequence[int] | None
) -> Picture | None:
    """Draw a sample file; None if it is damaged.

    Args:
        name: Of the file.
        data: What is in it.
        facts: Centres of modes and their width.
        counts: Generated examples by mode, where they were counted.
    """
    if not name.endswith(".npy"):
        return Picture(data, "generated samples", pixelated=True) if is_whole_png(data) else None
    points = points_of(data)
    if points is None:
        return None
    modes, sigma = facts.modes, facts.sigma
    if points.shape[1] == 1:
        png, outside = histogram_png(points, modes, sigma)
        truth = "under the true density"
    else:
        hit = [count > 0 for count in counts] if counts and modes else []
        known = len(hit) == len(modes or ()) > 0
        png, outside = scatter_png(points, modes, sigma, hit if known else None)
        truth = "over the true modes"
        truth += f", {sum(hit)} of {len(hit)} hit" if known else ""
    beyond = f", {outside} of {len(points)} out of view" if outside else ""
    return Picture(png, f"{len(points)} generated points {truth}", beyond)
