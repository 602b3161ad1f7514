"""Layers that several families are built from."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from harness.networks.base import Judgement
from harness.networks.blueprint import Activation, DiscriminatorPlan, Normalization
from harness.networks.virtual import VirtualBatchNorm

SUPPORTED = frozenset(
    {
        "activation",
        "classes",
        "code",
        "condition",
        "condition_layers",
        "copies",
        "dropout",
        "dropout_at_test",
        "dropout_layers",
        "minibatch",
        "reference",
    }
)
"""Fields of a plan that a family supports which is built from the layers here."""

Q_UNITS = 128
"""Hidden units of the second head (Chen et al. 2016, appendix C)."""


def normalization(
    kind: Normalization, channels: int, *, dimensions: int, reference: int = 0
) -> nn.Module:
    """Make a normalisation layer.

    Args:
        kind: ``layer`` is a group norm with one group, over all dimensions of one example;
            ``instance`` one with a group per channel.
        channels: Channels or units.
        dimensions: 1 for units, 2 for feature maps.
        reference: Size of the reference batch of ``virtual``.
    """
    if kind == "none":
        return nn.Identity()
    if kind == "layer":
        return nn.GroupNorm(1, channels)
    if kind == "instance":
        return nn.GroupNorm(channels, channels)
    if kind == "virtual":
        return VirtualBatchNorm(channels, reference)
    return nn.BatchNorm1d(channels) if dimensions == 1 else nn.BatchNorm2d(channels)


def evaluation_statistics(modules: Iterable[nn.Module]) -> str:
    """Say by which statistics a network in evaluation mode normalises its activations."""
    statistics = []
    for module in modules:
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            tracked = module.running_mean is not None
            statistics.append(
                "running statistics of training batches" if tracked else "its own batch"
            )
        elif isinstance(module, VirtualBatchNorm):
            statistics.append("a fixed reference batch")
        elif isinstance(module, nn.GroupNorm | nn.LayerNorm):
            statistics.append("each example's own statistics")
    return " and ".join(dict.fromkeys(statistics)) or "no normalization layers"


def activation(kind: Activation) -> nn.Module:
    """Make an activation; the leaky one has slope 0.2."""
    if kind == "leaky-relu":
        return nn.LeakyReLU(0.2)
    return nn.ELU() if kind == "elu" else nn.ReLU()


def join(h: Tensor, y: Tensor | None) -> Tensor:
    """Join a condition to a layer's input.

    Args:
        h: Units ``(batch, units)`` or feature maps ``(batch, channels, height, width)``.
        y: ``(batch, condition)``, or None; on feature maps each number becomes a constant map.
    """
    if y is None:
        return h
    if h.ndim == 4:
        y = y[:, :, None, None].expand(-1, -1, *h.shape[2:])
    return torch.cat([h, y], dim=1)


class Hidden(nn.Module):
    """Hidden layers of a network, by name; what is joined to its input may enter all of them.

    Attributes:
        hidden: The layers, in their order.
        head: Answers, in a discriminator.
        join_all: Whether what follows the first layer has y joined to its input too.
    """

    hidden: nn.ModuleDict
    head: nn.Module
    join_all: bool

    def through(
        self, h: Tensor, y: Tensor | None, features: dict[str, Tensor] | None = None
    ) -> Tensor:
        """Pass through all of them.

        Args:
            h: The network's input, to which y is joined.
            y: ``(batch, condition)``, or None.
            features: Takes each layer's activations by name.

        Returns:
            The input of what comes next, y joined to it where it is to all.
        """
        later = self.later(y)
        for name, layer in self.hidden.items():
            h = layer(join(h, y))
            y = later
            if features is not None:
                features[name] = h
        return join(h, later)

    def judged(self, x: Tensor, y: Tensor | None) -> Judgement:
        """Pass through all of them and the network's ``head``."""
        features: dict[str, Tensor] = {}
        logits, outputs = self.head(self.through(x, y, features))
        return Judgement(logits, features, outputs)

    def later(self, y: Tensor | None) -> Tensor | None:
        """Return what is joined after the first layer."""
        return y if self.join_all else None


class MinibatchDiscrimination(nn.Module):
    """Tell each example how close the others of its batch are.

    With ``M_i = T(f_i)`` of shape (kernels, dimensions), ``o(x_i)_b = Σ_{j≠i}
    exp(−‖M_ib − M_jb‖₁)`` is joined to the features.

    Source: Salimans et al. 2016, arXiv:1606.03498, §3.2. The paper's sum includes j = i, which
    adds the constant 1.

    Args:
        features: Units that come in.
        kernels: Numbers that are joined to them.
        dimensions: Of each kernel's projection.
    """

    def __init__(self, features: int, kernels: int, dimensions: int) -> None:
        super().__init__()
        self.kernels = kernels
        self.project = nn.Linear(features, kernels * dimensions, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        """Map ``(batch, features)`` to ``(batch, features + kernels)``."""
        projected = self.project(h).unflatten(1, (self.kernels, -1))
        distance = (projected[:, None] - projected[None]).abs().sum(3)
        closeness = (-distance).exp().sum(1) - 1
        return torch.cat([h, closeness], dim=1)


class Head(nn.Module):
    """The end of a discriminator: from its last hidden activations to its answer.

    Args:
        features: Activations per example, flattened.
        plan: Classes, code and minibatch discrimination.
        bias: Whether the logits have one.
    """

    def __init__(self, features: int, plan: DiscriminatorPlan, *, bias: bool = True) -> None:
        super().__init__()
        self.minibatch: nn.Module = nn.Identity()
        if plan.minibatch is not None:
            self.minibatch = MinibatchDiscrimination(features, *plan.minibatch)
            features += plan.minibatch[0]
        self.output = nn.Linear(features, plan.classes, bias=bias)
        self.code: nn.Module | None = None
        if plan.code:
            self.code = nn.Sequential(
                nn.Linear(features, Q_UNITS), nn.LeakyReLU(0.2), nn.Linear(Q_UNITS, plan.code)
            )

    def forward(self, h: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Map activations ``(batch, …)`` to a judgement's logits ``(batch,)`` and outputs."""
        h = self.minibatch(h.flatten(1))
        classes = self.output(h)
        outputs = {} if self.code is None else {"code": self.code(h)}
        if classes.shape[1] == 1:
            return classes.squeeze(1), outputs
        return log_odds(classes), {"classes": classes, **outputs}


def log_odds(classes: Tensor) -> Tensor:
    """Return log P(first) − log P(any other) of a softmax over the last axis."""
    return classes[..., 0] - classes[..., 1:].logsumexp(-1)
