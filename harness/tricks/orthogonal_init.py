"""Orthogonal initialisation: first weights that neither stretch nor shrink."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import Field

from harness.networks.blueprint import Blueprint
from harness.parts import Context, Trick, tricks


@tricks.register(
    "orthogonal-init",
    source="Saxe et al. 2014, arXiv:1312.6120, §3; in GANs: Brock et al. 2019, "
    "arXiv:1809.11096, appendix C",
)
class OrthogonalInit(Trick):
    """Draw the first weights of every linear and convolution layer as orthogonal matrices.

    A kernel counts as the matrix of its first dimension by all others; rows or columns, whichever
    are fewer, are orthonormal (gain 1). Biases and normalisation layers start as they would.
    """

    needs_adversary = False

    where: Literal["G", "D", "both"] = Field(default="both", description="in which network")

    def inapplicable(self, context: Context) -> str | None:
        """Refuse to repeat what is planned anyway."""
        if context.planned() == context.planned(without=self):
            return f"{context.variant.id} already starts from orthogonal weights"
        return None

    def build(self, blueprint: Blueprint) -> Blueprint:
        """Plan the initialisation."""
        G, D = blueprint.generator, blueprint.discriminator
        if self.where != "D":
            G = replace(G, initialization="orthogonal")
        if self.where != "G":
            D = replace(D, initialization="orthogonal")
        return replace(blueprint, generator=G, discriminator=D)
