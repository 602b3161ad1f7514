"""Energy distance: how far two clouds of points lie apart, their modes and shapes included.

2E|X − Y| − E|X − X′| − E|Y − Y′| is 0 for the same law alone. It needs no bandwidth, bears with
outliers, and its value for two samples of one law falls as 1/n. A distance in space is, up to a
factor, the mean over directions of the distance on the line, where sorting gives all pairs at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.metrics.base import Conditions, Metric, Observation, Statistics, metrics
from harness.store.records import MetricInfo

PLANE_DIRECTIONS = 61
"""A prime, so that a ring or grid of modes looks the same along no two of them: on a ring of eight
64 directions are off by 2 %, these by less than 0.1 %."""
SPACE_DIRECTIONS = 128
"""At least as many above the plane, where they are drawn at random."""
SEED = 0
"""Of the drawn directions."""
CELLS = (512, 1024, 2048, 4096)
"""Of a :class:`Potential`: the fewest that are exact enough."""
EXACT = 1.5e-7
"""Mean error of a :class:`Potential`, as a share of the reference's own mean distance: a thousandth
of what ten thousand samples of the same law are apart."""
BLOCK = 1 << 16
"""Numbers that are worked on at once, so that they stay in a core's cache."""


def directions(dimensions: int) -> Tensor:
    """Return unit vectors to project on, float64 ``(directions, dimensions)``.

    On the line there is one; in the plane they are equally spaced over half a turn, half a step off
    the first axis; above it they are axes of turned frames, drawn at random and always the same,
    so that a shift of all points counts alike whichever way it goes.
    """
    if dimensions == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    if dimensions == 2:
        steps = torch.arange(PLANE_DIRECTIONS, dtype=torch.float64) + 0.5
        angles = math.pi / PLANE_DIRECTIONS * steps
        return torch.stack([angles.cos(), angles.sin()], dim=1)
    frames = math.ceil(SPACE_DIRECTIONS / dimensions)
    drawn = np.random.RandomState(SEED).standard_normal((frames, dimensions, dimensions))
    return torch.from_numpy(np.linalg.qr(drawn)[0].reshape(-1, dimensions))


def lengthening(dimensions: int) -> float:
    """Return |x| over the mean of |u · x| over directions u: 1, π/2, 2, … (Γ-functions)."""
    up = math.lgamma((dimensions + 1) / 2) - math.lgamma(dimensions / 2)
    return math.sqrt(math.pi) * math.exp(up)


def ascending(x: Tensor) -> Tensor:
    """Sort along the last axis; on a CPU by NumPy, which takes a tenth of the time."""
    if x.device.type == "cpu":
        return torch.from_numpy(np.sort(x.numpy(), axis=-1))
    return x.sort(-1)[0]


def mean_gap(ordered: Tensor) -> Tensor:
    """Return the mean distance between two of the same numbers, each meeting itself too.

    Args:
        ordered: Ascending, ``(directions, n)``.

    Returns:
        ``(directions,)``.
    """
    n = ordered.shape[1]
    ranks = torch.arange(1 - n, n, 2, dtype=ordered.dtype, device=ordered.device)
    return ordered @ ranks * (2 / n**2)


@dataclass(frozen=True)
class Potential:
    """E|x − Y| on every direction, as cubic pieces over equal cells that keep value and slope.

    Beyond the outermost numbers the mean distance is a straight line, exactly.

    Attributes:
        low: Where the first cell begins, ``(directions, 1)``.
        width: Of a cell, ``(directions, 1)``; positive.
        pieces: Coefficients of 1, t, t², t³ with t from 0 to 1 in each cell,
            ``(4, directions, cells)``.
    """

    low: Tensor
    width: Tensor
    pieces: Tensor

    @classmethod
    def of(cls, ordered: Tensor) -> Potential | None:
        """Fit the fewest cells that are exact enough; None where none are, as of heavy tails.

        Args:
            ordered: Ascending, float64 ``(directions, m)``.
        """
        allowed = EXACT * mean_gap(ordered).mean()
        places = torch.linspace(0, ordered.shape[1] - 1, 4 * CELLS[-1], device=ordered.device)
        probes = ordered[:, places.long()]
        probes = (probes[:, 1:] + probes[:, :-1]) / 2
        right = mean_distance(probes, ordered)
        for cells in CELLS:
            potential = cls._fitted(ordered, cells)
            if (potential(probes) - right).abs().mean() <= allowed:
                return potential
        return None

    @classmethod
    def _fitted(cls, ordered: Tensor, cells: int) -> Potential:
        low = ordered[:, :1]
        # Numbers that are all the same span nothing; any width will do.
        spans = ordered[:, -1:] - low
        width = torch.where(spans > 0, spans, torch.ones_like(spans)) / cells
        edges = low + width * torch.arange(cells + 1, dtype=low.dtype, device=low.device)
        value, m = mean_distance(edges, ordered), ordered.shape[1]
        rise = value[:, 1:] - value[:, :-1]
        # Many numbers may lie on one edge: a cell's slopes are those on its own side of them.
        starts, ends = edges[:, :-1].contiguous(), edges[:, 1:].contiguous()
        first = width * (2 * torch.searchsorted(ordered, starts, right=True) - m) / m
        last = width * (2 * torch.searchsorted(ordered, ends) - m) / m
        pieces = [value[:, :-1], first, 3 * rise - 2 * first - last, first + last - 2 * rise]
        return cls(low, width, torch.stack(pieces))

    def __call__(self, x: Tensor) -> Tensor:
        """Return the mean distance of each number to all of the reference, ``(directions, n)``."""
        _, rows, cells = self.pieces.shape
        place = (x - self.low) / self.width
        inside = place.clamp(0, cells)
        cell = inside.long().clamp_(max=cells - 1)
        t = inside - cell
        first_cells = cells * torch.arange(rows, device=x.device)[:, None]
        where = (cell + first_cells).flatten()
        a, b, c, d = (piece.flatten().index_select(0, where).view_as(t) for piece in self.pieces)
        beyond = (place - inside).abs_() * self.width
        value: Tensor = d.mul_(t).add_(c).mul_(t).add_(b).mul_(t).add_(a).add_(beyond)
        return value


