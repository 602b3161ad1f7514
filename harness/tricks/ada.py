"""Adaptive discriminator augmentation: as much of it as D's overfitting calls for."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from harness.parts import Batch, Context, Game, PerRun, Trick, run_mean, tricks
from harness.parts.augmentations import (
    brightened,
    flipped,
    per_image,
    saturated,
    translated_reflecting,
    turned,
    whole,
)
from harness.tricks.diffaugment import augments


@tricks.register("ada", source="Karras et al. 2020, arXiv:2006.06676, §2 and §3, appendix B")
class ADA(Trick):
    """Augment what D sees with a probability p that follows r_t = E sign D(x) over real images.

    After every ``interval`` updates of D, p grows by batch · interval / ``speed`` if r_t lies above
    ``target``, and shrinks by as much if below, within [0, 1]. The sign is taken about the logit at
    which the objective is undecided.

    Each of six transformations, in this order, befalls each image with probability p: mirroring
    (half of those chosen), turning by a random number of quarters, shifting by U(−1, 1) times an
    eighth of each side, rounded to whole pixels, with reflection, brightness + N(0, 0.2²),
    contrast × 2^N(0, 0.5²) about mid-grey, saturation × 2^N(0, 1). That is the paper's pixel
    blitting, and its colour without luma flip and hue rotation; left out are its geometric
    (scaling, rotation by any angle, fractional shifts), filtering and corrupting transformations.
    The authors let p exceed 1, to no effect while it does; here it is clamped to 1, from where it
    falls at once.
    """

    watched: ClassVar[tuple[str, ...]] = ("ada_p", "ada_r")
    only_remembers = True

    target: Annotated[float, PerRun()] = Field(
        default=0.6, gt=-1, lt=1, description="what r_t is steered to"
    )
    speed: Annotated[float, PerRun()] = Field(
        default=500_000.0, gt=0, description="real images in which p can go from 0 to 1"
    )
    interval: int = Field(default=4, ge=1, description="updates of D between two of p")

    def inapplicable(self, context: Context) -> str | None:
        """Refuse points, shapes that cannot be turned, and critics, whose sign says nothing."""
        reason = augments(self, context)
        if reason is not None:
            return reason
        if context.variant.boundary is None:
            return f"the critic of {context.variant.id} has no zero by which to see it overfit"
        height, width = context.dataset.shape[1:]
        if height != width:
            return f"ada turns images by quarters, which {height}×{width} do not allow"
        return None

    def remember(self, game: Game) -> dict[str, Tensor]:
        """Keep p, the last r_t, and the sum of signs since."""
        zeros = torch.zeros_like(game.D.theta[:, 0], requires_grad=False)
        return {name: zeros.clone() for name in ("p", "r", "signs")}

    def show(self, game: Game, x: Tensor, batch: Batch, label: str) -> Tensor:
        """Augment each image with probability p, transformation by transformation."""
        p = game.memory[self.id]["p"]
        count = x.shape[1]

        def uniform(name: str) -> Tensor:
            return batch.uniform(f"ada/{label}/{name}", count)

        def normal(name: str) -> Tensor:
            return batch.normal(f"ada/{label}/{name}", count)

        def chosen(name: str) -> Tensor:
            return uniform(f"{name}?") < p[:, None]

        x = flipped(x, chosen("mirror") & (uniform("mirror") < 0.5))
        x = turned(x, chosen("turn") * whole(uniform("turn"), 4))
        reach = x.shape[3] / 8
        down, right = (((2 * uniform(name) - 1) * reach).round() for name in ("down", "right"))
        shifting = chosen("shift")
        x = translated_reflecting(x, shifting * down, shifting * right)
        x = brightened(x, 0.2 * normal("brightness") * chosen("brightness"))
        x = x * per_image(torch.exp2(0.5 * normal("contrast") * chosen("contrast")))
        return saturated(x, torch.exp2(normal("saturation") * chosen("saturation")))

    def after_discriminator_update(self, game: Game, batch: Batch) -> None:
        """Add up signs; steer p after every ``interval`` updates."""
        held = game.memory[self.id]
        logits = batch.judged_real.logits
        held["signs"].add_(run_mean((logits - (game.variant.boundary or 0.0)).sign()))
        if batch.every(self.interval, 1):
            held["r"].copy_(held["signs"] / self.interval)
            step = batch.size * self.interval / torch.as_tensor(self.speed)
            held["p"].add_(step * (held["r"] - self.target).sign()).clamp_(0, 1)
            held["signs"].zero_()

    def watch(self, game: Game, batch: Batch) -> tuple[Tensor, ...]:
        """Show p and the last r_t."""
        held = game.memory[self.id]
        return held["p"], held["r"]
