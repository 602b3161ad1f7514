"""What a run's two networks will look like, before any of them is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

Normalization = Literal["batch", "layer", "none"]


@dataclass(frozen=True)
class GeneratorPlan:
    """How to build a generator.

    Attributes:
        network: Id of the network family.
        width: Channels or hidden units of the narrowest layer.
        normalization: Kind of normalisation layers; None for what the family's source uses.
        dropout: Probability of zeroing a hidden activation; 0 adds no layer.
        dropout_layers: Hidden layers that get dropout; None for all of them.
        dropout_at_test: Whether dropout stays on when samples are drawn for measurement.
    """

    network: str
    width: int
    normalization: Normalization | None = None
    dropout: float = 0.0
    dropout_layers: tuple[str, ...] | None = None
    dropout_at_test: bool = False

    def dropout_in(self, layer: str) -> float:
        """Return the dropout probability of a named hidden layer."""
        chosen = self.dropout_layers is None or layer in self.dropout_layers
        return self.dropout if chosen else 0.0


@dataclass(frozen=True)
class DiscriminatorPlan:
    """How to build a discriminator (or critic).

    Attributes:
        network: Id of the network family.
        width: Channels or hidden units of the narrowest layer.
        normalization: Kind of normalisation layers; None for what the family's source uses.
        spectral_norm: Whether every weight is divided by its largest singular value.
        strided: Strided convolutions of a patch discriminator.
        flat: Stride-1 hidden convolutions of a patch discriminator.
    """

    network: str
    width: int
    normalization: Normalization | None = None
    spectral_norm: bool = False
    strided: int = 2
    flat: int = 0


@dataclass(frozen=True)
class Blueprint:
    """The pair of networks that variants and tricks shape before they are built.

    Attributes:
        generator: Plan of G.
        discriminator: Plan of D.
        latent: Dimensions of z.
        shape: Shape of one example.
    """

    generator: GeneratorPlan
    discriminator: DiscriminatorPlan
    latent: int
    shape: tuple[int, ...]

    @classmethod
    def plain(cls, network: str, width: int, latent: int, shape: tuple[int, ...]) -> Self:
        """Plan both networks of one family and width, before any part has had its say."""
        return cls(GeneratorPlan(network, width), DiscriminatorPlan(network, width), latent, shape)
