"""Turns a file of generated examples into an image that a dashboard can show."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

SIDE = 192
"""Pixels along each side of a picture of points."""

PAPER = 255
INK = 40


def read_picture(file: Path) -> tuple[Image, str | None] | None:
    """Read the examples of one evaluation.

    Args:
        file: A PNG, or points ``(n, 1)`` or ``(n, 2)`` as ``.npy``.

    Returns:
        The image and a caption (for points, what its edges stand for); None where the file is
        absent, damaged or of another kind: a picture less is no reason to stop mirroring.
    """
    from PIL import Image as images

    try:
        if file.suffix == ".npy":
            pixels, extent = scatter(np.load(file, allow_pickle=False))
            return images.fromarray(pixels), f"±{extent:g}"
        if file.suffix == ".png":
            with images.open(file) as image:
                image.load()
                return image.copy(), None
    except (OSError, EOFError, ValueError, SyntaxError):
        return None
    return None


def scatter(points: NDArray[np.float32]) -> tuple[NDArray[np.uint8], float]:
    """Draw points as dark pixels on white, the second coordinate upwards; in one dimension, bars.

    Args:
        points: ``(n, 1)`` or ``(n, 2)``; those that are not finite are left out.

    Returns:
        ``(SIDE, SIDE)`` uint8, and the coordinate of its edges: the smallest power of two that
        holds 98 % of the points, so that pictures of one run share a scale unless it runs away.

    Raises:
        ValueError: if the shape is another.
    """
    if points.ndim != 2 or points.shape[1] not in (1, 2):
        raise ValueError(f"expected points (n, 1) or (n, 2), got {points.shape}")
    kept = points[np.isfinite(points).all(axis=1)].astype(np.float64)
    reach = float(np.quantile(np.abs(kept).max(axis=1), 0.98)) if len(kept) else 1.0
    extent = 2.0 ** math.ceil(math.log2(max(reach, 2.0**-10)))
    pixels = np.full((SIDE, SIDE), PAPER, np.uint8)
    if points.shape[1] == 1:
        counts, _ = np.histogram(kept[:, 0], bins=SIDE // 2, range=(-extent, extent))
        bars = np.repeat(counts / max(counts.max(), 1), 2) * (SIDE - 1)
        pixels[SIDE - np.arange(SIDE)[:, None] <= np.ceil(bars)] = INK
        return pixels, extent
    places = np.floor((kept / extent + 1) / 2 * SIDE)
    places = places[((places >= 1) & (places < SIDE - 1)).all(axis=1)].astype(int)
    for across, down in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
        pixels[SIDE - 1 - places[:, 1] + down, places[:, 0] + across] = INK
    return pixels, extent
