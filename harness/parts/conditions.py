"""What is joined to the latents: a class, or codes that the generator is to give a meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from harness.parts.protocols import Draws


@dataclass(frozen=True)
class Condition:
    """The parts of what is joined to z, in their order along its last axis.

    Attributes:
        classes: Labelled classes of the data, joined as one-hot; 0 for none.
        categories: Sizes of categorical codes, each joined as one-hot.
        continuous: Continuous codes, each from U(−1, 1).
    """

    classes: int = 0
    categories: tuple[int, ...] = ()
    continuous: int = 0

    @property
    def size(self) -> int:
        """Numbers per example."""
        return self.classes + sum(self.categories) + self.continuous

    @property
    def spans(self) -> tuple[slice, ...]:
        """Where each categorical code lies."""
        return slices(self.categories, self.classes)

    def draw(self, draws: Draws, labels: Tensor | None, count: int, dtype: torch.dtype) -> Tensor:
        """Draw what is joined to the latents of a batch.

        Args:
            draws: Where to draw from.
            labels: Classes, int64 ``(runs, count)``; None where none are joined.
            count: Examples of each run.
            dtype: Of the result.

        Returns:
            ``(runs, count, size)``.

        Raises:
            ValueError: if classes are joined and none are given.
        """
        pieces = []
        if self.classes:
            if labels is None:
                raise ValueError("a class is joined to the latents, and no labels are given")
            pieces.append(one_hot(labels, self.classes, dtype))
        for number, size in enumerate(self.categories):
            drawn = uniform_indices(draws.uniform(f"category-{number}", count), size)
            pieces.append(one_hot(drawn, size, dtype))
        if self.continuous:
            pieces.append(2 * draws.uniform("continuous", count, self.continuous) - 1)
        return torch.cat(pieces, dim=2)

    def chosen(
        self,
        y: Tensor,
        *,
        label: int | None = None,
        categories: Mapping[int, int] | None = None,
        continuous: Mapping[int, float] | None = None,
    ) -> Tensor:
        """Return y with the parts that someone asks for, and the others as they were drawn.

        Args:
            y: ``(…, size)``.
            label: The class.
            categories: Value by position of the categorical code.
            continuous: Value by position of the continuous code; the training's lie in ±1.

        Raises:
            ValueError: if there is no such class, code or value.
        """
        y = y.clone()
        if label is not None:
            put(y, slice(0, self.classes), label, "class")
        for number, value in (categories or {}).items():
            if not 0 <= number < len(self.categories):
                raise ValueError(f"no categorical code {number}, {among(len(self.categories))}")
            put(y, self.spans[number], value, f"value of categorical code {number}:")
        for number, amount in (continuous or {}).items():
            if not 0 <= number < self.continuous:
                raise ValueError(f"no continuous code {number}, {among(self.continuous)}")
            y[..., self.size - self.continuous + number] = amount
        return y


@lru_cache(maxsize=8)
def in_proportion(counts: tuple[int, ...], length: int) -> Tensor:
    """Line up classes so that every beginning has their shares, as nearly as whole numbers can.

    Each next class is the one that is furthest behind its share. What is measured of samples with
    these classes does not vary by chance with how many of each there are.

    Args:
        counts: How often each class occurs in what gives the shares.
        length: Of the result.

    Returns:
        int64 ``(length,)``: the first of any longer one.
    """
    shares = np.array(counts, dtype=np.float64) / sum(counts)
    taken = np.zeros(len(counts))
    line = np.empty(length, dtype=np.int64)
    for place in range(length):
        behind = int(np.argmax(shares * (place + 1) - taken))
        line[place] = behind
        taken[behind] += 1
    return torch.from_numpy(line)


def slices(sizes: tuple[int, ...], start: int = 0) -> tuple[slice, ...]:
    """Lay pieces of some sizes end to end."""
    pieces = []
    for size in sizes:
        pieces.append(slice(start, start + size))
        start += size
    return tuple(pieces)


def put(y: Tensor, place: slice, index: int, what: str) -> None:
    """Make a piece of y the one-hot code of an index."""
    size = place.stop - place.start
    if not 0 <= index < size:
        raise ValueError(f"no {what} {index}, {among(size)}")
    y[..., place] = 0
    y[..., place.start + index] = 1


def among(count: int) -> str:
    """Say which numbers there are to choose from."""
    return f"there are 0 to {count - 1}" if count else "this generator has none"


def one_hot(indices: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """Turn indices ``(…)`` into ``(…, size)`` without reading them on the host."""
    return (indices[..., None] == torch.arange(size, device=indices.device)).to(dtype)


def uniform_indices(u: Tensor, size: int) -> Tensor:
    """Turn U[0, 1) into indices 0 … size − 1, all equally likely."""
    return (u * size).long().clamp(max=size - 1)
