"""Precision and recall: how many generated images look real, and how much of the data appears."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.metrics.base import Statistics, metrics
from harness.metrics.pairs import BallMetric, Block, Tally, kth_distance
from harness.store.records import MetricInfo

NEIGHBOURS = 3


class Balls:
    """Who lies in whose ball.

    Args:
        generated: Features ``(n, dimensions)``.
        reach: Squared radii of the balls around the real examples, ``(m,)``.
    """

    def __init__(self, generated: Tensor, reach: Tensor) -> None:
        self.reach = reach
        self.precise = torch.zeros(len(generated), dtype=torch.bool, device=reach.device)
        self.recalled = torch.zeros_like(reach, dtype=torch.bool)

    def add(self, block: Block) -> None:
        """Mark who of a block lies in a real example's ball, and who in one of the block's."""
        distances = block.cross_distances
        self.precise[block.rows] = (distances <= self.reach).any(1)
        own = kth_distance(block.own_distances, NEIGHBOURS)
        self.recalled |= (distances <= own[:, None]).any(0)

    def values(self) -> list[float]:
        """Return both shares."""
        return [float(self.precise.double().mean()), float(self.recalled.double().mean())]


@metrics.register("precision-recall", source="Kynkäänniemi et al. 2019, arXiv:1904.06991, eq. 1–2")
class PrecisionRecall(BallMetric):
    """Shares of generated images near real ones, and of real images near generated ones."""

    neighbours = NEIGHBOURS

    def columns(self) -> list[MetricInfo]:
        """Describe both shares."""
        return [
            self.column(
                self.name("precision"),
                "higher",
                f"share of generated images no farther from some real one than its {NEIGHBOURS}rd "
                "nearest real neighbour; against as many reference images",
            ),
            self.column(
                self.name("recall"),
                "higher",
                f"share of real images no farther from some generated one than its {NEIGHBOURS}rd "
                "nearest generated neighbour; against as many reference images",
            ),
        ]

    def tally(self, generated: Tensor, reference: Statistics) -> Tally | None:
        """Begin to mark who lies in whose ball."""
        if len(generated) <= NEIGHBOURS or not len(reference["radii"]):
            return None
        return Balls(generated, reference["radii"])
