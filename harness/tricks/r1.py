"""R1: hold D's gradient near zero on real data."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from harness.parts import Batch, Context, Game, Scalar, Trick, tricks
from harness.parts.penalties import input_gradient, zero_centred_penalty
from harness.variants.r3gan import R3GAN


class ZeroCentred(Trick):
    """A zero-centred gradient penalty on the data that D is shown: what R1 and R2 share."""

    penalises_gradient = True

    gamma: Scalar = Field(
        default=10.0,
        gt=0,
        description="γ; 10 in the paper, for 64×64 and larger; 0.01–0.1 suits small networks",
    )
    lazy: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="penalise every so many updates of D, so many times as much",
    )

    def inapplicable(self, context: Context) -> str | None:
        """Refuse to repeat a penalty that the variant has."""
        if isinstance(context.variant, R3GAN):
            return f"{context.variant.id} has this penalty already; change its gamma"
        return None

    def penalised(self, batch: Batch) -> Tensor:
        """Return where the gradient is taken, ``(runs, batch, …)``."""
        raise NotImplementedError

    def discriminator_objective(self, game: Game, batch: Batch, loss: Tensor) -> Tensor:
        """Add ``γ/2 E‖∇D‖²``, in an update that is not skipped times the interval."""
        if not batch.every(self.lazy):
            return loss
        gradient = input_gradient(lambda x: batch.judge(x, self.id).logits, self.penalised(batch))
        return loss + self.gamma * self.lazy * zero_centred_penalty(gradient)


@tricks.register("r1", source="Mescheder et al. 2018, arXiv:1801.04406, eq. 9")
class R1(ZeroCentred):
    """Add γ/2 E‖∇D(x)‖² on real data to D's loss.

    The norm goes over all dimensions of one example. ``lazy: 16`` is the interval of Karras et
    al. 2020 (arXiv:1912.04958, §3.1); the optimiser's rates are left as they are.
    """

    def penalised(self, batch: Batch) -> Tensor:
        """Take the gradient at real data, as D is shown them."""
        return batch.shown_real
