"""Pairs of examples: one pass over them serves every metric that compares examples one by one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from harness.metrics.base import Conditions, Metric, Observation, Statistics

BLOCK = {"cpu": 2**17, "cuda": 2**26}
"""Pairs looked at together, by kind of device: what fits a CPU's cache, or half a gigabyte."""
ROUNDING = 1e-13
"""Share of two examples' squared norms below which their squared distance counts as 0."""


@dataclass(frozen=True)
class Block:
    """Some generated examples, paired with all generated and with all real ones.

    Attributes:
        rows: Which of the generated examples.
        own: Inner products with the generated examples, float64 ``(rows, n)``.
        cross: Inner products with the real examples, ``(rows, m)``.
        own_distances: Squared Euclidean distances to the generated examples, ``(rows, n)``.
        cross_distances: Squared distances to the real examples, ``(rows, m)``.
    """

    rows: slice
    own: Tensor
    cross: Tensor
    own_distances: Tensor
    cross_distances: Tensor


class Tally(Protocol):
    """What a metric gathers in one pass over the pairs."""

    def add(self, block: Block) -> None:
        """Take in a block; all of them come once, in the order of their rows."""

    def values(self) -> list[float]:
        """Compute one number per column, after the last block."""


class PairMetric(Metric):
    """A metric of images that looks at pairs of examples.

    It compares the first :attr:`Conditions.compared` generated examples with a fixed random
    choice of as many reference examples, or with all of them if there are no more.
    """

    @classmethod
    def applies(cls, conditions: Conditions) -> bool:
        """Whether the data are images: of points, the modes say more."""
        return conditions.kind == "images"

    def name(self, metric: str) -> str:
        """Name a column: with the number of examples that are compared."""
        return self.conditions.name(metric, reference=True, samples=self.conditions.compared)

    def reference(self, real: Observation) -> Statistics:
        """Keep the chosen examples' features, and what the metric needs to know of them."""
        features = real.features[choice(len(real.features), self.conditions.compared)]
        return {"features": features, **self.reduce(features)}

    def reduce(self, real: Tensor) -> Statistics:
        """Reduce the chosen reference features ``(m, dimensions)`` to what :meth:`tally` needs."""
        return {}

    def tally(self, generated: Tensor, reference: Statistics) -> Tally | None:
        """Begin a pass; None where too few examples leave the metric without a value.

        Args:
            generated: Features of the generated examples, float64 ``(n, dimensions)``.
            reference: What :meth:`reference` gave.
        """
        raise NotImplementedError

    def values(self, generated: Observation, reference: Statistics) -> list[float]:
        """Compute the numbers in a pass of its own."""
        return measure_pairs([self], [reference], generated)[0]


class BallMetric(PairMetric):
    """A metric that asks who lies in a ball around an example, up to its k-th nearest other."""

    neighbours: ClassVar[int]

    def reduce(self, real: Tensor) -> Statistics:
        """Keep the squared radius of each real example's ball; none if there are too few."""
        known = len(real) > self.neighbours
        return {"radii": radii(real, self.neighbours) if known else real.new_empty(0)}


def measure_pairs(
    metrics: Sequence[PairMetric], references: Sequence[Statistics], generated: Observation
) -> list[list[float]]:
    """Let metrics of the same conditions share one pass over the pairs.

    Returns:
        Each metric's values, in the order of the metrics.
    """
    if not metrics:
        return []
    made = generated.features[: metrics[0].conditions.compared]
    real = references[0]["features"]
    tallies = [m.tally(made, r) for m, r in zip(metrics, references, strict=True)]
    for block in blocks(made, real):
        for tally in tallies:
            if tally is not None:
                tally.add(block)
    return [
        [math.nan] * len(metric.columns()) if tally is None else tally.values()
        for metric, tally in zip(metrics, tallies, strict=True)
    ]


def choice(count: int, most: int) -> Tensor:
    """Choose at most so many of a number of examples, always the same; ascending indices."""
    chosen = np.random.RandomState(0).permutation(count)[:most]
    return torch.from_numpy(np.sort(chosen))


def blocks(generated: Tensor, real: Tensor) -> Iterator[Block]:
    """Go over all pairs of ``(n, dimensions)`` with itself and with ``(m, dimensions)``."""
    own_norms, real_norms = (f.square().sum(1) for f in (generated, real))
    for rows in slices(len(generated), len(generated) + len(real), generated.device):
        some, norms = generated[rows], own_norms[rows]
        own, cross = some @ generated.T, some @ real.T
        yield Block(
            rows,
            own,
            cross,
            squared_distances(own, norms, own_norms),
            squared_distances(cross, norms, real_norms),
        )


def slices(count: int, width: int, device: torch.device) -> Iterator[slice]:
    """Cut the rows of a matrix of so many rows and columns into blocks."""
    size = max(1, BLOCK.get(device.type, BLOCK["cpu"]) // max(1, width))
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def squared_distances(products: Tensor, norms: Tensor, others: Tensor) -> Tensor:
    """Compute ‖x − y‖² from inner products ``(a, b)`` and squared norms ``(a,)`` and ``(b,)``.

    Examples that are the same have distance 0, whatever the rounding.
    """
    norms, others = norms * (1 - ROUNDING), others * (1 - ROUNDING)
    return (norms[:, None] + others).sub_(products, alpha=2).clamp_(min=0)


def radii(features: Tensor, k: int) -> Tensor:
    """Return the squared distance of each example to its k-th nearest other, ``(n,)``.

    Args:
        features: float64 ``(n, dimensions)``, more than k of them.
        k: Neighbours, without the example itself.
    """
    norms = features.square().sum(1)
    distances = [
        kth_distance(squared_distances(features[rows] @ features.T, norms[rows], norms), k)
        for rows in slices(len(features), len(features), features.device)
    ]
    return torch.cat(distances)


def kth_distance(distances: Tensor, k: int) -> Tensor:
    """Return the k-th smallest of each row, after the 0 of the example itself."""
    return distances.topk(k + 1, dim=1, largest=False).values[:, -1]
