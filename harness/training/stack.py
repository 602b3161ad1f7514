"""One network of every run of a cohort, trained as a single tensor of parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn import functional
from torch.utils._pytree import tree_map_only
from typing_extensions import override

from harness.networks.dropout import StreamDropout
from harness.parts.precision import rounded
from harness.spec import Precision
from harness.training.state import StackedState

Noise = Callable[[str, tuple[int, ...]], Tensor]
"""Draws U[0, 1) of ``(runs, *shape)`` for the dropout layer of a name."""


class Stack(StackedState):
    """The same network of several runs.

    All parameters lie in ``theta (runs, parameters)``, so that an optimiser, a norm or a
    clipping is one operation on one tensor. A forward pass splits it into views; the split's
    backward pass is one concatenation.

    Args:
        modules: One network per run, of the same structure.
        example: An input for one run, ``(batch, …)``, from which dropout learns its shapes.
        condition: What is joined to it, ``(batch, condition)``, where the network takes one.
        device: Where to train.
        dtype: Precision of parameters and floating-point buffers.
        precision: In which to compute in training.
    """

    def __init__(
        self,
        modules: Sequence[nn.Module],
        example: Tensor,
        condition: Tensor | None = None,
        *,
        device: torch.device,
        dtype: torch.dtype,
        precision: Precision = "float32",
    ) -> None:
        first = modules[0]
        self.precision = precision
        self.dropouts = dropout_shapes(first, example, condition)
        self.names = [name for name, _ in first.named_parameters()]
        self.shapes = [p.shape for _, p in first.named_parameters()]
        self.sizes = [p.numel() for _, p in first.named_parameters()]
        flat = [torch.cat([p.detach().flatten() for p in m.parameters()]) for m in modules]
        theta = torch.stack(flat).to(device, dtype).requires_grad_()
        self.latent_buffers = [
            f"{name}.{held}" if name else held
            for name, module in first.named_modules()
            for held in getattr(module, "latent_buffers", ())
        ]
        noise = set(self.dropouts)
        self.buffers: dict[str, Tensor] = {}
        for name in dict(first.named_buffers()):
            if name not in noise:
                held = torch.stack([m.get_buffer(name) for m in modules]).to(device)
                self.buffers[name] = held.to(dtype) if held.is_floating_point() else held
        super().__init__({"theta": theta}, {"buffers": StackedState(self.buffers)})
        self._skeleton = units_first(copy.deepcopy(first).to("meta"))
        self._places = slots(self._skeleton)

    @property
    def theta(self) -> Tensor:
        """All parameters, ``(runs, parameters)``."""
        return self.tensors["theta"]

    @property
    def runs(self) -> int:
        """How many runs it holds."""
        return len(self.theta)

    @override
    def named(self) -> dict[str, Tensor]:
        return self.parameters() | self.buffers

    def __call__(
        self,
        x: Tensor,
        y: Tensor | None = None,
        *,
        theta: Tensor | None = None,
        training: bool = True,
        noise: Noise | None = None,
    ) -> Any:
        """Apply each run's network to its own batch.

        Args:
            x: ``(runs, batch, …)``.
            y: What is joined to it, ``(runs, batch, condition)``, where the network takes one.
            theta: Other parameters to use, ``(runs, parameters)``.
            training: Training or evaluation mode; training replaces the buffers by new ones.
            noise: Source of the dropout masks; required where a dropout layer is active.

        Returns:
            The network's output, every tensor in it with a leading runs axis, in the precision of
            the parameters.
        """
        skeleton = self._skeleton
        if skeleton.training != training:
            skeleton.train(training)
        masks, buffers = self._masks(skeleton, x.shape[1], noise), self.buffers
        if training:
            # Fresh ones to change: a backward pass may still need those of an earlier forward pass.
            buffers.update({name: buffer.clone() for name, buffer in buffers.items()})
        state = self.parameters(theta) | buffers | masks
        places = [self._places[name] for name in state]

        # What torch.func.functional_call does, without its search for tied weights in every call:
        # for small networks that search costs as much as the forward pass.
        def single(tensors: list[Tensor], *inputs: Tensor) -> Any:
            for (owner, name), tensor in zip(places, tensors, strict=True):
                owner[name] = tensor
            return skeleton(*inputs)

        inputs = (x,) if y is None else (x, y)
        if not (training and rounded(self.precision)):
            return vmap(single)(list(state.values()), *inputs)
        # Weights are views of one tensor, made anew in each pass: there is nothing to cache.
        with torch.autocast(self.theta.device.type, torch.bfloat16, cache_enabled=False):
            returned = vmap(single)(list(state.values()), *inputs)
        return tree_map_only(Tensor, lambda value: value.to(self.theta.dtype), returned)

    def modules(self) -> Iterator[nn.Module]:
        """Iterate over the modules of one run's network, without its numbers."""
        return self._skeleton.modules()

    def parameters(self, theta: Tensor | None = None) -> dict[str, Tensor]:
        """Return views of theta by parameter name, ``(runs, *shape)`` each."""
        parts = torch.split(self.theta if theta is None else theta, self.sizes, dim=1)
        return {
            name: part.view(-1, *shape)
            for name, part, shape in zip(self.names, parts, self.shapes, strict=True)
        }

    @contextmanager
    def preserved(self) -> Iterator[None]:
        """Put the buffers back to what they are now when the context is left."""
        before = dict(self.buffers)
        try:
            yield
        finally:
            self.buffers.update(before)

    def _masks(self, skeleton: nn.Module, batch: int, noise: Noise | None) -> dict[str, Tensor]:
        masks = {}
        inner = inner_batch(skeleton, batch)
        for name, shape in self.dropouts.items():
            layer = skeleton.get_submodule(name.rpartition(".")[0])
            if isinstance(layer, StreamDropout) and layer.active:
                if noise is None:
                    raise ValueError(f"{name} is active and needs noise")
                masks[name] = noise(name, (inner, *shape))
        return masks

    def of(self, runs: list[int]) -> Stack:
        """Return a stack of some runs, by position, with copies of their parameters and buffers."""
        other = copy.copy(self)
        other.tensors = dict(self.tensors)
        other.buffers = dict(self.buffers)
        other.nodes = {"buffers": StackedState(other.buffers)}
        other.keep(runs)
        return other


