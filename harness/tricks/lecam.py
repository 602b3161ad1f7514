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
    moving averages of D's mean logits for real and generated data over its own updates, the
    present one included, without bias from their start. As in the authors' code the gap counts
    only while D tells the two apart; the paper's equation has no relu. Decay and start are those
    of their code for StyleGAN2; their code for BigGAN leaves the first 1,000 updates out.
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
        """Keep both averages, what they have to be divided by, and the updates so far."""
        zeros = torch.zeros_like(game.D.theta[:, 0], requires_grad=False)
        return {name: zeros.clone() for name in ("real", "fake", "total", "updates")}

    def begun(self, game: Game) -> Tensor:
        """Whether averaging has begun, ``(runs,)``."""
        return game.memory[self.id]["updates"] >= self.start

    def moved(self, game: Game, batch: Batch) -> dict[str, Tensor]:
        """Return the averages with what D answers in the update, ``(runs,)`` each."""
        held = game.memory[self.id]
        share = self.begun(game) * (1 - torch.as_tensor(self.decay))
        seen = {
            "real": run_mean(batch.judged_real.logits.detach()),
            "fake": run_mean(batch.judged_fake.logits.detach()),
            "total": torch.ones_like(held["total"]),
        }
        return {name: held[name].lerp(value, share) for name, value in seen.items()}

    def averages(self, game: Game, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return m_r and m_f, ``(runs,)`` each; 0 before they have begun."""
        moved = self.moved(game, batch)
        total = moved["total"].clamp_min(torch.finfo(moved["total"].dtype).tiny)
        return moved["real"] / total, moved["fake"] / total

    def discriminator_objective(self, game: Game, batch: Batch, loss: Tensor) -> Tensor:
        """Add the term."""
        mean_real, mean_fake = self.averages(game, batch)
        real, fake = batch.judged_real.logits.flatten(1), batch.judged_fake.logits.flatten(1)
        above = relu(real - column(mean_fake)).square()
        below = relu(column(mean_real) - fake).square()
        return loss + self.weight * self.begun(game) * (run_mean(above) + run_mean(below))

    def after_discriminator_update(self, game: Game, batch: Batch) -> None:
        """Keep the averages that the update went by."""
        held = game.memory[self.id]
        for name, value in self.moved(game, batch).items():
            held[name].copy_(value)
        held["updates"].add_(1)

    def watch(self, game: Game, batch: Batch) -> tuple[Tensor, ...]:
        """Show both averages."""
        return self.averages(game, batch)
