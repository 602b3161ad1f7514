"""Mixtures of Gaussians in the plane: every mode known, so that coverage can be counted."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from harness.datasets.base import Dataset, Examples, Kind, datasets
from harness.spec import Split

SPLITS: dict[Split, tuple[int, int]] = {
    "train": (50_000, 1),
    "validation": (10_000, 2),
    "test": (10_000, 3),
}
"""Points and seed of each split."""


def frozen(modes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Make an array of modes that nobody can change by accident."""
    modes.setflags(write=False)
    return modes


class Mixture(Dataset):
    """Equally likely round Gaussians; labels are the indices of the modes."""

    kind: ClassVar[Kind] = "points"
    shape: ClassVar[tuple[int, ...]] = (2,)
    train_size: ClassVar[int | None] = SPLITS["train"][0]
    modes: ClassVar[NDArray[np.float64]]
    """Centres, ``(modes, 2)``; read-only."""
    sigma: ClassVar[float]
    """Standard deviation of every mode along each axis."""

    def read(self, split: Split, root: Path | None = None) -> Examples:
        """Synthesise one split; numpy guarantees that ``RandomState`` never changes its streams."""
        count, seed = SPLITS[split]
        random = np.random.RandomState(seed)
        labels = random.randint(len(self.modes), size=count, dtype=np.int64)
        points = self.modes[labels] + self.sigma * random.standard_normal((count, 2))
        return Examples(torch.from_numpy(points.astype(np.float32)), torch.from_numpy(labels))


def ring(modes: int, radius: float) -> NDArray[np.float64]:
    """Place modes at equal angles 2πk/modes on a circle, ``(modes, 2)``."""
    angles = 2 * np.pi * np.arange(modes) / modes
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return frozen(radius * circle.round(12) + 0.0)


def grid(positions: list[float]) -> NDArray[np.float64]:
    """Place modes on a square grid, ``(len(positions)², 2)``, the second coordinate fastest."""
    x, y = np.meshgrid(positions, positions, indexing="ij")
    return frozen(np.stack([x.ravel(), y.ravel()], axis=1))


@datasets.register("ring8", source="Srivastava et al. 2017 (VEEGAN), arXiv:1705.07761, section 5.1")
class Ring8(Mixture):
    """Eight Gaussians of σ .01 on the unit circle."""

    classes: ClassVar[int | None] = 8
    modes: ClassVar[NDArray[np.float64]] = ring(8, radius=1.0)
    sigma: ClassVar[float] = 0.01
    sha256: ClassVar[dict[Split, str]] = {
        "train": "df85c3ee774c8e34c562d2a1956046b9f7ccea6928d0c222f1859a7e0d098717",
        "validation": "3e5d2de121fd286dd3e30f58df662d82132fbf39bee2006e09a544cd2c7938a7",
        "test": "8768afefd44c3f1bb0fef246e06470d254ff7393e1858b4acc4e48dc95c85ee2",
    }


@datasets.register(
    "grid25", source="Srivastava et al. 2017 (VEEGAN), arXiv:1705.07761, section 5.1"
)
class Grid25(Mixture):
    """Twenty-five Gaussians of σ .05 on the grid {−4, −2, 0, 2, 4}²."""

    classes: ClassVar[int | None] = 25
    modes: ClassVar[NDArray[np.float64]] = grid([-4.0, -2.0, 0.0, 2.0, 4.0])
    sigma: ClassVar[float] = 0.05
    sha256: ClassVar[dict[Split, str]] = {
        "train": "546c3d4f74061da94afc6e89b912ab8761d20fd77a8498e06f1830fcc0923a93",
        "validation": "54ef223d7699c23448ee94b780d0f5676e706d60a603055e1af0606f3edc7be2",
        "test": "383da6a21da0e999309eb7b8375feb261bc55da14211c9fcc98f126122530f46",
    }
