"""Virtual batch normalisation: a fixed reference batch in place of the batch's other examples."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

EPSILON = 1e-5


class VirtualBatchNorm(nn.Module):
    """Normalise each example by a reference batch of n and itself, weighing 1/(n+1).

    The first n rows of what comes in are the reference batch's activations; they are normalised
    by themselves.

    Source: Salimans et al. 2016, arXiv:1606.03498, §3.5.

    Args:
        channels: Channels or units.
        reference: Size n of the reference batch.
    """

    def __init__(self, channels: int, reference: int) -> None:
        super().__init__()
        self.reference = reference
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(n + batch, channels, …)``."""
        n = self.reference
        flat = x.flatten(2) if x.ndim > 2 else x.unsqueeze(2)
        mean, square = flat.mean(2), flat.square().mean(2)
        mean_n, square_n = mean[:n].mean(0, keepdim=True), square[:n].mean(0, keepdim=True)
        means = torch.cat([mean_n.expand(n, -1), (mean[n:] + n * mean_n) / (n + 1)])
        squares = torch.cat([square_n.expand(n, -1), (square[n:] + n * square_n) / (n + 1)])
        # The difference of two means of squares may round below 0.
        variance = (squares - means.square()).clamp_min(0)
        scale = self.weight / (variance + EPSILON).sqrt()
        normal = flat * scale[:, :, None] + (self.bias - means * scale)[:, :, None]
        return normal.reshape(x.shape)


class VirtualBatch(nn.Module):
    """A generator that runs its reference batch beside every batch.

    The reference latents are drawn once, when the network is made, follow the law of all latents
    from the start of training on, and never change.

    Args:
        module: A generator with :class:`VirtualBatchNorm` layers.
        latent: Dimensions of z.
        reference: Size of the reference batch.
    """

    latent_buffers: ClassVar[tuple[str, ...]] = ("reference_z",)
    """Buffers that hold draws from N(0, 1), to be given the law of the run's latents."""
    reference_z: Tensor

    def __init__(self, module: nn.Module, latent: int, reference: int) -> None:
        super().__init__()
        self.module = module
        self.register_buffer("reference_z", torch.randn(reference, latent))

    def inner_batch(self, batch: int) -> int:
        """Return how many examples the layers inside see."""
        inner: int = len(self.reference_z) + batch
        return inner

    def forward(self, z: Tensor) -> Tensor:
        """Map ``z (batch, latent)`` to examples ``(batch, *shape)``."""
        examples: Tensor = self.module(torch.cat([self.reference_z, z]))
        return examples[len(self.reference_z) :]
