"""Dropout whose mask comes from the run's own stream instead of a shared generator."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class StreamDropout(nn.Module):
    """Zero activations with probability p and scale the rest by 1/(1−p).

    Before each forward pass the training puts uniform noise of the activation's shape into the
    buffer ``noise``, so a run drops the same units alone and in a cohort.

    Args:
        p: Probability of zeroing, in [0, 1).
        at_test: Whether it also acts in evaluation mode.

    Source: Srivastava et al. 2014; at test time: Isola et al. 2017, arXiv:1611.07004, §3.3.
    """

    noise: Tensor

    def __init__(self, p: float, *, at_test: bool = False) -> None:
        super().__init__()
        self.p = p
        self.at_test = at_test
        self.register_buffer("noise", torch.empty(0), persistent=False)

    @property
    def active(self) -> bool:
        """Whether the next forward pass needs noise."""
        return self.training or self.at_test

    def forward(self, x: Tensor) -> Tensor:
        """Drop units of ``x (batch, …)``."""
        if not self.active:
            return x
        return torch.where(self.noise >= self.p, x / (1 - self.p), torch.zeros_like(x))


def dropout(p: float, *, at_test: bool) -> nn.Module:
    """Make a dropout layer, or an identity where p is 0."""
    return StreamDropout(p, at_test=at_test) if p > 0 else nn.Identity()
