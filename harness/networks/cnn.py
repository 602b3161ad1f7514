"""The plain convolutional networks of SNGAN for CIFAR-10."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from typing_extensions import override

from harness.networks.base import Judgement, SquareFamily, networks
from harness.networks.blueprint import (
    NORMALIZATIONS,
    DiscriminatorPlan,
    GeneratorPlan,
    Normalization,
)
from harness.networks.dropout import dropout
from harness.networks.layers import SUPPORTED, Head, Hidden, activation, normalization

SLOPE = 0.1
"""Of D's LeakyReLU."""


def drawn(module: nn.Module) -> nn.Module:
    """Draw the weights of every layer from N(0, .02); biases are 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return module


class Generator(Hidden):
    """A linear layer to 4×4, three transposed convolutions that double the side, one more, tanh.

    Args:
        plan: Width, dropout, normalisation, activation and condition.
        latent: Dimensions of z.
        channels: Channels of the image.
    """

    def __init__(self, plan: GeneratorPlan, latent: int, channels: int) -> None:
        super().__init__()
        norm: Normalization = plan.normalization or "batch"
        joined = plan.condition if plan.condition_layers else 0
        widths = [8 * plan.width, 4 * plan.width, 2 * plan.width, plan.width]
        layers: dict[str, nn.Module] = {}
        for i, after in enumerate(widths, start=1):
            grow: nn.Module
            if i == 1:
                grow = nn.Sequential(
                    nn.Linear(latent + plan.condition, 16 * after), nn.Unflatten(1, (after, 4, 4))
                )
            else:
                grow = nn.ConvTranspose2d(widths[i - 2] + joined, after, 4, 2, 1)
            layers[f"hidden{i}"] = nn.Sequential(
                grow,
                normalization(norm, after, dimensions=2, reference=plan.reference),
                activation(plan.activation or "relu"),
                dropout(plan.dropout_in(f"hidden{i}"), at_test=plan.dropout_at_test),
            )
        self.hidden = nn.ModuleDict(layers)
        self.output = nn.Conv2d(widths[-1] + joined, channels, 3, 1, 1)
        self.join_all = plan.condition_layers

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map ``z (batch, latent)``, joined to y, to ``(batch, channels, 32, 32)`` in ±1."""
        h = self.through(z, y)
        images: Tensor = self.output(h).tanh()
        return images


class Discriminator(Hidden):
    """Seven convolutions, 3×3 and strided 4×4 in turn, and a linear layer on the last map.

    Args:
        plan: Width, normalisation, activation, condition and head.
        channels: Channels of the image.
    """

    def __init__(self, plan: DiscriminatorPlan, channels: int) -> None:
        super().__init__()
        norm: Normalization = plan.normalization or "none"
        joined = plan.condition if plan.condition_layers else 0
        w = plan.width
        layers: dict[str, nn.Module] = {}
        for i, (before, after) in enumerate(
            pairwise([channels, w, 2 * w, 2 * w, 4 * w, 4 * w, 8 * w, 8 * w]), start=1
        ):
            inputs = before + (plan.condition if i == 1 else joined)
            strided = i % 2 == 0
            layers[f"hidden{i}"] = nn.Sequential(
                nn.Conv2d(inputs, after, 4 if strided else 3, 2 if strided else 1, 1),
                normalization(norm, after, dimensions=2),
                activation(plan.activation) if plan.activation else nn.LeakyReLU(SLOPE),
            )
        self.hidden = nn.ModuleDict(layers)
        self.head = Head(16 * (8 * w + joined), plan)
        self.join_all = plan.condition_layers

    def forward(self, x: Tensor, y: Tensor | None = None) -> Judgement:
        """Judge images ``(batch, channels, 32, 32)``, joined to y."""
        return self.judged(x, y)


@networks.register(
    "cnn32", source="Miyato et al. 2018, arXiv:1802.05957, table 3, with the authors' widths"
)
class CNN32(SquareFamily):
    """SNGAN's convolutional networks for 32×32 images: 512 to 64 channels in G, 64 to 512 in D.

    G has batch normalisation, D none: its weights are normalised by ``sngan``. D's LeakyReLU has
    slope 0.1. First weights are N(0, .02), biases 0. z has 128 dimensions.
    """

    size = 32
    default_width = 64
    default_latent = 128
    normalizations = NORMALIZATIONS
    supports = SUPPORTED

    @override
    def hidden_layers(self, shape: tuple[int, ...]) -> tuple[str, ...]:
        return ("hidden1", "hidden2", "hidden3", "hidden4")

    @override
    def generator(self, plan: GeneratorPlan, latent: int, shape: tuple[int, ...]) -> nn.Module:
        return drawn(Generator(plan, latent, shape[0]))

    @override
    def discriminator(self, plan: DiscriminatorPlan, shape: tuple[int, ...]) -> nn.Module:
        return drawn(Discriminator(plan, shape[0]))
