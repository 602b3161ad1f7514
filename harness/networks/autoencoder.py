"""Auto-encoders as discriminators: an example is as real as it is well reconstructed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from harness.networks.base import Family, Judgement, SquareFamily, networks
from harness.networks.blueprint import DiscriminatorPlan, GeneratorPlan, Normalization, Plan
from harness.networks.dropout import dropout
from harness.networks.layers import activation, normalization

SOURCE = "Berthelot et al. 2017, arXiv:1703.10717, §3.5 and figure 1"

SMALLEST = 8
"""Side of the feature maps next to the embedding."""
EMBEDDING = 64
"""Units between encoder and decoder of images, as many as z has by default."""


def named(layers: Sequence[nn.Module]) -> nn.ModuleDict:
    """Name hidden layers by their order, from hidden1 on."""
    return nn.ModuleDict({f"hidden{i}": layer for i, layer in enumerate(layers, start=1)})


def dense(plan: Plan, before: int, after: int) -> list[nn.Module]:
    """Make a fully connected layer, normalised and activated as the plan says."""
    return [
        nn.Linear(before, after),
        normalization(plan.normalization or "none", after, dimensions=1),
        activation(plan.activation or "elu"),
    ]


def convolutions(plan: Plan, before: int, after: int) -> list[nn.Module]:
    """Make two 3×3 convolutions, each normalised and activated as the plan says."""
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [
            nn.Conv2d(channels, after, 3, 1, 1),
            normalization(plan.normalization or "none", after, dimensions=2),
            activation(plan.activation or "elu"),
        ]
    return layers


class Decoder(nn.Module):
    """Hidden layers, then the output layer; the generator, and an auto-encoder's second half.

    Args:
        hidden: Hidden layers, latent side first.
        output: From the last of them to the example's channels or numbers.
        shape: Shape of one example.
        plan: Dropout, where it is a generator's.
    """

    def __init__(
        self,
        hidden: Sequence[list[nn.Module]],
        output: nn.Module,
        shape: tuple[int, ...],
        plan: Plan,
    ) -> None:
        super().__init__()
        generates = isinstance(plan, GeneratorPlan)
        if isinstance(plan, GeneratorPlan):
            for i, layers in enumerate(hidden, start=1):
                p = plan.dropout_in(f"hidden{i}")
                layers.append(dropout(p, at_test=plan.dropout_at_test))
        self.hidden = named([nn.Sequential(*layers) for layers in hidden])
        self.output = output
        # The paper's last layer is linear. Like every generator, this one keeps images in ±1.
        self.squash = nn.Tanh() if generates and len(shape) == 3 else nn.Identity()
        self.shape = shape

    def forward(self, z: Tensor) -> Tensor:
        """Map ``(batch, latent)`` to examples ``(batch, *shape)``."""
        h = z
        for layer in self.hidden.values():
            h = layer(h)
        examples: Tensor = self.squash(self.output(h))
        return examples.reshape(-1, *self.shape)


class AutoEncoder(nn.Module):
    """A discriminator whose logit is minus the mean absolute error of its reconstruction.

    Args:
        hidden: Hidden layers of the encoder, input side first.
        embedding: From the last of them to the embedding.
        decoder: From the embedding back to the example.
    """

    def __init__(
        self, hidden: Sequence[list[nn.Module]], embedding: nn.Module, decoder: Decoder
    ) -> None:
        super().__init__()
        self.hidden = named([nn.Sequential(*layers) for layers in hidden])
        self.embedding = embedding
        self.decoder = decoder

    def forward(self, x: Tensor) -> Judgement:
        """Judge examples ``(batch, …)`` by how well they are reconstructed."""
        h = x
        features = {}
        for name, layer in self.hidden.items():
            features[name] = h = layer(h)
        features["embedding"] = h = self.embedding(h)
        reconstruction = self.decoder(h)
        error = (x - reconstruction).abs().flatten(1).mean(1)
        return Judgement(-error, features, {"reconstruction": reconstruction})


class AutoEncoders(Family):
    """What auto-encoders of images and of points have in common."""

    normalizations: ClassVar[tuple[Normalization, ...]] = ("batch", "layer", "none")
    supports = frozenset(
        {"activation", "dropout", "dropout_at_test", "dropout_layers", "reconstruction"}
    )

    def decoder(self, plan: Plan, latent: int, shape: tuple[int, ...]) -> Decoder:
        """Build latent → example."""
        raise NotImplementedError

    def generator(self, plan: GeneratorPlan, latent: int, shape: tuple[int, ...]) -> nn.Module:
        """Build a generator: the decoder, with weights of its own."""
        return self.decoder(plan, latent, shape)


@networks.register("autoencoder2d", source=f"after {SOURCE}, with fully connected layers")
class AutoEncoder2D(AutoEncoders):
    """A fully connected auto-encoder of points, and its decoder as generator.

    Its embedding is one number: with two it could learn to return any point of the plane.
    """

    makes = "points"
    default_width = 128
    default_latent = 16

    def misfit(self, shape: tuple[int, ...]) -> str | None:
        """Take points with more coordinates than the embedding has."""
        line = "autoencoder2d could return any point of a line" if shape == (1,) else None
        return super().misfit(shape) or line

    def hidden_layers(self, shape: tuple[int, ...]) -> tuple[str, ...]:
        """Name the generator's two hidden layers."""
        return ("hidden1", "hidden2")

    def decoder(self, plan: Plan, latent: int, shape: tuple[int, ...]) -> Decoder:
        """Build latent → width → width → point."""
        units = [latent, plan.width, plan.width]
        hidden = [dense(plan, before, after) for before, after in pairwise(units)]
        return Decoder(hidden, nn.Linear(plan.width, math.prod(shape)), shape, plan)

    def discriminator(self, plan: DiscriminatorPlan, shape: tuple[int, ...]) -> nn.Module:
        """Build point → width → width → embedding, and back."""
        units = [math.prod(shape), plan.width, plan.width]
        hidden = [dense(plan, before, after) for before, after in pairwise(units)]
        size = shape[0] // 2
        decoder = self.decoder(plan, size, shape)
        return AutoEncoder(hidden, nn.Linear(plan.width, size), decoder)


