"""Thumbnails of what a generator makes: image grids as they are, points over the truth."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from reports.figures.style import BAD, GOOD

SIDE = 168
"""Pixels of a scatter thumbnail; more than a page shows it at, for dense screens."""
LEVELS = 15
"""Steps of opacity of the points in it; few, so that the file is small."""
GRID = 8
"""Tiles of a stored sample grid, in each direction."""
LARGEST = 4096
"""Pixels of the longest side of a sample grid that is read."""
MOST_POINTS = 2500


def encode_png(image: Image.Image) -> bytes:
    """Write a PNG that depends on the pixels alone."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def read_grid(path: Path) -> Image.Image | None:
    """Read a sample grid; None if it is absent, damaged or absurdly large."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            if max(image.size) > LARGEST:
                return None
            return image.convert("L" if image.mode in ("1", "L", "I;16") else "RGB")
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def spaced(image: Image.Image, tiles: int) -> Image.Image:
    """Keep the upper left tiles of an 8×8 grid, so many in each direction, a clear line apart.

    An image that is no such grid is returned as it is.
    """
    width, height = (side // GRID for side in image.size)
    if (width * GRID, height * GRID) != image.size:
        return image
    mode = "LA" if image.mode == "L" else "RGBA"
    size = tiles * (width + 1) - 1, tiles * (height + 1) - 1
    made = Image.new(mode, size)
    for i in range(tiles):
        for j in range(tiles):
            tile = image.crop((j * width, i * height, (j + 1) * width, (i + 1) * height))
            made.paste(tile.convert(mode), (j * (width + 1), i * (height + 1)))
    return made


def read_points(path: Path) -> NDArray[np.float32] | None:
    """Read generated points ``(n, 1)`` or ``(n, 2)``, the finite ones.

    Returns:
        The points; None if the file is absent, damaged or unlike that.
    """
    try:
        points = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if not isinstance(points, np.ndarray) or points.ndim != 2 or points.shape[1] not in (1, 2):
        return None
    if not np.issubdtype(points.dtype, np.number):
        return None
    first: NDArray[np.float32] = points[:MOST_POINTS].astype(np.float32)
    return first[np.isfinite(first).all(1)]


def view_of(modes: Sequence[Sequence[float]] | None, points: NDArray[np.float32]) -> float:
    """Return half the side of the square to show: the modes with a margin, else the points."""
    reference = np.abs(np.asarray(modes if modes else points, dtype=float))
    reach = float(reference.max()) if reference.size else 1.0
    return 1.3 * (reach or 1.0)


def scatter_png(
    points: NDArray[np.float32],
    modes: Sequence[Sequence[float]] | None,
    sigma: float | None,
    hit: Sequence[bool] | None = None,
) -> tuple[bytes, int]:
    """Draw points over the true modes: rings at 3σ around those hit, crosses on those missed.

    Args:
        points: ``(n, 2)``.
        modes: Centres; None where they are not known.
        sigma: Standard deviation of each mode.
        hit: For each mode, whether it was; without it all are rings.

    Returns:
        A PNG with a transparent background, and how many points lie outside of it.
    """
    reach = view_of(modes, points)
    inside = (np.abs(points) < reach).all(1)
    density = np.zeros((SIDE, SIDE))
    if inside.any():
        places = (points[inside].astype(float) + reach) / (2 * reach) * SIDE
        columns = np.clip(places[:, 0].astype(int), 1, SIDE - 2)
        lines = np.clip(SIDE - 1 - places[:, 1].astype(int), 1, SIDE - 2)
        # A plus of five pixels per point, lighter at the arms: a dot that survives halving.
        for dx, dy, weight in ((0, 0, 1.0), (1, 0, 0.5), (-1, 0, 0.5), (0, 1, 0.5), (0, -1, 0.5)):
            np.add.at(density, (lines + dy, columns + dx), weight)
    pixels = np.round(LEVELS * (1 - np.exp(-0.9 * density))).astype(np.uint8)
    if modes:
        found = tuple(hit) if hit is not None else (True,) * len(modes)
        centres = tuple((float(x), float(y)) for x, y in modes)
        pixels[_marks(centres, sigma or 0.0, reach, found)] = LEVELS + 1
    image = Image.fromarray(pixels)
    image.putpalette([*_rgb(GOOD) * (LEVELS + 1), *_rgb(BAD)])
    opacities = bytes([*(round(255 * k / LEVELS) for k in range(LEVELS + 1)), 255])
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True, transparency=opacities)
    return buffer.getvalue(), int((~inside).sum())


@lru_cache(maxsize=256)
def _marks(
    modes: tuple[tuple[float, float], ...], sigma: float, reach: float, hit: tuple[bool, ...]
) -> NDArray[np.bool_]:
    """Return where rings and crosses are, ``(SIDE, SIDE)``."""
    axis = (np.arange(SIDE) + 0.5) / SIDE * 2 * reach - reach
    pixel = 2 * reach / SIDE
    marked = np.zeros((SIDE, SIDE), dtype=bool)
    for (x, y), found in zip(modes, hit, strict=True):
        across, up = axis[None, :] - x, -axis[:, None] - y
        distance = np.hypot(across, up)
        if found:
            radius = max(3 * sigma, 3.2 * pixel)
            marked |= np.abs(distance - radius) < 0.65 * pixel
        else:
            arm = np.minimum(np.abs(across - up), np.abs(across + up))
            marked |= (arm < 1.1 * pixel) & (distance < 5.5 * pixel)
    return marked


def histogram_png(
    points: NDArray[np.float32], modes: Sequence[Sequence[float]] | None, sigma: float | None
) -> tuple[bytes, int]:
    """Draw points on a line as a histogram under the true density.

    Args:
        points: ``(n, 1)``.
        modes: Centres of equally likely Gaussians; None where they are not known.
        sigma: Standard deviation of each.

    Returns:
        A PNG with a transparent background, and how many points lie outside of it.
    """
    spread = [[abs(mode[0]) + 3 * (sigma or 0.0)] for mode in modes or ()]
    reach = view_of(spread, points)
    line = points[:, 0].astype(float)
    counts, edges = np.histogram(line, bins=SIDE // 4, range=(-reach, reach))
    heights = np.repeat(counts / (max(len(line), 1) * (edges[1] - edges[0])), 4)
    axis = (np.arange(SIDE) + 0.5) / SIDE * 2 * reach - reach
    truth = np.zeros(SIDE)
    if modes and sigma:
        squares = (axis[:, None] - np.array([mode[0] for mode in modes])) ** 2
        truth = np.exp(-squares / (2 * sigma**2)).mean(1) / (sigma * np.sqrt(2 * np.pi))
    # A collapsed generator's peak is cut off, or it would flatten the truth beside it.
    scale = (SIDE - 8) / ((1.5 * truth.max()) or heights.max() or 1.0)
    pixels = np.zeros((SIDE, SIDE, 4), dtype=np.uint8)
    above = SIDE - np.arange(SIDE)[:, None]
    pixels[above <= np.round(heights * scale)] = (*_rgb(GOOD), 255)
    if truth.any():
        curve = np.interp(np.arange(SIDE * 8) / 8, np.arange(SIDE), truth * scale)
        lines = np.clip(SIDE - 1 - curve.astype(int), 1, SIDE - 2)
        columns = np.arange(SIDE * 8) // 8
        for shift in (-1, 0, 1):
            pixels[lines + shift, columns] = (*_rgb(BAD), 255)
    return encode_png(Image.fromarray(pixels)), int((np.abs(line) >= reach).sum())


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
