"""The residual networks of SNGAN for CIFAR-10."""

from __future__ import annotations

import math

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
from harness.networks.layers import SUPPORTED, Head, Hidden, activation, join, normalization


def glorot(layer: nn.Module, gain: float = 1.0) -> nn.Module:
    """Draw a layer's weight by Glorot's uniform law; its bias becomes 0."""
    if isinstance(layer, nn.Linear | nn.Conv2d):
        nn.init.xavier_uniform_(layer.weight, gain)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return layer


def convolution(before: int, after: int) -> nn.Module:
    """Make a 3×3 convolution of a residual branch."""
    return glorot(nn.Conv2d(before, after, 3, 1, 1), math.sqrt(2))


class Residual(nn.Module):
    """A branch of two convolutions beside a shortcut.

    Args:
        branch: The convolutions with what stands before and between them.
        shortcut: What the input goes through beside them.
    """

    def __init__(self, branch: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut

    def forward(self, h: Tensor) -> Tensor:
        """Map ``(batch, channels, height, width)`` to feature maps of another size."""
        total: Tensor = self.branch(h) + self.shortcut(h)
        return total


class Generator(Hidden):
    """A linear layer to 4×4, residual blocks that double the side, normalisation, tanh.

    Args:
        plan: Width, dropout, normalisation, activation and condition.
        latent: Dimensions of z.
        channels: Channels of the image.
        doublings: Residual blocks.
    """

    def __init__(self, plan: GeneratorPlan, latent: int, channels: int, doublings: int) -> None:
        super().__init__()
        norm: Normalization = plan.normalization or "batch"
        joined = plan.condition if plan.condition_layers else 0
        width = 2 * plan.width

        def normalized(count: int) -> list[nn.Module]:
            return [
                normalization(norm, count, dimensions=2, reference=plan.reference),
                activation(plan.activation or "relu"),
            ]

        layers: dict[str, nn.Module] = {
            "hidden1": nn.Sequential(
                glorot(nn.Linear(latent + plan.condition, 16 * width)),
                nn.Unflatten(1, (width, 4, 4)),
                dropout(plan.dropout_in("hidden1"), at_test=plan.dropout_at_test),
            )
        }
        for i in range(2, doublings + 2):
            before = width + joined
            layers[f"hidden{i}"] = nn.Sequential(
                Residual(
                    nn.Sequential(
                        *normalized(before),
                        nn.Upsample(scale_factor=2),
                        convolution(before, width),
                        *normalized(width),
                        convolution(width, width),
                    ),
                    nn.Sequential(nn.Upsample(scale_factor=2), glorot(nn.Conv2d(before, width, 1))),
                ),
                dropout(plan.dropout_in(f"hidden{i}"), at_test=plan.dropout_at_test),
            )
        self.hidden = nn.ModuleDict(layers)
        self.last = nn.Sequential(*normalized(width + joined))
        self.output = glorot(nn.Conv2d(width + joined, channels, 3, 1, 1))
        self.join_all = plan.condition_layers

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map ``z (batch, latent)``, joined to y, to ``(batch, channels, size, size)`` in ±1."""
        h = self.through(z, y)
        images: Tensor = self.output(self.last(h)).tanh()
        return images


class Discriminator(Hidden):
    """Four residual blocks, of which the first two halve the side, then a sum over the map.

    Args:
        plan: Width, normalisation, activation, condition and head.
        channels: Channels of the image.
    """

    def __init__(self, plan: DiscriminatorPlan, channels: int) -> None:
        super().__init__()
        norm: Normalization = plan.normalization or "none"
        joined = plan.condition if plan.condition_layers else 0
        width = plan.width

        def activated(count: int) -> list[nn.Module]:
            return [normalization(norm, count, dimensions=2), activation(plan.activation or "relu")]

        first = channels + plan.condition
        layers: dict[str, nn.Module] = {
            "hidden1": Residual(
                nn.Sequential(
                    convolution(first, width),
                    *activated(width),
                    convolution(width, width),
                    nn.AvgPool2d(2),
                ),
                nn.Sequential(nn.AvgPool2d(2), glorot(nn.Conv2d(first, width, 1))),
            )
        }
        for i in (2, 3, 4):
            before = width + joined
            pool = [nn.AvgPool2d(2)] if i == 2 else []
            shortcut = [glorot(nn.Conv2d(before, width, 1))] if pool or joined else []
            layers[f"hidden{i}"] = Residual(
                nn.Sequential(
                    *activated(before),
                    convolution(before, width),
                    *activated(width),
                    convolution(width, width),
                    *pool,
                ),
                nn.Sequential(*shortcut, *pool),
            )
        self.hidden = nn.ModuleDict(layers)
        self.last = nn.Sequential(*activated(width))
        self.head = Head(width + joined, plan)
        glorot(self.head.output)
        self.join_all = plan.condition_layers

    def forward(self, x: Tensor, y: Tensor | None = None) -> Judgement:
        """Judge images ``(batch, channels, size, size)``, joined to y."""
        features: dict[str, Tensor] = {}
        self.through(x, y, features)
        *_, last = features.values()
        features["pooled"] = self.last(last).sum((2, 3))
        logits, outputs = self.head(join(features["pooled"], self.later(y)))
        return Judgement(logits, features, outputs)


@networks.register("resnet32", source="Miyato et al. 2018, arXiv:1802.05957, table 4")
class ResNet32(SquareFamily):
    """SNGAN's residual networks for 32×32 images: 256 channels in G, 128 in D.

    G has batch normalisation, D none: its weights are normalised by ``sngan``, the fully
    connected last one too. D's answer is a linear function of its features' sum over the map,
    with a bias, which the authors' code leaves out.
    The width is D's; G has twice as many channels. z has 128 dimensions.
    """

    size = 32
    default_width = 128
    default_latent = 128
    normalizations = NORMALIZATIONS
    supports = SUPPORTED

    @override
    def hidden_layers(self, shape: tuple[int, ...]) -> tuple[str, ...]:
        return ("hidden1", "hidden2", "hidden3", "hidden4")

    @override
    def generator(self, plan: GeneratorPlan, latent: int, shape: tuple[int, ...]) -> nn.Module:
        return Generator(plan, latent, shape[0], self.doublings)

    @override
    def discriminator(self, plan: DiscriminatorPlan, shape: tuple[int, ...]) -> nn.Module:
        return Discriminator(plan, shape[0])
