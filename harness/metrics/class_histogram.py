"""Class histogram: whether generated images show every class as often as the data does."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.metrics.base import Conditions, Metric, Observation, Statistics, metrics
from harness.store.records import MetricInfo


def class_counts(observation: Observation, classes: int) -> Tensor:
    """Count examples per class, int64 ``(classes,)``: by label where known, else as classified."""
    labels = observation.labels
    if labels is None:
        assert observation.logits is not None  # noqa: S101 - images always have logits
        labels = observation.logits.argmax(1)
    return torch.bincount(labels, minlength=classes)


def histogram_kl(counts: Tensor, reference: Tensor) -> float:
    """Compute KL(generated ‖ data) of two histograms, in nats.

    Returns:
        0 for the same shares; infinite if a class appears that the data does not have; NaN for
        an empty histogram.
    """
    share = counts.double() / counts.sum()
    expected = reference.double() / reference.sum()
    seen = share != 0
    return float((share[seen] * (share[seen] / expected[seen]).log()).sum())


def total_variation(counts: Tensor, reference: Tensor) -> float:
    """Return half the sum of absolute differences of shares: 0 for the same, 1 for disjoint."""
    difference = counts.double() / counts.sum() - reference.double() / reference.sum()
    return float(difference.abs().sum()) / 2


@metrics.register("class-histogram", source="Santurkar et al. 2018, arXiv:1711.00970, section 3.1")
class ClassHistogram(Metric):
    """Shares of the classes among generated images, against those of the data."""

    @classmethod
    def applies(cls, conditions: Conditions) -> bool:
        """Whether the extractor tells the data set's classes apart, and no triples of them."""
        return (
            conditions.kind == "images"
            and conditions.classes is not None
            and not conditions.stacked
        )

    def columns(self) -> list[MetricInfo]:
        """Describe divergence, missing classes and total variation."""
        name = self.conditions.name
        return [
            self.column(
                name("class-kl", reference=True),
                "lower",
                "KL(generated ‖ data) over classes, in nats",
            ),
            self.column(
                name("missing-classes", reference=False),
                "lower",
                "classes that no generated image was classified as",
            ),
            self.column(
                name("class-tv", reference=True),
                "lower",
                "total variation between the shares of classes, 0 to 1",
            ),
        ]

    def reference(self, real: Observation) -> Statistics:
        """Keep the data's histogram."""
        return {"counts": class_counts(real, self.classes)}

    def values(self, generated: Observation, reference: Statistics) -> list[float]:
        """Compute the three numbers."""
        counts = class_counts(generated, self.classes)
        return [
            histogram_kl(counts, reference["counts"]),
            float((counts == 0).sum()),
            total_variation(counts, reference["counts"]),
        ]

    def histogram(self, generated: Observation) -> list[int]:
        """Count generated images per class."""
        return [int(count) for count in class_counts(generated, self.classes).tolist()]
