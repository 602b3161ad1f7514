"""Fully connected networks: for mixtures of few dimensions and for small images."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from harness.networks.base import Family, Judgement, networks
from harness.networks.blueprint import Activation, DiscriminatorPlan, GeneratorPlan, Normalization
from harness.networks.dropout import dropout
from harness.networks.layers import SUPPORTED, Head, Hidden, activation, normalization


class Generator(Hidden):
    """Hidden layers, then a linear layer to the example's shape.

    Args:
        plan: Dropout, normalisation, activation and condition.
        units: Units of z and of each hidden layer.
        shape: Shape of one example; images get a final tanh, points stay linear.
        norm: Normalisation after each hidden linear layer.
        first_norm: Whether the first hidden layer has it too.
        default_activation: Hidden activations where the plan names none.
        squash: What images end in, in place of tanh.
    """

    def __init__(
        self,
        plan: GeneratorPlan,
        units: list[int],
        shape: tuple[int, ...],
        norm: Normalization,
        *,
        first_norm: bool = True,
        default_activation: Activation = "relu",
        squash: nn.Module | None = None,
    ) -> None:
        super().__init__()
        joined = plan.condition if plan.condition_layers else 0
        layers: dict[str, nn.Module] = {}
        for i, (before, after) in enumerate(pairwise(units), start=1):
            layers[f"hidden{i}"] = nn.Sequential(
                nn.Linear(before + (plan.condition if i == 1 else joined), after),
                normalization(
                    norm if i > 1 or first_norm else "none",
                    after,
                    dimensions=1,
                    reference=plan.reference,
                ),
                activation(plan.activation or default_activation),
                dropout(plan.dropout_in(f"hidden{i}"), at_test=plan.dropout_at_test),
            )
        self.hidden = nn.ModuleDict(layers)
        self.output = nn.Linear(units[-1] + joined, math.prod(shape))
        self.squash = (squash or nn.Tanh()) if len(shape) == 3 else nn.Identity()
        self.shape = shape
        self.join_all = plan.condition_layers

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map ``z (batch, latent)``, joined to y, to examples ``(batch, *shape)``."""
        h = self.through(z, y)
        flat: Tensor = self.squash(self.output(h))
        return flat.reshape(-1, *self.shape)


class Discriminator(Hidden):
    """Hidden layers with LeakyReLU(0.2), then one logit.

    Args:
        plan: Activation, condition and head.
        units: Units of the flattened example and of each hidden layer.
        norm: Normalisation after each hidden linear layer.
    """

    def __init__(self, plan: DiscriminatorPlan, units: list[int], norm: Normalization) -> None:
        super().__init__()
        joined = plan.condition if plan.condition_layers else 0
        layers: dict[str, nn.Module] = {}
        for i, (before, after) in enumerate(pairwise(units), start=1):
            layers[f"hidden{i}"] = nn.Sequential(
                nn.Linear(before + (plan.condition if i == 1 else joined), after),
                normalization(norm, after, dimensions=1),
                activation(plan.activation or "leaky-relu"),
            )
        self.hidden = nn.ModuleDict(layers)
        self.head = Head(units[-1] + joined, plan)
        self.join_all = plan.condition_layers

    def forward(self, x: Tensor, y: Tensor | None = None) -> Judgement:
        """Judge examples ``(batch, …)``, joined to y."""
        return self.judged(x.flatten(1), y)


class MLP(Family):
    """Two hidden layers of equal width in both networks."""

    generator_norm: ClassVar[Normalization] = "none"
    normalizations: ClassVar[tuple[Normalization, ...]] = ("batch", "layer", "virtual", "none")
    supports = SUPPORTED

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
        return Discriminator(plan, units, plan.normalization or "none")


@networks.register("toy2d", source="after Metz et al. 2017, arXiv:1611.02163, appendix A")
class Toy2D(MLP):
    """Two hidden layers for two-dimensional mixtures; linear output, no normalisation."""

    makes = "points"
    default_width = 128
    default_latent = 16


@networks.register(
    "toy2d-norm", source="toy2d; normalised as in Lin et al. 2018, arXiv:1712.04086, section 4.1"
)
class NormalizedToy2D(Toy2D):
    """Toy2d with batch normalisation in G, as PacGAN and VEEGAN learn mixtures.

    Without it, G has found none of the narrow modes of a mixture after some thousand steps of most
    objectives. Those of Wasserstein critics do better without it.
    """

    generator_norm = "batch"


@networks.register("mlp-small", source="the common fully connected GAN, hidden width 256")
class MLPSmall(MLP):
    """Two hidden layers for small images; ReLU in G, LeakyReLU in D, tanh output."""

    makes = "images"
    default_width = 256
    default_latent = 64
