"""The GAN whose two players share one value: its generator saturates."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus

from harness.parts import variants
from harness.variants.gan import GAN


@variants.register("gan-saturating", source="Goodfellow et al. 2014, arXiv:1406.2661, eq. 1")
class GANSaturating(GAN):
    """Binary cross-entropy as a minimax game: G minimises E log(1 − σ(D(G(z)))).

    D's loss is that of ``gan``. G's gradient on a logit is −σ(D(G(z))): it vanishes where D is
    sure that an example is generated, which is where G begins (§3 of the paper).
    """

    def fooling_loss(self, logits: Tensor) -> Tensor:
        """Return log(1 − σ(D(G(z)))) element by element."""
        return -softplus(logits)
