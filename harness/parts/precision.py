"""In which precision networks compute in training.

Weights, losses, optimisers and every measurement are in ``float32``, or ``float64`` where that is
asked for. Two settings make a GPU faster at the cost of rounding, both in training only:

* ``tf32``: matrix products and convolutions on CUDA round what they multiply to 10 bits;
* ``bfloat16``: networks compute by PyTorch's autocast rules, most of it with 8 bits. What they
  return is float32 again, and so is all of a gradient penalty, whose double backward pass would
  otherwise multiply rounding errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from harness.spec import Precision

DTYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "float64": torch.float64,
    "tf32": torch.float32,
    "bfloat16": torch.float32,
}
"""What weights are kept in, and all that is not within a network."""

_exact = ContextVar("exact", default=False)


@contextmanager
def full_precision() -> Iterator[None]:
    """Let networks compute in the precision of their weights, whatever the setting."""
    token = _exact.set(True)
    try:
        yield
    finally:
        _exact.reset(token)


def rounded(precision: Precision) -> bool:
    """Whether a forward pass in training computes by autocast."""
    return precision == "bfloat16" and not _exact.get()


@contextmanager
def training(precision: Precision) -> Iterator[None]:
    """Let CUDA multiply in TF32 while an update is made, if that is the setting."""
    if precision != "tf32":
        yield
        return
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
