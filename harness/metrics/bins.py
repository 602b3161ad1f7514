"""NDB and JSD: whether generated images fall into the data's clusters as often as real ones do."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from harness.metrics.base import Conditions, Metric, Observation, Statistics, metrics
from harness.metrics.pairs import choice, slices
from harness.store.records import MetricInfo

BINS = 100
LEARNED_FROM = 10_000
"""The bins are found on at most so many real images, always the same; all of them are counted."""
ROUNDS = 100
Z = 1.959963984540054
"""Two-sided 5 % of the normal distribution."""


def nearest(features: Tensor, centres: Tensor) -> Tensor:
    """Return the index of the nearest centre ``(k, dimensions)`` of each example, ``(n,)``."""
    norms = centres.square().sum(1)
    indices = [
        # ‖x‖² is the same for all centres.
        torch.addmm(norms, features[rows], centres.T, alpha=-2).argmin(1)
        for rows in slices(len(features), len(centres), features.device)
    ]
    return torch.cat(indices) if indices else torch.zeros(0, dtype=torch.int64)


def k_means(features: Tensor, clusters: int) -> Tensor:
    """Find centres by k-means++ and Lloyd's rounds, always the same for the same data.

    Args:
        features: float64 ``(n, dimensions)``, at least as many as clusters.
        clusters: How many.

    Returns:
        Centres ``(clusters, dimensions)``; one whose cluster became empty stays where it was.
    """
    random = np.random.RandomState(0)
    centres = features[[random.randint(len(features))]]
    distance = (features - centres).square().sum(1)
    for _ in range(clusters - 1):
        # The next centre is drawn with a chance in proportion to its squared distance.
        cumulated = distance.cumsum(0)
        drawn = torch.searchsorted(cumulated, random.uniform() * cumulated[-1], right=True)
        centre = features[drawn.clamp(max=len(features) - 1)]
        centres = torch.cat([centres, centre[None]])
        distance = torch.minimum(distance, (features - centre).square().sum(1))
    before = None
    for _ in range(ROUNDS):
        member = nearest(features, centres)
        if before is not None and torch.equal(member, before):
            break
        before = member
        counts = torch.bincount(member, minlength=clusters)
        # A product adds in the same order each time; an indexed sum on a GPU does not.
        sums = torch.zeros_like(centres)
        for rows in slices(len(features), clusters, features.device):
            one_hot = torch.nn.functional.one_hot(member[rows], clusters).to(features.dtype)
            sums += one_hot.T @ features[rows]
        mean = sums / counts.clamp(min=1)[:, None]
        centres = torch.where((counts > 0)[:, None], mean, centres)
    return centres


def different_bins(counts: Tensor, reference: Tensor) -> int:
    """Count the bins whose shares differ by a two-proportion z-test at 5 %.

    Args:
        counts: Generated examples per bin.
        reference: Real examples per bin.
    """
    n, m = float(counts.sum()), float(reference.sum())
    a, b = counts.double(), reference.double()
    pooled = (a + b) / (n + m)
    error = (pooled * (1 - pooled) * (1 / n + 1 / m)).sqrt()
    return int(((a / n - b / m).abs() > Z * error).sum())


def jensen_shannon(counts: Tensor, reference: Tensor) -> float:
    """Compute the Jensen–Shannon divergence of two histograms in nats: 0 to log 2."""
    p, q = counts.double() / counts.sum(), reference.double() / reference.sum()
    middle = (p + q) / 2
    known = torch.where(middle == 0, 1.0, middle)  # where both are 0, neither adds anything
    halves = [torch.special.xlogy(side, side / known).sum() for side in (p, q)]
    return float(halves[0] + halves[1]) / 2


@metrics.register("bins", source="Richardson and Weiss 2018, arXiv:1805.12462")
class Bins(Metric):
    """Clusters of the data that generated images are found in too often or too rarely."""

    @classmethod
    def applies(cls, conditions: Conditions) -> bool:
        """Whether the data are images: of points, the modes say more."""
        return conditions.kind == "images"

    def columns(self) -> list[MetricInfo]:
        """Describe the number of different bins and the divergence over all of them."""
        name = self.conditions.name
        return [
            self.column(
                name("ndb", reference=True),
                "lower",
                f"of {BINS} k-means clusters of the data, how many hold significantly more or "
                "fewer generated images than their share (5 % level); about 5 for a fair sampler",
            ),
            self.column(
                name("jsd", reference=True),
                "lower",
                f"Jensen–Shannon divergence between the shares of {BINS} k-means clusters, in nats",
            ),
        ]

    def reference(self, real: Observation) -> Statistics:
        """Keep the clusters and how many real images each holds; none if there are too few."""
        features = real.features
        if len(features) < BINS:
            empty = torch.zeros(0, features.shape[1], dtype=features.dtype)
            return {"centres": empty, "counts": torch.zeros(0, dtype=torch.int64)}
        centres = k_means(features[choice(len(features), LEARNED_FROM)], BINS)
        counts = torch.bincount(nearest(features, centres), minlength=BINS)
        return {"centres": centres, "counts": counts}

    def values(self, generated: Observation, reference: Statistics) -> list[float]:
        """Compute both numbers."""
        counts, centres = reference["counts"], reference["centres"]
        if not len(centres) or not len(generated.features):
            return [float("nan")] * 2
        occupancy = torch.bincount(nearest(generated.features, centres), minlength=BINS)
        return [float(different_bins(occupancy, counts)), jensen_shannon(occupancy, counts)]
