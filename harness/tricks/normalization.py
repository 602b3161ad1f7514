"""Normalisation: other layers that normalise activations, or none."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import Field

from harness.networks.blueprint import Blueprint
from harness.parts import Context, Trick, tricks


@tricks.register(
    "normalization",
    source="batch: Ioffe and Szegedy 2015, arXiv:1502.03167; layer: Ba et al. 2016, "
    "arXiv:1607.06450; instance: Ulyanov et al. 2016, arXiv:1607.08022",
)
class Normalize(Trick):
    """Choose the normalisation of G, D or both, also against the variant's own choice.

    ``batch`` normalises each channel over the batch, ``layer`` all channels of one example
    together, ``instance`` each channel of one example, ``none`` nothing. It is put wherever the
    network family normalises, and with ``first`` before D's first activation too. ``batch`` in
    the critic of wgan-gp is a well-known mistake, allowed because it is asked for. Spectral
    normalisation is of weights, and stays.
    """

    needs_adversary = False

    kind: Literal["batch", "layer", "instance", "none"] = Field(
        default="layer", description="over what activations are normalised"
    )
    where: Literal["G", "D", "both"] = Field(default="both", description="in which network")
    first: bool | None = Field(
        default=None, description="in D's first layer too, or not; absent as the network has it"
    )

    def inapplicable(self, context: Context) -> str | None:
        """Refuse to repeat what is there anyway."""
        if context.rebuilds(self):
            return None
        return (
            f"{context.network} under {context.variant.id} already has {self.kind} in {self.where}"
        )

    def build(self, blueprint: Blueprint) -> Blueprint:
        """Change the normalisation layers."""
        G, D = blueprint.generator, blueprint.discriminator
        if self.where != "D":
            G = replace(G, normalization=self.kind)
        if self.where != "G":
            D = replace(D, normalization=self.kind)
        if self.first is not None:
            D = replace(D, first_norm=self.first)
        return replace(blueprint, generator=G, discriminator=D)
