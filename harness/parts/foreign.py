"""Which parts of a run are not ganbench's own, and what their code is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from harness.datasets.base import dataset_of, datasets
from harness.metrics.applicable import conditions_of, metrics_for
from harness.metrics.base import metrics
from harness.metrics.extractors.base import extractors
from harness.metrics.probes.base import probes
from harness.networks.base import networks
from harness.parts.blueprint import blueprint_of
from harness.parts.part import tricks, variants
from harness.registry import Registry
from harness.spec import RunSpec
from harness.store.code import PartCode


def foreign_parts(spec: RunSpec) -> tuple[PartCode, ...]:
    """Return the code of a run's parts that plugins or other packages have registered."""
    return foreign_in_training(spec) + _foreign(_measuring(spec))


def foreign_in_training(spec: RunSpec) -> tuple[PartCode, ...]:
    """Return the code of those that take part in training, rather than in measuring it."""
    return _foreign(_training(spec))


def _foreign(used: Iterable[tuple[Registry[Any], set[str]]]) -> tuple[PartCode, ...]:
    return tuple(
        registry.foreign()[name]
        for registry, names in used
        for name in sorted(names & registry.foreign().keys())
    )


def _training(spec: RunSpec) -> Iterator[tuple[Registry[Any], set[str]]]:
    """List the ids of what trains by registry; what takes long only where it may matter."""
    yield variants, {spec.variant.id}
    yield tricks, {trick.id for trick in spec.tricks}
    yield datasets, {spec.dataset.id}
    if networks.foreign():
        blueprint = blueprint_of(spec)
        yield networks, {blueprint.generator.network, blueprint.discriminator.network}


def _measuring(spec: RunSpec) -> Iterator[tuple[Registry[Any], set[str]]]:
    settings = spec.settings
    yield extractors, {settings.extractor}
    if settings.probes:
        yield probes, {*settings.probes}
    if metrics.foreign():
        conditions = conditions_of(
            dataset_of(spec), settings.extractor, settings.evaluation_samples, settings.reference
        )
        yield metrics, {metric.id for metric in metrics_for(conditions, settings.metrics)}
