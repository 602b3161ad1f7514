"""All-convolutional networks of DCGAN, sized by the image."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from typing_extensions import override

from harness.networks.base import Judgement, SquareFamily, networks
from harness.networks.blueprint import (
    NORMALIZATIONS,
    DiscriminatorPlan,
    Downsampling,
    GeneratorPlan,
    Normalization,
    Upsampling,
)
from harness.networks.dropout import dropout
from harness.networks.layers import SUPPORTED, Head, Hidden, activation, normalization
from harness.networks.virtual import VirtualBatchNorm

SOURCE = "Radford et al. 2016, arXiv:1511.06434, §3 and figure 1"


def initialize(module: nn.Module) -> None:
    """Draw weights from N(0, 0.02) and normalisation scales from N(1, 0.02); biases are 0."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d | nn.GroupNorm | VirtualBatchNorm):
        nn.init.normal_(module.weight, 1.0, 0.02)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def doubling(kind: Upsampling, before: int, after: int, *, bias: bool) -> nn.Module:
    """Make a layer that doubles the side of its feature maps."""
    if kind == "transposed":
        return nn.ConvTranspose2d(before, after, 4, 2, 1, bias=bias)
    if kind == "nearest":
        return nn.Sequential(
            nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, 1, 1, bias=bias)
        )
    return nn.Sequential(nn.Conv2d(before, 4 * after, 3, 1, 1, bias=bias), nn.PixelShuffle(2))


def halving(kind: Downsampling, before: int, after: int, *, bias: bool) -> nn.Module:
    """Make a layer that halves the side of its feature maps."""
    if kind == "stride":
        return nn.Conv2d(before, after, 4, 2, 1, bias=bias)
    pool = nn.AvgPool2d(2) if kind == "average" else nn.MaxPool2d(2)
    return nn.Sequential(nn.Conv2d(before, after, 3, 1, 1, bias=bias), pool)


class Generator(Hidden):
    """Transposed convolutions from 4×4 up, normalisation and ReLU between, tanh at the end.

    Args:
        plan: Width, dropout, normalisation, activation, upsampling and condition.
        latent: Dimensions of z.
        channels: Channels of the image.
        doublings: How often 4×4 is doubled.
        linear: Whether the first layer is fully connected, with a bias.
    """

    def __init__(
        self,
        plan: GeneratorPlan,
        latent: int,
        channels: int,
        doublings: int,
        *,
        linear: bool = False,
    ) -> None:
        super().__init__()
        norm: Normalization = plan.normalization or "batch"
        bias = norm == "none"
        joined = plan.condition if plan.condition_layers else 0
        upsampling = plan.upsampling or "transposed"
        widths = [plan.width * 2**i for i in reversed(range(doublings))]
        layers: dict[str, nn.Module] = {}
        for i, (before, after) in enumerate(zip([latent, *widths], widths, strict=False), start=1):
            grow: nn.Module
            if i > 1:
                grow = doubling(upsampling, before + joined, after, bias=bias)
            elif linear:
                grow = nn.Sequential(
                    nn.Flatten(),
                    nn.Linear(before + plan.condition, 16 * after),
                    nn.Unflatten(1, (after, 4, 4)),
                )
            else:
                grow = nn.ConvTranspose2d(before + plan.condition, after, 4, bias=bias)
            layers[f"hidden{i}"] = nn.Sequential(
                grow,
                normalization(norm, after, dimensions=2, reference=plan.reference),
                activation(plan.activation or "relu"),
                dropout(plan.dropout_in(f"hidden{i}"), at_test=plan.dropout_at_test),
            )
        self.hidden = nn.ModuleDict(layers)
        self.output = doubling(upsampling, widths[-1] + joined, channels, bias=bias)
        self.join_all = plan.condition_layers
        self.apply(initialize)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map ``z (batch, latent)``, joined to y, to ``(batch, channels, size, size)`` in ±1."""
        h = self.through(z[:, :, None, None], y)
        images: Tensor = self.output(h).tanh()
        return images


class Discriminator(Hidden):
    """Strided convolutions down to 4×4 with LeakyReLU(0.2).

    Args:
        plan: Width, normalisation, activation, downsampling, condition and head.
        channels: Channels of the image.
        halvings: How often the image is halved.
        first_norm: Whether the first layer is normalised too.
        bias: Whether the logit has one; None for only where nothing is normalised.
    """

    def __init__(
        self,
        plan: DiscriminatorPlan,
        channels: int,
        halvings: int,
        *,
        first_norm: bool = False,
        bias: bool | None = None,
    ) -> None:
        super().__init__()
        norm: Normalization = plan.normalization or "batch"
        joined = plan.condition if plan.condition_layers else 0
        widths = [plan.width * 2**i for i in range(halvings)]
        layers: dict[str, nn.Module] = {}
        for i, (before, after) in enumerate(
            zip([channels, *widths], widths, strict=False), start=1
        ):
            kind: Normalization = norm if i > 1 or first_norm else "none"
            before += plan.condition if i == 1 else joined
            layers[f"hidden{i}"] = nn.Sequential(
                halving(plan.downsampling or "stride", before, after, bias=norm == "none"),
                normalization(kind, after, dimensions=2),
                activation(plan.activation or "leaky-relu"),
            )
        self.hidden = nn.ModuleDict(layers)
        self.head = Head(
            16 * (widths[-1] + joined), plan, bias=norm == "none" if bias is None else bias
        )
        self.join_all = plan.condition_layers
        self.apply(initialize)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Judgement:
        """Judge images ``(batch, channels, size, size)``, joined to y."""
        return self.judged(x, y)


class DCGAN(SquareFamily):
    """Transposed convolutions in G, strided ones in D, batch normalisation in both."""

    linear: ClassVar[bool] = False
    """Whether G's first layer is fully connected, and D's logit has a bias."""
    first_norm: ClassVar[bool] = False
    """Whether D's first layer is normalised too."""
    normalizations = NORMALIZATIONS
    supports = SUPPORTED | {"upsampling", "downsampling", "first_norm"}
    default_width = 64
    default_latent = 100

    @override
    def hidden_layers(self, shape: tuple[int, ...]) -> tuple[str, ...]:
        return tuple(f"hidden{i + 1}" for i in range(self.doublings))

    @override
    def generator(self, plan: GeneratorPlan, latent: int, shape: tuple[int, ...]) -> nn.Module:
        return Generator(plan, latent, shape[0], self.doublings, linear=self.linear)

    @override
    def discriminator(self, plan: DiscriminatorPlan, shape: tuple[int, ...]) -> nn.Module:
        return Discriminator(
            plan,
            shape[0],
            self.doublings,
            first_norm=self.first_norm if plan.first_norm is None else plan.first_norm,
            bias=True if self.linear else None,
        )


@networks.register("dcgan16", source=SOURCE)
class DCGAN16(DCGAN):
    """DCGAN for 16×16 images: two doublings."""

    size = 16
    default_width = 16


@networks.register("dcgan32", source=SOURCE)
class DCGAN32(DCGAN):
    """DCGAN for 32×32 images: three doublings."""

    size = 32


@networks.register("dcgan64", source=SOURCE)
class DCGAN64(DCGAN):
    """DCGAN for 64×64 images, all-convolutional, D's first layer normalised too.

    On three channels it has 3,576,704 and 2,765,696 parameters. The paper leaves D's first layer
    without normalisation, which makes D smaller by 128.
    """

    size = 64
    first_norm = True


@networks.register("dcgan64-fc", source=SOURCE)
class DCGAN64FC(DCGAN64):
    """DCGAN for 64×64 images with a fully connected layer at G's start and D's end."""

    linear = True
