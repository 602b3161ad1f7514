"""Loss sum: losses summed over the batch instead of averaged."""

from __future__ import annotations

from torch import Tensor

from harness.parts import Batch, Game, Trick, tricks


@tricks.register(
    "loss-sum", source="a common form of the binary cross-entropy, with reduction by sum"
)
class LossSum(Trick):
    """Sum the losses of D and G over the batch, as some published training code does.

    Each loss is multiplied by the number of examples that D judges (pairs or triples count once
    under packing; a map of logits counts by its mean). For sgd that is a learning rate times the
    batch; Adam and RMSprop hardly see it, but a penalty beside it weighs less. It multiplies what
    stands before it: [loss-sum, gradient-penalty] sums the objective and averages the penalty,
    while the own penalty of a variant such as wgan-gp is summed with its objective.
    """

    needs_adversary = False

    def discriminator_objective(self, game: Game, batch: Batch, loss: Tensor) -> Tensor:
        """Multiply D's loss."""
        return loss * batch.shown_real.shape[1]

    def generator_objective(self, game: Game, batch: Batch, loss: Tensor) -> Tensor:
        """Multiply G's loss; the real data, of equal number, cost no pass through D."""
        return loss * batch.shown_real.shape[1]
