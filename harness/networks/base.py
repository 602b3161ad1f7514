"""What a network family is, and how a blueprint becomes two modules.

Modules are written for one run. A generator maps ``z (batch, latent)`` to examples; a
discriminator maps examples to a :class:`Judgement`: logits and named features.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from harness.networks.blueprint import Blueprint, DiscriminatorPlan, GeneratorPlan, Normalization
from harness.networks.spectral import normalize_spectrally
from harness.registry import Registry


class Judgement(NamedTuple):
    """A discriminator's answer to a batch; in a game, with a leading runs axis.

    Attributes:
        logits: ``(batch,)``, or a map ``(batch, height, width)``.
        features: Hidden activations by layer name, input side first.
    """

    logits: Tensor
    features: dict[str, Tensor]


class Family:
    """A family of networks: how to build a generator and a discriminator of a given width."""

    id: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    default_width: ClassVar[int]
    default_latent: ClassVar[int] = 64
    has_generator: ClassVar[bool] = True
    convolutional: ClassVar[bool] = False

    def misfit(self, shape: tuple[int, ...]) -> str | None:
        """Say why the family cannot make or judge examples of a shape, or None."""
        return None

    def hidden_layers(self, shape: tuple[int, ...]) -> tuple[str, ...]:
        """Name the generator's hidden layers, latent side first."""
        raise NotImplementedError

    def generator(self, plan: GeneratorPlan, latent: int, shape: tuple[int, ...]) -> nn.Module:
        """Build a generator with weights drawn from torch's global generator."""
        raise NotImplementedError

    def discriminator(self, plan: DiscriminatorPlan, shape: tuple[int, ...]) -> nn.Module:
        """Build a discriminator with weights drawn from torch's global generator."""
        raise NotImplementedError


networks: Registry[Family] = Registry("network", "harness.networks")


def resolve(name: str, shape: tuple[int, ...]) -> str:
    """Complete a family's stem with the image size: ``dcgan`` on 16×16 images is ``dcgan16``."""
    sized = f"{name}{shape[-1]}"
    known = networks.names()
    return sized if name not in known and sized in known else name


def build_generator(blueprint: Blueprint) -> nn.Module:
    """Build the generator of a blueprint."""
    plan = blueprint.generator
    return networks.get(plan.network)().generator(plan, blueprint.latent, blueprint.shape)


def build_discriminator(blueprint: Blueprint) -> nn.Module:
    """Build the discriminator of a blueprint, spectrally normalised if it says so."""
    plan = blueprint.discriminator
    module = networks.get(plan.network)().discriminator(plan, blueprint.shape)
    return normalize_spectrally(module) if plan.spectral_norm else module


def normalization(kind: Normalization, channels: int, *, dimensions: int) -> nn.Module:
    """Make a normalisation layer.

    Args:
        kind: ``layer`` is a group norm with one group: over all dimensions of one example.
        channels: Channels or units.
        dimensions: 1 for units, 2 for feature maps.
    """
    if kind == "none":
        return nn.Identity()
    if kind == "layer":
        return nn.GroupNorm(1, channels)
    return nn.BatchNorm1d(channels) if dimensions == 1 else nn.BatchNorm2d(channels)
