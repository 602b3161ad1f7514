"""Sample images of one run over its training, few and small enough for a page of its own."""

from __future__ import annotations

import base64
import io
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from markupsafe import Markup

from harness.store.events import Event
from reports.figures.samples import (
    GRID,
    LARGEST,
    PNG_SIGNATURE,
    encode_png,
    histogram_png,
    points_of,
    read_grid,
    scatter_png,
    spaced,
)
from reports.markup import text

MOST = 8
"""Moments of a run's training that its page shows."""
BUDGET = 180_000
"""Bytes that they may take together, before they are written as text."""


@dataclass(frozen=True)
class Moment:
    """What the generator made of the same latents at one moment.

    Attributes:
        step: When.
        kimg: Thousands of images that D had seen; None where no evaluation says.
        png: The image.
        alt: What it shows, for someone who cannot see it.
        pixelated: Whether its pixels are data, to be enlarged without smoothing.
    """

    step: int
    kimg: float | None
    png: bytes = field(repr=False)
    alt: str
    pixelated: bool = True


@dataclass(frozen=True)
class Moments:
    """Moments in order, with what is left out.

    Attributes:
        shown: The moments.
        found: How many sample files the run tells of.
        unreadable: How many of those that were to be shown are absent or damaged.
        tiles: How many of each grid's are shown, in each direction.
    """

    shown: tuple[Moment, ...]
    found: int
    unreadable: int = 0
    tiles: int = GRID

    @property
    def strip(self) -> Markup:
        """The moments in a row, each with its step; all but the last are marked as earlier."""
        figures = []
        for moment in self.shown:
            earlier = "" if moment is self.shown[-1] else ' class="earlier"'
            pixels = ' class="pixels"' if moment.pixelated else ""
            data = base64.b64encode(moment.png).decode()
            step = text(str(moment.step))
            seen = "" if moment.kimg is None else f" · {moment.kimg:.4g} kimg"
            figures.append(
                f'<figure{earlier}><img{pixels} src="data:image/png;base64,{data}" '
                f'alt="{text(moment.alt)} at step {step}">'
                f"<figcaption>step {step}{seen}</figcaption></figure>\n"
            )
        return Markup("".join(figures))  # noqa: S704 - every foreign string is escaped above


def evenly(count: int, most: int) -> list[int]:
    """Choose so many of some places, the first and the last among them; one is the last."""
    if count <= most:
        return list(range(count))
    if most == 1:
        return [count - 1]
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})


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


def _no_link(path: str, flags: int) -> int:
    """Open a file, and neither what a link leads to nor what waits for a writer."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


class SampleFolder:
    """Reads the sample files of a run, and none that lies elsewhere.

    Args:
        path: The run's folder.
    """

    def __init__(self, path: Path) -> None:
        self._root = os.path.realpath(path)
        self._inside: dict[str, bool] = {}

    def read(self, name: str) -> bytes | None:
        """Return what is in a file, by its name relative to the run's folder; None for no file."""
        if "\0" in name:
            return None
        path = f"{self._root}/{name}"
        folder = os.path.dirname(path)  # noqa: PTH120 - a thousand runs have many thousand files
        if folder not in self._inside:
            real = os.path.realpath(folder)
            self._inside[folder] = real == self._root or real.startswith(f"{self._root}/")
        if not self._inside[folder]:
            return None
        try:
            with open(path, "rb", buffering=0, opener=_no_link) as file:
                return file.read()
        except OSError:
            return None


@dataclass(frozen=True)
class Picture:
    """A sample file as an image, with what it shows and whether its pixels are data."""

    png: bytes = field(repr=False)
    shows: str
    pixelated: bool

    def cropped(self, tiles: int) -> Picture | None:
        """Keep so many tiles of an image grid in each direction; None if it cannot be read."""
        if tiles == GRID or not self.pixelated:
            return self
        grid = read_grid(io.BytesIO(self.png))
        return None if grid is None else replace(self, png=encode_png(spaced(grid, tiles)))


def picture_of(
    name: str, data: bytes, facts: dict[str, Any], counts: Sequence[int] | None
) -> Picture | None:
    """Draw a sample file; None if it is damaged.

    Args:
        name: Of the file.
        data: What is in it.
        facts: What the run's protocol says of the data.
        counts: Generated examples by mode, where they were counted.
    """
    if name.endswith(".npy"):
        points = points_of(data)
        if points is None:
            return None
        modes, sigma = facts.get("modes"), facts.get("sigma")
        if points.shape[1] == 1:
            png, outside = histogram_png(points, modes, sigma)
            truth = "under the true density"
        else:
            hit = [count > 0 for count in counts] if counts and modes else []
            known = len(hit) == len(modes or ()) > 0
            png, outside = scatter_png(points, modes, sigma, hit if known else None)
            truth = "over the true modes"
            truth += f", {sum(hit)} of {len(hit)} hit" if known else ""
        beyond = f", {outside} of them out of view" if outside else ""
        return Picture(png, f"{len(points)} generated points {truth}{beyond}", False)
    return Picture(data, "generated samples", True) if is_whole_png(data) else None


def moments_of(
    run: Path,
    events: Sequence[Event],
    evaluation_at: Callable[[int], Event],
    facts: dict[str, Any],
    most: int = MOST,
) -> Moments:
    """Choose, read and draw the sample files of a run; fewer, or parts, where they are large.

    Args:
        run: The run's folder.
        events: Its records of samples.
        evaluation_at: Gives its evaluation at a step; empty without one.
        facts: What its protocol says of the data: centres of modes and their width.
        most: Moments to show; half as many if they are large.
    """
    folder = SampleFolder(run)
    pictures: dict[int, tuple[Event, Event, Picture]] = {}
    for place in evenly(len(events), most):
        event = events[place]
        measured = evaluation_at(event["step"])
        name = str(event["file"])
        data = folder.read(name)
        counts = measured.get("histogram")
        found = None if data is None else picture_of(name, data, facts, counts)
        if found is not None:
            pictures[place] = event, measured, found
    sizes = [len(picture.png) for _, _, picture in pictures.values()]
    asked, tiles = min(most, len(events)), GRID
    places = list(pictures)
    for tiles, count in product((GRID, 4, 2, 1), (most, most // 2)):
        kept = evenly(len(sizes), count)
        if sum(sizes[i] for i in kept) * tiles**2 <= BUDGET * GRID**2:
            places = [places[i] for i in kept]
            break
    else:
        places = places[-1:]
    shown = [
        Moment(event["step"], measured.get("kimg"), part.png, part.shows, part.pixelated)
        for event, measured, picture in map(pictures.__getitem__, places)
        if (part := picture.cropped(tiles)) is not None
    ]
    if not any(moment.pixelated for moment in shown):
        tiles = GRID
    return Moments(tuple(shown), len(events), asked - len(pictures), tiles)
