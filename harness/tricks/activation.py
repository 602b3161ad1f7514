"""Activation: other hidden non-linearities."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import Field

from harness.networks.blueprint import Activation, Blueprint
from harness.parts import Context, Trick, tricks


@tricks.register(
    "activation",
    source="Radford et al. 2016, arXiv:1511.06434, §3; elu: Clevert et al. 2016, arXiv:1511.07289",
)
class HiddenActivation(Trick):
    """Choose the activation of all hidden layers of G, D or both.

    ``leaky-relu`` has slope 0.2, ``elu`` has α = 1. What ends a network stays: tanh where G makes
    images, nothing after D's logit.
    """

    needs_adversary = False

    kind: Activation = Field(default="leaky-relu", description="the activation")
    where: Literal["G", "D", "both"] = Field(default="both", description="in which network")

    def inapplicable(self, context: Context) -> str | None:
        """Refuse to repeat what is there anyway."""
        if context.rebuilds(self):
            return None
        return f"{context.network} already has {self.kind} in {self.where}"

    def build(self, blueprint: Blueprint) -> Blueprint:
        """Change the activation of hidden layers."""
        G, D = blueprint.generator, blueprint.discriminator
        if self.where != "D":
            G = replace(G, activation=self.kind)
        if self.where != "G":
            D = replace(D, activation=self.kind)
        return replace(blueprint, generator=G, discriminator=D)
