"""TTUR: two time scales, D's and G's."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from harness.parts import Rates, Scalar, Trick, column, tricks


@tricks.register(
    "ttur", source="Heusel et al. 2017, arXiv:1706.08500, eq. 1; arXiv:1805.08318, §4.2"
)
class TTUR(Trick):
    """Give D a faster pace than G: multiply the learning rates by a factor for each.

    At the common 2e-4 for both, the defaults make 4e-4 for D and 1e-4 for G, as Zhang et al. 2019
    train. Factors, so that a variant keeps its own scale and a decay of the rates its course.
    """

    d: Scalar = Field(default=2.0, gt=0, description="factor of D's learning rate")
    g: Scalar = Field(default=0.5, gt=0, description="factor of G's learning rate")

    @model_validator(mode="after")
    def check_two(self) -> Self:
        """Refuse one time scale."""
        if self.d == self.g:
            raise ValueError("equal factors for D and G are one time scale; set lr_d and lr_g")
        return self

    def rates(self, rates: Rates, progress: float) -> Rates:
        """Multiply both learning rates."""
        return rates._replace(lr_g=rates.lr_g * column(self.g), lr_d=rates.lr_d * column(self.d))
