"""Several generators in one, as MAD-GAN trains them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Generators(nn.Module):
    """Generators that share their first hidden layer and take turns in a batch.

    Example j comes from generator ``j mod n``. While training, the n examples of a turn have the
    latent (and the condition) of the turn's first in common.

    Source: Ghosh et al. 2018, arXiv:1704.02906, §4 and figure 2.

    Args:
        made: Generators of the same structure, with a ``hidden`` dictionary of layers.
    """

    def __init__(self, made: Sequence[nn.Module]) -> None:
        super().__init__()
        hidden = [module.get_submodule("hidden") for module in made]
        first = next(iter(dict(hidden[0].named_children())))
        for other in hidden[1:]:
            other.add_module(first, hidden[0].get_submodule(first))
        self.members = nn.ModuleList(made)

    def inner_batch(self, batch: int) -> int:
        """Return how many examples each generator makes of a batch."""
        return -(-batch // len(self.members))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map ``z (batch, latent)`` to examples ``(batch, *shape)``."""
        batch = len(z)
        made = torch.stack(
            [
                member(self._turns(z, i), None if y is None else self._turns(y, i))
                for i, member in enumerate(self.members)
            ],
            dim=1,
        )
        return made.flatten(0, 1)[:batch]

    def _turns(self, values: Tensor, member: int) -> Tensor:
        """Choose the rows of one generator, ``(turns, …)``."""
        count = len(self.members)
        missing = -len(values) % count
        if missing:
            values = torch.cat([values, values[:1].expand(missing, *values.shape[1:])])
        return values[0 if self.training else member :: count]
