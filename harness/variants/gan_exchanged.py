"""The GAN of VEEGAN's and PacGAN's mixtures: G minimises D's loss with the labels exchanged."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import softplus

from harness.parts import Batch, Game, Recipe, run_mean, variants
from harness.variants.gan import GAN


@variants.register(
    "gan-exchanged",
    source="Lin et al. 2018, arXiv:1712.04086, §4.1, and the authors' code for mixtures",
)
class GANExchanged(GAN):
    """Cross-entropy for both players, real and generated data exchanged for G.

    D minimises E sp(−D(x)) + E sp(D(G(z))), G minimises E sp(D(x)) + E sp(−D(G(z))), with sp the
    softplus. A generator update sees real data too: fresh ones, of its own data order. D's answer
    to them depends on G only under ``unrolled``, where G plays against a D that has learned from
    G's examples; everywhere else G's gradient is that of ``gan``. The defaults are those of the
    paper's mixtures.
    """

    recipe: ClassVar[Recipe] = Recipe(lr_g=1e-4, lr_d=1e-4, beta1=0.8, beta2=0.999)
    networks: ClassVar[dict[str, str]] = {"points": "pacgan2d", "images": "mlp-small"}
    needs: ClassVar[str] = "points: its rates are those of mixtures, and do not learn digits"

    def generator_loss(self, game: Game, batch: Batch) -> Tensor:
        """G's loss ``(runs,)``: D's, with the roles exchanged and nothing smoothed."""
        real, fake = batch.judged_real.logits, batch.judged_fake.logits
        return run_mean(softplus(real)) + run_mean(softplus(-fake))
