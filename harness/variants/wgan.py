"""Wasserstein GAN with weight clipping."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from harness.parts import Batch, Game, PerRun, Recipe, Schedule, Variant, column, variants


class Wasserstein(Variant):
    """The critic's objective that wgan and its successors share.

    D minimises E D(G(z)) − E D(x), G minimises −E D(G(z)); no sigmoid, no logarithm.
    """

    networks: ClassVar[dict[str, str]] = {"points": "toy2d", "images": "dcgan"}
    boundary = None

    d_steps: int = Field(default=5, ge=1, description="critic updates per generator update")

    def schedule(self, schedule: Schedule) -> Schedule:
        """Train the critic ``d_steps`` times per generator update."""
        return replace(schedule, d=self.d_steps)

    def real_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Push the critic up on real data; a critic has no target."""
        return -logits

    def fake_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Push the critic down on generated data; a critic has no target."""
        return logits

    def fooling_loss(self, logits: Tensor) -> Tensor:
        """Raise the critic's value of generated data."""
        return -logits


@variants.register("wgan", source="Arjovsky et al. 2017, arXiv:1701.07875, algorithm 1")
class WGAN(Wasserstein):
    """Wasserstein objective, the critic's weights clipped after each of its updates.

    So does algorithm 1; the authors' code clips before each update instead, so that G plays
    against weights that have just left the bounds.
    """

    recipe: ClassVar[Recipe] = Recipe("rmsprop", lr_g=5e-5, lr_d=5e-5, beta1=0.0, beta2=0.99)

    clip: Annotated[float, PerRun()] = Field(
        default=0.01, gt=0, description="weights of the critic stay within ± this"
    )
    boost: bool = Field(
        default=True,
        description="100 critic updates in each of the first 25 steps and in every 500th, "
        "as in the authors' code",
    )

    def schedule(self, schedule: Schedule) -> Schedule:
        """Train the critic longer at the start and now and then, if ``boost``."""
        schedule = super().schedule(schedule)
        if not self.boost:
            return schedule
        return replace(schedule, boost=100, boost_first=25, boost_every=500)

    def after_discriminator_update(self, game: Game, batch: Batch) -> None:
        """Clip the critic's weights to ± ``clip``."""
        clip_weights(game.D.theta, self.clip)


def clip_weights(theta: Tensor, bound: float | Tensor) -> None:
    """Clip weights ``(runs, parameters)`` in place to ± a bound, a float or ``(runs,)``."""
    limit = torch.as_tensor(column(bound), dtype=theta.dtype, device=theta.device)
    theta.clamp_(-limit, limit)
