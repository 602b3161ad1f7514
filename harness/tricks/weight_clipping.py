"""Weight clipping: bound every weight of D."""

from __future__ import annotations

from pydantic import Field

from harness.parts import Batch, Context, Game, Scalar, Trick, tricks
from harness.variants.wgan import WGAN, clip_weights


@tricks.register("weight-clipping", source="Arjovsky et al. 2017, arXiv:1701.07875, algorithm 1")
class WeightClipping(Trick):
    """Clip every weight of D to ± c after each of its updates, whatever the objective.

    Biases and the scales of normalisation layers are clipped too, as in the authors' code.
    """

    clip: Scalar = Field(default=0.01, gt=0, description="c; the weights of D stay within ± this")

    def inapplicable(self, context: Context) -> str | None:
        """Refuse to repeat what the variant does."""
        if isinstance(context.variant, WGAN):
            return f"{context.variant.id} clips its weights already; change its clip"
        return None

    def after_discriminator_update(self, game: Game, batch: Batch) -> None:
        """Clip D's weights."""
        clip_weights(game.D.theta, self.clip)
