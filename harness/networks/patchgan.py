"""The patch discriminator: one logit for each overlapping patch of an image."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from harness.networks.base import Family, Judgement, networks
from harness.networks.blueprint import DiscriminatorPlan, GeneratorPlan, Normalization
from harness.networks.dcgan import initialize
from harness.networks.layers import Hidden, activation, log_odds, normalization


def receptive_field(strided: int, flat: int) -> int:
    """Return the side, in pixels, of the patch that one logit sees.

    All kernels are 4 wide: ``strided`` of stride 2, ``flat`` of stride 1, one of stride 1 for the
    logit. Three strided and one flat give the 70 pixels of pix2pix.
    """
    field, jump = 1, 1
    for stride in [2] * strided + [1] * (flat + 1):
        field += 3 * jump
        jump *= stride
    return field


class Discriminator(Hidden):
    """Strided, then flat convolutions with LeakyReLU(0.2), then a map of logits.

    Args:
        plan: Width, normalisation, activation, condition, classes, strided and flat layers.
        channels: Channels of the image.
    """

    def __init__(self, plan: DiscriminatorPlan, channels: int) -> None:
        super().__init__()
        norm: Normalization = plan.normalization or "batch"
        joined = plan.condition if plan.condition_layers else 0
        strides = [2] * plan.strided + [1] * plan.flat
        layers: dict[str, nn.Module] = {}
        before = channels + plan.condition
        for i, stride in enumerate(strides, start=1):
            after = plan.width * 2 ** min(i - 1, 3)
            kind: Normalization = "none" if i == 1 else norm
            layers[f"hidden{i}"] = nn.Sequential(
                nn.Conv2d(before, after, 4, stride, 1, bias=kind != "batch"),
                normalization(kind, after, dimensions=2),
                activation(plan.activation or "leaky-relu"),
            )
            before = after + joined
        self.hidden = nn.ModuleDict(layers)
        self.output = nn.Conv2d(before, plan.classes, 4, 1, 1)
        self.join_all = plan.condition_layers
        self.apply(initialize)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Judgement:
        """Judge images ``(batch, channels, size, size)``, joined to y, patch by patch."""
        features: dict[str, Tensor] = {}
        h = self.through(x, y, features)
        classes = self.output(h).movedim(1, -1)
        if classes.shape[-1] == 1:
            return Judgement(classes.squeeze(-1), features)
        return Judgement(log_odds(classes), features, {"classes": classes})


@networks.register("patch", source="Isola et al. 2017, arXiv:1611.07004, §3.2.2 and appendix 6.1.2")
class Patch(Family):
    """A discriminator that judges overlapping patches; it has no generator."""

    has_generator = False
    convolutional = True
    default_width = 16
    normalizations: ClassVar[tuple[Normalization, ...]] = ("batch", "layer", "instance", "none")
    supports = frozenset(
        {"activation", "classes", "condition", "condition_layers", "flat", "strided"}
    )

    def misfit(self, shape: tuple[int, ...]) -> str | None:
        """Take images only."""
        return None if len(shape) == 3 else "a patch discriminator needs images"

    def hidden_layers(self, shape: tuple[int, ...]) -> tuple[str, ...]:
        """Name no layers: there is no generator."""
        return ()

    def generator(self, plan: GeneratorPlan, latent: int, shape: tuple[int, ...]) -> nn.Module:
        """Refuse.

        Raises:
            TypeError: always; suites are checked for this before anything is built.
        """
        raise TypeError("the patch family has no generator")

    def discriminator(self, plan: DiscriminatorPlan, shape: tuple[int, ...]) -> nn.Module:
        """Build a patch discriminator."""
        return Discriminator(plan, shape[0])
