"""Historical averaging: hold both players near the mean of their own past."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from harness.parts import Batch, Context, Game, Scalar, Trick, tricks


@tricks.register("historical-averaging", source="Salimans et al. 2016, arXiv:1606.03498, §3.3")
class HistoricalAveraging(Trick):
    """Add c ‖θ − (1/t) Σ_{i≤t} θ[i]‖² to each player's loss.

    θ[1] are the first weights, and θ[t] those before the update; the mean is a constant to the
    gradient. The paper gives no coefficient.
    """

    only_remembers = True

    weight: Scalar = Field(default=1.0, gt=0, description="c")

    def inapplicable(self, context: Context) -> str | None:
        """Refuse variants that have one loss for both networks."""
        if context.variant.joint:
            return f"{context.variant.id} trains its networks on one loss, not as two players"
        return None

    def remember(self, game: Game) -> dict[str, Tensor]:
        """Start each mean with the first weights."""
        return {"G": game.G.theta.detach().clone(), "D": game.D.theta.detach().clone()}

    def _distance(self, game: Game, player: str, theta: Tensor) -> Tensor:
        return self.weight * (theta - game.memory[self.id][player]).square().sum(1)

    def discriminator_objective(self, game: Game, batch: Batch, loss: Tensor) -> Tensor:
        """Add the squared distance of D's weights to their mean."""
        theta = game.D.theta if batch.opponent is None else batch.opponent
        return loss + self._distance(game, "D", theta)

    def generator_objective(self, game: Game, batch: Batch, loss: Tensor) -> Tensor:
        """Add the squared distance of G's weights to their mean."""
        return loss + self._distance(game, "G", game.G.theta)

    def after_discriminator_update(self, game: Game, batch: Batch) -> None:
        """Take D's new weights into their mean."""
        self._take_in(game, batch, "D", game.D.theta)

    def after_generator_update(self, game: Game, batch: Batch) -> None:
        """Take G's new weights into their mean."""
        self._take_in(game, batch, "G", game.G.theta)

    def _take_in(self, game: Game, batch: Batch, player: str, theta: Tensor) -> None:
        # The update counted from 0 makes the second of the weights, the first being where it began.
        share = batch.number(f"{self.id}/{player}", lambda updates: 1 / (updates + 2))
        game.memory[self.id][player].lerp_(theta, share)
