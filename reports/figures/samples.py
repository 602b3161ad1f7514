"""Thumbnails of what a generator makes: image grids as they are, points over the truth."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from reports.figures.style import BAD, GOOD

SIDE = 168
"""Pixels of a scatter thumbnail; twice what a page shows it at."""
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


def halve(image: Image.Image) -> Image.Image:
    """Keep the upper left quarter of an 8×8 grid, which has whole tiles."""
    return image.crop((0, 0, max(1, image.width // 2), max(1, image.height // 2)))


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
    points: NDArray[np.float32], modes: Sequence[Sequence[float]] | None, sigma: float | None
) -> tuple[bytes, int]:
    """Draw points over rings at 3σ around the true modes.

    Args:
        points: ``(n, 2)``.
        modes: Centres; None where they are not known.
        sigma: Standard deviation of each mode.

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
    pixels = np.zeros((SIDE, SIDE, 4), dtype=np.uint8)
    pixels[..., :3] = _rgb(GOOD)
    pixels[..., 3] = np.round(255 * (1 - np.exp(-0.9 * density))).astype(np.uint8)
    axis = (np.arange(SIDE) + 0.5) / SIDE * 2 * reach - reach
    for x, y in modes or ():
        radius = max(3 * (sigma or 0.0), 3.2 * reach / SIDE * 2)
        distance = np.hypot(axis[None, :] - x, -axis[:, None] - y)
        ring = np.abs(distance - radius) < reach / SIDE * 1.3
        pixels[ring] = (*_rgb(BAD), 255)
    return encode_png(Image.fromarray(pixels)), int((~inside).sum())


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
