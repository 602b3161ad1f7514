"""Unrolling: train G against the D that would answer it."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.networks.base import discriminator_has, unsupported
from harness.parts import Batch, Context, Game, Part, Trick, tricks

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@tricks.register("unrolled", source="Metz et al. 2017, arXiv:1611.02163, eq. 7–10")
class Unrolled(Trick):
    """Let G play against D after k more updates, and differentiate through them.

    The updates are those of D's own optimiser, on D's whole loss, all on the batch of the
    generator update. G's gradient is the total derivative: G moves the examples that D learns
    from, and so the D that judges it. D, its buffers and its optimiser are then as before. What
    parts remember, such as moving averages, stands still in the updates ahead.
    """

    k: int = Field(default=5, ge=1, le=50, description="updates of D that G sees ahead; 1, 5, 10")

    def inapplicable(self, context: Context) -> str | None:
        """Refuse what changes D in ways that the updates ahead leave out."""
        parts = (context.variant, *context.tricks)
        for part in parts:
            acts = type(part).after_discriminator_update is not Part.after_discriminator_update
            if acts and not part.only_remembers:
                return (
                    f"the updates that G sees ahead would lack what {part.id} does after each "
                    "update of D"
                )
        if any(part.penalises_gradient for part in parts):
            blueprint = context.planned()
            if unsupported(blueprint) is None and discriminator_has(blueprint, *BATCH_NORMS):
                return "PyTorch's batch normalisation has no third derivative, which this needs"
        return None

    def opponent(self, game: Game, batch: Batch, theta: Tensor) -> Tensor:
        """Return D's weights after k updates, as a function of G's."""
        slot = game.optimizer_d.slot
        with game.D.preserved():
            for ahead in range(1, self.k + 1):
                inner = batch.against(theta, ahead)
                loss = game.discriminator_loss(inner)
                (gradient,) = torch.autograd.grad(loss.sum(), theta, create_graph=True)
                gradient = game.gradient(inner, gradient)
                theta, slot = game.optimizer_d.updated(theta, gradient, slot, ahead, inner)
        return theta