def units_first(network: nn.Module) -> nn.Module:
    """Let linear layers keep activations with their units before the batch in memory.

    ``(W xᵀ)ᵀ`` is ``x Wᵀ``, but every product of its backward pass comes out in the order in which
    weights lie, none has a narrow right side (which costs MKL five times what a narrow left side
    does), and the next layer reads what this one wrote. Batches of small multilayer perceptrons
    gain a tenth; batch normalisation, which has to turn everything round again, would lose as
    much, and a network with it stays as it is.

    Args:
        network: Of one run; changed in place.
    """
    layers = list(network.modules())
    if not any(isinstance(layer, nn.BatchNorm1d) for layer in layers):
        for layer in layers:
            if isinstance(layer, nn.Linear) and type(layer).forward is nn.Linear.forward:
                layer.forward = partial(  # type: ignore[method-assign]
                    linear_units_first, layer
                )
    return network


def linear_units_first(layer: nn.Linear, x: Tensor) -> Tensor:
    """Apply a linear layer to ``(batch, features)``, as :func:`units_first` says."""
    if x.ndim != 2:
        return functional.linear(x, layer.weight, layer.bias)
    product = layer.weight @ x.mT
    if layer.bias is not None:
        product = product + layer.bias[:, None].to(product.dtype)
    return product.mT


def slots(module: nn.Module) -> dict[str, tuple[dict[str, Any], str]]:
    """Find the dictionary and key that hold each parameter and buffer, by its full name."""
    locations: dict[str, tuple[dict[str, Any], str]] = {}
    for prefix, child in module.named_modules():
        for held in (child._parameters, child._buffers):
            for name in held:
                locations[f"{prefix}.{name}" if prefix else name] = (held, name)
    return locations


def inner_batch(module: nn.Module, batch: int) -> int:
    """Return how many examples a module's layers see when it is given a batch."""
    for part in module.modules():
        count = getattr(part, "inner_batch", None)
        if count is not None:
            batch = count(batch)
    return batch


def dropout_shapes(
    module: nn.Module, example: Tensor, condition: Tensor | None = None
) -> dict[str, tuple[int, ...]]:
    """Find each dropout layer's noise buffer and the shape of one example's activation there."""
    if not any(isinstance(layer, StreamDropout) for layer in module.modules()):
        return {}
    probe = copy.deepcopy(module).eval()
    shapes: dict[str, tuple[int, ...]] = {}

    def record(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            shapes[f"{name}.noise"] = tuple(inputs[0].shape[1:])
            layer.noise = torch.ones_like(inputs[0])

        return hook

    for name, layer in probe.named_modules():
        if isinstance(layer, StreamDropout):
            layer.register_forward_pre_hook(record(name))
    with torch.no_grad():
        probe(example) if condition is None else probe(example, condition)
    return shapes
