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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import StoreError
from harness.spec import decode_numbers
from harness.store.records import FINAL, TUNING_SCHEMA
from reports.cells import FAILURES, CellRuns, SuiteCells
from reports.statistics.claims import Judgement, judge
from reports.statistics.intervals import Interval, geometric_interval, geometric_mean
from reports.statistics.paired import Pairs


@dataclass(frozen=True)
class Setting:
    """A cell's numbers, and its runs with them on fresh seeds.

    Attributes:
        numbers: Value by name.
        values: The primary metric by seed; None where the run failed.
        runs: Id of the run by seed.
        edges: Names of the numbers at an edge of their range.
    """

    numbers: Mapping[str, float]
    values: Mapping[int, float | None]
    runs: Mapping[int, str]
    edges: tuple[str, ...] = ()

    @property
    def good(self) -> list[float]:
        """The values of the runs that did not fail."""
        return [value for value in self.values.values() if value is not None]

    @property
    def middle(self) -> float | None:
        """Their geometric mean."""
        return geometric_mean(self.good)

    @property
    def interval(self) -> Interval | None:
        """Its interval over seeds."""
        return geometric_interval(self.good)

    @property
    def failures(self) -> int:
        """How many runs failed."""
        return len(self.values) - len(self.good)


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

    cell: tuple[str, str, str]
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
        cell = data["cell"]
        if str(data["reported_metric"]).endswith("/validation"):
            raise ValueError("what trials are measured by is reported")
        return Search(
            (str(cell["dataset"]), str(cell["variant"]), str(cell["tricks"])),
            str(data["metric"] or ""),
            str(data["reported_metric"]),
            str(data["better"]),
            str(data["sampler"]),
            str(data["optuna_version"]),
            dict(data["space"]),
            list(data["trials"]),
            _setting(data["default"]),
            _setting(data["chosen"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{file} is no summary of a search ({error!r}); `ganbench tune` writes it again"
        ) from error


def _setting(data: Mapping[str, Any]) -> Setting:
    finals = [run for run in data["fresh"] if run["outcome"] in FINAL]
    return Setting(
        {str(name): float(value) for name, value in data["params"].items()},
        {int(run["seed"]): _value(run) for run in finals},
        {int(run["seed"]): str(run["run"]) for run in finals},
        tuple(map(str, data.get("edges", ()))),
    )


def _value(run: Mapping[str, Any]) -> float | None:
    """Return a run's value; None for a failure, and for one that has none."""
    value = run["value"]
    if run["outcome"] in FAILURES or value is None or not math.isfinite(value):
        return None
    return float(value)


def read_searches(folders: Sequence[Path]) -> list[Search]:
    """Read all searches of some results folders, by name; copies of one once."""
    searches: list[Search] = []
    for folder in folders:
        for file in sorted(folder.glob("tuning/*/summary.json")):
            search = read_search(file)
            searches += [] if search in searches else [search]
    return searches


@dataclass(frozen=True)
class Tuned:
    """What a trick does before tuning and after, in the same cells and on the same seeds.

    Attributes:
        tricks: What the cells have that their controls have not.
        cells: In how many cells.
        before: At the suite's numbers, and what may be said of it.
        after: At the chosen numbers, likewise.
        runs: Ids of all runs after tuning.
    """

    tricks: str
    cells: int
    before: tuple[Pairs, Judgement]
    after: tuple[Pairs, Judgement]
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Tricks before and after tuning.

    Attributes:
        effects: One for each trick.
        apart: Titles of cells that were tuned, but not as their controls were.
        missing: How many cells have a control, where one of the two was not tuned.
    """

    effects: tuple[Tuned, ...]
    apart: tuple[str, ...]
    missing: int


def compare(cells: SuiteCells, searches: Sequence[Search], margin: float) -> Comparison:
    """Compare every tuned cell with its tuned control.

    Args:
        cells: The suite, which says what is compared with what.
        searches: Of its cells.
        margin: Ratio above 1 within which a change is negligible.
    """
    by_cell = {search.cell: search for search in searches}
    matched: dict[str, list[tuple[Search, Search]]] = {}
    apart, missing = [], 0
    for cell in cells.cells:
        control = cells.control(cell)
        if control is None:
            continue
        mine, other = (by_cell.get(labels(each)) for each in (cell, control))
        if mine is None or other is None:
            missing += 1
        elif mine.like(other):
            matched.setdefault(cells.treatment(cell), []).append((mine, other))
        else:
            apart.append(mine.title)
    order = [treatment for treatment in cells.treatments if treatment in matched]
    before = [pairs_of([(a.default, b.default, a.better) for a, b in matched[t]]) for t in order]
    after = [pairs_of([(a.chosen, b.chosen, a.better) for a, b in matched[t]]) for t in order]
    judged = zip(
        order,
        before,
        judge([[pairs] for pairs in before], margin) if order else [],
        after,
        judge([[pairs] for pairs in after], margin, over_cells=True) if order else [],
        strict=True,
    )
    return Comparison(
        tuple(
            Tuned(
                treatment,
                len(matched[treatment]),
                (old, old_judged),
                (new, new_judged),
                tuple(
                    run
                    for pair in matched[treatment]
                    for s in pair
                    for run in s.chosen.runs.values()
                ),
            )
            for treatment, old, old_judged, new, new_judged in judged
        ),
        tuple(apart),
        missing,
    )


def labels(cell: CellRuns) -> tuple[str, str, str]:
    """Return a cell's labels."""
    return cell.dataset, cell.variant, cell.tricks


def pairs_of(settings: Sequence[tuple[Setting, Setting, str]]) -> Pairs:
    """Pair the runs of settings by seed.

    Args:
        settings: For every cell the setting with the trick, that without, and which of their metric
            is better.
    """
    rows = [
        (
            place,
            seed,
            _score(mine.values[seed], better),
            _score(other.values[seed], better),
            mine.values[seed] is None,
            other.values[seed] is None,
        )
        for place, (mine, other, better) in enumerate(settings)
        for seed in mine.values
        if seed in other.values
    ]
    place, seed, treated, control, lost, base_lost = ([row[i] for row in rows] for i in range(6))
    return Pairs(
        np.array(place, dtype=np.int64),
        np.array(seed, dtype=np.int64),
        np.array(treated, dtype=float),
        np.array(control, dtype=float),
        np.array(lost, dtype=bool),
        np.array(base_lost, dtype=bool),
    )


def _score(value: float | None, better: str) -> float:
    """Return the logarithm of a value, smaller being better; ∞ where there is none."""
    if value is None or value <= 0:
        return math.inf
    return -math.log(value) if better == "higher" else math.log(value)


def survivors_ratio(pairs: Pairs) -> float | None:
    """Return with over without where both survived, averaged within seeds, then over them."""
    kept = pairs.survived
    means = [
        float(pairs.log_ratios[kept & (pairs.seeds == seed)].mean())
        for seed in np.unique(pairs.seeds[kept])
    ]
    return math.exp(sum(means) / len(means)) if means else None
