"""Settles a cell: its settings, gathered, completed and checked, or why it is skipped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from harness.datasets.base import Dataset
from harness.errors import GanbenchError, MetricRequestError, PartError
from harness.networks.base import Family, networks, resolve, unsupported
from harness.parts import Context, refused, schedule_of
from harness.parts.part import laid_over, plain_blueprint
from harness.registry import nearest, others
from harness.spec import IMAGES, PATIENCE, Settings
from harness.suite.defaults import UNUSED, complete
from harness.suite.layers import Cell, Entry, Rule
from harness.suite.reader import Reader
from harness.suite.strict_yaml import Place, place_text, shorten


@dataclass(frozen=True)
class ResolvedCell:
    """A cell that will be run.

    Attributes:
        cell: The cell.
        settings: All its settings.
        metrics: Fingerprint of the protocols by which it will be measured.
    """

    cell: Cell
    settings: Settings
    metrics: str


@dataclass(frozen=True)
class Given:
    """A setting's value, and where in the file it stands."""

    value: Any
    place: Place


class Skip(Exception):
    """Raised where a cell makes no sense; says why."""


def resolve_cell(cell: Cell, rules: Iterable[Rule], reader: Reader) -> ResolvedCell | None:
    """Work out a cell's settings and check them; None if they have problems.

    Raises:
        Skip: if the cell makes no sense.
    """
    given = gather(cell, rules)
    dataset, variant = cell.dataset.part, cell.variant.part
    family = find_family(cell, given, reader)
    if family is None:
        return None
    values = {name: entry.value for name, entry in given.items()}
    settings = complete(values, dataset, variant, family)
    if not check_requests(settings, cell, given, reader):
        return None
    refuse_inapplicable(cell, settings)
    try_parts(cell, settings)
    sound = check(settings, cell, given, reader)
    try:
        metrics = protocol(
            dataset,
            settings.extractor,
            settings.evaluation_samples,
            settings.reference,
            settings.probes,
            settings.metrics,
        )
    except GanbenchError as error:
        culprit = "metrics" if isinstance(error, MetricRequestError) else "extractor"
        reader.problem(origin(culprit, given, cell.dataset), str(error))
        return None
    return ResolvedCell(cell, settings, metrics) if sound else None


def check_requests(
    settings: Settings, cell: Cell, given: Mapping[str, Given], reader: Reader
) -> bool:
    """Check that probes and metrics which are asked for exist, each once; report what does not."""
    sound = True
    if settings.probes:
        from harness.metrics.probes.base import probes

        place = origin("probes", given, cell.dataset)
        sound = check_names("probe", settings.probes, probes.names(), place, reader)
    if settings.metrics:
        from harness.metrics.base import metrics

        place = origin("metrics", given, cell.dataset)
        sound &= check_names("metric", settings.metrics, metrics.names(), place, reader)
    return sound


def check_names(
    kind: str, asked: tuple[str, ...], known: list[str], place: Place, reader: Reader
) -> bool:
    """Check that what is asked for exists, each once; report what does not."""
    unknown = [name for name in asked if name not in known]
    for name in unknown:
        reader.problem(
            place,
            f"unknown {kind} {shorten(name)}{nearest(name[:64], known)}; {others(kind)}",
        )
    twice = len(set(asked)) < len(asked)
    if twice:
        reader.problem(place, f"a {kind} is there twice")
    return not unknown and not twice


def refuse_inapplicable(cell: Cell, settings: Settings) -> None:
    """Ask the variant and each trick whether it applies.

    Raises:
        Skip: with the reason of the first that does not.
        GanbenchError: naming the part, if the question fails.
    """
    tricks = cell.tricks.entries
    parts = tuple(trick.part for trick in tricks)
    context = Context(cell.dataset.part, cell.variant.part, parts, settings)
    for entry in (cell.variant, *tricks):
        try:
            reason = refused(entry.part, context)
        except (Exception, SystemExit) as error:
            raise GanbenchError(
                f"{entry.id!r} failed when asked whether it applies to {cell.label}: {error!r}"
            ) from error
        if reason is not None:
            raise Skip(reason)


def try_parts(cell: Cell, settings: Settings) -> None:
    """Let the variant and each trick plan networks and schedule once, before any training.

    Raises:
        Skip: if the networks cannot be built as planned.
        GanbenchError: naming the part that fails, or gives something else.
    """
    dataset = cell.dataset.part
    parts = [entry.part for entry in (cell.variant, *cell.tricks.entries)]
    try:
        schedule_of(parts)
        blueprint = laid_over(plain_blueprint(settings, dataset), parts)
    except PartError as error:
        raise GanbenchError(f"{cell.label}: {error}") from error
    reason = unsupported(blueprint)
    if reason is not None:
        raise Skip(reason)
    if settings.probes:
        from harness.metrics.probes.base import probes

        for name in settings.probes:
            misfit = probes.get(name).misfit(dataset, blueprint)
            if misfit is not None:
                raise Skip(misfit)


