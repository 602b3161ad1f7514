"""Classifier score: the Inception Score's formula on the classifier at hand; IS on Inception."""

from __future__ import annotations

from torch import Tensor

from harness.metrics.base import Conditions, Metric, Observation, Statistics, metrics
from harness.metrics.extractors.inception import FID_LABEL
from harness.store.records import MetricInfo

LOWEST_LOGIT = -700.0
"""exp(−700) is still above zero in float64: a class that never occurs adds 0, not 0·∞."""


def classifier_score(logits: Tensor) -> float:
    """Compute exp E KL(p(y|x) ‖ p(y)), the mean over torch-fidelity's ten shuffled splits.

    Args:
        logits: float64 ``(n, classes)``; only their differences matter.

    Returns:
        A score from 1 to the number of classes; NaN for fewer than ten samples.
    """
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

    relative = (logits - logits.amax(1, keepdim=True)).clamp(min=LOWEST_LOGIT)
    if len(logits) < 10:
        return float("nan")
    return float(isc_features_to_metric(relative)[KEY_METRIC_ISC_MEAN])


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
        return [MetricInfo(name, self.id, self.summary, better="higher")]

    def values(self, generated: Observation, reference: Statistics) -> list[float]:
        """Compute the score."""
        assert generated.logits is not None  # noqa: S101 - the metric applies only where there are
        return [classifier_score(generated.logits)]
