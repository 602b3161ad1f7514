"""What a metric is: columns of an evaluation, named by their protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from harness.datasets.base import Dataset, Kind, Values
from harness.datasets.splits import Splits
from harness.registry import Registry
from harness.spec import Split
from harness.store.records import MetricInfo

Statistics = dict[str, Tensor]
"""What a metric keeps of the reference data, by name; float64 or int64."""
COMPARED = 2500
"""Examples of each side that metrics of pairs look at: their cost grows with the square."""
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
        most_compared: Generated samples that are compared one by one with real ones, at most.
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
    most_compared: int = COMPARED

    @property
    def compared(self) -> int:
        """Generated samples that are compared one by one with as many real ones."""
        return min(self.samples, self.most_compared)

    stacked: bool = False

    @property
    def count(self) -> str:
        """The sample count as names have it: ``1000``, ``2500``, but ``26k`` and ``50k``."""
        return count_text(self.samples)

    def name(self, metric: str, *, reference: bool, samples: int | None = None) -> str:
        """Name a metric that looks through the extractor.

        Args:
            metric: Such as ``fd``.
            reference: Whether it compares with the reference split.
            samples: Generated samples that it looks at, if not all.
        """
        protocol = self.protocol(reference=reference, samples=samples)
        return f"{metric}[{self.extractor}]{protocol}"

    def protocol(self, *, reference: bool, samples: int | None = None) -> str:
        """Write the part of a name after its extractor, such as ``@1000/train``."""
        count = self.count if samples is None else count_text(samples)
        return f"@{count}/{self.reference}" if reference else f"@{count}"


def count_text(samples: int) -> str:
    """Write a sample count as names have it: in thousands from ten of them on, where whole."""
    thousands, rest = divmod(samples, 1000)
    return f"{thousands}k" if thousands >= 10 and rest == 0 else str(samples)


@dataclass(frozen=True)
class Observation:
    """A set of examples as the extractor sees them; everything finite.

    Attributes:
        features: float64 ``(n, dimensions)``, on the extractor's device; of points, their
            coordinates.
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
    on_request: ClassVar[bool] = False
    """Whether it is measured only where the setting ``metrics`` asks for it."""
    draws: ClassVar[bool] = False
    """Whether it draws subsets, so that its numbers depend on the order of the samples too."""

    def __init__(self, conditions: Conditions) -> None:
        self.conditions = conditions

    @classmethod
    def applies(cls, conditions: Conditions) -> bool:
        """Whether the metric is defined under these conditions."""
        return True

    def columns(self) -> list[MetricInfo]:
        """Describe the columns, without their floors."""
        raise NotImplementedError

    def column(
        self,
        name: str,
        better: Literal["lower", "higher", "none"],
        summary: str,
        *,
        primary: bool = False,
    ) -> MetricInfo:
        """Describe one of them."""
        return MetricInfo(name, self.id, summary, better, primary)

    @property
    def classes(self) -> int:
        """Number of classes or modes; for metrics that apply only where these are known."""
        assert self.conditions.classes is not None  # noqa: S101 - it does not apply elsewhere
        return self.conditions.classes

    def reference(self, real: Observation) -> Statistics:
        """Reduce the whole reference split to what :meth:`values` needs; kept on disk."""
        return {}

    def values(self, generated: Observation, reference: Statistics) -> list[float]:
        """Compute one number per column, in their order."""
        raise NotImplementedError

    def calibrate(
        self,
        dataset: Dataset,
        splits: Splits,
        root: Path | None,
        look: Callable[[Values], Observation],
    ) -> dict[str, list[list[float]]]:
        """Measure samples of which the right answer is known, for reports to print beside results.

        Args:
            dataset: The data set.
            splits: Which of its splits may be read.
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


metrics: Registry[Metric] = Registry("metric")
