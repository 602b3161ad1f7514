"""Settles a cell: its settings, gathered, completed and checked, or why it is skipped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from harness.datasets.base import Dataset
from harness.errors import GanbenchError, MetricRequestError, PartError
from harness.networks.base import Family, networks, resolve, unsupported
from harness.parts import Context, refused, schedule_of
from harness.parts.part import laid_over, plain_blueprint
from harness.registry import KINDS, nearest, others
from harness.spec import IMAGES, PATIENCE, Settings
from harness.suite.defaults import UNUSED, complete
from harness.suite.entries import Cell
from harness.suite.model import Override
from harness.suite.reading import Reader
from harness.suite.strict_yaml import Place, place_text, shorten

OF_THE_DATA = ("batch", "evaluation_samples", "extractor", "metrics", "probes", "reference")
"""Settings that are the data set's fault where the file does not give them; else the variant's."""


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


class Conflict(Exception):
    """Raised where settings cannot be meant: each that is to blame, and why."""

    def __init__(self, *reasons: tuple[str, str]) -> None:
        super().__init__(*reasons)
        self.reasons = reasons


def resolve_cell(cell: Cell, rules: Iterable[Override], reader: Reader) -> ResolvedCell | None:
    """Work out a cell's settings and check them; None if they have problems.

    Raises:
        Skip: if the cell makes no sense.
    """
    given = gather(cell, rules)
    try:
        return settle(cell, given)
    except Conflict as conflict:
        for name, message in conflict.reasons:
            entry = cell.dataset if name in OF_THE_DATA else cell.variant
            reader.problem(given[name].place if name in given else entry.place, message)
        return None


def gather(cell: Cell, rules: Iterable[Override]) -> dict[str, Given]:
    """Collect the settings that rules give a cell, later rules winning, and then its tricks."""
    tricks = cell.tricks
    of_rules = {
        name: Given(value, (*rule.place, "settings", name))
        for rule in rules
        if rule.when.matches(cell)
        for name, value in rule.settings.items()
    }
    return of_rules | {name: Given(value, tricks.place) for name, value in tricks.settings.items()}


def settle(cell: Cell, given: Mapping[str, Given]) -> ResolvedCell:
    """Complete the settings that a file gives a cell, and check them.

    Raises:
        Skip: if the cell makes no sense.
        Conflict: if its settings cannot be meant.
    """
    dataset, variant = cell.dataset.part, cell.variant.part
    values = {name: entry.value for name, entry in given.items()}
    network = values.get("network", variant.networks.get(dataset.kind))
    if network is None:
        raise Skip(f"{cell.variant.id} names no network for {dataset.kind}")
    settings = complete(values, dataset, variant, find_family(network, dataset))
    if unknown := list(unknown_requests(settings)):
        raise Conflict(*unknown)
    refuse_misfits(cell, settings)
    conflicts = list(conflicts_of(cell, settings, given))
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
        raise Conflict(*conflicts, (culprit, str(error))) from error
    if conflicts:
        raise Conflict(*conflicts)
    return ResolvedCell(cell, settings, metrics)


def find_family(name: str, dataset: Dataset) -> type[Family]:
    """Find the network family that a name stands for on a data set.

    Raises:
        Skip: if it cannot make the data set's examples.
        Conflict: if there is none of that name, or it has no generator.
    """
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
        raise Conflict(("network", f"unknown network {name!r}{hint}; {others('network')}"))
    family = networks.get(resolved)
    if not family.has_generator:
        raise Conflict(("network", f"{name} has no generator; choose a network that has both"))
    misfit = family().misfit(dataset.shape)
    if misfit is not None:
        raise Skip(misfit)
    return family


def unknown_requests(settings: Settings) -> Iterator[tuple[str, str]]:
    """List probes and metrics that are asked for and do not exist, or are asked for twice."""
    for kind in ("probe", "metric"):
        asked = getattr(settings, f"{kind}s")
        # Their code takes a while to import, and few suites ask for any.
        known = KINDS[kind].registry.names() if asked else []
        for name in asked:
            if name not in known:
                hint = nearest(name[:64], known)
                yield f"{kind}s", f"unknown {kind} {shorten(name)}{hint}; {others(kind)}"
        if len(set(asked)) < len(asked):
            yield f"{kind}s", f"a {kind} is there twice"


def refuse_misfits(cell: Cell, settings: Settings) -> None:
    """Ask the parts whether they apply, and let them plan networks and schedule once.

    Raises:
        Skip: with the reason of the first that does not apply, or of networks and probes.
        GanbenchError: naming the part that fails when it is asked, or gives something else.
    """
    dataset, variant = cell.dataset.part, cell.variant.part
    tricks = tuple(trick.part for trick in cell.tricks.entries)
    context = Context(dataset, variant, tricks, settings)
    for part in (variant, *tricks):
        try:
            reason = refused(part, context)
        except (Exception, SystemExit) as error:
            raise GanbenchError(
                f"{part.id!r} failed when asked whether it applies to {cell.label}: {error!r}"
            ) from error
        if reason is not None:
            raise Skip(reason)
    try:
        schedule_of((variant, *tricks))
        blueprint = laid_over(plain_blueprint(settings, dataset), (variant, *tricks))
    except PartError as error:
        raise GanbenchError(f"{cell.label}: {error}") from error
    reasons = [unsupported(blueprint)]
    reasons += [KINDS["probe"].registry.get(p).misfit(dataset, blueprint) for p in settings.probes]
    for reason in reasons:
        if reason is not None:
            raise Skip(reason)


def conflicts_of(
    cell: Cell, settings: Settings, given: Mapping[str, Given]
) -> Iterator[tuple[str, str]]:
    """Check settings against each other and against the data."""
    steps, every = settings.steps, settings.evaluate_every
    for name in ("log_every", "evaluate_every"):
        if getattr(settings, name) > steps:
            where = f" ({place_text(given['steps'].place)})" if "steps" in given else ""
            yield name, f"{getattr(settings, name)} is more than the {steps} steps{where}"
    for name in UNUSED[settings.optimizer]:
        if getattr(settings, name) != 0:
            yield name, f"{settings.optimizer} has no {name}; leave it out, or set it to 0"
    if every <= steps and -(-steps // every) < PATIENCE:
        most = steps // PATIENCE
        remedy = f"at most {most}" if most else f"at least {PATIENCE} steps"
        yield (
            "evaluate_every" if "evaluate_every" in given else "steps",
            f"evaluating every {every} of {steps} steps is too seldom: "
            f"to tell a collapse takes {PATIENCE} evaluations; give {remedy}",
        )
    if settings.reference == "validation":
        yield (
            "reference",
            "tuning looks at validation, so nothing is reported against it; give train or test",
        )
    samples = settings.evaluation_samples
    if cell.dataset.part.kind == "images" and samples < IMAGES:
        yield (
            "evaluation_samples",
            f"{samples} images are too few to measure; give at least {IMAGES}",
        )
    reason = too_large(settings.batch, cell.dataset.part)
    if reason is not None:
        yield "batch", f"{reason} of {cell.dataset.label}"


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
