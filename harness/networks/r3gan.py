"""The networks of R3GAN: residual blocks of grouped convolutions, no normalisation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, pad
from typing_extensions import override

from harness.networks.base import Judgement, SquareFamily, networks
from harness.networks.blueprint import DiscriminatorPlan, GeneratorPlan
from harness.networks.dropout import dropout
from harness.networks.layers import SUPPORTED, Head, activation, join

SOURCE = "Huang et al. 2024, arXiv:2501.05441, §3, and the authors' code"
BLOCKS = 2
"""Residual blocks at each size."""
EXPANSION = 2
"""Channels inside a block, as a multiple of those outside."""
GROUP = 16
"""Channels of each group of a 3×3 convolution."""
GAIN = math.sqrt(2 / (1 + 0.2**2))
"""What keeps the variance through LeakyReLU(0.2) (He et al. 2015, arXiv:1502.01852, eq. 15)."""


def scaled(layer: nn.Module, gain: float = 1.0) -> nn.Module:
    """Draw a layer's weight from N(0, gain²/inputs); its bias becomes 0."""
    if isinstance(layer, nn.Linear | nn.Conv2d):
        inputs = layer.weight[0].numel()
        nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(inputs))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return layer


class Doubled(nn.Module):
    """Double the side of feature maps, by the filter [1, 3, 3, 1]/4 on interleaved zeros."""

    def forward(self, h: Tensor) -> Tensor:
        """Map ``(batch, channels, size, size)`` to twice the size."""
        # [1, 1] on interleaved zeros, then [1, 1]/2 twice.
        return avg_pool2d(avg_pool2d(pad(interpolate(h, scale_factor=2), (1, 1, 1, 1)), 2, 1), 2, 1)


class Halved(nn.Module):
    """Halve the side of feature maps, by the filter [1, 3, 3, 1]/8 at every other place."""

    def forward(self, h: Tensor) -> Tensor:
        """Map ``(batch, channels, size, size)`` to half the size."""
        return avg_pool2d(avg_pool2d(avg_pool2d(pad(h, (1, 1, 1, 1)), 2, 1), 2, 1), 2)


class Block(nn.Module):
    """A residual branch: 1×1, grouped 3×3 and 1×1 convolution with LeakyReLU(0.2) between.

    It begins as the identity (Zhang et al. 2019, arXiv:1901.09321): the last convolution is 0,
    and the others are scaled down by the fourth root of the number of blocks in the network.

    Args:
        width: Channels outside the branch.
        depth: Residual blocks of the network.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        inner = EXPANSION * width
        groups = inner // (GROUP if inner % GROUP == 0 else EXPANSION)
        gain = GAIN * depth**-0.25
        self.branch = nn.Sequential(
            scaled(nn.Conv2d(width, inner, 1), gain),
            activation("leaky-relu"),
            scaled(nn.Conv2d(inner, inner, 3, 1, 1, groups=groups), gain),
            activation("leaky-relu"),
            scaled(nn.Conv2d(inner, width, 1, bias=False), 0.0),
        )

    def forward(self, h: Tensor) -> Tensor:
        """Add the branch to feature maps ``(batch, width, height, width)``."""
        total: Tensor = h + self.branch(h)
        return total


class Basis(nn.Module):
    """Learned 4×4 maps, each weighted by a linear function of the latent.

    Args:
        before: Numbers that come in.
        width: Maps that go out.
    """

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.maps = nn.Parameter(torch.randn(width, 4, 4))
        self.weigh = scaled(nn.Linear(before, width, bias=False))

    def forward(self, z: Tensor) -> Tensor:
        """Map ``(batch, before)`` to ``(batch, width, 4, 4)``."""
        made: Tensor = self.weigh(z)[:, :, None, None] * self.maps
        return made


class Generator(nn.Module):
    """From a learned 4×4 basis up, residual blocks at every size, tanh at the end.

    Args:
        plan: Width, dropout and condition.
        latent: Dimensions of z.
        channels: Channels of the image.
        sizes: Sides of the feature maps, from 4.
    """

    def __init__(self, plan: GeneratorPlan, latent: int, channels: int, sizes: int) -> None:
        super().__init__()
        layers: dict[str, nn.Module] = {}
        for i in range(1, sizes + 1):
            first = Basis(latent + plan.condition, plan.width) if i == 1 else Doubled()
            layers[f"hidden{i}"] = nn.Sequential(
                first,
                *(Block(plan.width, sizes * BLOCKS) for _ in range(BLOCKS)),
                dropout(plan.dropout_in(f"hidden{i}"), at_test=plan.dropout_at_test),
            )
        self.hidden = nn.ModuleDict(layers)
        self.output = scaled(nn.Conv2d(plan.width, channels, 1, bias=False))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map ``z (batch, latent)``, joined to y, to ``(batch, channels, size, size)`` in ±1."""
        h = join(z, y)
        for layer in self.hidden.values():
            h = layer(h)
        images: Tensor = self.output(h).tanh()
        return images


