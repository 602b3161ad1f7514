"""Evaluates generated samples of several runs against a fixed reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.datasets.base import Dataset, Examples, Kind, Values, to_bytes
from harness.datasets.mixtures import Mixture
from harness.datasets.splits import splits_of
from harness.datasets.stacked import Stacked
from harness.errors import GanbenchError, MetricRequestError
from harness.metrics.base import COMPARED, Conditions, Metric, Observation, Statistics, metrics
from harness.metrics.cache import ReferenceCache
from harness.metrics.extractors.base import Extractor, extractors
from harness.metrics.extractors.exported import refuse_path
from harness.metrics.modes import distances
from harness.metrics.pairs import PairMetric, measure_pairs
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
COMPARED_FEATURES = "compared-features"
"""Where the cache has the features that all metrics of pairs share."""
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


@dataclass(frozen=True)
class Observed:
    """One run's samples as the extractor sees them.

    Attributes:
        examples: Those that are finite.
        whole: Whether all are.
    """

    examples: Observation
    whole: bool


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
        most_compared=chosen.most_compared if chosen is not None else COMPARED,
        stacked=isinstance(dataset, Stacked),
    )


def metrics_for(conditions: Conditions, asked: Sequence[str] = ()) -> list[Metric]:
    """Make the metrics that apply, the primary one first, then by id.

    Args:
        conditions: Under which they measure.
        asked: Ids of those on request that are to be measured too.

    Raises:
        MetricRequestError: if one that is asked for does not apply, or needs no asking.
        UnknownNameError: if there is none of that name.
    """
    for name in asked:
        reason = refusal(metrics.get(name), conditions)
        if reason is not None:
            raise MetricRequestError(reason)
    applicable = [
        metric(conditions)
        for metric in metrics
        if metric.applies(conditions) and (not metric.on_request or metric.id in asked)
    ]
    return sorted(applicable, key=lambda metric: not any(c.primary for c in metric.columns()))


def refusal(metric: type[Metric], conditions: Conditions) -> str | None:
    """Say why a metric cannot be asked for, or None."""
    if not metric.on_request:
        return f"metric {metric.id!r} is measured without being asked for, wherever it applies"
    if not metric.applies(conditions):
        return (
            f"metric {metric.id!r} cannot be measured of {conditions.samples} {conditions.kind} "
            f"through {conditions.extractor}; ask for it where it can, by an override"
        )
    return None


def protocol(
    dataset: Dataset,
    *,
    extractor: str,
    samples: int,
    reference: Split,
    asked: Sequence[str] = (),
    requested: Sequence[str] = (),
) -> str:
    """Fingerprint everything that decides how a number is measured; reads no data.

    That is the columns' names, the metrics' versions, the preprocessing, the data set's id and
    the hash of the extractor's weights; of the probes that are asked for, versions and columns.

    Args:
        dataset: What the generators are to imitate.
        extractor: Id of the extractor.
        samples: Generated samples per evaluation.
        reference: Split that they are compared with.
        asked: Ids of the probes that are asked for.
        requested: Ids of the metrics on request that are asked for.
    """
    conditions = conditions_of(dataset, extractor, samples, reference)
    chosen = find_extractor(dataset, extractor)
    described: dict[str, Any] = {
        "metrics": [
            [metric.id, metric.version, [column.name for column in metric.columns()]]
            for metric in metrics_for(conditions, requested)
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


def place(metric: Metric, name: str) -> str:
    """Say under which name the cache keeps one of a metric's tensors."""
    shared = isinstance(metric, PairMetric) and name == "features"
    return COMPARED_FEATURES if shared else f"{metric.id}/{name}"


