"""Feature matching: the generator matches statistics of D's features."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from harness.parts import Batch, Context, Game, PerRun, Trick, tricks


@tricks.register("feature-matching", source="Salimans et al. 2016, arXiv:1606.03498, §3.1")
class FeatureMatching(Trick):
    """Let G match the batch mean of D's last hidden features instead of fooling D.

    G minimises ‖E h(x) − E h(G(z))‖₂², a distance between *means over the batch*, never between
    single examples. Real data are fresh, and carry no gradient.
    """

    mode: Literal["replace", "add"] = Field(
        default="replace", description="instead of G's own loss, or added to it"
    )
    norm: Literal["l2", "l1"] = Field(
        default="l2", description="squared Euclidean distance, or sum of absolute differences"
    )
    weight: Annotated[float, PerRun()] = Field(default=1.0, gt=0, description="factor of the term")

    def inapplicable(self, context: Context) -> str | None:
        """Refuse to replace a loss that G cannot do without."""
        variant = context.variant
        if self.mode == "replace" and variant.irreplaceable is not None:
            return f"{variant.id} would lose {variant.irreplaceable}; add the term (mode: add)"
        return None

    def generator_objective(self, game: Game, batch: Batch, loss: Tensor) -> Tensor:
        """Replace G's loss by the distance between feature means, or add it."""
        layer = list(batch.judged_fake.features)[-1]
        real = batch.judged_real.features[layer].mean(1).flatten(1)
        fake = batch.judged_fake.features[layer].mean(1).flatten(1)
        gap = real - fake
        distance = gap.square().sum(1) if self.norm == "l2" else gap.abs().sum(1)
        term = self.weight * distance
        return term if self.mode == "replace" else loss + term
