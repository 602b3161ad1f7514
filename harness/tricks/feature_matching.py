"""Feature matching: the generator matches statistics of D's features."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from harness.errors import PartError
from harness.parts import Batch, Game, PerRun, Trick, tricks


@tricks.register("feature-matching", source="Salimans et al. 2016, arXiv:1606.03498, §3.1")
class FeatureMatching(Trick):
    """Let G match the batch mean of D's last hidden features instead of fooling D.

    G minimises ‖E h(x) − E h(G(z))‖₂², a distance between *means over the batch*, never between
    single examples. Real data are fresh, and carry no gradient. The norm sums over features; the
    authors' code averages over them, which is a smaller ``weight``.
    """

    mode: Literal["replace", "add"] = Field(
        default="replace", description="instead of G's own loss, or added to it"
    )
    norm: Literal["l2", "l1"] = Field(
        default="l2", description="squared Euclidean distance, or sum of absolute differences"
    )
    weight: Annotated[float, PerRun()] = Field(default=1.0, gt=0, description="factor of the term")

    def replaced_generator_loss(self, game: Game, batch: Batch) -> Tensor | None:
        """Put the distance in the place of G's loss, in mode ``replace``."""
        return self.distance(batch) if self.mode == "replace" else None

    def generator_objective(self, game: Game, batch: Batch, loss: Tensor) -> Tensor:
        """Add the distance to G's loss, in mode ``add``."""
        return loss + self.distance(batch) if self.mode == "add" else loss

    def distance(self, batch: Batch) -> Tensor:
        """Return the weighted distance between the means of D's last features, ``(runs,)``."""
        named = list(batch.judged_fake.features)
        if not named:
            raise PartError(
                f"{self.id} matches D's last named features, and D names none; give them in its "
                "Judgement: Judgement(logits, {name: features})"
            )
        layer = named[-1]
        real = batch.judged_real.features[layer].mean(1).flatten(1)
        fake = batch.judged_fake.features[layer].mean(1).flatten(1)
        gap = real - fake
        distance = gap.square().sum(1) if self.norm == "l2" else gap.abs().sum(1)
        return self.weight * distance
