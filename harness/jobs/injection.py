"""Known answers: effects that a suite puts into its own measurements, so that reports can be tried.

A replicate differs from its cell by chance alone. What is then done to its numbers here is all that
it differs by, so that a report has to find just that. Nothing of it touches training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from harness.datasets.base import Examples, to_unit_range
from harness.metrics.evaluation import Evaluation
from harness.spec import RunSpec


def altered(evaluation: Evaluation, spec: RunSpec, primary: str) -> Evaluation:
    """Multiply a run's primary metric, and let it fail with a known chance.

    Args:
        evaluation: What was measured.
        spec: The run; ``settings.injected_ratio`` and ``settings.injected_failures`` say what is
            done. A run that fails has, at every evaluation, neither diversity nor modes.
        primary: Name of the metric.
    """
    settings = spec.settings
    if settings.injected_ratio != 1:
        values = evaluation.values
        changed = {primary: values[primary] * settings.injected_ratio}
        evaluation = replace(evaluation, values={**values, **changed})
    if settings.injected_failures and drawn(spec, 0).random_sample() < settings.injected_failures:
        evaluation = replace(evaluation, diversity=0.0, mode_coverage=0.0)
    return evaluation


def with_real(generated: Tensor, specs: Sequence[RunSpec], step: int, real: Examples) -> Tensor:
    """Put real examples into the places of the first samples of each run.

    The energy distance to the law of the data of a mixture of a share s of it and 1 − s of what is
    generated is (1 − s)² times that of what is generated: the distance is a squared norm of the
    difference of the laws. So a known ratio goes through all that measures.

    Args:
        generated: ``(runs, samples, *shape)``.
        specs: The runs; ``settings.injected_real`` is the share.
        step: Of training: other steps have other examples.
        real: That the reference does not hold.
    """
    mixed = generated.clone()
    for run, spec in enumerate(specs):
        count = round(spec.settings.injected_real * generated.shape[1])
        chosen = torch.from_numpy(drawn(spec, step).randint(len(real), size=count))
        values = real.values[chosen]
        if not values.is_floating_point():
            values = to_unit_range(values, generated.dtype)
        mixed[run, :count] = values.to(generated)
    return mixed


def drawn(spec: RunSpec, step: int) -> np.random.RandomState:
    """Return random numbers of a run's own, apart from those that it trains with."""
    return np.random.RandomState([spec.random_seed & 0xFFFFFFFF, step, 0x1D])
