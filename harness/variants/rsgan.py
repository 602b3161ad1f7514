"""The relativistic GAN: D says which of two examples is the more real one."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import softplus

from harness.parts import Batch, Game, Variant, run_mean, variants


class Relativistic(Variant):
    """What relativistic objectives share.

    Only differences of D's answers count, so its zero lies anywhere and it is taught no target.
    A generator update sees real data too: fresh ones, of its own data order.
    """

    boundary: ClassVar[float | None] = None


@variants.register("rsgan", source="Jolicoeur-Martineau 2018, arXiv:1807.00734, eq. 4 and 5")
class RSGAN(Relativistic):
    """Each real example against a generated one, in pairs.

    D minimises E sp(−(D(x) − D(G(z)))), G minimises E sp(−(D(G(z)) − D(x))), with sp the
    softplus; the j-th real example of a batch is paired with the j-th generated one.
    """

    def discriminator_loss(self, game: Game, batch: Batch) -> Tensor:
        """D's loss ``(runs,)``: the real example of a pair should have the greater logit."""
        real, fake = batch.judged_real.logits, batch.judged_fake.logits
        return run_mean(softplus(fake - real))

    def generator_loss(self, game: Game, batch: Batch) -> Tensor:
        """G's loss ``(runs,)``: the generated example should."""
        real, fake = batch.judged_real.logits, batch.judged_fake.logits
        return run_mean(softplus(real - fake))
