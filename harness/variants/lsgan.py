"""Least squares GAN."""

from __future__ import annotations

from torch import Tensor

from harness.parts import Variant, variants


@variants.register("lsgan", source="Mao et al. 2017, arXiv:1611.04076, eq. 2 and 9")
class LSGAN(Variant):
    """Least squares on raw outputs, with targets a = 0 and b = c = 1.

    D minimises ½E(D(x) − b)² + ½E(D(G(z)) − a)², G minimises ½E(D(G(z)) − c)².
    """

    has_targets = True
    boundary = 0.5

    def real_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Half the squared distance to b."""
        return (logits - target).square() / 2

    def fake_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Half the squared distance to a."""
        return (logits - target).square() / 2

    def fooling_loss(self, logits: Tensor) -> Tensor:
        """Half the squared distance to c."""
        return (logits - 1).square() / 2