class ImageAutoEncoder(AutoEncoders, SquareFamily):
    """A convolutional auto-encoder of images, and its decoder as generator.

    The encoder halves the image until 8×8, two 3×3 convolutions at each size, its channels
    growing by the width each time; the decoder doubles it by nearest neighbours, all its layers
    of the width. Activations are ELU, and nothing is normalised. The paper's optional skip
    connections are left out.
    """

    smallest = SMALLEST
    default_width = 64
    default_latent = EMBEDDING

    @property
    def scales(self) -> int:
        """How many sizes the feature maps have."""
        return self.doublings + 1

    def hidden_layers(self, shape: tuple[int, ...]) -> tuple[str, ...]:
        """Name the generator's hidden layers: the first maps, then one for each size."""
        return tuple(f"hidden{i + 1}" for i in range(self.scales + 1))

    def decoder(self, plan: Plan, latent: int, shape: tuple[int, ...]) -> Decoder:
        """Build latent → 8×8 maps → … → image."""
        n = plan.width
        maps = (n, SMALLEST, SMALLEST)
        hidden: list[list[nn.Module]] = [
            [nn.Linear(latent, math.prod(maps)), nn.Unflatten(1, maps)]
        ]
        for scale in range(self.scales):
            grow: list[nn.Module] = [nn.Upsample(scale_factor=2)] if scale else []
            hidden.append([*grow, *convolutions(plan, n, n)])
        return Decoder(hidden, nn.Conv2d(n, shape[0], 3, 1, 1), shape, plan)

    def discriminator(self, plan: DiscriminatorPlan, shape: tuple[int, ...]) -> nn.Module:
        """Build image → … → 8×8 maps → embedding, and back."""
        n = plan.width
        hidden: list[list[nn.Module]] = [
            [nn.Conv2d(shape[0], n, 3, 1, 1), activation(plan.activation or "elu")]
        ]
        for scale in range(1, self.scales + 1):
            channels = scale * n
            layers = convolutions(plan, channels, channels)
            if scale < self.scales:
                kind = activation(plan.activation or "elu")
                layers += [nn.Conv2d(channels, channels + n, 3, 2, 1), kind]
            hidden.append(layers)
        units = self.scales * n * SMALLEST**2
        embedding = nn.Sequential(nn.Flatten(), nn.Linear(units, EMBEDDING))
        return AutoEncoder(hidden, embedding, self.decoder(plan, EMBEDDING, shape))


@networks.register("autoencoder16", source=SOURCE)
class AutoEncoder16(ImageAutoEncoder):
    """Auto-encoder of 16×16 images, and its decoder as generator: feature maps of two sizes."""

    size = 16
    default_width = 16


@networks.register("autoencoder32", source=SOURCE)
class AutoEncoder32(ImageAutoEncoder):
    """Auto-encoder of 32×32 images, and its decoder as generator: feature maps of three sizes."""

    size = 32


@networks.register("autoencoder64", source=SOURCE)
class AutoEncoder64(ImageAutoEncoder):
    """Auto-encoder of 64×64 images, and its decoder as generator: feature maps of four sizes."""

    size = 64
