"""R2: hold D's gradient near zero on generated data."""

from __future__ import annotations

from torch import Tensor

from harness.parts import Batch, tricks
from harness.parts.penalties import data_gradient, zero_centred_penalty
from harness.tricks.r1 import ZeroCentred


@tricks.register("r2", source="Mescheder et al. 2018, arXiv:1801.04406, eq. 10")
class R2(ZeroCentred):
    """Add γ/2 E‖∇D(G(z))‖² on generated data to D's loss.

    The norm goes over all dimensions of one example. Where the gradient is taken, ``lazy`` and the
    ½ are as for ``r1``.
    """

    def penalty(self, batch: Batch) -> Tensor:
        """Take the gradient by generated data."""
        return zero_centred_penalty(data_gradient(batch, batch.fake, "fake", self.id))
