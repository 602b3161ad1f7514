"""What a metric is: columns of an evaluation, named by their protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from harness.datasets.base import Dataset, Kind, Values
from harness.datasets.halves import Half
from harness.registry import Registry
from harness.spec import Split
from harness.store.records import MetricInfo

Statistics = dict[str, Tensor]
"""What a metric keeps of the reference data, by name; float64 or int64, on the CPU."""
PERFECT = "a perfect sampler"
"""What calibrations call samples of the data's own law."""


@dataclass(frozen=True)
class Conditions:
    """Under which conditions an evaluation is made; metrics take their names from it.

    Attributes:
        kind: Points or images.
        extractor: Its label, such as ``digits-cnn@1a2b3c4d``; ``data`` for the data space itself.
        samples: Generated samples per evaluation.
        reference: The split they are compared with.
        classes: Number of classes or modes that the logits stand for; None if they do not stand
            for the data set's.
        modes: Centres of a mixture's modes, ``(modes, dimensions)``; None for other data.
        sigma: Standard deviation of each mode; None for other data.
        has_logits: Whether there is a classifier, of whatever classes.
        stacked: Whether the classes are equally likely triples of digits, one on each channel.
    """

    kind: Kind
    extractor: str
    samples: int
    reference: Split
    classes: int | None = None
    modes: NDArray[np.float64] | None = None
    sigma: float | None = None
    has_logits: bool = True
    stacked: bool = False

    @property
    def count(self) -> str:
        """The sample count as names have it: ``1000``, ``2500``, but ``26k`` and ``50k``."""
        thousands, rest = divmod(self.samples, 1000)
        return f"{thousands}k" if thousands >= 10 and rest == 0 else str(self.samples)

    def name(self, metric: str, *, reference: bool) -> str:
        """Name a metric that looks through the extractor.

        Args:
            metric: Such as ``fd``.
            reference: Whether it compares with the reference split.
        """
        return f"{metric}[{self.extractor}]{self.protocol(reference=reference)}"

    def protocol(self, *, reference: bool) -> str:
        """Write the part of a name after its extractor, such as ``@1000/train``."""
        return f"@{self.count}/{self.reference}" if reference else f"@{self.count}"


@dataclass(frozen=True)
class Observation:
    """A set of examples as the extractor sees them; everything finite.

    Attributes:
        features: float64 ``(n, dimensions)``, on the CPU; of points, their coordinates.
        logits: float64 ``(n, classes)``; of points of a mixture, the log posterior up to a
            constant. None where there is no classifier.
        labels: int64 ``(n,)``, known of real data only.
    """

    features: Tensor
    logits: Tensor | None
    labels: Tensor | None = None


class Metric:
    """One or more columns that are computed together.

    Its numbers depend on one run's samples and the reference alone. Wherever the formula has no
    value the answer is NaN, never an exception.
    """

    id: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    version: ClassVar[int] = 1
    """Raised by every change that alters the metric's numbers; part of each run's identity."""

    def __init__(self, conditions: Conditions) -> None:
        self.conditions = conditions

    @classmethod
    def applies(cls, conditions: Conditions) -> bool:
        """Whether the metric is defined under these conditions."""
        return True

    def columns(self) -> list[MetricInfo]:
        """Describe the columns, without their floors."""
        raise NotImplementedError

    def reference(self, real: Observation) -> Statistics:
        """Reduce the whole reference split to what :meth:`values` needs; kept on disk."""
        return {}

    def values(self, generated: Observation, reference: Statistics) -> list[float]:
        """Compute one number per column, in their order."""
        raise NotImplementedError

    def calibrate(
        self,
        dataset: Dataset,
        half: Half,
        root: Path | None,
        look: Callable[[Values], Observation],
    ) -> dict[str, list[list[float]]]:
        """Measure samples of which the right answer is known, for reports to print beside results.

        Args:
            dataset: The data set.
            half: Which of its splits may be read.
            root: The data root.
            look: Shows examples to the extractor.

        Returns:
            By what the samples are, one list of numbers per draw, a number per column; empty for
            a metric without calibration.
        """
        return {}

    def histogram(self, generated: Observation) -> list[int] | None:
        """Count generated examples per class or mode, if that is what the metric is about."""
        return None


metrics: Registry[Metric] = Registry("metric", "harness.metrics")
