"""PatchGAN: judge patches instead of whole images."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from harness.networks.base import networks
from harness.networks.blueprint import Blueprint
from harness.networks.patchgan import receptive_field
from harness.parts import Context, Trick, tricks


@tricks.register("patchgan", source="Isola et al. 2017, arXiv:1611.07004, §3.2.2")
class PatchGAN(Trick):
    """Replace D by one that gives a logit for each patch; the loss averages over the map.

    One strided layer at 16×16 sees patches of 10 pixels, two at 32×32 see 22, three and one flat
    layer at 256×256 see pix2pix's 70. It takes the place of a convolutional D, of whose width it
    is; against a fully connected one the effect would be that of convolutions and of far fewer
    parameters.
    """

    strided: int | None = Field(
        default=None, ge=1, le=6, description="strided layers; by image size if absent"
    )
    flat: int = Field(default=0, ge=0, le=2, description="stride-1 hidden layers after them")
    width: int | None = Field(
        default=None,
        ge=1,
        description="channels of the first layer; if absent those of the D it replaces",
    )

    def depth(self, size: int) -> int:
        """Return the strided layers for an image side: 1 at 16, 2 at 32 and 64, 3 above."""
        return self.strided or (1 if size < 32 else 2 if size <= 64 else 3)

    def inapplicable(self, context: Context) -> str | None:
        """Refuse points, and images too small for a map of patches."""
        if context.dataset.kind != "images":
            return "patches need images, the data set holds points"
        network = context.network
        if not networks.get(network).convolutional:
            return f"patches replace a convolutional discriminator; {network} has none"
        size = context.dataset.shape[-1]
        if (size >> self.depth(size)) - self.flat - 1 < 2:
            return f"{self.depth(size)} strided layers leave no map of patches of {size}×{size}"
        return None

    def build(self, blueprint: Blueprint) -> Blueprint:
        """Replace the discriminator's network; its normalisation and spectral norm stay."""
        replaced = blueprint.discriminator
        plan = replace(
            replaced,
            network="patch",
            width=self.width or replaced.width,
            strided=self.depth(blueprint.shape[-1]),
            flat=self.flat,
        )
        return replace(blueprint, discriminator=plan)

    def remark(self, shape: tuple[int, ...]) -> str:
        """Say what one logit sees."""
        size, side = shape[-1], self.receptive_field(shape[-1])
        return f"one logit of D sees {side}×{side} pixels of {size}×{size}"

    def receptive_field(self, size: int) -> int:
        """Return the side, in pixels, of the patch that one logit sees in images of a size."""
        return receptive_field(self.depth(size), self.flat)
