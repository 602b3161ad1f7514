"""What a run's two networks will look like, before any of them is built."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, Self

Normalization = Literal["batch", "layer", "instance", "virtual", "none"]
NORMALIZATIONS: tuple[Normalization, ...] = ("batch", "layer", "instance", "virtual", "none")
Activation = Literal["relu", "leaky-relu", "elu"]
Upsampling = Literal["transposed", "pixel-shuffle", "nearest"]
Downsampling = Literal["stride", "average", "max"]
Initialization = Literal["orthogonal"]


@dataclass(frozen=True)
class Plan:
    """What both networks' plans have in common.

    Attributes:
        network: Id of the network family.
        width: Channels or hidden units of the narrowest layer.
        normalization: Kind of normalisation layers; None for what the family's source uses.
        activation: Kind of hidden activations; None for what the family's source uses.
        initialization: How the first weights are drawn; None for what the family's source uses.
        condition: Numbers per example that are joined to the input: a class as one-hot, a code.
        condition_layers: Whether they are joined to the input of every layer.
    """

    network: str
    width: int
    normalization: Normalization | None = None
    activation: Activation | None = None
    initialization: Initialization | None = None
    condition: int = 0
    condition_layers: bool = False

    def changed(self) -> set[str]:
        """Name what the plan asks for beyond a plain network of the family and width."""
        return {
            field.name
            for field in fields(self)
            if field.name not in ("network", "width") and getattr(self, field.name) != field.default
        }


@dataclass(frozen=True)
class GeneratorPlan(Plan):
    """How to build a generator.

    Attributes:
        upsampling: How feature maps grow; None for what the family's source uses.
        dropout: Probability of zeroing a hidden activation; 0 adds no layer.
        dropout_layers: Hidden layers that get dropout; None for all of them.
        dropout_at_test: Whether dropout stays on when samples are drawn for measurement.
        copies: Generators in one, that share their first layer and take turns in a batch.
        reference: Latents of the fixed reference batch of virtual batch normalisation.
    """

    upsampling: Upsampling | None = None
    dropout: float = 0.0
    dropout_layers: tuple[str, ...] | None = None
    dropout_at_test: bool = False
    copies: int = 1
    reference: int = 64

    def dropout_in(self, layer: str) -> float:
        """Return the dropout probability of a named hidden layer."""
        chosen = self.dropout_layers is None or layer in self.dropout_layers
        return self.dropout if chosen else 0.0


@dataclass(frozen=True)
class DiscriminatorPlan(Plan):
    """How to build a discriminator (or critic).

    Attributes:
        downsampling: How feature maps shrink; None for what the family's source uses.
        first_norm: Whether the first layer is normalised too; None for what the source does.
        spectral_norm: Whether every weight is divided by its largest singular value.
        strided: Strided convolutions of a patch discriminator.
        flat: Stride-1 hidden convolutions of a patch discriminator.
        classes: Classes of a softmax head, of which the first is *real*; 1 for a single logit.
        code: Outputs of a second head on the same hidden layers (InfoGAN's Q, an encoder).
        minibatch: Kernels and their dimensions of minibatch discrimination; None for none.
        pack: Examples that are judged together, joined on the channels.
        reconstruction: Whether it must answer with a reconstruction of what it judges.
    """

    downsampling: Downsampling | None = None
    first_norm: bool | None = None
    spectral_norm: bool = False
    strided: int = 2
    flat: int = 0
    classes: int = 1
    code: int = 0
    minibatch: tuple[int, int] | None = None
    pack: int = 1
    reconstruction: bool = False


@dataclass(frozen=True)
class Blueprint:
    """The pair of networks that variants and tricks shape before they are built.

    Attributes:
        generator: Plan of G.
        discriminator: Plan of D.
        latent: Dimensions of z.
        shape: Shape of one example.
        classes: Labelled classes of the data set; None without labels.
        batch: Examples per update.
    """

    generator: GeneratorPlan
    discriminator: DiscriminatorPlan
    latent: int
    shape: tuple[int, ...]
    classes: int | None = None
    batch: int = 64

    @classmethod
    def plain(
        cls,
        network: str,
        width: int,
        latent: int,
        shape: tuple[int, ...],
        classes: int | None = None,
        batch: int = 64,
    ) -> Self:
        """Plan both networks of one family and width, before any part has had its say."""
        G, D = GeneratorPlan(network, width), DiscriminatorPlan(network, width)
        return cls(G, D, latent, shape, classes, batch)

    @property
    def judged_shape(self) -> tuple[int, ...]:
        """Shape of what D judges: an example, or several joined on the channels."""
        first, *rest = self.shape
        return (first * self.discriminator.pack, *rest)
