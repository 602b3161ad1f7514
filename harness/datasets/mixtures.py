"""Mixtures of Gaussians on the line and in the plane: modes and density are known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import override

from harness.datasets.base import Dataset, Examples, Kind, datasets, from_options
from harness.spec import Split

SPLITS: dict[Split, tuple[int, int]] = {
    "train": (50_000, 1),
    "validation": (10_000, 2),
    "test": (10_000, 3),
}
"""Points and seed of each split; the plane's training split comes in two sizes."""


def frozen(modes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Make an array of modes that nobody can change by accident."""
    modes.setflags(write=False)
    return modes


LINE = frozen(np.array([[-2.0], [2.0]]))
LINE_SHA256: dict[int, dict[Split, str]] = {
    1: {
        "train": "9fafb2466c95617c5e05cc10b6854851cc9baf7a9e2643215daff9aed8c59100",
        "validation": "ecfd34261db82c37a89d36704777dea5cc2c007072992849216e6323783ebad8",
        "test": "accd53875d1641ccd6188a36fb57c4bbbc7f1236172d58cd7936627ff0e8a3bd",
    },
    2: {
        "train": "21de0e5a59530a9c0338dce72d0809adacf313d2a28ee8598cfe607020cf7f92",
        "validation": "038a4a31c90f3ed5d739243b851d77b3b4ea66ddab4b49e048197df6760dda5d",
        "test": "d99b3e261a6c3c3d33f0e1de9708ada598e5b47a013db18bd5b578b06d8ef095",
    },
}
"""Centres on the line, and by how many of them the pinned hashes."""


class Mixture(Dataset):
    """Equally likely round Gaussians; labels are the indices of the modes."""

    kind: ClassVar[Kind] = "points"
    shape: ClassVar[tuple[int, ...]] = (2,)
    train_size: ClassVar[int | None] = SPLITS["train"][0]
    modes: ClassVar[NDArray[np.float64]]
    """Centres, ``(modes, dimensions)``; read-only."""
    sigma: ClassVar[float]
    """Standard deviation of every mode along each axis."""

    def count(self, split: Split) -> int:
        """Return the points of a split."""
        return SPLITS[split][0]

    def read(self, split: Split, root: Path | None = None) -> Examples:
        """Synthesise one split; numpy guarantees that ``RandomState`` never changes its streams."""
        count, seed = self.count(split), SPLITS[split][1]
        random = np.random.RandomState(seed)
        labels = random.randint(len(self.modes), size=count, dtype=np.int64)
        noise = random.standard_normal((count, *self.shape))
        points = self.modes[labels] + self.sigma * noise
        return Examples(torch.from_numpy(points.astype(np.float32)), torch.from_numpy(labels))

    def density(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the density at points ``(n, dimensions)``, ``(n,)``."""
        squares = ((x[:, None] - self.modes[None]) ** 2).sum(axis=2)
        heights = np.exp(-squares / (2 * self.sigma**2)).mean(axis=1)
        density: NDArray[np.float64] = heights / (2 * np.pi * self.sigma**2) ** (x.shape[1] / 2)
        return density


class Planar(Mixture):
    """A mixture in the plane, with as many training points as asked for."""

    points: Literal[50_000, 100_000] = Field(
        default=50_000, description="training points, 50,000 or PacGAN's 100,000"
    )

    pins: ClassVar[Mapping[Split, str]]
    """Pinned hash of each split at the default size."""
    large: ClassVar[str]
    """Pinned hash of 100,000 training points."""

    @property
    def identity(self) -> dict[str, Any]:
        """Nothing at the default size, whose runs keep the ids they always had."""
        return super().identity if self.points != SPLITS["train"][0] else {}

    @from_options
    def train_size(self) -> int | None:
        """Training points."""
        return self.points

    @from_options
    def sha256(self) -> Mapping[Split, str]:
        """Pinned hash of each split."""
        return {**self.pins, "train": self.large} if self.identity else self.pins

    @override
    def count(self, split: Split) -> int:
        return self.points if split == "train" else super().count(split)


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
class Ring8(Planar):
    """Eight Gaussians of σ .01 on the unit circle."""

    classes: ClassVar[int | None] = 8
    modes: ClassVar[NDArray[np.float64]] = ring(8, radius=1.0)
    sigma: ClassVar[float] = 0.01
    pins: ClassVar[dict[Split, str]] = {
        "train": "df85c3ee774c8e34c562d2a1956046b9f7ccea6928d0c222f1859a7e0d098717",
        "validation": "3e5d2de121fd286dd3e30f58df662d82132fbf39bee2006e09a544cd2c7938a7",
        "test": "8768afefd44c3f1bb0fef246e06470d254ff7393e1858b4acc4e48dc95c85ee2",
    }
    large: ClassVar[str] = "560a63b8a955b969236fc14b6b02824efafac57ed92bafd25826dbf71f3daaf9"


@datasets.register(
    "grid25", source="Srivastava et al. 2017 (VEEGAN), arXiv:1705.07761, section 5.1"
)
class Grid25(Planar):
    """Twenty-five Gaussians of σ .05 on the grid {−4, −2, 0, 2, 4}²."""

    classes: ClassVar[int | None] = 25
    modes: ClassVar[NDArray[np.float64]] = grid([-4.0, -2.0, 0.0, 2.0, 4.0])
    sigma: ClassVar[float] = 0.05
    pins: ClassVar[dict[Split, str]] = {
        "train": "546c3d4f74061da94afc6e89b912ab8761d20fd77a8498e06f1830fcc0923a93",
        "validation": "54ef223d7699c23448ee94b780d0f5676e706d60a603055e1af0606f3edc7be2",
        "test": "383da6a21da0e999309eb7b8375feb261bc55da14211c9fcc98f126122530f46",
    }
    large: ClassVar[str] = "cd215096a83b39ae6106f7260a1f66bfe3fccc87b2e3786571fb114e96caed18"


@datasets.register("gauss1d", source="Goodfellow et al. 2014, arXiv:1406.2661, figure 1")
class Gauss1D(Mixture):
    """One Gaussian on the line, N(2, ½²), or two, N(±2, ½²): for the optimal discriminator."""

    gaussians: Literal[1, 2] = Field(default=1, description="how many, 1 or 2, equally likely")

    shape: ClassVar[tuple[int, ...]] = (1,)
    sigma: ClassVar[float] = 0.5

    @from_options
    def modes(self) -> NDArray[np.float64]:
        """Centres, ``(modes, 1)``; read-only."""
        return LINE[-self.gaussians :]

    @from_options
    def classes(self) -> int | None:
        """Number of Gaussians."""
        return self.gaussians

    @from_options
    def sha256(self) -> Mapping[Split, str]:
        """Pinned hash of each split."""
        return LINE_SHA256[self.gaussians]
