"""R2: hold D's gradient near zero on generated data."""

from __future__ import annotations

from torch import Tensor

from harness.parts import Batch, tricks
from harness.tricks.r1 import ZeroCentred


@tricks.register("r2", source="Mescheder et al. 2018, arXiv:1801.04406, eq. 10")
class R2(ZeroCentred):
    """Add γ/2 E‖∇D(G(z))‖² on generated data to D's loss.

    The norm goes over all dimensions of one example. ``lazy`` is as for ``r1``.
    """

    def penalised(self, batch: Batch) -> Tensor:
        """Take the gradient at generated data, as D is shown them."""
        return batch.shown_fake
