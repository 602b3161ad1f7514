"""Diversity: how far generated samples are from one another, relative to real ones."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from harness.metrics.base import Metric, Observation, Statistics, metrics
from harness.metrics.energy import ascending, directions, lengthening, mean_gap
from harness.store.records import MetricInfo

SUBSET = 500
"""Pairs are formed among at most so many examples, which is 124,750 pairs."""


def mean_distance(features: Tensor) -> float:
    """Return the mean Euclidean distance over all pairs of ``(n, dimensions)``.

    On the line and in the plane it is the mean over directions, which is exact to a thousandth.
    Above, differences are formed one by one: the faster way over inner products would give a
    constant generator a small diversity by rounding.
    """
    n, dimensions = features.shape
    if dimensions > 2 or n < 2:
        return float(torch.pdist(features).mean())
    onto = directions(dimensions).to(features.device)
    # From the first of them on, so that equal points are apart by 0 exactly.
    gaps = mean_gap(ascending(onto @ (features - features[0]).T))
    return float(gaps.mean()) * lengthening(dimensions) * n / (n - 1)


@metrics.register(
    "diversity", source="mean pairwise distance; cf. Salimans et al. 2016, section 3.2"
)
class Diversity(Metric):
    """Mean pairwise feature distance, generated over real: 1 is the data's, 0 a constant."""

    version = 2

    def columns(self) -> list[MetricInfo]:
        """Describe the ratio."""
        name = self.conditions.name("diversity", reference=True)
        return [self.column(name, "none", self.summary)]

    def reference(self, real: Observation) -> Statistics:
        """Keep the mean distance among a fixed random choice of the reference data."""
        count = len(real.features)
        chosen = np.random.RandomState(0).permutation(count)[:SUBSET]
        distance = mean_distance(real.features[torch.from_numpy(chosen)])
        return {"distance": torch.tensor(distance, dtype=torch.float64)}

    def values(self, generated: Observation, reference: Statistics) -> list[float]:
        """Compute the ratio over the first samples, which are as good as any."""
        return [mean_distance(generated.features[:SUBSET]) / float(reference["distance"])]
