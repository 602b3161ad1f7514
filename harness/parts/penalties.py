"""Penalties on the discriminator's gradient, as pure functions of a judging function.

Norms go over *all* dimensions of one example, and every example has its own interpolation
coefficient; the two mistakes most often found in public code.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import relu

from harness.parts.precision import full_precision
from harness.parts.protocols import Batch


def input_gradient(judge: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Differentiate each example's logit by the example, keeping the graph.

    A map of logits counts by its mean, as in the losses: the penalty holds what is trained.

    Args:
        judge: Maps ``(runs, batch, …)`` to logits ``(runs, batch, …)``.
        x: Where to differentiate, ``(runs, batch, …)``. Where it depends on something that is
            trained, as generated data do in a generator update, so does the result.

    Returns:
        Gradients flattened to ``(runs, batch, dimensions)``. Where D answers to packs of several
        examples, those of a pack are one.
    """
    # An alias, because the weights that judge x may themselves depend on it.
    x = x.view_as(x) if x.requires_grad else x.detach().requires_grad_()
    with full_precision():
        logits = judge(x)
    value = logits if logits.ndim == 2 else logits.flatten(2).mean(2)
    (gradient,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    return gradient.reshape(len(gradient), value.shape[1], -1)


def data_gradient(batch: Batch, x: Tensor, kind: str, label: str) -> Tensor:
    """Differentiate D's answers to examples by the examples, before parts change what D is shown.

    Args:
        batch: Of the update.
        x: The examples, ``(runs, batch, …)``.
        kind: ``real`` or ``fake``: by whose draws they are changed.
        label: Names the draws of D's dropout.

    Returns:
        As :func:`input_gradient`.
    """
    return input_gradient(lambda each: batch.judge(batch.show(each, kind), label).logits, x)


def interpolate(real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    """Return ``x + α(x̃ − x)`` with one α of ``(runs, batch)`` per example."""
    return torch.lerp(real, fake, alpha.reshape(alpha.shape + (1,) * (real.ndim - 2)))


def centred_penalty(gradient: Tensor, center: float = 1.0) -> Tensor:
    """Return ``E(‖∇D‖₂ − center)²`` for gradients ``(runs, batch, dimensions)``: ``(runs,)``."""
    norms: Tensor = gradient.norm(dim=2)
    return (norms - center).square().mean(1)


def one_sided_penalty(gradient: Tensor) -> Tensor:
    """Return ``E max(0, ‖∇D‖₂ − 1)²`` for gradients ``(runs, batch, dimensions)``: ``(runs,)``.

    Source: Petzka et al. 2018, arXiv:1709.08894, §4: only slopes above 1 break the constraint.
    """
    norms: Tensor = gradient.norm(dim=2)
    return relu(norms - 1).square().mean(1)


def zero_centred_penalty(gradient: Tensor) -> Tensor:
    """Return ``½E‖∇D‖²`` for gradients ``(runs, batch, dimensions)``: ``(runs,)``.

    Times γ it is R1 on real data and R2 on generated data.

    Source: Mescheder et al. 2018, arXiv:1801.04406, eq. 9 and 10.
    """
    return gradient.square().sum(2).mean(1) / 2
