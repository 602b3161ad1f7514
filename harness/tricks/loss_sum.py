"""Loss sum: losses summed over the batch instead of averaged."""

from __future__ import annotations

from harness.parts import Batch, Game, Trick, tricks


@tricks.register(
    "loss-sum", source="a common form of the binary cross-entropy, with reduction by sum"
)
class LossSum(Trick):
    """Sum the losses of D and G over the batch, as some published training code does.

    Each loss is multiplied by the number of examples that D judges (pairs or triples count once
    under packing; a map of logits counts by its mean). For sgd that is a learning rate times the
    batch; Adam and RMSprop hardly see it, but a penalty beside it weighs less: what a variant or
    a trick adds to a loss, such as a gradient penalty, stays a mean.
    """

    needs_adversary = False

    def loss_factor(self, game: Game, batch: Batch) -> float:
        """Multiply by the examples; the real data, of equal number, cost no pass through D."""
        return batch.shown_real.shape[1]
