"""The networks that PacGAN learns mixtures in the plane with."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from harness.networks.base import Family, Judgement, networks
from harness.networks.blueprint import DiscriminatorPlan, GeneratorPlan, Normalization
from harness.networks.layers import SUPPORTED, Head, Hidden, normalization
from harness.networks.maxout import PIECES, Maxout
from harness.networks.mlp import Generator


class Discriminator(Hidden):
    """Three layers of maxout units, then one logit.

    Args:
        plan: Width, normalisation, condition and head.
        numbers: Numbers of one example, or of several that are judged together.
    """

    def __init__(self, plan: DiscriminatorPlan, numbers: int) -> None:
        super().__init__()
        joined = plan.condition if plan.condition_layers else 0
        layers: dict[str, nn.Module] = {}
        for i, (before, after) in enumerate(pairwise([numbers, *3 * [plan.width]]), start=1):
            layers[f"hidden{i}"] = nn.Sequential(
                Maxout(before + (plan.condition if i == 1 else joined), after, PIECES),
                normalization(plan.normalization or "none", after, dimensions=1),
            )
        self.hidden = nn.ModuleDict(layers)
        self.head = Head(plan.width + joined, plan)
        self.join_all = plan.condition_layers

    def forward(self, x: Tensor, y: Tensor | None = None) -> Judgement:
        """Judge points ``(batch, …)``, joined to y."""
        return self.judged(x.flatten(1), y)


@networks.register(
    "pacgan2d", source="Lin et al. 2018, arXiv:1712.04086, §4.1, and the authors' code"
)
class PacGAN2D(Family):
    """G of four layers of 400, batch normalised, D of three layers of 200 maxout units.

    z has two dimensions. G's activations are ReLU; D's units are the greatest of 5 pieces, and
    nothing is normalised in D. First weights are N(0, .02), biases 0. G's hidden layers have
    biases, which the batch normalisation after them makes idle. The authors train with Adam at
    1e-4 (.8, .999), batches of 100 and 400 epochs of 100,000 points. ``width`` is D's; G's is
    twice it.
    """

    makes = "points"
    default_width = 200
    default_latent = 2
    normalizations: ClassVar[tuple[Normalization, ...]] = ("batch", "layer", "virtual", "none")
    # One activation is asked of both networks, and a maxout unit has none that could change.
    supports = SUPPORTED - {"activation"}

    def hidden_layers(self, shape: tuple[int, ...]) -> tuple[str, ...]:
        """Name the generator's four hidden layers."""
        return ("hidden1", "hidden2", "hidden3", "hidden4")

    def generator(self, plan: GeneratorPlan, latent: int, shape: tuple[int, ...]) -> nn.Module:
        """Build z → 2·width, four times → point."""
        units = [latent, *4 * [2 * plan.width]]
        return drawn(Generator(plan, units, shape, plan.normalization or "batch"))

    def discriminator(self, plan: DiscriminatorPlan, shape: tuple[int, ...]) -> nn.Module:
        """Build point → width, three times → logit."""
        return drawn(Discriminator(plan, math.prod(shape)))


def drawn(module: nn.Module) -> nn.Module:
    """Draw the weights of every linear layer from N(0, .02); biases are 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return module
