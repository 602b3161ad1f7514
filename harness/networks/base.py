"""What a network family is, and how a blueprint becomes two modules.

Modules are written for one run. A generator maps ``z (batch, latent)`` to examples; a
discriminator maps examples to a :class:`Judgement`: logits and named features. Both take what is
joined to their input as a second argument ``y (batch, condition)``, where the plan has one.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from harness.networks.blueprint import Blueprint, DiscriminatorPlan, GeneratorPlan, Normalization
from harness.networks.multiple import Generators
from harness.networks.spectral import normalize_spectrally
from harness.networks.virtual import VirtualBatch
from harness.registry import Registry


class Judgement(NamedTuple):
    """A discriminator's answer to a batch; in a game, with a leading runs axis.

    Attributes:
        logits: Evidence for *real*, ``(batch,)``, or a map ``(batch, height, width)``. The
            log-odds of the class *real* where the head is a softmax.
        features: Hidden activations by layer name, input side first.
        outputs: What else the network answers, by name: ``classes (batch, classes)`` of a
            softmax head, ``code (batch, code)`` of a second head, ``reconstruction`` of an
            auto-encoder.
    """

    logits: Tensor
    features: dict[str, Tensor]
    outputs: dict[str, Tensor] = {}  # noqa: RUF012 (a tuple's default, which nothing writes to)


class Family:
    """A family of networks: how to build a generator and a discriminator of a given width."""

    id: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    default_width: ClassVar[int]
    default_latent: ClassVar[int] = 64
    has_generator: ClassVar[bool] = True
    convolutional: ClassVar[bool] = False
    spectral: ClassVar[bool] = True
    """Whether its weights have a largest singular value to divide by: none of them starts at 0."""
    makes: ClassVar[Literal["points", "images"] | None] = None
    """The one kind of data that it fits; None where it fits both, or :meth:`misfit` says."""
    normalizations: ClassVar[tuple[Normalization, ...]] = ("none",)
    """Kinds of normalisation that it can be built with."""
    supports: ClassVar[frozenset[str]] = frozenset()
    """Fields of a plan that it can be built with, beyond those that work for every family."""

    def __init_subclass__(cls) -> None:
        """Take what a family written for 0.1.0 calls ``honours``; 0.2 does without."""
        if "honours" in vars(cls):
            cls.supports = vars(cls)["honours"]

    def misfit(self, shape: tuple[int, ...]) -> str | None:
        """Say why the family cannot make or judge examples of a shape, or None."""
        held = "images" if len(shape) == 3 else "points"
        if self.makes in (None, held):
            return None
        return f"{self.id} makes {self.makes}, the data set holds {held}"

    def hidden_layers(self, shape: tuple[int, ...]) -> tuple[str, ...]:
        """Name the generator's hidden layers, latent side first."""
        raise NotImplementedError

    def generator(self, plan: GeneratorPlan, latent: int, shape: tuple[int, ...]) -> nn.Module:
        """Build a generator with weights drawn from torch's global generator."""
        raise NotImplementedError

    def discriminator(self, plan: DiscriminatorPlan, shape: tuple[int, ...]) -> nn.Module:
        """Build a discriminator with weights drawn from torch's global generator."""
        raise NotImplementedError