class Discriminator(nn.Module):
    """Residual blocks at every size down to 4×4, weighted sums of each map, then the head.

    Args:
        plan: Width, condition and head.
        channels: Channels of the image.
        sizes: Sides of the feature maps, down to 4.
    """

    def __init__(self, plan: DiscriminatorPlan, channels: int, sizes: int) -> None:
        super().__init__()
        width = plan.width
        self.input = scaled(nn.Conv2d(channels + plan.condition, width, 1, bias=False))
        layers: dict[str, nn.Module] = {}
        for i in range(1, sizes + 1):
            last: list[nn.Module] = (
                [Halved()]
                if i < sizes
                else [scaled(nn.Conv2d(width, width, 4, groups=width, bias=False)), nn.Flatten()]
            )
            layers[f"hidden{i}"] = nn.Sequential(
                *(Block(width, sizes * BLOCKS) for _ in range(BLOCKS)), *last
            )
        self.hidden = nn.ModuleDict(layers)
        self.head = Head(width, plan, bias=False)
        scaled(self.head.output)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Judgement:
        """Judge images ``(batch, channels, size, size)``, joined to y."""
        h = self.input(join(x, y))
        features = {}
        for name, layer in self.hidden.items():
            h = layer(h)
            features[name] = h
        logits, outputs = self.head(h)
        return Judgement(logits, features, outputs)


class R3GANNetworks(SquareFamily):
    """R3GAN's networks: two residual blocks at each size, 3×3 convolutions in groups of 16.

    As for CIFAR-10 in the paper: 768 channels at every size, twice as many inside a block, 64
    latents, learned 4×4 bases at both ends, resampling by [1, 3, 3, 1], blocks that begin as the
    identity. What differs: images end in a tanh, so that they lie in [−1, 1] (the paper's G is
    linear); a condition is joined to z and to the image (the paper embeds a class, and projects
    D's features on it). Augmentation and averaged weights are tricks, and not part of it.
    """

    spectral = False
    default_width = 768
    default_latent = 64
    # A gain is made for LeakyReLU; conditions go to the first layers alone.
    supports = SUPPORTED - {"activation", "condition_layers"}

    @property
    def sizes(self) -> int:
        """How many sides feature maps have, from 4 to the image's."""
        return self.doublings + 1

    @override
    def hidden_layers(self, shape: tuple[int, ...]) -> tuple[str, ...]:
        return tuple(f"hidden{i + 1}" for i in range(self.sizes))

    @override
    def generator(self, plan: GeneratorPlan, latent: int, shape: tuple[int, ...]) -> nn.Module:
        return Generator(plan, latent, shape[0], self.sizes)

    @override
    def discriminator(self, plan: DiscriminatorPlan, shape: tuple[int, ...]) -> nn.Module:
        return Discriminator(plan, shape[0], self.sizes)


@networks.register("r3gan16", source=SOURCE)
class R3GAN16(R3GANNetworks):
    """R3GAN's networks at 16×16, a smaller form of those for CIFAR-10."""

    size = 16
    default_width = 32


@networks.register("r3gan32", source=SOURCE)
class R3GAN32(R3GANNetworks):
    """R3GAN's networks for 32×32 images."""

    size = 32


@networks.register("r3gan64", source=SOURCE)
class R3GAN64(R3GANNetworks):
    """R3GAN's networks at 64×64, of one width; the paper has 768 channels below 64×64 there."""

    size = 64
