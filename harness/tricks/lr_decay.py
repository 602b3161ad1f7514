"""Learning-rate decay: ever smaller steps towards the end of training."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field

from harness.parts import PerRun, Rates, Trick, column, tricks


@tricks.register(
    "lr-decay",
    source="linear: Gulrajani et al. 2017, arXiv:1704.00028, appendix; cosine: Loshchilov and "
    "Hutter 2017, arXiv:1608.03983, eq. 5",
)
class LRDecay(Trick):
    """Let the learning rates of both players fall to 0 over the rest of training.

    From the share ``start`` of training on, with t from 0 there to 1 at the end, rates are
    multiplied by 1 − t (``linear``) or ½(1 + cos πt) (``cosine``). A variant's own schedule is
    multiplied too.
    """

    needs_adversary = False

    form: Literal["linear", "cosine"] = Field(default="linear", description="how the rates fall")
    start: Annotated[float, PerRun()] = Field(
        default=0.0, ge=0, lt=1, description="share of training after which they begin to fall"
    )

    def rates(self, rates: Rates, progress: float) -> Rates:
        """Scale both learning rates."""
        t = torch.as_tensor((progress - column(self.start)) / (1 - column(self.start))).clamp(0, 1)
        factor = 1 - t if self.form == "linear" else (1 + torch.cos(torch.pi * t)) / 2
        return rates._replace(lr_g=rates.lr_g * factor, lr_d=rates.lr_d * factor)