class SquareFamily(Family):
    """A family for square images of one size, whose feature maps double from a smallest side."""

    size: ClassVar[int]
    """Side of the images."""
    smallest: ClassVar[int] = 4
    """Side of the smallest feature maps."""
    convolutional = True

    def misfit(self, shape: tuple[int, ...]) -> str | None:
        """Take square images of the family's size only."""
        if len(shape) == 3 and shape[1:] == (self.size, self.size):
            return None
        what = f"{shape[1]}×{shape[2]} images" if len(shape) == 3 else "points"
        return f"{self.id} makes {self.size}×{self.size} images, the data set holds {what}"

    @property
    def doublings(self) -> int:
        """How often the smallest side is doubled to reach the size."""
        return int(math.log2(self.size // self.smallest))


networks: Registry[Family] = Registry("network")

ALWAYS_SUPPORTED = {"normalization", "initialization", "spectral_norm", "pack"}
"""Fields of a plan that need nothing from a family; normalisation is checked by its kind."""


def resolve(name: str, shape: tuple[int, ...]) -> str:
    """Complete a family's stem with the image size: ``dcgan`` on 16×16 images is ``dcgan16``."""
    sized = f"{name}{shape[-1]}"
    known = networks.names()
    return sized if name not in known and sized in known else name


def unsupported(blueprint: Blueprint) -> str | None:
    """Say what a blueprint asks of its networks that they cannot be built with, or None."""
    for role, plan in (
        ("generator", blueprint.generator),
        ("discriminator", blueprint.discriminator),
    ):
        family = networks.get(plan.network)
        if plan.normalization not in (None, *family.normalizations):
            return f"the {role} {plan.network} has no {plan.normalization} normalisation"
        missing = sorted(plan.changed() - ALWAYS_SUPPORTED - family.supports)
        if missing:
            what = missing[0].replace("_", " ")
            return f"the {role} {plan.network} cannot be built with another {what}"
    G, D = blueprint.generator, blueprint.discriminator
    if G.normalization == "virtual":
        if G.condition:
            return "the reference batch of virtual batch normalisation has no classes or codes"
        if G.copies > 1:
            return "generators that take turns have no reference batch each"
    if D.spectral_norm and not networks.get(D.network).spectral:
        return f"some weights of {D.network} start at 0 and have no spectral norm to divide by"
    if D.pack > 1 and G.copies > 1:
        return "a pack would mix the generators that D has to tell apart"
    if D.pack > 1 and D.code:
        return "the examples of a pack have no code in common that D could read"
    for count in (D.pack, G.copies):
        if blueprint.batch % count:
            return f"a batch of {blueprint.batch} is no multiple of {count}"
    return None


def build_generator(blueprint: Blueprint) -> nn.Module:
    """Build the generator of a blueprint."""
    plan = blueprint.generator
    family = networks.get(plan.network)()
    made = [
        initialized(family.generator(plan, blueprint.latent, blueprint.shape), plan)
        for _ in range(plan.copies)
    ]
    module = made[0] if plan.copies == 1 else Generators(made)
    if plan.normalization == "virtual":
        return VirtualBatch(module, blueprint.latent, plan.reference)
    return module


def build_discriminator(blueprint: Blueprint) -> nn.Module:
    """Build the discriminator of a blueprint, spectrally normalised if it says so."""
    plan = blueprint.discriminator
    family = networks.get(plan.network)()
    module = initialized(family.discriminator(plan, blueprint.judged_shape), plan)
    return normalize_spectrally(module) if plan.spectral_norm else module


@lru_cache(maxsize=1024)
def structure(blueprint: Blueprint) -> tuple[str, str]:
    """Write down generator and discriminator layer by layer, without computing anything.

    Whatever a plan changes has to be a module that says so in its ``repr``.
    """
    with torch.device("meta"):
        return repr(build_generator(blueprint)), repr(build_discriminator(blueprint))


def discriminator_has(blueprint: Blueprint, *kinds: type[nn.Module]) -> bool:
    """Say whether the discriminator of a blueprint would have a layer of some kinds."""
    with torch.device("meta"):
        module = build_discriminator(blueprint)
    return any(isinstance(layer, kinds) for layer in module.modules())


def initialized(module: nn.Module, plan: GeneratorPlan | DiscriminatorPlan) -> nn.Module:
    """Draw a module's first weights anew where the plan says how.

    Source of ``orthogonal``: Saxe et al. 2014, arXiv:1312.6120; gain 1, as Brock et al. 2019,
    arXiv:1809.11096, §3.
    """
    if plan.initialization == "orthogonal":
        for layer in module.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                nn.init.orthogonal_(layer.weight)
    return module
