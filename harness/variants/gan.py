"""The non-saturating GAN."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from harness.parts import Variant, variants


@variants.register("gan", source="Goodfellow et al. 2014, arXiv:1406.2661, eq. 1 and §3")
class GAN(Variant):
    """Binary cross-entropy with the non-saturating generator loss.

    D minimises E sp(−D(x)) + E sp(D(G(z))), G minimises E sp(−D(G(z))), with sp the softplus.
    """

    has_targets = True
    logistic = True
    networks: ClassVar[dict[str, str]] = {"points": "toy2d-norm", "images": "mlp-small"}

    def real_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of real data with its target, 1 unless a trick moves it."""
        return binary_cross_entropy_with_logits(logits, target, reduction="none")

    def fake_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of generated data with its target, 0 unless a trick moves it."""
        return binary_cross_entropy_with_logits(logits, target, reduction="none")

    def fooling_loss(self, logits: Tensor) -> Tensor:
        """Return −log σ(D(G(z))) element by element."""
        return softplus(-logits)
