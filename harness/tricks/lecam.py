"""LeCam regularisation: D's answers stay near their own moving averages."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import relu

from harness.parts import Batch, Game, PerRun, Trick, column, run_mean, tricks


@tricks.register("lecam", source="Tseng et al. 2021, arXiv:2104.03310, eq. 5–6 and algorithm 1")
class LeCam(Trick):
    """Hold D's logits for real data near the average for generated data, and the reverse.

    D's loss gains λ [E relu(D(x) − m_f)² + E relu(m_r − D(G(z)))²], with m_r and m_f exponential
    moving averages of D's mean logits for real and generated data over its own updates. As in the
    authors' code the gap counts only while D tells the two apart; the paper's equation has no
    relu. Until ``start`` updates are done there is no term, and the averages are the last means;
    the very first update never has one.
    """

    watched: ClassVar[tuple[str, ...]] = ("lecam_real", "lecam_fake")

    weight: Annotated[float, PerRun()] = Field(default=0.3, gt=0, description="λ of the term")
    decay: Annotated[float, PerRun()] = Field(
        default=0.99, ge=0, lt=1, description="share of an average that each update keeps"
    )
    start: int = Field(
        default=0, ge=0, description="updates of D before the term and the averaging begin"
    )

    def remember(self, game: Game) -> dict[str, Tensor]:
        """Keep both averages, and how many updates they have seen."""
        zeros = torch.zeros_like(game.D.theta[:, 0], requires_grad=False)
        return {name: zeros.clone() for name in ("real", "fake", "updates")}

    def begun(self, game: Game) -> Tensor:
        """Whether the averages have something to hold on to, ``(runs,)``."""
        return game.memory[self.id]["updates"] >= max(self.start, 1)

    def discriminator_objective(self, game: Game, batch: Batch, loss: Tensor) -> Tensor:
        """Add the term."""
        held = game.memory[self.id]
        real, fake = batch.judged_real.logits.flatten(1), batch.judged_fake.logits.flatten(1)
        above = relu(real - column(held["fake"])).square()
        below = relu(column(held["real"]) - fake).square()
        return loss + self.weight * self.begun(game) * (run_mean(above) + run_mean(below))

    def after_discriminator_update(self, game: Game, batch: Batch) -> None:
        """Move the averages towards what D answered in the update."""
        held = game.memory[self.id]
        share = torch.where(self.begun(game), 1 - torch.as_tensor(self.decay), 1.0)
        held["real"].lerp_(run_mean(batch.judged_real.logits), share)
        held["fake"].lerp_(run_mean(batch.judged_fake.logits), share)
        held["updates"].add_(1)

    def watch(self, game: Game, batch: Batch) -> tuple[Tensor, ...]:
        """Show both averages."""
        held = game.memory[self.id]
        return held["real"], held["fake"]
