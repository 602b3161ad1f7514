"""Gradient penalty: WGAN-GP's, on any objective."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from harness.parts import Batch, Context, Game, Scalar, Trick, tricks
from harness.parts.penalties import centred_penalty, input_gradient, interpolate
from harness.variants.wgan_gp import WGANGP


@tricks.register("gradient-penalty", source="Gulrajani et al. 2017, arXiv:1704.00028, eq. 3")
class GradientPenalty(Trick):
    """Hold the norm of D's gradient near 1 between real and generated data.

    D's loss, whatever it is, gains λ E(‖∇D(x̂)‖₂ − 1)² at x̂ = x + α(x̃ − x), with one α ~ U[0, 1]
    per example and the norm over all dimensions of one example. D keeps its normalisation: batch
    normalisation couples the examples whose gradients are penalised one by one.
    """

    penalises_gradient = True

    weight: Scalar = Field(default=10.0, gt=0, description="λ")

    def inapplicable(self, context: Context) -> str | None:
        """Refuse to repeat the penalty that the variant has."""
        if context.variant.id == WGANGP.id:
            return f"{context.variant.id} has this penalty already; change its penalty_weight"
        return None

    def discriminator_objective(self, game: Game, batch: Batch, loss: Tensor) -> Tensor:
        """Add the weighted penalty."""
        real, fake = batch.shown_real, batch.shown_fake
        between = interpolate(real, fake, batch.uniform(self.id, real.shape[1]))
        gradient = input_gradient(lambda x: batch.judge(x, self.id).logits, between)
        return loss + self.weight * centred_penalty(gradient)