def mean_distance(x: Tensor, ordered: Tensor) -> Tensor:
    """Return the mean distance of each number to others, ``(directions, n)``.

    Args:
        x: ``(directions, n)``.
        ordered: The others, ascending, ``(directions, m)``.
    """
    m = ordered.shape[1]
    x = x.contiguous()
    sums = torch.nn.functional.pad(ordered.cumsum(1), (1, 0))
    below = torch.searchsorted(ordered, x)
    return (x * (2 * below - m) + sums[:, -1:] - 2 * sums.gather(1, below)) / m


def energy_distance(points: Tensor, reference: Statistics) -> float:
    """Compute the energy distance of points to a reference; each point meets itself too.

    Args:
        points: float64 ``(n, dimensions)``.
        reference: Of :func:`reference_energy`, on the same device.

    Returns:
        A number from 0, in the unit of the points.
    """
    onto = directions(points.shape[1]).to(points.device)
    step = max(1, BLOCK // len(points))
    total = points.new_zeros(())
    for start in range(0, len(onto), step):
        rows = slice(start, start + step)
        x = ascending(onto[rows] @ points.T)
        total += (2 * cross(x, reference, rows) - mean_gap(x) - reference["gap"][rows]).sum()
    # The pieces are exact to EXACT only, which may take the last digit of 0 below it.
    return max(0.0, float(total)) / len(onto) * lengthening(points.shape[1])


def cross(x: Tensor, reference: Statistics, rows: slice) -> Tensor:
    """Return the mean distance of numbers to the reference on some directions, ``(directions,)``.

    Args:
        x: ``(directions, n)``.
        reference: Of :func:`reference_energy`.
        rows: Which of the reference's directions these are.
    """
    if "ordered" in reference:
        return mean_distance(x, reference["ordered"][rows]).mean(1)
    low, width = reference["low"][rows], reference["width"][rows]
    return Potential(low, width, reference["pieces"][:, rows].contiguous())(x).mean(1)


def reference_energy(points: Tensor) -> Statistics:
    """Keep what reference points give on every direction: mean distance and potential.

    Where no potential is exact enough, the points themselves are kept, in order.

    Args:
        points: float64 ``(m, dimensions)``.
    """
    ordered = ascending(directions(points.shape[1]).to(points.device) @ points.T)
    potential = Potential.of(ordered)
    rest = {"ordered": ordered} if potential is None else vars(potential)
    return {"gap": mean_gap(ordered), **rest}


@metrics.register("energy", source="Székely and Rizzo 2013, doi:10.1016/j.jspi.2013.03.018, eq. 2")
class EnergyDistance(Metric):
    """Energy distance between generated and reference points."""

    @classmethod
    def applies(cls, conditions: Conditions) -> bool:
        """Whether the data are points."""
        return conditions.kind == "points"

    def columns(self) -> list[MetricInfo]:
        """Describe the distance."""
        name = self.conditions.name("energy", reference=True)
        summary = f"{self.summary}, 0 for the same law; about as 1/N for samples of it"
        return [self.column(name, "lower", summary, primary=True)]

    def reference(self, real: Observation) -> Statistics:
        """Keep what :func:`energy_distance` needs."""
        return reference_energy(real.features)

    def values(self, generated: Observation, reference: Statistics) -> list[float]:
        """Compute the distance."""
        return [energy_distance(generated.features, reference)]