def narrow(features: Tensor) -> Tensor:
    """Make features float32 where that loses nothing, which is wherever they were computed so."""
    small = features.float()
    return small if torch.equal(small.double(), features) else features


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
        requested: Sequence[str] = (),
        cache: Path | None = None,
    ) -> None:
        self._dataset = dataset
        self._device = device
        self._splits = splits_of(reference)
        self._conditions = conditions_of(dataset, extractor, samples, reference)
        self._metrics = metrics_for(self._conditions, requested)
        chosen = find_extractor(dataset, extractor)
        self._extractor = chosen.load(device, root) if chosen is not None else None
        store = ReferenceCache(cache if cache is not None else cache_folder())
        key = self._cache_key()
        kept = store.read(key)
        if kept is None:
            kept = self._measure_reference(root)
            store.write(key, kept)
        self._statistics = self._unpack(kept)
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
            floor=self._splits.held_out,
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
        """Look at the samples of all runs.

        On a GPU all of it is done here, and nothing waits for the device between two runs; on a
        CPU, where there is nothing to gain, each run's turn comes when it is asked for. A pass
        through the extractor never holds samples of two runs: it is the same pass, to the last
        bit, whatever the cohort.

        Args:
            generated: ``(runs, samples, *shape)``; images in [−1, 1], points as they are.

        Returns:
            Gives the observation of a run, by position.
        """
        expected = (self._conditions.samples, *self._dataset.shape)
        if generated.shape[1:] != expected:
            raise ValueError(f"samples are {tuple(generated.shape[1:])} per run, not {expected}")
        generated = generated.detach()
        finite = generated.flatten(2).isfinite().all(2)
        whole = finite.all(1).tolist()

        def look(run: int) -> Observed:
            samples = generated[run] if whole[run] else generated[run, finite[run]]
            return Observed(self._observe(samples), whole[run])

        if self._device.type != "cuda":
            return look
        return [look(run) for run in range(len(generated))].__getitem__

    def measure(self, seen: Observed) -> Evaluation:
        """Compute every number of one run."""
        observation = seen.examples
        numbers = (
            [value for values in self._measure(observation, self._statistics) for value in values]
            if seen.whole
            else [math.nan] * len(self.metrics)
        )
        histogram: list[int] | None = None
        for metric in self._metrics:
            counted = metric.histogram(observation)
            histogram = counted if counted is not None else histogram
        named = {info.name: value for info, value in zip(self.metrics, numbers, strict=True)}
        diversity = next(i.name for i in self.metrics if i.metric == DIVERSITY)
        found = sum(count > 0 for count in histogram) / len(histogram) if histogram else math.nan
        return Evaluation(named, histogram, named[diversity], found)

    def _measure(
        self, observed: Observation, references: Sequence[Statistics]
    ) -> list[list[float]]:
        """Compute each metric's values; those of pairs share one pass."""
        both = list(zip(self._metrics, references, strict=True))
        paired = [(m, r) for m, r in both if isinstance(m, PairMetric)]
        shared = iter(measure_pairs([m for m, _ in paired], [r for _, r in paired], observed))
        measured = (
            next(shared) if isinstance(metric, PairMetric) else metric.values(observed, reference)
            for metric, reference in both
        )
        return [[v if math.isfinite(v) else math.nan for v in values] for values in measured]

    def _observe(self, samples: Tensor) -> Observation:
        made = self._extractor is not None and samples.is_floating_point()
        return self._look(to_bytes(samples) if made else samples)

    def _look(self, values: Values) -> Observation:
        if self._extractor is not None:
            features, logits = self._extractor.features(values)
            return Observation(features, logits if self._extractor.has_classes else None)
        points = values[:].to(self._device).double()
        modes, sigma = self._conditions.modes, self._conditions.sigma
        if modes is None or sigma is None:
            return Observation(points, None)
        # The modes are equally likely, so Bayes' rule leaves the log densities.
        return Observation(points, distances(points, modes).square() / (-2 * sigma**2))

    def _observe_real(self, examples: Examples) -> Observation:
        labels = examples.labels
        known = labels.to(self._device) if labels is not None else None
        return replace(self._look(examples.values), labels=known)

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
            "count": [self._conditions.samples, self._conditions.compared],
            "resolution": list(self._dataset.shape),
            "preprocessing": PREPROCESSING,
            "extractor": extractor.id if extractor is not None else DATA_SPACE,
            "weights": extractor.sha256 if extractor is not None else "",
            "dtype": DTYPES[self._dataset.kind],
            "device": self._device.type,
            "metrics": [[metric.id, metric.version] for metric in self._metrics],
            "floors": [FLOOR_SEED, FLOOR_DRAWS, self._splits.held_out],
            "calibration": CALIBRATION_VERSION,
            "libraries": [[name, version(name)] for name in LIBRARIES],
        }

    def _measure_reference(self, root: Path | None) -> dict[str, Tensor]:
        conditions = self._conditions
        examples = self._splits.load_reference(self._dataset, root)
        held_out = self._splits.load_held_out(self._dataset, root)
        count = min(conditions.samples, len(held_out))
        real = self._observe_real(examples)
        statistics = [metric.reference(real) for metric in self._metrics]
        # Fewer held-out examples are compared with as few real ones, as generated ones would be.
        fewer = replace(conditions, samples=count)
        of_floors = [
            type(metric)(fewer).reference(real)
            if isinstance(metric, PairMetric) and fewer.compared < conditions.compared
            else kept
            for metric, kept in zip(self._metrics, statistics, strict=True)
        ]
        del real  # of a thousand classes, its logits alone take a gigabyte
        alike = self._look(held_out.values)
        random = np.random.RandomState(FLOOR_SEED)
        draws = []
        for _ in range(FLOOR_DRAWS if count < len(held_out) else 1):
            chosen = torch.from_numpy(random.permutation(len(held_out))[:count])
            logits = alike.logits[chosen] if alike.logits is not None else None
            drawn = Observation(alike.features[chosen], logits)
            measured = self._measure(drawn, of_floors)
            draws.append([value for values in measured for value in values])
        kept: dict[str, Tensor] = {
            "count": torch.tensor(len(examples)),
            "floors": torch.from_numpy(np.median(np.array(draws), axis=0)),
            "floor_count": torch.tensor(count),
        }
        for metric, reference in zip(self._metrics, statistics, strict=True):
            kept |= {place(metric, name): tensor.cpu() for name, tensor in reference.items()}
        if COMPARED_FEATURES in kept:
            kept[COMPARED_FEATURES] = narrow(kept[COMPARED_FEATURES])
        del alike
        for metric in self._metrics:
            known = metric.calibrate(self._dataset, self._splits, root, self._look)
            for label, numbers in known.items():
                answers = torch.tensor(numbers, dtype=torch.float64)
                kept[f"{CALIBRATION}/{metric.id}/{label}"] = answers
        return kept

    def _unpack(self, kept: dict[str, Tensor]) -> list[Statistics]:
        """Sort what was kept by metric, and put it on the device."""
        held: dict[str, Statistics] = {metric.id: {} for metric in self._metrics}
        for name, tensor in kept.items():
            owner, slash, key = name.partition("/")
            if slash and owner in held:
                held[owner][key] = tensor.to(self._device)
        if COMPARED_FEATURES in kept:
            features = kept[COMPARED_FEATURES].to(self._device).double()
            for metric in self._metrics:
                if isinstance(metric, PairMetric):
                    held[metric.id]["features"] = features
        return [held[metric.id] for metric in self._metrics]
