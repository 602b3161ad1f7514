"""Fully connected networks: for mixtures of few dimensions and for small images."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from harness.networks.base import Family, Judgement, networks, normalization
from harness.networks.blueprint import DiscriminatorPlan, GeneratorPlan, Normalization
from harness.networks.dropout import dropout


class Generator(nn.Module):
    """Hidden layers with ReLU, then a linear layer to the example's shape.

    Args:
        plan: Dropout and normalisation.
        units: Units of z and of each hidden layer.
        shape: Shape of one example; images get a final tanh, points stay linear.
        norm: Normalisation after each hidden linear layer.
    """

    def __init__(
        self, plan: GeneratorPlan, units: list[int], shape: tuple[int, ...], norm: Normalization
    ) -> None:
        super().__init__()
        layers: dict[str, nn.Module] = {}
        for i, (before, after) in enumerate(pairwise(units), start=1):
            layers[f"hidden{i}"] = nn.Sequential(
                nn.Linear(before, after),
                normalization(norm, after, dimensions=1),
                nn.ReLU(),
                dropout(plan.dropout_in(f"hidden{i}"), at_test=plan.dropout_at_test),
            )
        self.hidden = nn.ModuleDict(layers)
        self.output = nn.Linear(units[-1], math.prod(shape))
        self.squash = nn.Tanh() if len(shape) == 3 else nn.Identity()
        self.shape = shape

    def forward(self, z: Tensor) -> Tensor:
        """Map ``z (batch, latent)`` to examples ``(batch, *shape)``."""
        for layer in self.hidden.values():
            z = layer(z)
        flat: Tensor = self.squash(self.output(z))
        return flat.reshape(-1, *self.shape)


class Discriminator(nn.Module):
    """Hidden layers with LeakyReLU(0.2), then one logit.

    Args:
        units: Units of the flattened example and of each hidden layer.
        norm: Normalisation after each hidden linear layer.
    """

    def __init__(self, units: list[int], norm: Normalization) -> None:
        super().__init__()
        layers: dict[str, nn.Module] = {}
        for i, (before, after) in enumerate(pairwise(units), start=1):
            layers[f"hidden{i}"] = nn.Sequential(
                nn.Linear(before, after),
                normalization(norm, after, dimensions=1),
                nn.LeakyReLU(0.2),
            )
        self.hidden = nn.ModuleDict(layers)
        self.output = nn.Linear(units[-1], 1)

    def forward(self, x: Tensor) -> Judgement:
        """Judge examples ``(batch, …)``."""
        h = x.flatten(1)
        features = {}
        for name, layer in self.hidden.items():
            h = features[name] = layer(h)
        return Judgement(self.output(h).squeeze(1), features)


class MLP(Family):
    """Two hidden layers of equal width in both networks."""

    generator_norm: ClassVar[Normalization] = "none"

    def hidden_layers(self, shape: tuple[int, ...]) -> tuple[str, ...]:
        """Name the generator's two hidden layers."""
        return ("hidden1", "hidden2")

    def generator(self, plan: GeneratorPlan, latent: int, shape: tuple[int, ...]) -> nn.Module:
        """Build z → width → width → example."""
        units = [latent, plan.width, plan.width]
        return Generator(plan, units, shape, plan.normalization or self.generator_norm)

    def discriminator(self, plan: DiscriminatorPlan, shape: tuple[int, ...]) -> nn.Module:
        """Build example → width → width → logit."""
        units = [math.prod(shape), plan.width, plan.width]
        return Discriminator(units, plan.normalization or "none")


@networks.register("toy2d", source="after Metz et al. 2017, arXiv:1611.02163, appendix A")
class Toy2D(MLP):
    """Two hidden layers for two-dimensional mixtures; linear output, no normalisation."""

    default_width = 128
    default_latent = 16

    def misfit(self, shape: tuple[int, ...]) -> str | None:
        """Take points only."""
        return None if len(shape) == 1 else "toy2d makes points, the data set holds images"


@networks.register("mlp-small", source="the common fully connected GAN, hidden width 256")
class MLPSmall(MLP):
    """Two hidden layers for small images; ReLU in G, LeakyReLU in D, tanh output."""

    default_width = 256
    default_latent = 64

    def misfit(self, shape: tuple[int, ...]) -> str | None:
        """Take images only."""
        return None if len(shape) == 3 else "mlp-small makes images, the data set holds points"
