"""Gradient clipping: no update follows a gradient longer than a bound."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from harness.parts import Batch, Context, Game, PerRun, Trick, column, tricks


@tricks.register("gradient-clipping", source="Pascanu et al. 2013, arXiv:1211.5063, algorithm 1")
class GradientClipping(Trick):
    """Shorten a player's gradient to a greatest norm before its optimiser sees it.

    g ← g · min(1, max_norm/‖g‖₂), with the norm over all weights of one player of one run. The
    diagnostics show the norm before. Adam follows directions and relative sizes, so there a bound
    acts on outliers only; with sgd it bounds the step.
    """

    needs_adversary = False

    max_norm: Annotated[float, PerRun()] = Field(
        default=1.0, gt=0, description="greatest Euclidean norm of a gradient"
    )
    player: Literal["G", "D", "both"] = Field(default="both", description="whose gradient")

    def inapplicable(self, context: Context) -> str | None:
        """Refuse players that cannot be told apart."""
        if context.variant.joint and self.player != "both":
            return f"{context.variant.id} updates both networks at once: clip both"
        return None

    def gradient(self, game: Game, batch: Batch, gradient: Tensor) -> Tensor:
        """Scale the gradient of a player that is clipped."""
        turn = "D" if batch.phase == "discriminator" else "G"
        if self.player not in ("both", turn):
            return gradient
        norm = gradient.norm(dim=1, keepdim=True)
        # A gradient of 0 divides by 0, and is multiplied by 1.
        scale = torch.as_tensor(column(self.max_norm) / norm).clamp_max(1)
        return gradient * scale
