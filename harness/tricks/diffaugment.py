"""DiffAugment: the same differentiable augmentation wherever D looks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import Field, field_validator
from torch import Tensor

from harness.parts import Batch, Context, Game, Trick, tricks
from harness.parts.augmentations import (
    brightened,
    contrasted,
    cut_out,
    saturated,
    translated,
    whole,
)

Draw = Callable[[str], Tensor]
"""Draws U[0, 1) of ``(runs, batch)`` by name."""

Policy = Literal["color", "translation", "cutout"]


def augments(trick: Trick, context: Context) -> str | None:
    """Say why a trick cannot augment images in a cell, or None."""
    if context.dataset.kind != "images":
        return f"{trick.id} augments images, the data set holds points"
    return None


@tricks.register("diffaugment", source="Zhao et al. 2020, arXiv:2006.10738, eq. 4–5, appendix B")
class DiffAugment(Trick):
    """Augment real and generated images alike, in D's updates and in G's.

    ``color`` adds U(−0.5, 0.5) to all pixels, multiplies the saturation by U(0, 2) and the
    contrast by U(0.5, 1.5); ``translation`` shifts by up to an eighth of each side and fills with
    0; ``cutout`` sets a square of half the side to 0, anywhere. They act in the order given, with
    draws of their own for every image of every update.
    """

    policy: tuple[Policy, ...] = Field(
        default=("translation", "cutout"),
        min_length=1,
        description="augmentations in their order; the authors use these two on CIFAR-10, and "
        "color before them where data are few",
    )

    @field_validator("policy")
    @classmethod
    def check_policy(cls, policy: tuple[Policy, ...]) -> tuple[Policy, ...]:
        """Refuse to augment in the same way twice."""
        if len(set(policy)) < len(policy):
            raise ValueError("an augmentation is named twice")
        return policy

    def inapplicable(self, context: Context) -> str | None:
        """Refuse points."""
        return augments(self, context)

    def show(self, game: Game, x: Tensor, batch: Batch, label: str) -> Tensor:
        """Augment each image by draws of its own."""

        def draw(name: str) -> Tensor:
            return batch.uniform(f"diffaugment/{label}/{name}", x.shape[1])

        for name in self.policy:
            x = AUGMENTATIONS[name](x, draw)
        return x


def color(x: Tensor, draw: Draw) -> Tensor:
    """Change brightness, saturation and contrast, in this order."""
    x = brightened(x, draw("brightness") - 0.5)
    x = saturated(x, 2 * draw("saturation"))
    return contrasted(x, draw("contrast") + 0.5)


def translation(x: Tensor, draw: Draw) -> Tensor:
    """Shift by up to an eighth of each side, rounded."""
    down, right = (
        whole(draw(name), 2 * reach + 1) - reach
        for name, reach in (("down", eighth(x.shape[3])), ("right", eighth(x.shape[4])))
    )
    return translated(x, down, right)


def cutout(x: Tensor, draw: Draw) -> Tensor:
    """Cut a square of half the side out of the image."""
    height, width = x.shape[3:]
    side = (min(height, width) + 1) // 2
    # An even side has its centre between two pixels, so one more place for it.
    places = 1 - side % 2
    rows = whole(draw("row"), height + places)
    return cut_out(x, rows, whole(draw("column"), width + places), side)


def eighth(side: int) -> int:
    """Return an eighth of a side, rounded to whole pixels."""
    return (side + 4) // 8


AUGMENTATIONS: dict[Policy, Callable[[Tensor, Draw], Tensor]] = {
    "color": color,
    "translation": translation,
    "cutout": cutout,
}
