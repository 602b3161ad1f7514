"""R1: hold D's gradient near zero on real data."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from harness.parts import Batch, Context, Game, Scalar, Trick, tricks
from harness.parts.penalties import data_gradient, zero_centred_penalty
from harness.variants.r3gan import R3GAN


class ZeroCentred(Trick):
    """A zero-centred gradient penalty: what R1 and R2 share."""

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
        """Refuse to repeat a variant's penalty, and to skip updates that are foreseen."""
        if isinstance(context.variant, R3GAN):
            return f"{context.variant.id} has this penalty already; change its gamma"
        if self.lazy > 1 and any(trick.id == "unrolled" for trick in context.tricks):
            return "unrolled foresees updates that are all alike: set lazy to 1"
        return None

    def penalty(self, batch: Batch) -> Tensor:
        """Return ``½E‖∇D‖²`` where it is taken, ``(runs,)``."""
        raise NotImplementedError

    def discriminator_objective(self, game: Game, batch: Batch, loss: Tensor) -> Tensor:
        """Add ``γ/2 E‖∇D‖²``, in an update that is not skipped times the interval."""
        if not batch.every(self.lazy):
            return loss
        return loss + self.gamma * self.lazy * self.penalty(batch)


@tricks.register("r1", source="Mescheder et al. 2018, arXiv:1801.04406, eq. 9")
class R1(ZeroCentred):
    """Add γ/2 E‖∇D(x)‖² on real data to D's loss.

    The norm goes over all dimensions of one example. The gradient is that by the real data
    themselves: through whatever changes them before D sees them, as in Karras et al. 2020
    (arXiv:2006.06676, their code). ``lazy: 16`` is the interval of Karras et al. 2020
    (arXiv:1912.04958, §3.1); the optimiser's rates are left as they are. GAN_stability, the code
    of the source, leaves out the ½: its weight of 10 is γ = 20 here.
    """

    def penalty(self, batch: Batch) -> Tensor:
        """Take the gradient by real data."""
        return zero_centred_penalty(data_gradient(batch, batch.real, "real", self.id))
