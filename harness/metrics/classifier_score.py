"""Classifier score: the Inception Score's formula on the classifier at hand; IS on Inception."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from harness.metrics.base import Conditions, Metric, Observation, Statistics, metrics
from harness.metrics.extractors.inception import FID_LABEL
from harness.store.records import MetricInfo

LOWEST_LOGIT = -700.0
"""exp(−700) is still above zero in float64: a class that never occurs adds 0, not 0·∞."""


SPLITS = 10
SHUFFLE_SEED = 2020


def classifier_score(logits: Tensor) -> float:
    """Compute exp E KL(p(y|x) ‖ p(y)), the mean over torch-fidelity's ten shuffled splits.

    It is that library's number to the last bit, without the seconds that importing it takes.

    Args:
        logits: float64 ``(n, classes)``; only their differences matter.

    Returns:
        A score from 1 to the number of classes; NaN for fewer than ten samples.
    """
    count = len(logits)
    if count < SPLITS:
        return float("nan")
    relative = (logits - logits.amax(1, keepdim=True)).clamp(min=LOWEST_LOGIT)
    # Its splits are the same in every measurement: nothing random is left in the number.
    shuffled = relative[np.random.RandomState(SHUFFLE_SEED).permutation(count)]
    p, log_p = shuffled.softmax(1), shuffled.log_softmax(1)
    scores = []
    for split in range(SPLITS):
        part = slice(split * count // SPLITS, (split + 1) * count // SPLITS)
        marginal = p[part].mean(0, keepdim=True)
        divergence = (p[part] * (log_p[part] - marginal.log())).sum(1)
        scores.append(divergence.mean().exp().item())
    return float(np.mean(scores))


@metrics.register("classifier-score", source="Salimans et al. 2016, arXiv:1606.03498, section 4")
class ClassifierScore(Metric):
    """Sureness and variety of the classes seen in generated samples."""

    @classmethod
    def applies(cls, conditions: Conditions) -> bool:
        """Whether there is a classifier; for points there is one if their modes are known."""
        known = conditions.kind == "images" or conditions.modes is not None
        return known and conditions.has_logits

    def columns(self) -> list[MetricInfo]:
        """Describe the score; only on Inception is it called IS."""
        conditions = self.conditions
        name = (
            f"is{conditions.protocol(reference=False)}"
            if conditions.extractor == FID_LABEL
            else conditions.name("cs", reference=False)
        )
        return [self.column(name, "higher", self.summary)]

    def values(self, generated: Observation, reference: Statistics) -> list[float]:
        """Compute the score."""
        assert generated.logits is not None  # noqa: S101 - the metric applies only where there are
        return [classifier_score(generated.logits)]
