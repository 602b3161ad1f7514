"""Density and coverage: how crowded with real images the generated ones lie, and who is met."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.metrics.base import Statistics, metrics
from harness.metrics.pairs import BallMetric, Block, Tally
from harness.store.records import MetricInfo

NEIGHBOURS = 5


class Crowd:
    """How many real examples' balls the generated ones lie in, and how near they come.

    Args:
        generated: Features ``(n, dimensions)``.
        reach: Squared radii of the balls around the real examples, ``(m,)``.
    """

    def __init__(self, generated: Tensor, reach: Tensor) -> None:
        self.reach = reach
        self.count = len(generated)
        self.hits = torch.zeros((), dtype=torch.int64, device=reach.device)
        self.nearest = torch.full_like(reach, torch.inf)

    def add(self, block: Block) -> None:
        """Count a block's hits, and keep each real example's nearest."""
        distances = block.cross_distances
        self.hits += (distances < self.reach).sum()
        self.nearest = torch.minimum(self.nearest, distances.amin(0))

    def values(self) -> list[float]:
        """Return density and coverage."""
        met = (self.nearest < self.reach).double().mean()
        return [float(self.hits) / (NEIGHBOURS * self.count), float(met)]


@metrics.register("density-coverage", source="Naeem et al. 2020, arXiv:2002.09797")
class DensityCoverage(BallMetric):
    """How densely real images surround generated ones, and the share of real images met."""

    neighbours = NEIGHBOURS

    def columns(self) -> list[MetricInfo]:
        """Describe density, which may exceed 1, and coverage, which may not."""
        return [
            self.column(
                self.name("density"),
                "higher",
                f"real images whose ball, up to their {NEIGHBOURS}th nearest real neighbour, holds "
                f"a generated image: mean number over {NEIGHBOURS}, about 1 for real data; against "
                "as many reference images",
            ),
            self.column(
                self.name("coverage"),
                "higher",
                f"share of real images with a generated one nearer than their {NEIGHBOURS}th "
                "nearest real neighbour; about .97 for real data; against as many reference images",
            ),
        ]

    def tally(self, generated: Tensor, reference: Statistics) -> Tally | None:
        """Begin to count."""
        if not len(generated) or not len(reference["radii"]):
            return None
        return Crowd(generated, reference["radii"])
