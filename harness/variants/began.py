"""BEGAN: an auto-encoder as discriminator, held in balance with the generator."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from harness.networks.blueprint import Blueprint
from harness.parts import Batch, Game, PerRun, Recipe, Variant, run_mean, variants


@variants.register("began", source="Berthelot et al. 2017, arXiv:1703.10717, §3.3 and §3.4")
class BEGAN(Variant):
    """Reconstruction losses, weighted so that generated data stay a share γ as hard as real data.

    With L(v) = mean |v − D(v)|, D minimises L(x) − k·L(G(z)) and G minimises L(G(z)). k starts
    at 0 and follows k ← clip(k + λ_k(γL(x) − L(G(z))), 0, 1) after each update of D, on D's
    batch; the paper's rule takes L(G(z)) of the generator's batch, after both have moved.
    M = L(x) + |γL(x) − L(G(z))| measures convergence; the paper halves the learning rates
    whenever it stalls, and draws z uniformly, which is left to tricks here. The rate is the
    larger of those that the paper starts with, and β₁ = 0.5 the one usual for GANs: the paper
    names none. The logit is −L.
    """

    recipe: ClassVar[Recipe] = Recipe(lr_g=1e-4, lr_d=1e-4)
    networks: ClassVar[dict[str, str]] = {"points": "autoencoder2d", "images": "autoencoder"}
    needs: ClassVar[str] = (
        "more than its defaults: it collapses on ring8, at 1e-3 too, and learns neither grid25 "
        "nor digits"
    )
    boundary = None
    watched = ("convergence", "k")
    only_remembers = True

    gamma: Annotated[float, PerRun()] = Field(
        default=0.5, gt=0, le=1, description="diversity ratio L(G(z)) / L(x) to hold"
    )
    k_rate: Annotated[float, PerRun()] = Field(
        default=0.001, gt=0, le=1, description="λ_k, the rate at which k follows"
    )

    def build(self, blueprint: Blueprint) -> Blueprint:
        """Let D reconstruct what it judges."""
        plan = replace(blueprint.discriminator, reconstruction=True)
        return replace(blueprint, discriminator=plan)

    def remember(self, game: Game) -> dict[str, Tensor]:
        """Start with k = 0."""
        return {"k": game.G.theta.new_zeros(game.runs)}

    def discriminator_loss(self, game: Game, batch: Batch) -> Tensor:
        """Reconstruct real data well, and generated data badly by the weight k."""
        real, fake = losses(batch)
        return real - game.memory[self.id]["k"] * fake

    def generator_loss(self, game: Game, batch: Batch) -> Tensor:
        """Make data that D reconstructs well."""
        return run_mean(-batch.judged_fake.logits)

    def after_discriminator_update(self, game: Game, batch: Batch) -> None:
        """Move k towards the balance γL(x) = L(G(z)), by the losses before the update."""
        real, fake = losses(batch)
        game.memory[self.id]["k"].add_(self.k_rate * (self.gamma * real - fake)).clamp_(0, 1)

    def watch(self, game: Game, batch: Batch) -> tuple[Tensor, ...]:
        """Measure convergence M, and the k that the update goes by."""
        real, fake = losses(batch)
        return real + (self.gamma * real - fake).abs(), game.memory[self.id]["k"]


def losses(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return L(x) and L(G(z)), ``(runs,)`` each."""
    return run_mean(-batch.judged_real.logits), run_mean(-batch.judged_fake.logits)
