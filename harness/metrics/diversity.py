"""Diversity: how far generated samples are from one another, relative to real ones."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from harness.metrics.base import Metric, Observation, Statistics, metrics
from harness.store.records import MetricInfo

SUBSET = 500
"""Pairs are formed among at most so many examples, which is 124,750 pairs."""


def mean_distance(features: Tensor) -> float:
    """Return the mean Euclidean distance over all pairs of ``(n, dimensions)``.

    Differences are formed one by one: the faster way over inner products would give a constant
    generator a small diversity by rounding.
    """
    return float(torch.pdist(features).mean())


@metrics.register(
    "diversity", source="mean pairwise distance; cf. Salimans et al. 2016, section 3.2"
)
class Diversity(Metric):
    """Mean pairwise feature distance, generated over real: 1 is the data's, 0 a constant."""

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
