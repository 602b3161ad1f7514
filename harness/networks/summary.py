"""What a network family is made of, layer by layer, counted without building any of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from harness.networks.base import Family, build_discriminator, build_generator
from harness.networks.blueprint import Blueprint
from harness.networks.dropout import StreamDropout

SHAPES = ((3, 32, 32), (3, 64, 64), (3, 16, 16), (3, 128, 128), (3, 28, 28), (2,))
"""Examples that a family is shown on: the first that it can make."""


@dataclass(frozen=True)
class Layer:
    """One layer of a network.

    Attributes:
        name: Its place in the module.
        kind: Its class.
        output: Shape of what comes out for one example; None where that is no tensor.
        parameters: Its own parameters.
    """

    name: str
    kind: str
    output: tuple[int, ...] | None
    parameters: int


@dataclass(frozen=True)
class Summary:
    """A family at its default width and latent.

    Attributes:
        shape: The examples that it is shown on.
        width: Channels or hidden units of the narrowest layer.
        latent: Dimensions of z.
        generator: G's layers, latent side first; None where the family has no generator.
        discriminator: D's layers, image side first.
    """

    shape: tuple[int, ...]
    width: int
    latent: int
    generator: tuple[Layer, ...] | None
    discriminator: tuple[Layer, ...]

    @property
    def generator_parameters(self) -> int | None:
        """Parameters of G."""
        return None if self.generator is None else sum(x.parameters for x in self.generator)

    @property
    def discriminator_parameters(self) -> int:
        """Parameters of D."""
        return sum(layer.parameters for layer in self.discriminator)


def count_parameters(blueprint: Blueprint) -> tuple[int, int]:
    """Count the parameters of both networks of a blueprint; no memory is taken."""
    with torch.device("meta"):
        modules = build_generator(blueprint), build_discriminator(blueprint)
    G, D = (sum(p.numel() for p in module.parameters()) for module in modules)
    return G, D


def summarize(family: type[Family]) -> Summary | None:
    """Describe a family on the first of :data:`SHAPES` that fits it; None where none does."""
    shape = next((shape for shape in SHAPES if family().misfit(shape) is None), None)
    if shape is None:
        return None
    width, latent = family.default_width, family.default_latent
    blueprint = Blueprint.plain(family.id, width, latent, shape)
    with torch.device("meta"):
        generator = None
        if family.has_generator:
            generator = layers_of(build_generator(blueprint), torch.zeros(2, latent))
        discriminator = layers_of(build_discriminator(blueprint), torch.zeros(2, *shape))
    return Summary(shape, width, latent, generator, discriminator)


def layers_of(module: nn.Module, example: Tensor) -> tuple[Layer, ...]:
    """List what does something to a batch or has parameters, in the order of the module.

    Args:
        module: A network for one run.
        example: A batch for it, on its device.
    """
    outputs: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> Any:
        def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
            if isinstance(output, Tensor):
                outputs[name] = tuple(output.shape[1:])

        return hook

    hooks = [child.register_forward_hook(note(name)) for name, child in module.named_modules()]
    for child in module.modules():
        if isinstance(child, StreamDropout):
            child.at_test = False  # needs no noise then
    with torch.no_grad():
        module.eval()(example)
    for hook in hooks:
        hook.remove()
    return tuple(
        Layer(name, type(child).__name__, outputs.get(name), own)
        for name, child in module.named_modules()
        if not isinstance(child, nn.Identity)
        if (own := sum(p.numel() for p in child.parameters(recurse=False)))
        or (name in outputs and next(child.children(), None) is None)
    )
