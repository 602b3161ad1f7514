"""From a suite to its runs: the plan, a spec for each run, and which of them are selected."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import GanbenchError
from harness.parts.foreign import foreign_parts
from harness.registry import nearest
from harness.spec import DatasetSpec, RunSpec, content_id
from harness.store.records import PlannedRun, SkippedCell, SuitePlan
from harness.suite.cell_settings import ResolvedCell
from harness.suite.cells import resolve_cells
from harness.suite.entries import Cell, Combination, Entry
from harness.suite.model import Suite
from harness.suite.strict_yaml import shorten
from harness.suite.wording import listing

ONLY_KEYS = ("dataset", "variant", "trick", "tricks", "seed")
"""Keys of a selection."""


@dataclass(frozen=True)
class Matrix:
    """A suite, expanded.

    Attributes:
        plan: The whole suite, with labels and the cells that are skipped.
        specs: All runs, in the order of the plan.
        selected: Ids of the runs that were asked for.
        skipped: Cells that were asked for and are not run.
        cells: The cell of each run, in the same order.
    """

    plan: SuitePlan
    specs: tuple[RunSpec, ...]
    selected: frozenset[str]
    skipped: tuple[SkippedCell, ...]
    cells: tuple[Cell, ...]

    def matching(self, only: Mapping[str, Sequence[str]], option: str) -> frozenset[str]:
        """Return the ids of all runs that alternatives by key ask for.

        Args:
            only: As in :func:`expand`.
            option: What messages call it.

        Raises:
            GanbenchError: if a key or a value is unknown.
        """
        selection = Selection.of(only, self.cells)
        selection.check(self.cells, {spec.seed for spec in self.specs}, option)
        return selection.ids(self.plan.runs, self.cells)


def expand(
    suite: Suite,
    *,
    profile: str | None = None,
    seeds: int | None = None,
    only: Mapping[str, Sequence[str]] | None = None,
    plugins: Sequence[str] = (),
    extractors: Sequence[str] = (),
) -> Matrix:
    """Expand a suite to its runs.

    Args:
        suite: From :func:`harness.suite.load.load_suite`.
        profile: Profile to lay over it.
        seeds: Seeds 0 … n − 1 in place of the suite's; this changes the plan.
        only: Alternatives by ``dataset``, ``variant``, ``trick`` and ``seed``, ids or labels; this
            changes what is selected, not the plan.
        plugins: Modules that have been imported, for the plan to name.
        extractors: Files that have been named as extractors, for the plan to repeat.

    Raises:
        SuiteError: listing what is wrong in the cells, such as a batch larger than the data.
        GanbenchError: if the profile or a value of ``only`` is unknown, or nothing is selected.
    """
    layer = suite.layer(profile)
    if seeds is not None:
        if seeds < 1:
            raise GanbenchError(f"--seeds {seeds}: at least one seed is needed")
        layer = layer.model_copy(update={"seeds": range(seeds)})
    reader = suite.reader()
    resolved, skipped = resolve_cells(layer, reader)
    baseline = None
    if layer.baseline is not None:
        baseline = layer.baseline.find(chosen.cell for chosen in resolved)
        if baseline is None:
            reader.problem(layer.baseline.place, "is no cell that the suite runs")
    contrasts = []
    for contrast in layer.contrasts:
        found = contrast.find(chosen.cell for chosen in resolved)
        if isinstance(found, str):
            remedy = "; give the profile contrasts of its own" if profile is not None else ""
            reader.problem(contrast.place, found + remedy)
        else:
            contrasts.append(found)
    reader.raise_problems()
    cells = [*(chosen.cell for chosen in resolved), *(skip.cell for skip in skipped)]
    selection = Selection.of(only or {}, cells)
    selection.check(cells, layer.seeds)
    specs = tuple(spec for each in resolved for spec in specs_of(each, layer.seeds))
    of_cells = tuple(each.cell for each in resolved for _ in layer.seeds)
    described = [cell for each in resolved for cell in [each.cell.planned] * len(layer.seeds)]
    runs = tuple(
        PlannedRun(spec.id, spec.slug, cell, spec.seed)
        for spec, cell in zip(specs, described, strict=True)
    )
    selected = selection.ids(runs, of_cells)
    first_runs = [spec for each in resolved for spec in specs_of(each, layer.seeds[:1])]
    code = {(part.kind, part.id): part for spec in first_runs for part in foreign_parts(spec)}
    passed_over = tuple(skip.record for skip in skipped if selection.matches(skip.cell))
    if not selected:
        why = f"; skipped, because {passed_over[0].reason}" if passed_over else ""
        raise GanbenchError(f"{selection} selects no run{why}")
    records = tuple(skip.record for skip in skipped)
    plan = SuitePlan(
        suite=suite.name,
        summary=suite.summary,
        fingerprint=fingerprint(suite.name, runs, records),
        runs=runs,
        skipped=records,
        source=suite.source,
        profile=profile,
        seeds=seeds,
        plugins=tuple(plugins),
        extractors=tuple(extractors),
        baseline=baseline,
        code=tuple(part for _, part in sorted(code.items())),
        margin=layer.margin,
        contrasts=tuple(dict.fromkeys(contrasts)),
    )
    return Matrix(plan, specs, selected, passed_over, of_cells)


def specs_of(chosen: ResolvedCell, seeds: Iterable[int]) -> Iterator[RunSpec]:
    """Describe a cell's runs, one for each seed."""
    cell = chosen.cell
    dataset = cell.dataset
    for seed in seeds:
        yield RunSpec(
            dataset=DatasetSpec(
                id=dataset.id,
                options=dataset.part.identity,
                fingerprint=dataset.part.fingerprint(),
                shape=dataset.part.shape,
                classes=dataset.part.classes,
                where=dataset.part.where,
            ),
            variant=cell.variant.spec,
            tricks=tuple(trick.spec for trick in cell.tricks.entries),
            settings=chosen.settings,
            metrics=chosen.metrics,
            seed=seed,
        )


