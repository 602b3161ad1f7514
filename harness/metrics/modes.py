"""Coverage of a mixture's modes: how many are found, how well, and how evenly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.datasets.base import Dataset, Values
from harness.datasets.splits import Splits
from harness.metrics.base import PERFECT, Conditions, Metric, Observation, Statistics, metrics
from harness.store.records import MetricInfo

RADIUS = 3.0
"""A sample is of high quality strictly within so many σ of its nearest mode."""
FAIR_SHARE = 0.2
"""A mode is well covered with at least this part of the samples that are its due."""
DRAWS = 200
"""Simulated samplers."""


def distances(points: Tensor, modes: NDArray[np.float64]) -> Tensor:
    """Return distances of points ``(n, dimensions)`` to modes, float64 ``(n, modes)``."""
    centres = torch.tensor(modes, dtype=torch.float64, device=points.device)
    # Over inner products it would be faster, and off by more than a narrow mode's width.
    return torch.cdist(points.double(), centres, compute_mode="donot_use_mm_for_euclid_dist")


def count_high_quality(points: Tensor, modes: NDArray[np.float64], sigma: float) -> Tensor:
    """Count the high-quality samples nearest to each mode, int64 ``(modes,)``.

    Args:
        points: ``(n, dimensions)``.
        modes: ``(modes, dimensions)``.
        sigma: Standard deviation of each mode; its covariance is round, so the Mahalanobis
            distance is the distance over σ.
    """
    distance, nearest = distances(points, modes).min(1)
    good = distance < RADIUS * sigma
    return torch.bincount(nearest[good], minlength=len(modes))


def reverse_kl(counts: Tensor) -> float:
    """Compute KL(generated ‖ uniform) over modes in nats; NaN if nothing was captured."""
    total = counts.sum()
    if total == 0:
        return float("nan")
    share = counts[counts > 0].double() / total
    return float((share * (share * len(counts)).log()).sum())


@metrics.register(
    "modes", source="Srivastava et al. 2017, arXiv:1705.07761; Lin et al. 2018 (PacGAN)"
)
class ModeCoverage(Metric):
    """Modes found and samples near them, on a mixture of known modes."""

    @classmethod
    def applies(cls, conditions: Conditions) -> bool:
        """Whether the modes are known."""
        return conditions.modes is not None

    def columns(self) -> list[MetricInfo]:
        """Describe captured modes, high-quality share, reverse KL and well covered modes."""
        count = self.conditions.protocol(reference=False)
        return [
            self.column(
                f"modes{count}",
                "higher",
                "modes that are nearest to at least one high-quality sample",
            ),
            self.column(
                f"high-quality{count}",
                "higher",
                "share of samples within 3 σ of their nearest mode; more than real data's with "
                "few modes is collapse",
            ),
            self.column(
                f"mode-kl{count}",
                "lower",
                "KL(generated ‖ real) over modes of high-quality samples, in nats",
            ),
            self.column(
                f"fair-modes{count}",
                "higher",
                "modes with at least 20 % of the high-quality samples that are their share",
            ),
        ]

    def counts(self, generated: Observation) -> Tensor:
        """Count high-quality samples per mode."""
        conditions = self.conditions
        assert conditions.modes is not None and conditions.sigma is not None  # noqa: S101
        return count_high_quality(generated.features, conditions.modes, conditions.sigma)

    def values(self, generated: Observation, reference: Statistics) -> list[float]:
        """Compute the four numbers."""
        counts, samples = self.counts(generated), len(generated.features)
        due = FAIR_SHARE * samples / len(counts)
        return [
            float((counts > 0).sum()),
            float(counts.sum()) / samples,
            reverse_kl(counts),
            float((counts >= due).sum()),
        ]

    def calibrate(
        self,
        dataset: Dataset,
        splits: Splits,
        root: Path | None,
        look: Callable[[Values], Observation],
    ) -> dict[str, list[list[float]]]:
        """Draw from the mixture itself."""
        modes, sigma = self.conditions.modes, self.conditions.sigma
        assert modes is not None and sigma is not None  # noqa: S101 - it applies only where known
        random = np.random.RandomState(0)
        draws = []
        for _ in range(DRAWS):
            centres = modes[random.randint(len(modes), size=self.conditions.samples)]
            points = centres + sigma * random.standard_normal(centres.shape)
            draws.append(self.values(Observation(torch.from_numpy(points), None), {}))
        return {PERFECT: draws}

    def histogram(self, generated: Observation) -> list[int]:
        """Count high-quality samples per mode."""
        return [int(count) for count in self.counts(generated).tolist()]
