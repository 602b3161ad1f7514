"""Fréchet distance: how far two Gaussians fitted to the features are apart; FID on Inception."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.metrics.base import Conditions, Metric, Observation, Statistics, metrics
from harness.metrics.extractors.inception import FID_LABEL
from harness.store.records import MetricInfo

Matrix = NDArray[np.float64]
CHUNK = 8192
"""Examples that are centred at a time, so that no second copy of all features is made."""


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and unbiased covariance of features ``(n, dimensions)``, on their device.

    Returns:
        ``(dimensions,)`` and ``(dimensions, dimensions)``, float64; the covariance of a single
        example is NaN.
    """
    count, dimensions = features.shape
    mean = features.mean(0)
    scatter = features.new_zeros(dimensions, dimensions)
    for start in range(0, count, CHUNK):
        centred = features[start : start + CHUNK] - mean
        scatter.addmm_(centred.T, centred)
    return mean, scatter / (count - 1)


def proper(eigenvalues: Matrix, count: int) -> Matrix:
    """Drop what rounding makes of eigenvalues that are 0, ascending ones of a covariance.

    It has at most ``count`` − 1 others, of so many examples; their roots would add up.
    """
    kept: Matrix = eigenvalues.clip(min=0)
    kept[: max(0, len(kept) - max(0, count - 1))] = 0
    return kept


def symmetric_root(matrix: Tensor, count: int) -> Tensor:
    """Take the square root of a covariance of so many examples."""
    eigenvalues, vectors = np.linalg.eigh(matrix.cpu().numpy())
    root: Matrix = (vectors * np.sqrt(proper(eigenvalues, count))) @ vectors.T
    return torch.from_numpy(root).to(matrix.device)


def reference_moments(features: Tensor) -> Statistics:
    """Keep mean, trace and square root of the covariance of reference features; their count."""
    mean, covariance = moments(features)
    return {
        "mean": mean,
        "root": symmetric_root(covariance, len(features)),
        "trace": covariance.trace(),
        "count": torch.tensor(len(features)),
    }


def distance_to(features: Tensor, reference: Statistics) -> float:
    """Compute ‖μ₁ − μ₂‖² + tr S₁ + tr S₂ − 2 Σ√eig(R S₂ R), with R = √S₁.

    R S₂ R has the eigenvalues of S₁S₂ but is symmetric: the same number as torch-fidelity's
    ``fid_statistics_to_metric``, several times faster, and real also for singular covariances.
    Only R S₂ R and the rest of the sum leave the device, together.

    Args:
        features: Generated, float64 ``(n, dimensions)``.
        reference: Of :func:`reference_moments`, on the same device.

    Returns:
        The squared distance; NaN if the moments overflow.
    """
    mean, covariance = moments(features)
    root = reference["root"]
    difference = mean - reference["mean"]
    rest = difference @ difference + reference["trace"] + covariance.trace()
    product = root @ covariance @ root
    held = torch.cat([product.flatten(), rest[None]]).cpu().numpy()
    if not np.isfinite(held).all():
        return float("nan")
    eigenvalues = np.linalg.eigvalsh(held[:-1].reshape(root.shape))
    fewest = min(len(features), int(reference["count"]))
    return float(held[-1] - 2 * np.sqrt(proper(eigenvalues, fewest)).sum())


@metrics.register("frechet", source="Heusel et al. 2017, arXiv:1706.08500, eq. 6")
class FrechetDistance(Metric):
    """Squared Fréchet distance between generated and reference features."""

    version = 2

    @classmethod
    def applies(cls, conditions: Conditions) -> bool:
        """Whether the data are images: of points it would compare two ellipses, blind to modes."""
        return conditions.kind == "images"

    def columns(self) -> list[MetricInfo]:
        """Describe the distance; only on Inception's pool3 is it called FID."""
        conditions = self.conditions
        name = (
            f"fid{conditions.protocol(reference=True)}"
            if conditions.extractor == FID_LABEL
            else conditions.name("fd", reference=True)
        )
        return [self.column(name, "lower", self.summary, primary=True)]

    def reference(self, real: Observation) -> Statistics:
        """Keep mean, trace and square root of the covariance."""
        return reference_moments(real.features)

    def values(self, generated: Observation, reference: Statistics) -> list[float]:
        """Compute the distance."""
        return [distance_to(generated.features, reference)]
