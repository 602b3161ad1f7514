"""Sixth chapter: what a search of learning rates found, on seeds it never saw."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.spec import decode_numbers
from harness.store.records import FAILURES, FINAL
from reports.document import Block, Figure, Section
from reports.figures.curves import draw_cliff
from reports.statistics.claims import SEEDS_FOR_A_CLAIM
from reports.statistics.intervals import Interval, geometric_interval, geometric_mean
from reports.tables import Column, Row, Table, TableCell, entries, unique_names

LEAD = (
    "Trials were tuned on the validation half and are biased by being chosen; only the rows on "
    "fresh seeds count. The ratio compares the best setting with the default on the same fresh "
    f"seeds. Below {SEEDS_FOR_A_CLAIM} seeds it claims nothing.",
)


@dataclass(frozen=True)
class Search:
    """One cell's search as its ``summary.json`` tells it.

    Attributes:
        title: The cell.
        metric: What trials were measured by, on the validation split.
        reported: What settings are measured by on fresh seeds.
        sampler: Optuna's sampler, with its version.
        trials: Each with ``params``, ``value`` and ``outcome``.
        default: The suite's own setting: ``params``, and ``fresh`` runs.
        best: The settings of the best trials, in the same form.
    """

    title: str
    metric: str
    reported: str
    sampler: str
    trials: list[dict[str, Any]]
    default: dict[str, Any]
    best: list[dict[str, Any]]


def read_search(file: Path) -> Search:
    """Read a search's summary.

    Raises:
        StoreError: naming the file, if it is not one.
    """
    try:
        data = decode_numbers(json.loads(file.read_bytes()))
        cell = data["cell"]
        version = data.get("optuna_version")
        if str(data["reported_metric"]).endswith("/validation"):
            raise ValueError("what trials are measured by is reported")
        return Search(
            f"{cell['dataset']} · {cell['variant']} · {cell['tricks']}",
            str(data["metric"]),
            str(data["reported_metric"]),
            str(data.get("sampler", "")) + (f", optuna {version}" if version else ""),
            list(data["trials"]),
            dict(data.get("default") or {}),
            list(data.get("best") or []),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{file} is no summary of a search ({error!r}); `ganbench tune` writes it again"
        ) from error


def read_searches(folders: Sequence[Path]) -> list[Search]:
    """Read all searches of some results folders, by name; copies of one once."""
    searches: list[Search] = []
    for folder in folders:
        for file in sorted(folder.glob("tuning/*/summary.json")):
            search = read_search(file)
            searches += [] if search in searches else [search]
    return searches


def rates(params: Mapping[str, Any]) -> str:
    """Write a setting, such as ``lr_g 0.0002, lr_d 0.0002``."""
    return ", ".join(
        f"{name} {f'{value:.3g}' if isinstance(value, int | float) else value}"
        for name, value in params.items()
    )


def fresh_values(setting: Mapping[str, Any]) -> dict[int, float | None]:
    """Return a setting's value by fresh seed, None where the run failed."""
    values: dict[int, float | None] = {}
    for run in setting.get("fresh") or ():
        if run.get("outcome") in FINAL:
            value = run.get("value")
            good = run["outcome"] not in FAILURES and value is not None and math.isfinite(value)
            values[int(run["seed"])] = float(value) if good else None
    return values


def compare(
    setting: Mapping[str, Any], default: Mapping[str, Any]
) -> tuple[float | None, Interval | None, int]:
    """Return the ratio of geometric means over common surviving seeds, interval and count."""
    mine, base = fresh_values(setting), fresh_values(default)
    ratios = [
        value / other
        for seed, value in mine.items()
        if value is not None and (other := base.get(seed)) is not None and value > 0 < other
    ]
    return geometric_mean(ratios), geometric_interval(ratios), len(ratios)


def setting_row(search: Search, name: str, setting: Mapping[str, Any]) -> Row:
    """Write one setting on fresh seeds as a row."""
    values = fresh_values(setting)
    good = [value for value in values.values() if value is not None]
    mean = geometric_mean(good)
    own = setting is search.default
    ratio, interval, n = (None, None, 0) if own else compare(setting, search.default)
    return entries(
        search.title,
        name,
        rates(setting.get("params") or {}),
        TableCell(mean, geometric_interval(good), len(good), (), "lower", search.reported),
        f"{len(values) - len(good)} of {len(values)}",
        TableCell(ratio, interval, n if ratio is not None else None, (), "lower"),
    )


def settings_table(searches: Sequence[Search]) -> Table:
    """Compare the best settings with the default, on fresh seeds."""
    rows = []
    for search in searches:
        names = [f"best {place}" for place in range(1, len(search.best) + 1)]
        ranked = dict(zip(names, search.best, strict=True))
        default = search.default
        also = [name for name, setting in ranked.items() if same_rates(setting, default)]
        rows.append(setting_row(search, " = ".join(["default", *also]), default))
        rows += [setting_row(search, n, s) for n, s in ranked.items() if n not in also]
    return Table(
        "tuning",
        "Best settings on fresh seeds",
        (
            Column("Cell"),
            Column("Setting"),
            Column("Rates"),
            Column("Metric ↓", "number", "geometric mean over surviving fresh seeds"),
            Column("Failed", "text"),
            Column("Ratio to default", "ratio", "over seeds that both survived; below 1 is better"),
        ),
        tuple(rows),
        "Numbers on fresh seeds only; no trial's own value is among them. The metric is "
        f"{' or '.join(dict.fromkeys(search.reported for search in searches))}.",
    )


def same_rates(setting: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Say whether two settings are one."""
    return bool(setting.get("params") == other.get("params"))


def cliff_figure(search: Search, name: str) -> Figure | None:
    """Draw value by learning rate; None without trials."""
    panels: dict[str, list[tuple[float, float | None]]] = {}
    for trial in search.trials:
        value = trial.get("value")
        if value is not None and (trial.get("outcome") in FAILURES or not math.isfinite(value)):
            value = None
        for parameter, rate in (trial.get("params") or {}).items():
            if isinstance(rate, int | float) and rate > 0:
                point = (float(rate), None if value is None else float(value))
                panels.setdefault(parameter, []).append(point)
    if not panels:
        return None
    params = search.default.get("params") or {}
    lines = {k: float(v) for k, v in params.items() if isinstance(v, int | float) and v > 0}
    return Figure(
        name,
        f"{search.title}: {search.metric} by learning rate",
        f"{len(search.trials)} trials ({search.sampler}) over {', '.join(panels)}.",
        draw_cliff(panels, lines),
        f"{len(search.trials)} trials, {search.sampler}. Crosses on the upper edge failed: that is "
        "the cliff.",
    )


def build(folders: Sequence[Path]) -> Section | None:
    """Make the chapter; None where nothing was tuned."""
    searches = read_searches(folders)
    if not searches:
        return None
    names = unique_names([f"tuning-{search.title}" for search in searches])
    figures = [cliff_figure(s, name) for s, name in zip(searches, names, strict=True)]
    blocks: list[Block] = [settings_table(searches), *(f for f in figures if f)]
    return Section("tuning", "Learning rates", LEAD, (), tuple(blocks))
