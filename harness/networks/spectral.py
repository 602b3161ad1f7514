"""Spectral normalisation: each weight divided by an estimate of its largest singular value."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

WARM_UP = 15
"""Power iterations when a layer is made, so that training starts from a good estimate."""


class SpectralNorm(nn.Module):
    """One power iteration per forward pass in training mode, on vectors kept in buffers.

    Source: Miyato et al. 2018, arXiv:1802.05957, algorithm 1. Unlike PyTorch's own layer it
    writes its buffers by ``copy_``, which works under ``torch.func.vmap``.

    Args:
        weight: The layer's weight, its output dimension first.
    """

    u: Tensor
    v: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        matrix = weight.detach().flatten(1)
        u = nn.functional.normalize(torch.randn(matrix.shape[0]), dim=0).to(matrix)
        for _ in range(WARM_UP):
            u, v = iterate(matrix, u)
        self.register_buffer("u", u)
        self.register_buffer("v", v)

    def forward(self, weight: Tensor) -> Tensor:
        """Return ``weight / sigma`` with ``sigma = uᵀ W v``; gradient flows through W in sigma."""
        matrix = weight.flatten(1)
        if self.training:
            with torch.no_grad():
                u, v = iterate(matrix, self.u)
                self.u.copy_(u)
                self.v.copy_(v)
        # Copies, because the next forward pass overwrites the buffers before this one's backward.
        sigma = self.u.clone() @ (matrix @ self.v.clone())
        return weight / sigma


def iterate(matrix: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Do one power iteration: ``v = Wᵀu/‖Wᵀu‖``, ``u = Wv/‖Wv‖``."""
    v = nn.functional.normalize(matrix.mT @ u, dim=0, eps=1e-12)
    return nn.functional.normalize(matrix @ v, dim=0, eps=1e-12), v


def normalize_spectrally(module: nn.Module) -> nn.Module:
    """Put spectral normalisation on every linear and convolution layer of a module."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            parametrize.register_parametrization(layer, "weight", SpectralNorm(layer.weight))
    return module
