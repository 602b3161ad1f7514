"""The first GAN, with the training of its time: gradient descent whose momentum grows."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from harness.parts import Context, PerRun, Rates, Recipe, column, variants
from harness.variants.gan import GAN
from harness.variants.gan_saturating import GANSaturating


@variants.register(
    "gan-original",
    source="Goodfellow et al. 2014, arXiv:1406.2661, §3, §5 and the authors' code; "
    "Goodfellow et al. 2013, arXiv:1302.4389",
)
class GANOriginal(GAN):
    """The GAN of 2014: maxout D with dropout, ReLU G with sigmoid output, SGD with momentum.

    The momentum starts at the setting ``beta1`` (.5), grows linearly and then stays at
    ``momentum`` (.7): in the authors' code over the first 250 epochs of MNIST, here over the
    first ``momentum_growth`` of training. They train with batches of 100. Their D's loss is half
    of the one here, so that their learning rate of .1 is .05 for D. Its very slow decay (1/e in
    250,000 updates) is left out.
    """

    recipe: ClassVar[Recipe] = Recipe("sgd", lr_g=0.1, lr_d=0.05, beta1=0.5, beta2=0.0)
    networks: ClassVar[dict[str, str]] = {"points": "toy2d", "images": "maxout"}
    needs: ClassVar[str] = (
        "images: by plain momentum it finds no mode of ring8, neither at its own rates nor at "
        "0.03, and learns grid25 with one seed of three"
    )

    loss: Literal["non-saturating", "saturating"] = Field(
        default="non-saturating",
        description="G's loss: −E log σ(D(G(z))), by which the authors trained, or the minimax "
        "game's E log(1 − σ(D(G(z))))",
    )
    momentum: Annotated[float, PerRun()] = Field(
        default=0.7, ge=0, lt=1, description="momentum in the end; at the start it is beta1"
    )
    momentum_growth: float = Field(
        default=0.5, gt=0, le=1, description="share of training over which the momentum grows"
    )

    def inapplicable(self, context: Context) -> str | None:
        """Refuse an optimiser without a momentum that could grow."""
        optimizer = context.settings.optimizer
        if optimizer == "rmsprop":
            return f"the momentum of gan-original grows, and {optimizer} has none"
        return None

    def rates(self, rates: Rates, progress: float) -> Rates:
        """Let the momentum grow linearly, and then stay."""
        share = min(1.0, progress / self.momentum_growth)
        grown = rates.beta1 + share * (column(self.momentum) - rates.beta1)
        return rates._replace(beta1=grown)

    def fooling_loss(self, logits: Tensor) -> Tensor:
        """Return G's loss of the chosen form, element by element."""
        form = GANSaturating if self.loss == "saturating" else GAN
        return form.fooling_loss(self, logits)
