"""EMA: measure the generator by a running average of its weights."""

from __future__ import annotations

from typing import Annotated, Any, Self, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor

from harness.parts import Batch, Game, PerRun, Trick, column, tricks

DECAY = 0.999
"""Where neither a decay nor a half-life is given."""


@tricks.register("ema", source="Yazıcı et al. 2019, arXiv:1806.04498, eq. 3")
class EMA(Trick):
    """Measure and draw samples by an exponential moving average of G's weights.

    After each update of G the average becomes β θ̄ + (1 − β) θ. Training itself is unchanged: D
    plays against θ. The run's numbers are those of the average; the raw weights θ are measured
    beside it, at every evaluation. Buffers, such as batch normalisation's running statistics, are
    the generator's own and not averaged. The average starts from the first weights; with
    ``warm_up`` β is at most (1 + t)/(10 + t) in the update that follows t others, so that even a
    short run forgets them.
    """

    needs_adversary = False

    decay: Annotated[float | None, PerRun()] = Field(
        default=None, gt=0, lt=1, description="β of one update of G; 0.999 if nothing is given"
    )
    half_life: float | None = Field(
        default=None,
        gt=0,
        description="generated images after which a weight counts half, in place of decay",
    )
    warm_up: bool = Field(default=True, description="whether the average is shorter at first")

    @model_validator(mode="before")
    @classmethod
    def fill_in_decay(cls, values: Any) -> Any:
        """Take the usual decay where neither is given."""
        if isinstance(values, dict) and values.get("half_life") is None:
            return {**values, "decay": values.get("decay", DECAY)}
        return values

    @model_validator(mode="after")
    def check_one(self) -> Self:
        """Refuse two definitions of one average, or none."""
        if (self.decay is None) == (self.half_life is None):
            raise ValueError("give either decay or half_life")
        return self

    def remember(self, game: Game) -> dict[str, Tensor]:
        """Start from the first weights."""
        return {"theta": game.G.theta.detach().clone()}

    def weight(self, batch: Batch) -> float | Tensor:
        """Return the share 1 − β of the newest weights, a float or ``(runs, 1)``."""
        share: float | Tensor
        if self.half_life is not None:
            share = 1 - 0.5 ** (batch.size / self.half_life)
        else:
            share = 1 - column(cast(float, self.decay))
        if not self.warm_up:
            return share
        least = batch.number("ema/warm-up", lambda updates: 9 / (10 + updates))
        return torch.clamp(share, min=least) if isinstance(share, Tensor) else least.clamp(share)

    def after_generator_update(self, game: Game, batch: Batch) -> None:
        """Move the average towards the new weights."""
        average = game.memory[self.id]["theta"]
        average.add_((game.G.theta - average) * self.weight(batch))

    def evaluated(self, game: Game, theta: Tensor) -> Tensor:
        """Measure the average."""
        return game.memory[self.id]["theta"]
