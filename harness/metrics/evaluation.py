"""Evaluates generated samples of several runs against a fixed reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from harness.datasets.base import Dataset
from harness.datasets.splits import splits_of
from harness.metrics.applicable import PREPROCESSING, conditions_of, find_extractor, metrics_for
from harness.metrics.cache import ReferenceCache
from harness.metrics.observer import Observed, Observer, measure
from harness.metrics.reference import Measurement
from harness.spec import Split
from harness.store.folders import cache_folder
from harness.store.records import DataFacts, MetricInfo, Provenance

DIVERSITY = "diversity"


@dataclass(frozen=True)
class Evaluation:
    """What was measured of one run.

    Attributes:
        values: Number by metric name; the keys of :attr:`Evaluator.metrics`, in their order. All
            are NaN if a sample is not finite, and one is where its formula has no value.
        histogram: Generated examples per class, or high-quality samples per mode; None where
            the data has neither, or the extractor cannot tell them.
        diversity: Mean pairwise feature distance over the real data's; NaN like the values.
        mode_coverage: Share of modes or classes that were hit, 0 to 1; NaN without a histogram.
    """

    values: dict[str, float]
    histogram: list[int] | None
    diversity: float
    mode_coverage: float


class Evaluator:
    """Measures samples; built once per process, with the reference side taken from disk.

    Args:
        dataset: What the generators are to imitate.
        extractor: Id of the extractor; ``data`` for points.
        samples: Generated samples per evaluation.
        reference: Split that they are compared with, all of it.
        root: The data root, for data sets and weights that need it.
        device: Where everything is computed.
        requested: Ids of the metrics on request that are asked for.
        cache: Folder of reference statistics; by default the user's cache folder.

    Attributes:
        metrics: The columns. A floor is the median over draws of as many real examples of the
            split that is held out: test for the reference train, train for test and, in a search,
            train for validation. If the split has fewer, all of it is the one draw;
            ``floor_count`` says how many there were.
        provenance: What the numbers rest on, but for how the generator was evaluated.
        data: What reports need to know of data and protocol.

    Raises:
        DataError: if data or weights are needed and absent or damaged.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        extractor: str,
        samples: int,
        reference: Split,
        root: Path | None,
        device: torch.device,
        requested: Sequence[str] = (),
        cache: Path | None = None,
    ) -> None:
        self._shape = dataset.shape
        self._conditions = conditions = conditions_of(dataset, extractor, samples, reference)
        self._metrics = metrics_for(conditions, requested)
        chosen = find_extractor(dataset, extractor)
        loaded = chosen.load(device, root) if chosen is not None else None
        self._observer = Observer(conditions, loaded, device)
        splits = splits_of(reference)
        measurement = Measurement(dataset, splits, self._metrics, self._observer, root)
        known = measurement.reference(
            ReferenceCache(cache if cache is not None else cache_folder())
        )
        self._statistics = known.statistics
        columns = [
            replace(column, version=metric.version)
            for metric in self._metrics
            for column in metric.columns()
        ]
        self.metrics: list[MetricInfo] = [
            replace(
                column,
                floor=floor if math.isfinite(floor) else None,
                floor_count=known.floor_count,
                calibration=calibration,
            )
            for column, floor, calibration in zip(
                columns, known.floors, known.calibrations, strict=True
            )
        ]
        modes = conditions.modes
        content: dict[str, str] = {
            split: name for split, name in measurement.content.items() if dataset.pin(split) is None
        }
        self.data = DataFacts(
            kind=dataset.kind,
            shape=tuple(dataset.shape),
            classes=dataset.classes,
            modes=modes.tolist() if modes is not None else None,
            sigma=conditions.sigma,
            reference_count=known.count,
            extractor=conditions.extractor,
            class_counts=None if known.class_counts is None else tuple(known.class_counts),
            class_names=None if dataset.class_names is None else tuple(dataset.class_names),
            notes=tuple(dataset.notes),
            content=content or None,
        )
        key = measurement.key
        self.provenance = Provenance(
            extractor=conditions.extractor,
            weights_sha256=key["weights"],
            samples=samples,
            reference=reference,
            reference_count=known.count,
            floor=splits.held_out,
            dtype=key["dtype"],
            preprocessing=PREPROCESSING,
            device=key["device"],
            libraries=dict(key["libraries"]),
        )

    def __call__(self, generated: Tensor) -> list[Evaluation]:
        """Measure the samples of each run, each as if it were alone.

        Args:
            generated: ``(runs, samples, *shape)``; images in [−1, 1], points as they are.
        """
        look = self.observe(generated)
        return [self.measure(look(run)) for run in range(len(generated))]

    def observe(self, generated: Tensor) -> Callable[[int], Observed]:
        """Look at the samples of all runs; see :meth:`Observer.generated`.

        Args:
            generated: ``(runs, samples, *shape)``; images in [−1, 1], points as they are.

        Returns:
            Gives the observation of a run, by position.

        Raises:
            ValueError: if they are of another number or shape.
        """
        expected = (self._conditions.samples, *self._shape)
        if generated.shape[1:] != expected:
            raise ValueError(f"samples are {tuple(generated.shape[1:])} per run, not {expected}")
        return self._observer.generated(generated)

    def measure(self, seen: Observed) -> Evaluation:
        """Compute every number of one run."""
        numbers = [math.nan] * len(self.metrics)
        if seen.whole:
            by_metric = measure(self._metrics, seen.examples, self._statistics)
            numbers = [value for values in by_metric for value in values]
        histogram: list[int] | None = None
        for metric in self._metrics:
            counted = metric.histogram(seen.examples)
            histogram = counted if counted is not None else histogram
        named = {info.name: value for info, value in zip(self.metrics, numbers, strict=True)}
        diversity = next(i.name for i in self.metrics if i.metric == DIVERSITY)
        hit = sum(count > 0 for count in histogram) / len(histogram) if histogram else math.nan
        return Evaluation(named, histogram, named[diversity], hit)
