"""Examples as metrics see them: features and logits of an extractor, or the data space itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from harness.datasets.base import Examples, Values, to_bytes
from harness.metrics.base import Conditions, Metric, Observation, Statistics
from harness.metrics.extractors.base import Extractor
from harness.metrics.modes import distances
from harness.metrics.pairs import PairMetric, measure_pairs


@dataclass(frozen=True)
class Observed:
    """One run's samples as the extractor sees them.

    Attributes:
        examples: Those that are finite.
        whole: Whether all are.
    """

    examples: Observation
    whole: bool


@dataclass(frozen=True)
class Observer:
    """Looks at examples through an extractor.

    Attributes:
        conditions: Under which they are measured.
        extractor: The network; None for the data space itself.
        device: Where everything is computed.
    """

    conditions: Conditions
    extractor: Extractor | None
    device: torch.device

    def look(self, values: Values) -> Observation:
        """Look at uint8 images ``(n, channels, height, width)``, or at points."""
        if self.extractor is not None:
            features, logits = self.extractor.features(values)
            return Observation(features, logits if self.extractor.has_classes else None)
        points = values[:].to(self.device).double()
        modes, sigma = self.conditions.modes, self.conditions.sigma
        if modes is None or sigma is None:
            return Observation(points, None)
        # The modes are equally likely, so Bayes' rule leaves the log densities.
        return Observation(points, distances(points, modes).square() / (-2 * sigma**2))

    def real(self, examples: Examples) -> Observation:
        """Look at real examples, with their labels where these are known."""
        labels = examples.labels
        known = labels.to(self.device) if labels is not None else None
        return replace(self.look(examples.values), labels=known)

    def generated(self, samples: Tensor) -> Callable[[int], Observed]:
        """Look at the samples of all runs.

        On a GPU all of it is done here, and nothing waits for the device between two runs; on a
        CPU, where there is nothing to gain, each run's turn comes when it is asked for. A pass
        through the extractor never holds samples of two runs: it is the same pass, to the last
        bit, whatever the cohort.

        Args:
            samples: ``(runs, samples, *shape)``; images in [−1, 1], points as they are.

        Returns:
            Gives the observation of a run, by position.
        """
        samples = samples.detach()
        finite = samples.flatten(2).isfinite().all(2)
        whole = finite.all(1).tolist()

        def observed(run: int) -> Observed:
            mine = samples[run] if whole[run] else samples[run, finite[run]]
            as_bytes = self.extractor is not None and mine.is_floating_point()
            return Observed(self.look(to_bytes(mine) if as_bytes else mine), whole[run])

        if self.device.type != "cuda":
            return observed
        return [observed(run) for run in range(len(samples))].__getitem__


def measure(
    metrics: Sequence[Metric], observation: Observation, references: Sequence[Statistics]
) -> list[list[float]]:
    """Compute each metric's values, NaN for what is not finite; those of pairs share one pass."""
    both = list(zip(metrics, references, strict=True))
    paired = [(m, r) for m, r in both if isinstance(m, PairMetric)]
    shared = iter(measure_pairs([m for m, _ in paired], [r for _, r in paired], observation))
    measured = (
        next(shared) if isinstance(metric, PairMetric) else metric.values(observation, reference)
        for metric, reference in both
    )
    return [[v if math.isfinite(v) else math.nan for v in values] for values in measured]
