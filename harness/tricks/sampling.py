"""Sampling: other ways for feature maps to grow and to shrink."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

from pydantic import Field, model_validator

from harness.networks.blueprint import Blueprint, Downsampling, Upsampling
from harness.parts import Context, Trick, tricks


@tricks.register(
    "sampling",
    source="Odena et al. 2016, Deconvolution and Checkerboard Artifacts; Shi et al. 2016, "
    "arXiv:1609.05158, eq. 4; Radford et al. 2016, arXiv:1511.06434, §3",
)
class Sampling(Trick):
    """Change how the generator's maps double and the discriminator's halve.

    Up: ``transposed`` convolution, ``pixel-shuffle`` of a convolution with four times the
    channels, or ``nearest`` neighbours and a convolution. Down: a convolution of ``stride`` 2, or
    a convolution and ``average`` or ``max`` pooling over 2×2. All but the strided kernels, which
    are 4×4, are 3×3. A direction that is not given stays as it is.
    """

    needs_adversary = False

    up: Upsampling | None = Field(default=None, description="how the generator's maps double")
    down: Downsampling | None = Field(
        default=None, description="how the discriminator's maps halve"
    )

    @model_validator(mode="after")
    def check_given(self) -> Self:
        """Refuse to change nothing."""
        if self.up is None and self.down is None:
            raise ValueError("give up, down or both")
        return self

    def inapplicable(self, context: Context) -> str | None:
        """Refuse to repeat what the networks do anyway."""
        if context.rebuilds(self):
            return None
        ways = " and ".join(way for way in (self.up, self.down) if way)
        return f"the networks of {context.network} already sample by {ways}"

    def build(self, blueprint: Blueprint) -> Blueprint:
        """Change the layers that double in G and those that halve in D."""
        G, D = blueprint.generator, blueprint.discriminator
        if self.up is not None:
            G = replace(G, upsampling=self.up)
        if self.down is not None:
            D = replace(D, downsampling=self.down)
        return replace(blueprint, generator=G, discriminator=D)
