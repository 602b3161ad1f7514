"""Evaluates generated samples of several runs against a fixed reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.datasets.base import Dataset, Examples, Kind, Values, to_bytes
from harness.datasets.halves import half_of
from harness.datasets.mixtures import Mixture
from harness.datasets.stacked import Stacked
from harness.errors import GanbenchError
from harness.metrics.base import Conditions, Metric, Observation, Statistics, metrics
from harness.metrics.cache import ReferenceCache
from harness.metrics.extractors.base import Extractor, extractors
from harness.metrics.extractors.exported import refuse_path
from harness.metrics.modes import distances
from harness.metrics.probes.base import probes
from harness.spec import Split, content_id
from harness.store.folders import cache_folder
from harness.store.records import MetricInfo, Provenance

DATA_SPACE = "data"
"""The extractor of points: their coordinates."""
PREPROCESSING = 1
"""Raised by every change of how samples become what an extractor sees."""
FLOOR_SEED = 0
FLOOR_DRAWS = 21
"""Floors are medians over so many draws: the distance of one varies by half of itself."""
LIBRARIES = ("torch", "torch-fidelity", "numpy")
DTYPES: dict[Kind, str] = {
    "images": "float32 features, float64 statistics",
    "points": "float64",
}
DIVERSITY = "diversity"
CALIBRATION = "calibration"
"""What the cached answers to known samples begin with; the rest names metric and samples."""
CALIBRATION_VERSION = 1
"""Raised by every change of what a metric's ``calibrate`` gives."""


@dataclass(frozen=True)
class Evaluation:
    """What was measured of one run.

    Attributes:
        values: Number by metric name; the keys of :attr:`Evaluator.metrics`, in their order. All
            are NaN if a sample is not finite, and one is where its formula has no value.
        histogram: Generated examples per class, or high-quality samples per mode; None where
            the data has neither, or the extractor cannot tell them.
        diversity: Mean pairwise feature distance over the real data's; NaN like the values.
        coverage: Share of modes or classes found, 0 to 1; NaN where there is no histogram.
    """

    values: dict[str, float]
    histogram: list[int] | None
    diversity: float
    coverage: float


def default_extractor(dataset: Dataset) -> str:
    """Name the extractor for a data set: the one that knows its classes, else Inception."""
    if dataset.kind == "points":
        return DATA_SPACE
    for extractor in extractors:
        if dataset.id in extractor.classifies:
            return extractor.id
    return "inception-v3-compat"


def require(dataset: Dataset, extractor: str, root: Path | None) -> None:
    """Check before any training that an extractor's weights are there.

    Raises:
        DataError: saying which file belongs where.
        GanbenchError: if the extractor is unknown, or not for this kind of data.
    """
    chosen = find_extractor(dataset, extractor)
    if chosen is not None:
        chosen.require(root)


def find_extractor(dataset: Dataset, extractor: str) -> type[Extractor] | None:
    """Return the class of an extractor, None for the data space.

    Raises:
        GanbenchError: if it is unknown, or not for this kind of data.
    """
    if (dataset.kind == "points") != (extractor == DATA_SPACE):
        raise GanbenchError(
            f"extractor {extractor!r} does not fit data set {dataset.id!r}, which holds "
            f"{dataset.kind}; use {default_extractor(dataset)!r}"
        )
    if extractor == DATA_SPACE:
        return None
    refuse_path(extractor)
    chosen = extractors.get(extractor)
    if dataset.shape[0] not in chosen.channels:
        raise GanbenchError(
            f"extractor {extractor!r} takes images of {' or '.join(map(str, chosen.channels))} "
            f"channels, those of data set {dataset.id!r} have {dataset.shape[0]}; "
            f"use {default_extractor(dataset)!r}"
        )
    chosen.try_on(dataset.shape)
    return chosen


def conditions_of(dataset: Dataset, extractor: str, samples: int, reference: Split) -> Conditions:
    """Work out under which conditions a data set is evaluated, without reading it."""
    chosen = find_extractor(dataset, extractor)
    mixture = dataset if isinstance(dataset, Mixture) else None
    known = mixture is not None or (chosen is not None and dataset.id in chosen.classifies)
    return Conditions(
        kind=dataset.kind,
        extractor=chosen.label() if chosen is not None else DATA_SPACE,
        samples=samples,
        reference=reference,
        classes=dataset.classes if known else None,
        modes=mixture.modes if mixture is not None else None,
        sigma=mixture.sigma if mixture is not None else None,
        has_logits=chosen is None or chosen.has_classes,
        stacked=isinstance(dataset, Stacked),
    )


def metrics_for(conditions: Conditions) -> list[Metric]:
    """Make the metrics that apply, the primary one first, then by id."""
    applicable = [metric(conditions) for metric in metrics if metric.applies(conditions)]
    return sorted(applicable, key=lambda metric: not any(c.primary for c in metric.columns()))


