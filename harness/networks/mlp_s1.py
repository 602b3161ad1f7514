"""The fully connected GAN of many tutorials, in two readings of one line."""

from __future__ import annotations

import math
from typing import ClassVar

from torch import nn

from harness.networks.base import Family, networks
from harness.networks.blueprint import DiscriminatorPlan, GeneratorPlan, Normalization
from harness.networks.layers import SUPPORTED
from harness.networks.mlp import Discriminator, Generator

SOURCE = (
    "the common fully connected GAN after Goodfellow et al. 2014, arXiv:1406.2661; batch "
    "normalisation: Ioffe and Szegedy 2015, arXiv:1502.03167"
)


@networks.register("mlp-s1", source=SOURCE)
class MLPS1(Family):
    """G from z over 128, 256, 512 and 1024 units, D over 512 and 256; batch norm momentum .8.

    LeakyReLU(0.2) in both, tanh at G's end. G's hidden layers but the first are batch normalised.
    The code that goes round has ``BatchNorm1d(n, 0.8)``, whose second argument is eps; a momentum
    was surely meant. This family takes .8 for the momentum: running statistics, which only
    samples drawn for measurement see, follow the latest batch with weight .8. ``mlp-s1-eps``
    takes the line by its letter.
    """

    eps: ClassVar[float] = 1e-5
    momentum: ClassVar[float] = 0.8
    """Weight of the latest batch in the running statistics, as in ``torch.nn.BatchNorm1d``."""
    makes = "images"
    default_width = 128
    default_latent = 100
    normalizations: ClassVar[tuple[Normalization, ...]] = ("batch", "layer", "virtual", "none")
    supports = SUPPORTED

    def hidden_layers(self, shape: tuple[int, ...]) -> tuple[str, ...]:
        """Name the generator's four hidden layers."""
        return ("hidden1", "hidden2", "hidden3", "hidden4")

    def generator(self, plan: GeneratorPlan, latent: int, shape: tuple[int, ...]) -> nn.Module:
        """Build z → width → 2·width → 4·width → 8·width → image."""
        units = [latent, *(plan.width * 2**i for i in range(4))]
        module = Generator(
            plan,
            units,
            shape,
            plan.normalization or "batch",
            first_norm=False,
            default_activation="leaky-relu",
        )
        return self.with_constants(module)

    def discriminator(self, plan: DiscriminatorPlan, shape: tuple[int, ...]) -> nn.Module:
        """Build image → 4·width → 2·width → logit."""
        units = [math.prod(shape), 4 * plan.width, 2 * plan.width]
        return self.with_constants(Discriminator(plan, units, plan.normalization or "none"))

    def with_constants(self, module: nn.Module) -> nn.Module:
        """Give every batch normalisation the family's eps and momentum."""
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm1d):
                layer.eps, layer.momentum = self.eps, self.momentum
        return module


@networks.register("mlp-s1-eps", source=SOURCE)
class MLPS1Eps(MLPS1):
    """The networks of mlp-s1 with an eps of .8 in batch norm, and torch's momentum of .1.

    So ``BatchNorm1d(n, 0.8)`` says. An activation of variance v comes out with v / (v + .8).
    """

    eps = 0.8
    momentum = 0.1
