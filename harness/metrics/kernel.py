"""Kernel distance: the maximum mean discrepancy of the features; KID on Inception."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from harness.metrics.base import Conditions, Statistics, metrics
from harness.metrics.extractors.inception import FID_LABEL
from harness.metrics.pairs import Block, PairMetric, Tally, slices
from harness.store.records import MetricInfo

SUBSETS = 100
SUBSET_SIZE = 1000
SEED = 2020
"""Subsets, their size and their seed are torch-fidelity's, and so are the numbers."""


def cubic(products: Tensor, dimensions: int) -> Tensor:
    """Compute the kernel (x·y / dimensions + 1)³ of inner products."""
    base = (products / dimensions).add_(1)
    return base.square().mul_(base)


@lru_cache(maxsize=4)
def draw_subsets(subsets: int, size: int, generated: int, real: int) -> tuple[Tensor, Tensor]:
    """Draw the subsets of both sides in turn, as torch-fidelity does.

    Returns:
        Which examples each subset holds, float64 ``(generated, subsets)`` and
        ``(real, subsets)``, 1 or 0; a side that is one subset has a single column.
    """
    random = np.random.RandomState(SEED)
    chosen = (np.zeros((generated, subsets)), np.zeros((real, subsets)))
    for subset in range(subsets):
        for held in chosen:
            held[random.choice(len(held), size, replace=False), subset] = 1
    first, second = (torch.from_numpy(c[:, :1] if len(c) == size else c) for c in chosen)
    return first, second


def sums_within(features: Tensor, held: Tensor) -> Tensor:
    """Sum the kernel over ordered pairs of different members of each subset.

    Args:
        features: ``(n, dimensions)``.
        held: ``(n, subsets)``, 1 or 0.

    Returns:
        ``(subsets,)``.
    """
    total = features.new_zeros(held.shape[1])
    for rows in slices(len(features), len(features), features.device):
        kernel = cubic(features[rows] @ features.T, features.shape[1])
        total += within(kernel, rows, held)
    return total


def within(kernel: Tensor, rows: slice, held: Tensor) -> Tensor:
    """Sum some rows ``(rows, n)`` of a kernel over each subset, without the diagonal."""
    others = kernel @ held - kernel.diagonal(rows.start)[:, None]
    return (others * held[rows]).sum(0)


class Sums:
    """Sums of the kernel over each subset.

    Args:
        dimensions: Of the features.
        generated: Who is in each subset, ``(n, subsets)``, 1 or 0.
        real: The same of the real examples, ``(m, subsets)``.
        within_real: The kernel's sums over the real subsets, ``(subsets,)``.
    """

    def __init__(
        self, dimensions: int, generated: Tensor, real: Tensor, within_real: Tensor
    ) -> None:
        self.dimensions = dimensions
        self.generated, self.real = generated, real
        self.size = float(generated[:, 0].sum())
        self.total_real = within_real
        self.total = torch.zeros_like(within_real)
        self.total_cross = torch.zeros_like(within_real)

    def add(self, block: Block) -> None:
        """Add a block's share."""
        self.total = self.total + within(
            cubic(block.own, self.dimensions), block.rows, self.generated
        )
        across = cubic(block.cross, self.dimensions) @ self.real
        self.total_cross = self.total_cross + (across * self.generated[block.rows]).sum(0)

    def values(self) -> list[float]:
        """Return the mean over subsets of the unbiased estimate."""
        m = self.size
        inner = (self.total + self.total_real) / (m * (m - 1))
        return [float((inner - 2 * self.total_cross / (m * m)).mean())]


@metrics.register("kernel", source="Bińkowski et al. 2018, arXiv:1801.01401")
class KernelDistance(PairMetric):
    """Squared maximum mean discrepancy of the features, cubic kernel, unbiased."""

    draws = True
    version = 2

    @classmethod
    def applies(cls, conditions: Conditions) -> bool:
        """Whether there are images enough for a subset."""
        return super().applies(conditions) and conditions.compared >= SUBSET_SIZE

    def columns(self) -> list[MetricInfo]:
        """Describe the distance; only on Inception is it called KID."""
        conditions = self.conditions
        name = (
            f"kid{conditions.protocol(reference=True, samples=conditions.compared)}"
            if conditions.extractor == FID_LABEL
            else self.name("kd")
        )
        summary = (
            f"{self.summary}: mean over {SUBSETS} subsets of {SUBSET_SIZE} of each side, or of all "
            f"where there are no more; absent where the reference has fewer than {SUBSET_SIZE}; "
            "slightly below 0 for a perfect sampler as often as above"
        )
        return [self.column(name, "lower", summary)]

    @property
    def subset(self) -> int:
        """Examples of each side in a subset."""
        return min(SUBSET_SIZE, self.conditions.compared)

    def reduce(self, real: Tensor) -> Statistics:
        """Keep the sums over the real subsets that go with a whole set of generated images."""
        count, size = self.conditions.compared, self.subset
        if len(real) < size:
            return {}
        held = draw_subsets(SUBSETS, size, count, len(real))[1]
        return {"within": sums_within(real, held.to(real.device))}

    def tally(self, generated: Tensor, reference: Statistics) -> Tally | None:
        """Begin to sum; fewer generated examples than a subset are a subset of their own."""
        real = reference["features"]
        size = min(self.subset, len(generated))
        if size < 2 or len(real) < self.subset:
            return None
        drawn = draw_subsets(SUBSETS, size, len(generated), len(real))
        made, held = (side.to(real.device) for side in drawn)
        whole = len(generated) == self.conditions.compared
        inner = reference["within"] if whole else sums_within(real, held)
        return Sums(real.shape[1], made, held, inner)
