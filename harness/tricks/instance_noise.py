"""Instance noise: blur everything that D sees."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from harness.parts import Batch, Game, Scalar, Trick, column, tricks


@tricks.register(
    "instance-noise", source="Sønderby et al. 2017, arXiv:1610.04490, §3.2.1; arXiv:1701.04862, §3"
)
class InstanceNoise(Trick):
    """Add N(0, σ²) to all that D is shown, real and generated data alike, in both players' updates.

    Their distributions then overlap. σ falls linearly to 0 at the end of training, or stays.
    """

    sigma: Scalar = Field(
        default=0.1, gt=0, description="σ at the start, in units of the data; images span [−1, 1]"
    )
    anneal: bool = Field(default=True, description="whether σ falls to 0 by the end of training")

    def show(self, game: Game, x: Tensor, batch: Batch, label: str) -> Tensor:
        """Add fresh noise to ``(runs, batch, …)``."""
        noise = batch.normal(f"{self.id}/{label}", *x.shape[1:])
        sigma = column(self.sigma)
        if self.anneal:
            sigma = sigma * batch.number(f"{self.id}/share", lambda _: 1 - game.progress)
        return x + (sigma * noise.flatten(1)).reshape(x.shape)