def origin(name: str, given: Mapping[str, Given], otherwise: Entry[Any]) -> Place:
    """Return where a setting was given, or the entry whose default it is."""
    return given[name].place if name in given else otherwise.place


def gather(cell: Cell, rules: Iterable[Rule]) -> dict[str, Given]:
    """Collect the settings that rules give a cell, later rules winning, and then its tricks."""
    tricks = cell.tricks
    of_rules = {
        name: Given(value, (*rule.place, name))
        for rule in rules
        if rule.when.matches(cell)
        for name, value in rule.settings.items()
    }
    return of_rules | {name: Given(value, tricks.place) for name, value in tricks.settings.items()}


def find_family(cell: Cell, given: Mapping[str, Given], reader: Reader) -> type[Family] | None:
    """Find the network family of a cell: what the settings name, or else the variant.

    Returns:
        The family; None, and a problem, if there is none of that name or it has no generator.

    Raises:
        Skip: if it cannot make the data set's examples.
    """
    dataset, variant = cell.dataset.part, cell.variant.part
    name = given["network"].value if "network" in given else variant.networks.get(dataset.kind)
    place = origin("network", given, cell.variant)
    if name is None:
        raise Skip(f"{cell.variant.id} names no network for {dataset.kind}")
    known = networks.names()
    resolved = resolve(name, dataset.shape)
    if resolved not in known:
        sized = [other for other in known if re.fullmatch(rf"{re.escape(name)}\d+", other)]
        if sized:
            size = "×".join(str(side) for side in dataset.shape[1:])
            examples = f"{size} images" if dataset.kind == "images" else "points"
            raise Skip(f"{name} comes as {', '.join(sized)}; none of them makes {examples}")
        stems = {other.rstrip("0123456789") for other in known}
        hint = nearest(name, [*known, *sorted(stems.difference(known))])
        reader.problem(place, f"unknown network {name!r}{hint}; {others('network')}")
        return None
    family = networks.get(resolved)
    if not family.has_generator:
        reader.problem(place, f"{name} has no generator; choose a network that has both")
        return None
    misfit = family().misfit(dataset.shape)
    if misfit is not None:
        raise Skip(misfit)
    return family


def check(settings: Settings, cell: Cell, given: Mapping[str, Given], reader: Reader) -> bool:
    """Check settings against each other and against the data; return whether they are sound."""
    sound = True
    for name in ("log_every", "evaluate_every"):
        every = getattr(settings, name)
        if every > settings.steps:
            where = f" ({place_text(given['steps'].place)})" if "steps" in given else ""
            message = f"{every} is more than the {settings.steps} steps{where}"
            reader.problem(origin(name, given, cell.variant), message)
            sound = False
    for name in UNUSED[settings.optimizer]:
        if getattr(settings, name) != 0:
            message = f"{settings.optimizer} has no {name}; leave it out, or set it to 0"
            reader.problem(origin(name, given, cell.variant), message)
            sound = False
    evaluations = -(-settings.steps // settings.evaluate_every)
    if sound and evaluations < PATIENCE:
        most = settings.steps // PATIENCE
        remedy = f"at most {most}" if most else f"at least {PATIENCE} steps"
        reader.problem(
            origin("evaluate_every" if "evaluate_every" in given else "steps", given, cell.variant),
            f"evaluating every {settings.evaluate_every} of {settings.steps} steps is too seldom: "
            f"to tell a collapse takes {PATIENCE} evaluations; give {remedy}",
        )
        sound = False
    if settings.reference == "validation":
        reader.problem(
            origin("reference", given, cell.dataset),
            "tuning looks at validation, so nothing is reported against it; give train or test",
        )
        sound = False
    if cell.dataset.part.kind == "images" and settings.evaluation_samples < IMAGES:
        reader.problem(
            origin("evaluation_samples", given, cell.dataset),
            f"{settings.evaluation_samples} images are too few to measure; give at least {IMAGES}",
        )
        sound = False
    reason = too_large(settings.batch, cell.dataset.part)
    if reason is not None:
        reader.problem(origin("batch", given, cell.dataset), f"{reason} of {cell.dataset.label}")
        sound = False
    return sound


def too_large(batch: int, dataset: Dataset) -> str | None:
    """Say why a batch cannot be drawn from a data set, or None where it can."""
    examples = dataset.train_size
    if examples is None or batch <= examples:
        return None
    return f"a batch of {batch} is more than the {examples} training examples"


@lru_cache(maxsize=256)
def protocol(*described: Any) -> str:
    """Fingerprint the metric protocols of a cell; see :func:`applicable.protocol`."""
    # Metrics take a while to import, and a file with problems never needs them.
    from harness.metrics import applicable

    return applicable.protocol(*described)
