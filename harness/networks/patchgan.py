"""The patch discriminator: one logit for each overlapping patch of an image."""

from __future__ import annotations

from torch import Tensor, nn

from harness.networks.base import Family, Judgement, networks, normalization
from harness.networks.blueprint import DiscriminatorPlan, GeneratorPlan, Normalization
from harness.networks.dcgan import initialize


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


class Discriminator(nn.Module):
    """Strided, then flat convolutions with LeakyReLU(0.2), then a map of logits.

    Args:
        plan: Width, normalisation, numbers of strided and flat layers.
        channels: Channels of the image.
    """

    def __init__(self, plan: DiscriminatorPlan, channels: int) -> None:
        super().__init__()
        norm: Normalization = plan.normalization or "batch"
        strides = [2] * plan.strided + [1] * plan.flat
        layers: dict[str, nn.Module] = {}
        before = channels
        for i, stride in enumerate(strides, start=1):
            after = plan.width * 2 ** min(i - 1, 3)
            kind: Normalization = "none" if i == 1 else norm
            layers[f"hidden{i}"] = nn.Sequential(
                nn.Conv2d(before, after, 4, stride, 1, bias=kind != "batch"),
                normalization(kind, after, dimensions=2),
                nn.LeakyReLU(0.2),
            )
            before = after
        self.hidden = nn.ModuleDict(layers)
        self.output = nn.Conv2d(before, 1, 4, 1, 1)
        self.apply(initialize)

    def forward(self, x: Tensor) -> Judgement:
        """Judge images ``(batch, channels, size, size)`` patch by patch."""
        features = {}
        for name, layer in self.hidden.items():
            x = features[name] = layer(x)
        return Judgement(self.output(x).squeeze(1), features)


@networks.register("patch", source="Isola et al. 2017, arXiv:1611.07004, §3.2.2 and appendix 6.1.2")
class Patch(Family):
    """A discriminator that judges overlapping patches; it has no generator."""

    has_generator = False
    convolutional = True
    default_width = 16

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
