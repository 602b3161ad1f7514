"""The law of the latents."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field
from torch import Tensor

from harness.parts import Context, Trick, tricks


@tricks.register("latent", source="Radford et al. 2016, arXiv:1511.06434, §3 and figure 1")
class Latent(Trick):
    """Draw z from U(−1, 1) instead of N(0, 1), in training and for measurement.

    Each number is 2Φ(z) − 1 of the normal one, with Φ the normal distribution function, so that
    cells with the same seed still have the same latents in the same order.
    """

    law: Literal["uniform", "normal"] = Field(
        default="uniform", description="uniform on (−1, 1), or normal, which z is without the trick"
    )

    def inapplicable(self, context: Context) -> str | None:
        """Refuse the law that z has anyway."""
        return "latents are normal without it" if self.law == "normal" else None

    def latents(self, z: Tensor) -> Tensor:
        """Map N(0, 1) to the law."""
        return (z / math.sqrt(2)).erf() if self.law == "uniform" else z
