"""Which metrics apply to a data set, through which extractor, and what fixes their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.datasets.base import Dataset
from harness.datasets.mixtures import Mixture
from harness.datasets.stacked import Stacked
from harness.errors import GanbenchError, MetricRequestError
from harness.metrics.base import COMPARED, Conditions, Metric, metrics
from harness.metrics.extractors.base import Extractor, extractors
from harness.metrics.extractors.exported import refuse_path
from harness.metrics.probes.base import probes
from harness.spec import Split, content_id

DATA_SPACE = "data"
"""The extractor of points: their coordinates."""
PREPROCESSING = 1
"""Raised by every change of how samples become what an extractor sees."""


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
