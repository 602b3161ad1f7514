"""Duplicates: how many pairs of generated images are as alike as hardly any two real ones."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.metrics.base import Statistics, metrics
from harness.metrics.pairs import Block, PairMetric, Tally, slices, squared_distances
from harness.store.records import MetricInfo

QUANTILE = 0.001
MEMBERS = 4000
"""The quantile is that of the pairs among at most so many real examples: eight million."""


def close_distance(features: Tensor) -> Tensor:
    """Return the squared distance that a thousandth of all pairs of ``(n, dimensions)`` keep to.

    Returns:
        The distance of the pair of rank ⌈pairs / 1000⌉, a scalar; NaN without any pair.
    """
    some = features[:MEMBERS]
    norms, count = some.square().sum(1), len(some)
    if count < 2:
        return features.new_tensor(torch.nan)
    pairs = count * (count - 1) // 2
    rank = -(-pairs // round(1 / QUANTILE))
    smallest = features.new_empty(0)
    for rows in slices(count, count, features.device):
        distances = squared_distances(some[rows] @ some.T, norms[rows], norms)
        later = torch.ones_like(distances, dtype=torch.bool).triu(rows.start + 1)
        candidates = torch.cat([smallest, distances[later]])
        smallest = candidates.topk(min(rank, len(candidates)), largest=False).values
    return smallest.max()


class ClosePairs:
    """Counts generated pairs that are close.

    Args:
        count: Generated examples.
        threshold: Squared distance up to which a pair is.
    """

    def __init__(self, count: int, threshold: Tensor) -> None:
        self.count = count
        self.threshold = threshold
        self.pairs = torch.zeros((), dtype=torch.int64, device=threshold.device)

    def add(self, block: Block) -> None:
        """Count a block's pairs, each seen from both of its ends, and none with itself."""
        close = block.own_distances <= self.threshold
        self.pairs += close.sum() - close.diagonal(block.rows.start).sum()

    def values(self) -> list[float]:
        """Return the share of close pairs."""
        return [float(self.pairs) / (self.count * (self.count - 1))]


@metrics.register("duplicates", source="cf. Arora and Zhang 2017, arXiv:1706.08224")
class Duplicates(PairMetric):
    """Share of generated pairs no farther apart than the closest .1 % of real pairs."""

    def columns(self) -> list[MetricInfo]:
        """Describe the share; that of real held-out data is its floor."""
        return [self.column(self.name("duplicates"), "lower", self.summary)]

    def reduce(self, real: Tensor) -> Statistics:
        """Keep the distance that .1 % of the real pairs keep to."""
        return {"threshold": close_distance(real)}

    def tally(self, generated: Tensor, reference: Statistics) -> Tally | None:
        """Begin to count."""
        if len(generated) < 2 or bool(reference["threshold"].isnan()):
            return None
        return ClosePairs(len(generated), reference["threshold"])
