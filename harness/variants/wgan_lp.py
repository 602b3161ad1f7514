"""Wasserstein GAN with a one-sided gradient penalty."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from harness.parts import PerRun, variants
from harness.parts.penalties import one_sided_penalty
from harness.variants.wgan_gp import WGANGP


@variants.register("wgan-lp", source="Petzka et al. 2018, arXiv:1709.08894, §4")
class WGANLP(WGANGP):
    """WGAN-GP that penalises only a critic's slopes above 1.

    D's loss gains λ E max(0, ‖∇D(x̂)‖₂ − 1)² at the points of ``wgan-gp``: an optimal critic has
    slopes of at most 1, but not of 1 everywhere. All else is as in ``wgan-gp``.
    """

    needs: ClassVar[str] = ""
    penalty_weight: Annotated[float, PerRun()] = Field(
        default=10.0, ge=0, description="λ; the authors use 5 and 10"
    )

    def penalty(self, gradient: Tensor) -> Tensor:
        """Return E max(0, ‖∇D‖₂ − 1)² of gradients ``(runs, batch, dimensions)``, ``(runs,)``."""
        return one_sided_penalty(gradient)
