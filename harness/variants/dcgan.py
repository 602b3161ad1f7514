"""The GAN objective on DCGAN's convolutional networks."""

from __future__ import annotations

from typing import ClassVar

from harness.networks.base import networks
from harness.parts import Context, variants
from harness.variants.gan import GAN


@variants.register("dcgan", source="Radford et al. 2016, arXiv:1511.06434, §3 and §4")
class DCGAN(GAN):
    """All-convolutional networks with batch normalisation, trained with the GAN objective."""

    networks: ClassVar[dict[str, str]] = {"points": "toy2d", "images": "dcgan"}

    def inapplicable(self, context: Context) -> str | None:
        """Refuse networks without convolutions, on which this would be ``gan`` again."""
        network = context.network
        if networks.get(network).convolutional:
            return None
        return f"{self.id} is the gan objective on convolutional networks; {network} has none"
