"""The networks of the first GAN: maxout units in D, rectified ones in G."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from harness.networks.base import Family, Judgement, networks
from harness.networks.blueprint import DiscriminatorPlan, GeneratorPlan, Normalization
from harness.networks.dropout import StreamDropout
from harness.networks.layers import SUPPORTED, Head, Hidden, normalization
from harness.networks.mlp import Generator

PIECES = 5
INPUT_DROPOUT, HIDDEN_DROPOUT = 0.2, 0.5


class Maxout(nn.Module):
    """The greatest of several linear functions of the input, for each unit.

    Source: Goodfellow et al. 2013, arXiv:1302.4389, eq. 1.

    Args:
        before: Units that come in.
        units: Units that go out.
        pieces: Linear functions of each unit.
    """

    def __init__(self, before: int, units: int, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces
        self.linear = nn.Linear(before, units * pieces)

    def forward(self, h: Tensor) -> Tensor:
        """Map ``(batch, before)`` to ``(batch, units)``."""
        greatest: Tensor = self.linear(h).unflatten(1, (-1, self.pieces)).max(2).values
        return greatest


class FromUnit(nn.Module):
    """Values in [0, 1] as a sigmoid gives them, moved to [−1, 1]."""

    def forward(self, h: Tensor) -> Tensor:
        """Return ``2σ(h) − 1``."""
        return 2 * h.sigmoid() - 1


class Discriminator(Hidden):
    """Two layers of maxout units and a logit, each behind dropout.

    Args:
        plan: Width, normalisation, condition and head.
        numbers: Numbers of one example.
        norm: Normalisation after each maxout layer.
    """

    def __init__(self, plan: DiscriminatorPlan, numbers: int, norm: Normalization) -> None:
        super().__init__()
        joined = plan.condition if plan.condition_layers else 0
        layers: dict[str, nn.Module] = {}
        for i, (before, after) in enumerate(pairwise([numbers, plan.width, plan.width]), start=1):
            layers[f"hidden{i}"] = nn.Sequential(
                StreamDropout(INPUT_DROPOUT if i == 1 else HIDDEN_DROPOUT),
                Maxout(before + (plan.condition if i == 1 else joined), after, PIECES),
                normalization(norm, after, dimensions=1),
            )
        self.hidden = nn.ModuleDict(layers)
        self.drop = StreamDropout(HIDDEN_DROPOUT)
        self.head = Head(plan.width + joined, plan)
        self.join_all = plan.condition_layers
        draw_uniform(self, 0.005)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Judgement:
        """Judge images ``(batch, channels, size, size)`` in [−1, 1], joined to y."""
        features: dict[str, Tensor] = {}
        h = self.through((x.flatten(1) + 1) / 2, y, features)
        logits, outputs = self.head(self.drop(h))
        return Judgement(logits, features, outputs)


def draw_uniform(module: nn.Module, bound: float) -> None:
    """Draw the weights of every linear layer from U(−bound, bound); biases are 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.uniform_(layer.weight, -bound, bound)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


@networks.register(
    "maxout",
    source="Goodfellow et al. 2014, arXiv:1406.2661, §5 and the authors' code for MNIST; "
    "Goodfellow et al. 2013, arXiv:1302.4389",
)
class MaxoutNetworks(Family):
    """Two layers of 240 maxout units with 5 pieces in D, two of 1200 rectified ones in G.

    D drops a fifth of its input and half of what enters its later layers, as the authors' code
    does. G ends in a sigmoid. Images lie in [−1, 1] outside; the maps to and from [0, 1] are
    inside the networks. First weights are U(−.05, .05) in G and U(−.005, .005) in D, biases 0;
    the authors start the biases of G's output at the data's mean.
    """

    makes = "images"
    default_width = 240
    default_latent = 100
    normalizations: ClassVar[tuple[Normalization, ...]] = ("batch", "layer", "virtual", "none")
    # One activation is asked of both networks, and a maxout unit has none that could change.
    supports = SUPPORTED - {"activation"}

    def hidden_layers(self, shape: tuple[int, ...]) -> tuple[str, ...]:
        """Name the generator's two hidden layers."""
        return ("hidden1", "hidden2")

    def generator(self, plan: GeneratorPlan, latent: int, shape: tuple[int, ...]) -> nn.Module:
        """Build z → 5·width → 5·width → image."""
        units = [latent, 5 * plan.width, 5 * plan.width]
        module = Generator(plan, units, shape, plan.normalization or "none", squash=FromUnit())
        draw_uniform(module, 0.05)
        return module

    def discriminator(self, plan: DiscriminatorPlan, shape: tuple[int, ...]) -> nn.Module:
        """Build image → width → width → logit."""
        return Discriminator(plan, math.prod(shape), plan.normalization or "none")