def protocol(
    dataset: Dataset,
    *,
    extractor: str,
    samples: int,
    reference: Split,
    asked: Sequence[str] = (),
) -> str:
    """Fingerprint everything that decides how a number is measured; reads no data.

    That is the columns' names, the metrics' versions, the preprocessing, the data set's id and
    the hash of the extractor's weights; of the probes that are asked for, versions and columns.
    """
    conditions = conditions_of(dataset, extractor, samples, reference)
    chosen = find_extractor(dataset, extractor)
    described: dict[str, Any] = {
        "metrics": [
            [metric.id, metric.version, [column.name for column in metric.columns()]]
            for metric in metrics_for(conditions)
        ],
        "dataset": dataset.id,
        "extractor": [extractor, chosen.weights_sha256() if chosen is not None else ""],
        "samples": samples,
        "reference": reference,
        "preprocessing": PREPROCESSING,
    }
    if asked:
        described["probes"] = [
            [name, probe.version, [column.name for column in probe.columns(dataset, reference)]]
            for name, probe in ((name, probes.get(name)) for name in asked)
        ]
    return content_id(described)


class Evaluator:
    """Measures samples; built once per process, with the reference side taken from disk.

    Args:
        dataset: What the generators are to imitate.
        extractor: Id of the extractor; ``data`` for points.
        samples: Generated samples per evaluation.
        reference: Split that they are compared with, all of it.
        root: The data root, for data sets and weights that need it.
        device: Where the extractor computes.
        cache: Folder of reference statistics; by default the user's cache folder.

    Attributes:
        metrics: The columns. A floor is the median over draws of as many real examples of the
            other split of the reference's half: test for train, train for test and, in a search,
            train for validation. If the split has fewer, all of it is the one draw;
            ``floor_count`` says how many there were.
        provenance: What the numbers rest on, but for how the generator was evaluated.
        data: What reports need to know of data and protocol, as JSON.

    Raises:
        DataError: if data or weights are needed and absent or damaged.
    """

    metrics: list[MetricInfo]
    provenance: Provenance
    data: dict[str, Any]

    def __init__(
        self,
        dataset: Dataset,
        *,
        extractor: str,
        samples: int,
        reference: Split,
        root: Path | None,
        device: torch.device,
        cache: Path | None = None,
    ) -> None:
        self._dataset = dataset
        self._half = half_of(reference)
        self._conditions = conditions_of(dataset, extractor, samples, reference)
        self._metrics = metrics_for(self._conditions)
        chosen = find_extractor(dataset, extractor)
        self._extractor = chosen.load(device, root) if chosen is not None else None
        store = ReferenceCache(cache if cache is not None else cache_folder())
        key = self._cache_key()
        kept = store.read(key)
        if kept is None:
            kept = self._measure_reference(root)
            store.write(key, kept)
        self._statistics: list[Statistics] = [
            {
                name.partition("/")[2]: tensor
                for name, tensor in kept.items()
                if name.startswith(f"{metric.id}/")
            }
            for metric in self._metrics
        ]
        columns = [
            replace(column, version=metric.version)
            for metric in self._metrics
            for column in metric.columns()
        ]
        self.metrics = [
            replace(
                column,
                floor=floor if math.isfinite(floor) else None,
                floor_count=int(kept["floor_count"]),
                calibration=known,
            )
            for column, floor, known in zip(
                columns, kept["floors"].tolist(), self._calibrations(kept), strict=True
            )
        ]
        modes = self._conditions.modes
        self.data = {
            "kind": dataset.kind,
            "shape": list(dataset.shape),
            "classes": dataset.classes,
            "modes": modes.tolist() if modes is not None else None,
            "sigma": self._conditions.sigma,
            "reference_count": int(kept["count"]),
            "extractor": self._conditions.extractor,
        }
        if dataset.notes:
            self.data["notes"] = list(dataset.notes)
        self.provenance = Provenance(
            extractor=self._conditions.extractor,
            weights_sha256=key["weights"],
            samples=samples,
            reference=reference,
            reference_count=int(kept["count"]),
            floor=self._half.held_out,
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
        expected = (self._conditions.samples, *self._dataset.shape)
        if generated.shape[1:] != expected:
            raise ValueError(f"samples are {tuple(generated.shape[1:])} per run, not {expected}")
        return [self._evaluate(samples) for samples in generated.detach()]

    def _evaluate(self, samples: Tensor) -> Evaluation:
        finite = samples.flatten(1).isfinite().all(1)
        whole = bool(finite.all())
        histogram: list[int] | None = None
        values: list[float] = []
        observation = self._observe(samples[finite])
        for metric, statistics in zip(self._metrics, self._statistics, strict=True):
            values += self._values(metric, observation, statistics) if whole else []
            counted = metric.histogram(observation)
            histogram = counted if counted is not None else histogram
        numbers = values if whole else [math.nan] * len(self.metrics)
        named = {info.name: value for info, value in zip(self.metrics, numbers, strict=True)}
        diversity = next(i.name for i in self.metrics if i.metric == DIVERSITY)
        found = sum(count > 0 for count in histogram) / len(histogram) if histogram else math.nan
        return Evaluation(named, histogram, named[diversity], found)

    @staticmethod
    def _values(metric: Metric, observed: Observation, reference: Statistics) -> list[float]:
        values = metric.values(observed, reference)
        return [value if math.isfinite(value) else math.nan for value in values]

    def _observe(self, samples: Tensor) -> Observation:
        made = self._extractor is not None and samples.is_floating_point()
        return self._look(to_bytes(samples) if made else samples)

    def _look(self, values: Values) -> Observation:
        if self._extractor is not None:
            features, logits = self._extractor.features(values)
            return Observation(features, logits if self._extractor.has_classes else None)
        points = values[:].double().cpu()
        modes, sigma = self._conditions.modes, self._conditions.sigma
        if modes is None or sigma is None:
            return Observation(points, None)
        # The modes are equally likely, so Bayes' rule leaves the log densities.
        return Observation(points, distances(points, modes).square() / (-2 * sigma**2))

    def _observe_real(self, examples: Examples) -> Observation:
        return replace(self._look(examples.values), labels=examples.labels)

    def _calibrations(self, kept: dict[str, Tensor]) -> list[dict[str, list[float]]]:
        """Read the calibration of every column, in their order."""
        found: list[dict[str, list[float]]] = []
        for metric in self._metrics:
            known: list[dict[str, list[float]]] = [{} for _ in metric.columns()]
            for name in sorted(kept):
                _, _, label = name.partition(f"{CALIBRATION}/{metric.id}/")
                if label:
                    draws = kept[name]
                    spread = draws.std(0).tolist() if len(draws) > 1 else None
                    for i, mean in enumerate(draws.mean(0).tolist()):
                        known[i][label] = [mean, spread[i]] if spread else [mean]
            found += known
        return found

    def _cache_key(self) -> dict[str, Any]:
        extractor = self._extractor
        return {
            "dataset": [self._dataset.id, self._dataset.fingerprint()],
            "split": self._conditions.reference,
            "count": self._conditions.samples,
            "resolution": list(self._dataset.shape),
            "preprocessing": PREPROCESSING,
            "extractor": extractor.id if extractor is not None else DATA_SPACE,
            "weights": extractor.sha256 if extractor is not None else "",
            "dtype": DTYPES[self._dataset.kind],
            "device": extractor.device.type if extractor is not None else "cpu",
            "metrics": [[metric.id, metric.version] for metric in self._metrics],
            "floors": [FLOOR_SEED, FLOOR_DRAWS, self._half.held_out],
            "calibration": CALIBRATION_VERSION,
            "libraries": [[name, version(name)] for name in LIBRARIES],
        }

    def _measure_reference(self, root: Path | None) -> dict[str, Tensor]:
        conditions = self._conditions
        examples = self._half.real(self._dataset, root)
        real = self._observe_real(examples)
        statistics = [metric.reference(real) for metric in self._metrics]
        del real  # of a thousand classes, its logits alone take a gigabyte
        held_out = self._half.alike(self._dataset, root)
        alike = self._look(held_out.values)
        count = min(conditions.samples, len(held_out))
        random = np.random.RandomState(FLOOR_SEED)
        draws = []
        for _ in range(FLOOR_DRAWS if count < len(held_out) else 1):
            chosen = torch.from_numpy(random.permutation(len(held_out))[:count])
            logits = alike.logits[chosen] if alike.logits is not None else None
            drawn = Observation(alike.features[chosen], logits)
            draws.append(
                [
                    value
                    for metric, reference in zip(self._metrics, statistics, strict=True)
                    for value in self._values(metric, drawn, reference)
                ]
            )
        kept: dict[str, Tensor] = {
            "count": torch.tensor(len(examples)),
            "floors": torch.from_numpy(np.median(np.array(draws), axis=0)),
            "floor_count": torch.tensor(count),
        }
        for metric, reference in zip(self._metrics, statistics, strict=True):
            kept |= {f"{metric.id}/{name}": tensor for name, tensor in reference.items()}
        del alike
        for metric in self._metrics:
            known = metric.calibrate(self._dataset, self._half, root, self._look)
            for label, numbers in known.items():
                answers = torch.tensor(numbers, dtype=torch.float64)
                kept[f"{CALIBRATION}/{metric.id}/{label}"] = answers
        return kept
