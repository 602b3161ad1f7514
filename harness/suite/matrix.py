"""From a suite to its runs: the plan, a spec for each run, and which of them are selected."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.errors import GanbenchError
from harness.registry import nearest
from harness.spec import DatasetSpec, RunSpec, content_id
from harness.store.records import PlannedRun, SkippedCell, SuitePlan
from harness.suite.cell_settings import Settled
from harness.suite.cells import examine
from harness.suite.layers import Cell, Pattern, Suite
from harness.suite.reader import Reader, listing
from harness.suite.strict_yaml import shorten

ONLY_KEYS = {
    "dataset": "dataset",
    "variant": "variant",
    "trick": "trick",
    "tricks": "trick",
    "seed": "seed",
}
"""Keys of a selection, and what each means."""


@dataclass(frozen=True)
class Matrix:
    """A suite, expanded.

    Attributes:
        plan: The whole suite, with labels and the cells that are skipped.
        specs: All runs, in the order of the plan.
        selected: Ids of the runs that were asked for.
    """

    plan: SuitePlan
    specs: tuple[RunSpec, ...]
    selected: frozenset[str]


def expand(
    suite: Suite,
    *,
    profile: str | None = None,
    seeds: int | None = None,
    only: Mapping[str, Sequence[str]] | None = None,
    plugins: Sequence[str] = (),
) -> Matrix:
    """Expand a suite to its runs.

    Args:
        suite: From :func:`harness.suite.load_suite`.
        profile: Profile to lay over it.
        seeds: Seeds 0 … n − 1 in place of the suite's; this changes the plan.
        only: Alternatives by ``dataset``, ``variant``, ``trick`` and ``seed``, ids or labels; this
            changes what is selected, not the plan.
        plugins: Modules that have been imported, for the plan to name.

    Raises:
        SuiteError: listing what is wrong in the cells, such as a batch larger than the data.
        GanbenchError: if the profile or a value of ``only`` is unknown, or nothing is selected.
    """
    layer = suite.layer(profile)
    if seeds is not None:
        if seeds < 1:
            raise GanbenchError(f"--seeds {seeds}: at least one seed is needed")
        layer = replace(layer, seeds=range(seeds))
    reader = Reader(suite.source, suite.document)
    settled, skipped = examine(layer, reader)
    reader.raise_problems()
    selection = Selection.of(only or {})
    cells = [*(entry.cell for entry in settled), *(skip.cell for skip in skipped)]
    selection.check(cells, layer.seeds or ())
    specs: list[RunSpec] = []
    runs: list[PlannedRun] = []
    selected: set[str] = set()
    for entry in settled:
        cell_wanted = selection.cells.matches(entry.cell)
        for spec in specs_of(entry, layer.seeds or ()):
            specs.append(spec)
            runs.append(planned_run(spec, entry.cell))
            if cell_wanted and selection.has_seed(spec.seed):
                selected.add(runs[-1].id)
    if not selected:
        reasons = [skip.reason for skip in skipped if selection.cells.matches(skip.cell)]
        why = f"; skipped, because {reasons[0]}" if reasons else ""
        raise GanbenchError(f"{selection} selects no run{why}")
    records = tuple(skip.record for skip in skipped)
    plan = SuitePlan(
        suite=suite.name,
        summary=suite.summary,
        fingerprint=fingerprint(suite.name, runs, records),
        runs=tuple(runs),
        skipped=records,
        source=suite.source,
        profile=profile,
        seeds=seeds,
        plugins=tuple(plugins),
    )
    return Matrix(plan, tuple(specs), frozenset(selected))


def specs_of(entry: Settled, seeds: Iterable[int]) -> Iterator[RunSpec]:
    """Describe a cell's runs, one for each seed."""
    cell = entry.cell
    dataset = cell.dataset
    for seed in seeds:
        yield RunSpec(
            dataset=DatasetSpec(
                id=dataset.id, options=dataset.options, fingerprint=dataset.part.fingerprint()
            ),
            variant=cell.variant.spec,
            tricks=tuple(trick.spec for trick in cell.tricks.choices),
            settings=entry.settings,
            metrics=entry.metrics,
            seed=seed,
        )


def planned_run(spec: RunSpec, cell: Cell) -> PlannedRun:
    """Describe a run for the plan."""
    return PlannedRun(
        id=spec.id,
        folder=spec.slug,
        dataset=cell.dataset.label,
        variant=cell.variant.label,
        tricks=cell.tricks.label,
        seed=spec.seed,
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

    Attributes:
        cells: The cells.
        seeds: The seeds, as text; None for all.
    """

    cells: Pattern
    seeds: tuple[str, ...] | None

    @classmethod
    def of(cls, only: Mapping[str, Sequence[str]]) -> Selection:
        """Make a selection of alternatives by key.

        Raises:
            GanbenchError: if a key is unknown.
        """
        found: dict[str, tuple[str, ...]] = {}
        for key, values in only.items():
            kind = only_kind(key)
            # Labels of combinations have spaces around the plus sign, which one need not type.
            spaced = (re.sub(r"\s*\+\s*", " + ", value) for value in values)
            found[kind] = (*found.get(kind, ()), *spaced)
        return cls(
            Pattern((), found.get("dataset"), found.get("variant"), found.get("trick")),
            found.get("seed"),
        )

    def items(self) -> dict[str, tuple[str, ...]]:
        """Return the alternatives of each key that is given."""
        cells = self.cells
        every = {
            "dataset": cells.dataset,
            "variant": cells.variant,
            "trick": cells.trick,
            "seed": self.seeds,
        }
        return {key: values for key, values in every.items() if values is not None}

    def check(self, cells: Iterable[Cell], seeds: Iterable[int]) -> None:
        """Check that every value is one of the suite's.

        Raises:
            GanbenchError: naming the first that is not, and the nearest that is.
        """
        known: dict[str, set[str]] = {"dataset": set(), "variant": set(), "trick": set()}
        for cell in cells:
            known["dataset"] |= cell.dataset.names
            known["variant"] |= cell.variant.names
            known["trick"] |= cell.tricks.names
        known["seed"] = {str(seed) for seed in seeds}
        for key, values in self.items().items():
            for value in values:
                if value not in known[key]:
                    raise GanbenchError(
                        f"--only {key}={value}: the suite has no such {key}"
                        f"{nearest(value[:64], sorted(known[key]))}"
                    )

    def has_seed(self, seed: int) -> bool:
        """Whether a seed is asked for."""
        return self.seeds is None or str(seed) in self.seeds

    def __str__(self) -> str:
        return " ".join(
            f"--only {key}={value}" for key, values in self.items().items() for value in values
        )


def only_kind(key: str) -> str:
    """Return what a key of ``--only`` means.

    Raises:
        GanbenchError: if it means nothing; the message suggests the nearest.
    """
    if key not in ONLY_KEYS:
        hint = nearest(key, list(ONLY_KEYS)) or f"; there is {listing(tuple(ONLY_KEYS))}"
        raise GanbenchError(f"--only {key}=…: unknown key {shorten(key)}{hint}")
    return ONLY_KEYS[key]


def parse_only(arguments: Iterable[str]) -> dict[str, list[str]]:
    """Read ``key=value`` arguments; several values of one key are alternatives.

    Raises:
        GanbenchError: if one has no value, or an unknown key.
    """
    found: dict[str, list[str]] = {}
    for argument in arguments:
        key, _, value = argument.partition("=")
        if not value:
            raise GanbenchError(f"--only {argument}: write key=value, such as dataset=ring8")
        found.setdefault(only_kind(key), []).append(value)
    return found
