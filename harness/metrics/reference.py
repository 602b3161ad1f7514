"""The real data's side of every number: statistics, floors and calibrations, kept on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.datasets.base import Dataset, Examples, Kind, datasets
from harness.datasets.splits import Splits
from harness.metrics.applicable import DATA_SPACE, PREPROCESSING
from harness.metrics.base import Metric, Observation, Statistics, metrics
from harness.metrics.cache import ReferenceCache
from harness.metrics.extractors.base import extractors
from harness.metrics.observer import Observer, measure
from harness.metrics.pairs import PairMetric
from harness.spec import Split
from harness.store.code import PartCode

FLOOR_SEED = 0
FLOOR_DRAWS = 21
"""Floors are medians over so many draws: the distance of one varies by half of itself."""
LIBRARIES = ("torch", "torch-fidelity", "numpy")
DTYPES: dict[Kind, str] = {"images": "float32 features, float64 statistics", "points": "float64"}
COMPARED_FEATURES = "compared-features"
"""Where the cache has the features that all metrics of pairs share."""
CLASS_COUNTS = "class_counts"
"""Where the cache has how often each class occurs."""
CALIBRATION = "calibration"
"""What the cached answers to known samples begin with; the rest names metric and samples."""
LAYOUT = 2
"""Raised by every change of what the cache holds, and of what features are compared."""
CALIBRATION_VERSION = 1
"""Raised by every change of what a metric's ``calibrate`` gives."""


WITHIN = (0.025, 0.975)
"""Quantiles of a calibration's draws that are kept as its limits."""


@dataclass(frozen=True)
class Reference:
    """What the real data of one protocol come to.

    Attributes:
        count: Examples of the reference split, all of which are looked at.
        statistics: What each metric keeps of them, in the order of the metrics, on the device.
        floors: By column, the median over draws of real held-out examples; NaN where undefined.
        floor_count: Examples in each draw.
        class_counts: How often each class occurs among them; None without labels.
        calibrations: By column, the numbers of samples whose right answer is known, by what they
            are: the mean over draws, and the limits that 95 % lie between where there were several.
    """

    count: int
    statistics: list[Statistics]
    floors: list[float]
    floor_count: int
    class_counts: list[int] | None
    calibrations: list[dict[str, list[float]]]


