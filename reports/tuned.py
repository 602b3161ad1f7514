"""Tricks at tuned numbers: each cell at its chosen setting, paired with its control at its own.

A trick that helps at the suite's numbers may only have repaired them. `ganbench tune` searches all
cells by one protocol, and trains default and choice on the same fresh seeds; both comparisons are
made here of the same cells and seeds. Fresh seeds do away with the winner's curse, not with the
luck of tuning: what was chosen in a cell is the same for all of its seeds. So cells are a sample
too, and a claim after tuning also needs Student's test over them.

Source: Lucic et al., NeurIPS 2018, arXiv:1711.10337 (equal budgets of search).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.spec import decode_numbers
from harness.store.records import (
    TUNING_SCHEMA,
    CellKey,
    PlannedCell,
    PlannedPart,
    PlannedRun,
)
from reports.cells import Result, SuiteCells
from reports.effects import Effect, Pair, margin_of
from reports.statistics.claims import judge
from reports.statistics.intervals import Interval, geometric_interval, geometric_mean


@dataclass(frozen=True)
class Setting:
    """A cell's numbers, and its runs with them on fresh seeds.

    Attributes:
        numbers: Value by name.
        results: What became of its runs, by seed; their records lie with tuning.
        values: The primary metric by seed; None where the run failed.
        edges: Names of the numbers at an edge of their range.
    """

    numbers: Mapping[str, float]
    results: Mapping[int, Result]
    values: Mapping[int, float | None]
    edges: tuple[str, ...] = ()

    @property
    def good(self) -> list[float]:
        """The values of the runs that did not fail."""
        return [value for value in self.values.values() if value is not None]

    @property
    def failures(self) -> int:
        """How many runs failed."""
        return sum(result.failed for result in self.results.values())


@dataclass(frozen=True)
class Search:
    """One cell's search as its ``summary.json`` tells it.

    Attributes:
        cell: Labels of its data set, variant and tricks.
        metric: What trials were measured by, on the validation split; empty without trials.
        reported: What settings are measured by on fresh seeds.
        better: Which of that is better.
        sampler: Optuna's sampler.
        version: Of Optuna.
        space: Range by name.
        trials: Each with ``number``, ``params``, ``seed``, ``value`` and ``outcome``.
        default: The suite's own setting.
        chosen: The setting that was chosen, which may be the same.
    """

    cell: CellKey
    metric: str
    reported: str
    better: str
    sampler: str
    version: str
    space: Mapping[str, Mapping[str, Any]]
    trials: Sequence[Mapping[str, Any]]
    default: Setting
    chosen: Setting

    @property
    def title(self) -> str:
        """The cell for people."""
        return " · ".join(self.cell)

    @property
    def settings(self) -> dict[int, Mapping[str, float]]:
        """What was tried, by number."""
        return {int(trial["number"]): trial["params"] for trial in self.trials}

    def like(self, control: Search) -> bool:
        """Say whether a control was measured alike, and tried at the same places but its own.

        Only numbers that both have can be the same; TPE goes elsewhere in each cell.
        """
        shared = self.space.keys() & control.space.keys()
        mine, other = (
            {number: {name: params[name] for name in shared} for number, params in places.items()}
            for places in (self.settings, control.settings)
        )
        own: dict[int, dict[str, float]] = {0: {}}
        same = not shared or mine | own == other | own
        return self.reported == control.reported and same

    def ratio(self) -> tuple[float | None, Interval | None, int]:
        """Return the choice over the default, of seeds that survived both: mean, interval, n."""
        ratios = [
            value / base
            for seed, value in self.chosen.values.items()
            if value is not None and (base := self.default.values.get(seed)) and value > 0
        ]
        return geometric_mean(ratios), geometric_interval(ratios), len(ratios)


def read_search(file: Path) -> Search:
    """Read a search's summary.

    Raises:
        StoreError: naming the file, if it is not one, or was written by another version.
    """
    try:
        data = decode_numbers(json.loads(file.read_bytes()))
        if data["schema"] != TUNING_SCHEMA:
            raise StoreError(
                f"{file} was written by another version of ganbench, whose search was another; "
                f"delete {file.parents[1]} and tune anew"
            )
        dataset, variant, tricks = (
            str(data["cell"][kind]) for kind in ("dataset", "variant", "tricks")
        )
        cell = (dataset, variant, tricks)
        if str(data["reported_metric"]).endswith("/validation"):
            raise ValueError("what trials are measured by is reported")
        return Search(
            cell,
            str(data["metric"] or ""),
            str(data["reported_metric"]),
            str(data["better"]),
            str(data["sampler"]),
            str(data["optuna_version"]),
            dict(data["space"]),
            list(data["trials"]),
            _setting(data["default"], cell),
            _setting(data["chosen"], cell),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{file} is no summary of a search ({error!r}); `ganbench tune` writes it again"
        ) from error


def _setting(data: Mapping[str, Any], labels: CellKey) -> Setting:
    # What the labels are made of is the plan's to say.
    dataset, variant, tricks = map(PlannedPart, labels)
    cell = PlannedCell(dataset, variant, (tricks,))
    results, values = {}, {}
    for run in data["fresh"]:
        seed, value = int(run["seed"]), run["value"]
        planned = PlannedRun(str(run["run"]), "", cell, seed)
        result = Result(planned, str(run["outcome"]), None)
        if result.final:
            finite = not result.failed and value is not None and math.isfinite(value)
            results[seed], values[seed] = result, float(value) if finite else None
    numbers = {str(name): float(value) for name, value in data["params"].items()}
    return Setting(numbers, results, values, tuple(map(str, data.get("edges", ()))))


def read_searches(folders: Sequence[Path]) -> list[Search]:
    """Read all searches of some results folders, by name; copies of one once."""
    searches: list[Search] = []
    for folder in folders:
        for file in sorted(folder.glob("tuning/*/summary.json")):
            search = read_search(file)
            searches += [] if search in searches else [search]
    return searches


@dataclass(frozen=True)
class Comparison:
    """Tricks before tuning and after, in the same cells and on the same seeds.

    Nothing is judged before every cell that has a control could be compared with it.

    Attributes:
        effects: Of every trick at the suite's numbers, and at those that were chosen.
        apart: Titles of cells that were tuned, but not as their controls were.
        missing: How many cells have a control, where one of the two was not tuned.
    """

    effects: tuple[tuple[Effect, Effect], ...]
    apart: tuple[str, ...]
    missing: int


def compare(cells: SuiteCells, searches: Sequence[Search]) -> Comparison:
    """Compare every tuned cell with its tuned control.

    Args:
        cells: The suite, which says what is compared with what.
        searches: Of its cells.
    """
    by_cell = {search.cell: search for search in searches}
    matched: dict[str, list[tuple[Search, Search]]] = {}
    apart, missing = [], 0
    for cell, control in cells.controlled:
        mine, other = (by_cell.get(each.labels) for each in (cell, control))
        if mine is None or other is None:
            missing += 1
        elif mine.like(other):
            matched.setdefault(cells.treatment(cell), []).append((mine, other))
        else:
            apart.append(mine.title)
    order = [treatment for treatment in cells.treatments if treatment in matched]
    before, after = (
        [effect_of(treatment, matched[treatment], setting) for treatment in order]
        for setting in (lambda search: search.default, lambda search: search.chosen)
    )
    if order and not missing and not apart:
        margin = margin_of(cells)
        before = judged(before, margin, over_cells=False)
        after = judged(after, margin, over_cells=True)
    return Comparison(tuple(zip(before, after, strict=True)), tuple(apart), missing)


def judged(effects: Sequence[Effect], margin: float, *, over_cells: bool) -> list[Effect]:
    """Judge a family of effects."""
    found = judge([[effect.evidence] for effect in effects], margin, over_cells=over_cells)
    return [replace(e, judgement=j) for e, j in zip(effects, found, strict=True)]


def effect_of(
    treatment: str, matched: Sequence[tuple[Search, Search]], setting: Callable[[Search], Setting]
) -> Effect:
    """Pair the runs of cells and their controls by seed, each at one of its settings."""
    pairs = [
        pair for mine, other in matched for pair in pairs_of(mine, setting(mine), setting(other))
    ]
    return Effect(treatment, None, len(pairs), tuple(pairs))


def pairs_of(search: Search, mine: Setting, other: Setting) -> list[Pair]:
    """Pair the runs of two settings by seed."""
    return [
        Pair(
            search.cell[:2],
            seed,
            result,
            other.results[seed],
            (score(mine.values[seed], search.better), score(other.values[seed], search.better)),
        )
        for seed, result in mine.results.items()
        if seed in other.results
    ]


def score(value: float | None, better: str) -> float:
    """Return the logarithm of a value, smaller being better; ∞ where there is none."""
    if value is None or value <= 0:
        return math.inf
    return -math.log(value) if better == "higher" else math.log(value)
