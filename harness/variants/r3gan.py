"""R3GAN: a relativistic GAN with zero-centred penalties on real and on generated data."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from harness.networks.blueprint import Blueprint
from harness.parts import Batch, Context, Game, PerRun, Rates, Recipe, column, variants
from harness.parts.penalties import data_gradient, zero_centred_penalty
from harness.variants.rsgan import RSGAN


def cosine(progress: float) -> float:
    """Go from 0 to 1 along half a cosine, as progress does."""
    return (1 - math.cos(math.pi * progress)) / 2


@variants.register("r3gan", source="Huang et al. 2024, arXiv:2501.05441, §2 and the authors' code")
class R3GAN(RSGAN):
    """The paired relativistic objective with R1 and R2 in every update of D.

    D's loss gains γ/2 (E‖∇D(x)‖² + E‖∇D(G(z))‖²). Over training γ, both learning rates and beta2
    follow half a cosine from their first to their last values. The defaults are the paper's for
    CIFAR-10, where the schedules end after 20 million images of D and batches are of 512; here
    they end with training. Neither network has normalisation layers.
    """

    recipe: ClassVar[Recipe] = Recipe(lr_g=2e-4, lr_d=2e-4, beta1=0.0, beta2=0.9)
    networks: ClassVar[dict[str, str]] = {"points": "toy2d", "images": "r3gan"}
    penalises_gradient = True

    gamma: Annotated[float, PerRun()] = Field(
        default=0.05, ge=0, description="γ, the weight of both penalties, at the start"
    )
    gamma_end: Annotated[float, PerRun()] = Field(default=0.005, ge=0, description="γ at the end")
    lr_end: Annotated[float, PerRun()] = Field(
        default=0.25, gt=0, description="learning rates at the end, as a share of those settings"
    )
    beta2_end: Annotated[float, PerRun()] = Field(
        default=0.99, ge=0, lt=1, description="beta2 at the end; at the start it is the setting"
    )

    def inapplicable(self, context: Context) -> str | None:
        """Refuse an optimiser without beta2, and tricks that normalise."""
        if context.settings.optimizer == "sgd":
            return "r3gan's beta2 follows a schedule, and sgd has none"
        blueprint = self.build(context.plain)
        for trick in context.tricks:
            blueprint = trick.build(blueprint)
            plans = (blueprint.generator, blueprint.discriminator)
            if any(plan.normalization != "none" for plan in plans):
                return f"r3gan's networks have no normalisation layers, which {trick.id} would add"
        return None

    def build(self, blueprint: Blueprint) -> Blueprint:
        """Leave normalisation out of both networks."""
        return replace(
            blueprint,
            generator=replace(blueprint.generator, normalization="none"),
            discriminator=replace(blueprint.discriminator, normalization="none"),
        )

    def rates(self, rates: Rates, progress: float) -> Rates:
        """Move learning rates and beta2 along half a cosine."""
        share = cosine(progress)
        factor = 1 + share * (column(self.lr_end) - 1)
        return rates._replace(
            lr_g=rates.lr_g * factor,
            lr_d=rates.lr_d * factor,
            beta2=rates.beta2 + share * (column(self.beta2_end) - rates.beta2),
        )

    def discriminator_objective(self, game: Game, batch: Batch, loss: Tensor) -> Tensor:
        """Add R1 and R2, weighted by the γ of the moment."""
        on_real = data_gradient(batch, batch.real, "real", "r1")
        on_fake = data_gradient(batch, batch.fake, "fake", "r2")
        share = batch.number("r3gan/share", lambda _: cosine(game.progress))
        gamma = self.gamma + share * (self.gamma_end - self.gamma)
        return loss + gamma * (zero_centred_penalty(on_real) + zero_centred_penalty(on_fake))