@dataclass(frozen=True)
class Measurement:
    """How a reference is measured, and where it is kept.

    Attributes:
        dataset: The data.
        splits: Which of its splits are compared with, and give the floor.
        metrics: What is measured.
        observer: Looks at examples.
        root: The data root.
    """

    dataset: Dataset
    splits: Splits
    metrics: Sequence[Metric]
    observer: Observer
    root: Path | None

    @cached_property
    def key(self) -> dict[str, Any]:
        """Everything that the numbers depend on, as JSON."""
        conditions, extractor = self.observer.conditions, self.observer.extractor
        return {
            "dataset": [self.dataset.id, self.dataset.fingerprint()],
            "split": conditions.reference,
            "content": list(self.content.values()),
            "code": [[part.kind, part.id, part.name] for part in self._code],
            "count": [conditions.samples, conditions.compared],
            "resolution": list(self.dataset.shape),
            "preprocessing": PREPROCESSING,
            "extractor": extractor.id if extractor is not None else DATA_SPACE,
            "weights": extractor.sha256 if extractor is not None else "",
            "dtype": DTYPES[self.dataset.kind],
            "device": self.observer.device.type,
            "metrics": [[metric.id, metric.version] for metric in self.metrics],
            "floors": [FLOOR_SEED, FLOOR_DRAWS, self.splits.held_out],
            "calibration": CALIBRATION_VERSION,
            "layout": LAYOUT,
            "libraries": [[name, version(name)] for name in LIBRARIES],
        }

    def reference(self, cache: ReferenceCache) -> Reference:
        """Take the reference from the cache, or measure it and keep it there.

        Raises:
            DataError: if data are needed and absent or damaged.
        """
        # What foreign code computes may be kept only where that code can be told from other.
        lasting = all(part.sources for part in self._code)
        kept = cache.read(self.key) if lasting else None
        if kept is None:
            kept = self._measured()
            if lasting:
                cache.write(self.key, kept)
        return Reference(
            count=int(kept["count"]),
            statistics=self._statistics(kept),
            floors=kept["floors"].tolist(),
            floor_count=int(kept["floor_count"]),
            class_counts=kept[CLASS_COUNTS].tolist() if CLASS_COUNTS in kept else None,
            calibrations=self._calibrations(kept),
        )

    @property
    def _compared(self) -> tuple[Split, Split]:
        return self.splits.reference, self.splits.held_out

    @cached_property
    def content(self) -> dict[Split, str]:
        """What the splits hold, the reference first: by pins, or where nothing pins it, by reading.

        Raises:
            DataError: if data are needed and absent or damaged.
        """
        return {
            split: self.dataset.pin(split) or self._examples(split).sha256
            for split in self._compared
        }

    def _examples(self, split: Split) -> Examples:
        """Read a split, once."""
        if split not in self._read:
            self._read[split] = self.dataset.load(split, self.root)
        return self._read[split]

    @cached_property
    def _read(self) -> dict[Split, Examples]:
        return {}

    @cached_property
    def _code(self) -> list[PartCode]:
        """List what takes part and is not ganbench's own, whose version does not name it."""
        extractor = self.observer.extractor
        taking_part = (
            datasets.foreign().get(self.dataset.id),
            extractors.foreign().get(extractor.id) if extractor is not None else None,
            *(metrics.foreign().get(metric.id) for metric in self.metrics),
        )
        return [part for part in taking_part if part is not None]

    def _measured(self) -> dict[str, Tensor]:
        """Measure everything, as tensors by the names under which the cache keeps them."""
        conditions = self.observer.conditions
        examples, held_out = map(self._examples, self._compared)
        count = min(conditions.samples, len(held_out))
        real = self.observer.real(examples)
        statistics = [metric.reference(real) for metric in self.metrics]
        # Fewer held-out examples are compared with as few real ones, as generated ones would be.
        fewer = replace(conditions, samples=count)
        of_floors = [
            type(metric)(fewer).reference(real)
            if isinstance(metric, PairMetric) and fewer.compared < conditions.compared
            else kept
            for metric, kept in zip(self.metrics, statistics, strict=True)
        ]
        del real  # of a thousand classes, its logits alone take a gigabyte
        unseen = self.observer.look(held_out.values)
        random = np.random.RandomState(FLOOR_SEED)
        draws = []
        for _ in range(FLOOR_DRAWS if count < len(held_out) else 1):
            chosen = torch.from_numpy(random.permutation(len(held_out))[:count])
            logits = unseen.logits[chosen] if unseen.logits is not None else None
            drawn = Observation(unseen.features[chosen], logits)
            measured = measure(self.metrics, drawn, of_floors)
            draws.append([value for values in measured for value in values])
        del unseen
        kept: dict[str, Tensor] = {
            "count": torch.tensor(len(examples)),
            "floors": torch.from_numpy(np.median(np.array(draws), axis=0)),
            "floor_count": torch.tensor(count),
        }
        if examples.labels is not None and self.dataset.classes is not None:
            kept[CLASS_COUNTS] = torch.bincount(examples.labels, minlength=self.dataset.classes)
        for metric, reference in zip(self.metrics, statistics, strict=True):
            kept |= {place(metric, name): tensor.cpu() for name, tensor in reference.items()}
        if COMPARED_FEATURES in kept:
            kept[COMPARED_FEATURES] = narrow(kept[COMPARED_FEATURES])
        for metric in self.metrics:
            known = metric.calibrate(self.dataset, self.splits, self.root, self.observer.look)
            for label, numbers in known.items():
                answers = torch.tensor(numbers, dtype=torch.float64)
                kept[f"{CALIBRATION}/{metric.id}/{label}"] = answers
        return kept

    def _statistics(self, kept: dict[str, Tensor]) -> list[Statistics]:
        """Sort what was kept by metric, and put it on the device."""
        held: dict[str, Statistics] = {metric.id: {} for metric in self.metrics}
        for name, tensor in kept.items():
            owner, slash, key = name.partition("/")
            if slash and owner in held:
                held[owner][key] = tensor.to(self.observer.device)
        if COMPARED_FEATURES in kept:
            features = kept[COMPARED_FEATURES].to(self.observer.device).double()
            for metric in self.metrics:
                if isinstance(metric, PairMetric):
                    held[metric.id]["features"] = features
        return [held[metric.id] for metric in self.metrics]

    def _calibrations(self, kept: dict[str, Tensor]) -> list[dict[str, list[float]]]:
        """Read the calibration of every column, in their order."""
        calibrations: list[dict[str, list[float]]] = []
        for metric in self.metrics:
            known: list[dict[str, list[float]]] = [{} for _ in metric.columns()]
            for name in sorted(kept):
                _, _, label = name.partition(f"{CALIBRATION}/{metric.id}/")
                if label:
                    draws = kept[name]
                    numbers = [draws.mean(0)]
                    if len(draws) > 1:
                        numbers += draws.quantile(draws.new_tensor(WITHIN), dim=0)
                    for i, answers in enumerate(torch.stack(numbers, 1).tolist()):
                        known[i][label] = answers
            calibrations += known
        return calibrations


def place(metric: Metric, name: str) -> str:
    """Say under which name the cache keeps one of a metric's tensors."""
    shared = isinstance(metric, PairMetric) and name == "features"
    return COMPARED_FEATURES if shared else f"{metric.id}/{name}"


def narrow(features: Tensor) -> Tensor:
    """Make features float32 where that loses nothing, which is wherever they were computed so."""
    small = features.float()
    return small if torch.equal(small.double(), features) else features
