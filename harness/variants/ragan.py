"""The relativistic average GAN."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus

from harness.parts import Batch, Game, run_mean, variants
from harness.variants.rsgan import Relativistic


def centred(logits: Tensor, others: Tensor) -> Tensor:
    """Subtract from each run's logits ``(runs, batch, …)`` the mean of its other batch's."""
    mean = run_mean(others)
    return logits - mean.reshape((-1,) + (1,) * (logits.ndim - 1))


@variants.register("ragan", source="Jolicoeur-Martineau 2018, arXiv:1807.00734, §4.2")
class RaGAN(Relativistic):
    """Each example against the average of the other kind.

    With r = D(x) − E D(G(z)) and f = D(G(z)) − E D(x), D minimises E sp(−r) + E sp(f) and G the
    mirror image, E sp(r) + E sp(−f): both terms of both players, with sp the softplus. The
    author's code halves both sums.
    """

    def discriminator_loss(self, game: Game, batch: Batch) -> Tensor:
        """D's loss ``(runs,)``: real above the average generated, generated below the real."""
        real, fake = batch.judged_real.logits, batch.judged_fake.logits
        return run_mean(softplus(-centred(real, fake))) + run_mean(softplus(centred(fake, real)))

    def generator_loss(self, game: Game, batch: Batch) -> Tensor:
        """G's loss ``(runs,)``: D's, with the roles exchanged."""
        real, fake = batch.judged_real.logits, batch.judged_fake.logits
        return run_mean(softplus(centred(real, fake))) + run_mean(softplus(-centred(fake, real)))
