"""All-convolutional networks of DCGAN, sized by the image."""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor, nn

from harness.networks.base import Family, Judgement, networks, normalization
from harness.networks.blueprint import DiscriminatorPlan, GeneratorPlan, Normalization
from harness.networks.dropout import dropout

SOURCE = "Radford et al. 2016, arXiv:1511.06434, §3 and figure 1"


def initialize(module: nn.Module) -> None:
    """Draw weights from N(0, 0.02) and normalisation scales from N(1, 0.02); biases are 0."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


class Generator(nn.Module):
    """Transposed convolutions from 4×4 up, normalisation and ReLU between, tanh at the end.

    Args:
        plan: Width, dropout and normalisation.
        latent: Dimensions of z.
        channels: Channels of the image.
        doublings: How often 4×4 is doubled.
    """

    def __init__(self, plan: GeneratorPlan, latent: int, channels: int, doublings: int) -> None:
        super().__init__()
        norm: Normalization = plan.normalization or "batch"
        widths = [plan.width * 2**i for i in reversed(range(doublings))]
        layers: dict[str, nn.Module] = {}
        for i, (before, after) in enumerate(zip([latent, *widths], widths, strict=False), start=1):
            stride, padding = (1, 0) if i == 1 else (2, 1)
            bias = norm == "none"
            layers[f"hidden{i}"] = nn.Sequential(
                nn.ConvTranspose2d(before, after, 4, stride, padding, bias=bias),
                normalization(norm, after, dimensions=2),
                nn.ReLU(),
                dropout(plan.dropout_in(f"hidden{i}"), at_test=plan.dropout_at_test),
            )
        self.hidden = nn.ModuleDict(layers)
        self.output = nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1, bias=norm == "none")
        self.apply(initialize)

    def forward(self, z: Tensor) -> Tensor:
        """Map ``z (batch, latent)`` to images ``(batch, channels, size, size)`` in [−1, 1]."""
        h = z[:, :, None, None]
        for layer in self.hidden.values():
            h = layer(h)
        images: Tensor = self.output(h).tanh()
        return images


class Discriminator(nn.Module):
    """Strided convolutions down to 4×4 with LeakyReLU(0.2), no normalisation in the first.

    Args:
        plan: Width and normalisation.
        channels: Channels of the image.
        halvings: How often the image is halved.
    """

    def __init__(self, plan: DiscriminatorPlan, channels: int, halvings: int) -> None:
        super().__init__()
        norm: Normalization = plan.normalization or "batch"
        widths = [plan.width * 2**i for i in range(halvings)]
        layers: dict[str, nn.Module] = {}
        for i, (before, after) in enumerate(
            zip([channels, *widths], widths, strict=False), start=1
        ):
            kind: Normalization = "none" if i == 1 else norm
            layers[f"hidden{i}"] = nn.Sequential(
                nn.Conv2d(before, after, 4, 2, 1, bias=norm == "none"),
                normalization(kind, after, dimensions=2),
                nn.LeakyReLU(0.2),
            )
        self.hidden = nn.ModuleDict(layers)
        self.output = nn.Conv2d(widths[-1], 1, 4, 1, 0, bias=norm == "none")
        self.apply(initialize)

    def forward(self, x: Tensor) -> Judgement:
        """Judge images ``(batch, channels, size, size)``."""
        features = {}
        for name, layer in self.hidden.items():
            x = features[name] = layer(x)
        return Judgement(self.output(x).flatten(), features)


class DCGAN(Family):
    """Transposed convolutions in G, strided ones in D, batch normalisation in both."""

    size: ClassVar[int]
    convolutional = True
    default_width = 64
    default_latent = 100

    def misfit(self, shape: tuple[int, ...]) -> str | None:
        """Take square images of the family's size only."""
        if len(shape) == 3 and shape[1:] == (self.size, self.size):
            return None
        what = f"{shape[1]}×{shape[2]} images" if len(shape) == 3 else "points"
        return f"{self.id} makes {self.size}×{self.size} images, the data set holds {what}"

    @property
    def doublings(self) -> int:
        """How often 4×4 is doubled to reach the size."""
        return int(math.log2(self.size)) - 2

    def hidden_layers(self, shape: tuple[int, ...]) -> tuple[str, ...]:
        """Name the generator's hidden layers, 4×4 first."""
        return tuple(f"hidden{i + 1}" for i in range(self.doublings))

    def generator(self, plan: GeneratorPlan, latent: int, shape: tuple[int, ...]) -> nn.Module:
        """Build a generator."""
        return Generator(plan, latent, shape[0], self.doublings)

    def discriminator(self, plan: DiscriminatorPlan, shape: tuple[int, ...]) -> nn.Module:
        """Build a discriminator."""
        return Discriminator(plan, shape[0], self.doublings)


@networks.register("dcgan16", source=SOURCE)
class DCGAN16(DCGAN):
    """DCGAN for 16×16 images: two doublings."""

    size = 16
    default_width = 16


@networks.register("dcgan32", source=SOURCE)
class DCGAN32(DCGAN):
    """DCGAN for 32×32 images: three doublings."""

    size = 32
