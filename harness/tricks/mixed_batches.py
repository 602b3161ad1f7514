"""Mixed batches: real and generated data in one batch of D."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.networks.base import Judgement, discriminator_has, unsupported
from harness.networks.layers import MinibatchDiscrimination
from harness.parts import Batch, Context, Game, Trick, tricks


@tricks.register("mixed-batches", source="against the advice of Chintala et al. 2016, ganhacks, 4")
class MixedBatches(Trick):
    """Judge real and generated data in one batch in D's updates.

    The advice is not to: batch statistics are then shared, and what D says of real data depends
    on the generated ones. In G's updates D judges generated data alone, as ever.
    """

    def inapplicable(self, context: Context) -> str | None:
        """Refuse a D that judges each example by itself."""
        blueprint = context.planned()
        if unsupported(blueprint) is not None:
            return None  # which is the reason that will be given
        coupling = (nn.BatchNorm1d, nn.BatchNorm2d, MinibatchDiscrimination)
        if discriminator_has(blueprint, *coupling):
            return None
        return f"{context.variant.id}'s discriminator judges each example by itself, mixed or not"

    def judgements(self, game: Game, batch: Batch) -> tuple[Judgement, Judgement] | None:
        """Judge both halves of one batch."""
        if batch.phase != "discriminator":
            return None
        real = batch.shown_real
        both = batch.judge(torch.cat([real, batch.shown_fake], dim=1), self.id)
        count = real.shape[1]
        return part(both, slice(count)), part(both, slice(count, None))


def part(judgement: Judgement, examples: slice) -> Judgement:
    """Take some examples' answers out of a judgement."""

    def of(values: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: value[:, examples] for name, value in values.items()}

    return Judgement(judgement.logits[:, examples], of(judgement.features), of(judgement.outputs))