def fingerprint(name: str, runs: Iterable[PlannedRun], skipped: Iterable[SkippedCell]) -> str:
    """Name a plan by its content, whatever the order."""
    return content_id(
        {
            "suite": name,
            "runs": sorted(run.id for run in runs),
            "skipped": sorted([s.dataset, s.variant, s.tricks, s.reason] for s in skipped),
        }
    )


@dataclass(frozen=True)
class Selection:
    """What ``--only`` asks for.

    A label selects what is called so, and nothing else; an id that is no label of the suite
    selects all that have the id. ``tricks`` is a whole combination, ``trick`` also any combination
    that it is part of.

    Attributes:
        only: Alternatives by key; a key that is absent is everything.
        labels: What the suite calls its data sets, variants and combinations of tricks.
    """

    only: Mapping[str, Sequence[str]]
    labels: frozenset[str]

    @classmethod
    def of(cls, only: Mapping[str, Sequence[str]], cells: Iterable[Cell]) -> Selection:
        """Make a selection of alternatives by key.

        Raises:
            GanbenchError: if a key is unknown.
        """
        for key in only:
            check_key(key)
        # Labels of combinations have spaces around the plus sign, which one need not type.
        spaced = {
            key: tuple(re.sub(r"\s*\+\s*", " + ", value) for value in only[key])
            for key in ONLY_KEYS
            if key in only
        }
        sides = (side for cell in cells for side in (cell.dataset, cell.variant, cell.tricks))
        return cls(spaced, frozenset(side.label for side in sides))

    def check(self, cells: Iterable[Cell], seeds: Iterable[int], option: str = "--only") -> None:
        """Check that every value is one of the suite's.

        Args:
            cells: The suite's cells.
            seeds: The suite's seeds.
            option: What messages call the selection.

        Raises:
            GanbenchError: naming the first that is not, and the nearest that is.
        """
        known: dict[str, set[str]] = {key: set() for key in ONLY_KEYS}
        for cell in cells:
            known["dataset"] |= cell.dataset.names
            known["variant"] |= cell.variant.names
            known["tricks"] |= {cell.tricks.label, cell.tricks.id}
            known["trick"] |= cell.tricks.names
        known["seed"] = {str(seed) for seed in seeds}
        for key, values in self.only.items():
            for value in values:
                if value not in known[key]:
                    hint = nearest(value[:64], sorted(known[key]))
                    if key == "tricks" and value in known["trick"]:
                        hint = f"; trick={value} selects the combinations that it is part of"
                    raise GanbenchError(
                        f"{option} {key}={value}: the suite has no such {key}{hint}"
                    )

    def matches(self, cell: Cell) -> bool:
        """Whether a cell is asked for, with some seed."""
        trick = self.only.get("trick")
        return (
            self._is("dataset", cell.dataset)
            and self._is("variant", cell.variant)
            and self._is("tricks", cell.tricks)
            and (trick is None or not cell.tricks.names.isdisjoint(trick))
        )

    def _is(self, key: str, side: Entry[Any] | Combination) -> bool:
        wanted = self.only.get(key, (side.label,))
        return side.label in wanted or (side.id in wanted and side.id not in self.labels)

    def ids(self, runs: Iterable[PlannedRun], cells: Iterable[Cell]) -> frozenset[str]:
        """Return the ids of the runs that are asked for, each given with its cell."""
        return frozenset(
            run.id
            for run, cell in zip(runs, cells, strict=True)
            if self.matches(cell) and str(run.seed) in self.only.get("seed", (str(run.seed),))
        )

    def __str__(self) -> str:
        return " ".join(
            f"--only {key}={value}" for key, values in self.only.items() for value in values
        )


def check_key(key: str) -> None:
    """Check a key of ``--only``.

    Raises:
        GanbenchError: if it means nothing; the message suggests the nearest.
    """
    if key not in ONLY_KEYS:
        hint = nearest(key, list(ONLY_KEYS)) or f"; there is {listing(ONLY_KEYS)}"
        raise GanbenchError(f"--only {key}=…: unknown key {shorten(key)}{hint}")


def parse_only(arguments: Iterable[str]) -> dict[str, list[str]]:
    """Read ``key=value`` arguments; several values of one key are alternatives.

    Raises:
        GanbenchError: if one has no value, or an unknown key.
    """
    alternatives: dict[str, list[str]] = {}
    for argument in arguments:
        key, _, value = argument.partition("=")
        if not value:
            raise GanbenchError(f"--only {argument}: write key=value, such as dataset=ring8")
        check_key(key)
        alternatives.setdefault(key, []).append(value)
    return alternatives
