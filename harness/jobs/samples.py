"""Writes what a generator makes: a grid of images, a handful of points, a profile of the line."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from harness.datasets.base import to_bytes
from harness.spec import IMAGES

GRID = 8
POINTS = 512


def save_samples(folder: Path, step: int, generated: Tensor, kind: str) -> str:
    """Save the first examples of one run.

    Args:
        folder: The run's folder.
        step: Step for the file's name.
        generated: ``(n, channels, height, width)`` in [−1, 1], or points ``(n, dimensions)``.
        kind: ``images`` or ``points``.

    Returns:
        The file relative to the run's folder: an 8×8 grid without padding as PNG, or 512 points
        as a float32 ``.npy``.
    """
    if kind == "points":
        name = f"samples/step-{step:08d}.npy"
        buffer = io.BytesIO()
        np.save(buffer, generated[:POINTS].float().cpu().numpy())
        (folder / name).write_bytes(buffer.getvalue())
        return name
    from PIL import Image

    name = f"samples/step-{step:08d}.png"
    Image.fromarray(grid(to_bytes(generated[:IMAGES]).cpu())).save(folder / name)
    return name


def save_profile(folder: Path, step: int, arrays: Mapping[str, np.ndarray]) -> str:
    """Save what a run looks like on the line.

    Args:
        folder: The run's folder.
        step: Step for the file's name.
        arrays: By name, ``(cells,)`` each.

    Returns:
        The file relative to the run's folder: float64 arrays as ``.npz``.
    """
    name = f"samples/line-{step:08d}.npz"
    buffer = io.BytesIO()
    # Named one by one, since what they are called is what a reader asks for.
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    (folder / name).write_bytes(buffer.getvalue())
    return name


def grid(images: Tensor) -> np.ndarray:
    """Tile 64 uint8 images ``(64, channels, h, w)`` as ``(8h, 8w)`` or ``(8h, 8w, 3)``."""
    _, channels, height, width = images.shape
    rows = images.reshape(GRID, GRID, channels, height, width).permute(0, 3, 1, 4, 2)
    tiled: np.ndarray = rows.reshape(GRID * height, GRID * width, channels).numpy()
    return tiled[:, :, 0] if channels == 1 else tiled
