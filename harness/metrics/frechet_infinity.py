"""Fréchet distance without its bias: extrapolated to infinitely many generated images."""

from __future__ import annotations

import numpy as np
import torch

from harness.metrics.base import Conditions, Metric, Observation, Statistics, metrics
from harness.metrics.extractors.inception import FID_LABEL
from harness.metrics.frechet import distance_to, reference_moments
from harness.store.records import MetricInfo

POINTS = 15
SMALLEST = 0.1
"""Distances are taken of so many subsets, from this share of all samples to all of them."""


def intercept(counts: list[int], distances: list[float]) -> float:
    """Fit distance = a + b / count by least squares and return a."""
    slope_first = np.polyfit(1 / np.array(counts, dtype=np.float64), np.array(distances), 1)
    return float(slope_first[1])


@metrics.register("frechet-infinity", source="Chong and Forsyth 2020, arXiv:1911.07023")
class FrechetInfinity(Metric):
    """Fréchet distance extrapolated linearly in 1/N to N = ∞; measured on request."""

    on_request = True
    draws = True

    @classmethod
    def applies(cls, conditions: Conditions) -> bool:
        """Whether there are images enough to fit a line to."""
        return conditions.kind == "images" and conditions.samples >= 2 * POINTS / SMALLEST

    def columns(self) -> list[MetricInfo]:
        """Describe the intercept; only on Inception is it called FID∞."""
        conditions = self.conditions
        name = (
            f"fid-infinity{conditions.protocol(reference=True)}"
            if conditions.extractor == FID_LABEL
            else conditions.name("fd-infinity", reference=True)
        )
        summary = (
            f"squared Fréchet distance, extrapolated to N = ∞ from {POINTS} random subsets of a "
            "tenth to all of the samples"
        )
        return [self.column(name, "lower", summary)]

    def reference(self, real: Observation) -> Statistics:
        """Keep what the Fréchet distance keeps."""
        return reference_moments(real.features)

    def values(self, generated: Observation, reference: Statistics) -> list[float]:
        """Measure subsets of growing size, and extrapolate."""
        total = len(generated.features)
        counts = np.linspace(SMALLEST * total, total, POINTS).astype(int).tolist()
        if counts[0] < 2 or len(set(counts)) < POINTS:
            return [float("nan")]
        random = np.random.RandomState(0)
        distances = []
        for count in counts:
            chosen = torch.from_numpy(random.permutation(total)[:count])
            distances.append(distance_to(generated.features[chosen], reference))
        if not np.isfinite(distances).all():
            return [float("nan")]
        return [intercept(counts, distances)]
