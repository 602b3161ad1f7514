"""What a network family is made of, layer by layer, counted without building any of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from harness.networks.base import Family, build_discriminator, build_generator
from harness.networks.blueprint import Blueprint
from harness.networks.dropout import StreamDropout

SHAPES = ((3, 32, 32), (3, 64, 64), (3, 16, 16), (3, 128, 128), (3, 28, 28), (2,))
"""Examples that a family is shown on: the first that it can make."""

PRODUCTS = {"aten::mm": 0, "aten::bmm": 0, "aten::addmm": 1, "aten::baddbmm": 1}
"""Matrix products, by where their two factors begin among the arguments."""
CONVOLUTION = "aten::convolution"


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


class Operations(TorchDispatchMode):
    """Adds up the floating-point operations of matrix products and convolutions.

    Attributes:
        counted: So far; a multiplication and the addition after it are two.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counted = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # To skip it, PyTorch imports its compiler first, which takes longer than all of a plan.
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        name = func._overloadpacket._qualified_op_name
        if name in PRODUCTS:
            left, _ = args[PRODUCTS[name] :]
            self.counted += 2 * made.numel() * left.shape[-1]
        elif name == CONVOLUTION:
            x, weight, *_, transposed, _, _ = args
            # Each number of the smaller map meets one filter's weights.
            self.counted += 2 * (x if transposed else made).numel() * weight[0].numel()
        return made


@lru_cache
def count_operations(blueprint: Blueprint) -> tuple[float, float]:
    """Count the operations of an example's forward pass through either network of a blueprint.

    Two examples pass through real networks: on the meta device PyTorch would import its compiler.
    """
    counts = []
    for build, shape, plan in (
        (build_generator, (blueprint.latent,), blueprint.generator),
        (build_discriminator, blueprint.judged_shape, blueprint.discriminator),
    ):
        module = build(blueprint).eval()
        silence(module)
        inputs = [torch.zeros(2, *shape)]
        if plan.condition:
            inputs.append(torch.zeros(2, plan.condition))
        with Operations() as operations, torch.no_grad():
            module(*inputs)
        counts.append(operations.counted / 2)
    return counts[0], counts[1]


def silence(module: nn.Module) -> None:
    """Let dropout ask for no noise, so that a module can be tried alone; in evaluation mode."""
    for layer in module.modules():
        if isinstance(layer, StreamDropout):
            layer.at_test = False


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
    silence(module)
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
