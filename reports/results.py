"""Results in Python: ``ganbench.load`` reads folders, and gives frames of pandas and figures."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from functools import cached_property
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa

from harness.store.garbage import uncollected
from harness.store.merging import read_suites
from reports.cells import SuiteCells, group
from reports.frames import evaluation_table, loss_table, run_table, trial_table, verdict_table
from reports.tables import Column, Table, printable, significant
from reports.tuned import Search, read_searches

if TYPE_CHECKING:
    from reports.plots import Plots

MOST_ROWS = 40
"""Verdicts that a notebook shows."""


def load(*folders: str | os.PathLike[str], skip_corrupt: bool = False) -> Results:
    """Read a results folder, also while runs are in progress; or several of one plan, as one.

    Args:
        folders: Such as ``results/stability``.
        skip_corrupt: List damaged runs, with the outcome ``corrupt``, instead of refusing.

    Raises:
        StoreError: if one holds no results, or their plans differ.
        CorruptRecordError: naming file and line of a damaged record, unless those are skipped.
    """
    results = Results(*folders, skip_corrupt=skip_corrupt)
    _ = results.cells
    return results


class Results:
    """Results of a suite; what is asked for first reads the folders, once.

    Frames have the columns that ``reports/README.md`` lists; ``run`` is their common key, and so
    ``r.evaluations.merge(r.runs, on="run")`` has everything. ``r.plot`` draws.

    Args:
        folders: One results folder, or several of one plan.
        skip_corrupt: List damaged runs instead of refusing.

    Raises:
        TypeError: without a folder.
    """

    def __init__(self, *folders: str | os.PathLike[str], skip_corrupt: bool = False) -> None:
        if not folders:
            raise TypeError("give a results folder, such as results/stability")
        self.folders = [Path(folder) for folder in folders]
        self.skip_corrupt = skip_corrupt

    @cached_property
    def cells(self) -> SuiteCells:
        """The runs by cell, as reports have them."""
        with uncollected():
            return group(read_suites(self.folders, skip_corrupt=self.skip_corrupt))

    @cached_property
    def runs(self) -> pd.DataFrame:
        """A row for each planned run."""
        return frame_of(run_table(self.cells))

    @cached_property
    def evaluations(self) -> pd.DataFrame:
        """A row for each number of each evaluation."""
        return frame_of(evaluation_table(self.cells))

    @cached_property
    def losses(self) -> pd.DataFrame:
        """A row for each number that training told of itself."""
        return frame_of(loss_table(self.cells))

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """A row for each verdict, of tricks, declared contrasts, and tuned cells."""
        return frame_of(verdict_table(self.cells, self._searches))

    @cached_property
    def trials(self) -> pd.DataFrame:
        """A row for each trial of a search."""
        return frame_of(trial_table(self._searches))

    @cached_property
    def _searches(self) -> list[Search]:
        return read_searches(self.folders)

    @cached_property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """The tables of the report, by their file names without suffix."""
        from reports.build import lay_out
        from reports.figures.style import undrawn

        with undrawn():
            document = lay_out(self.cells, self.folders)
        return MappingProxyType({table.name: table_frame(table) for table in document.tables()})

    @cached_property
    def plot(self) -> Plots:
        """What draws: ``effects``, ``curves``, ``modes``, ``survival`` and ``samples``."""
        from reports.plots import Plots

        return Plots(self)

    def __repr__(self) -> str:
        places = ", ".join(repr(str(folder)) for folder in self.folders)
        return f"ganbench.load({places})"

    def _repr_html_(self) -> str:
        """Show verdicts and the map of effects, in a notebook of either theme."""
        from reports.sections.verdicts import cell_map, metric_word

        plan = self.cells.suite.plan
        ended = sum(result.final for result in self.cells.results)
        head = f"<b>{text(plan.suite)}</b>: {text(plan.summary)} {ended} of {len(plan.runs)} runs."
        shown = self.verdicts.head(MOST_ROWS)
        titles = ("comparison", "trick", "verdict", "ratio", "failed", "pairs")
        headings = "".join(f'<th style="text-align:left">{title}</th>' for title in titles)
        rows = "".join(
            "<tr>" + "".join(f'<td style="text-align:left">{text(entry)}</td>' for entry in row)
            + "</tr>"
            for row in map(verdict_words, shown.itertuples())
        )  # fmt: skip
        left = len(self.verdicts) - len(shown)
        more = f"<p>{left} more are in <code>r.verdicts</code>.</p>" if left else ""
        figure = cell_map(self.cells, metric_word(self.cells))
        table = f"<table><thead><tr>{headings}</tr></thead><tbody>{rows}</tbody></table>"
        # A picture: what styles it, and ids in it, concern nothing else of the notebook.
        return f"<p>{head}</p>" + (table if rows else "") + more + picture(figure.svg, figure.alt)


def frame_of(table: pa.Table) -> pd.DataFrame:
    """Make a frame of columns; its notes say which dtypes it has."""
    frame: pd.DataFrame = table.to_pandas()
    return frame


def text(value: object) -> str:
    """Write what may be anybody's as HTML."""
    return escape(printable(str(value)))


def picture(svg: str, alt: str) -> str:
    """Show an SVG on white, whatever page it is on: its inks are those for light pages."""
    from base64 import b64encode

    if not svg:
        return ""
    start = svg.find("<style>@media (prefers-color-scheme:dark)")
    end = svg.find("</style>", start) + len("</style>")
    light = svg if start < 0 else svg[:start] + svg[end:]
    data = b64encode(light.encode(errors="replace")).decode()
    style = "background:#fff;max-width:100%"
    return f'<img style="{style}" alt="{text(alt)}" src="data:image/svg+xml;base64,{data}">'


def verdict_words(row: object) -> tuple[str, ...]:
    """Write a row of verdicts for a notebook."""
    values = row._asdict()  # type: ignore[attr-defined]
    verdict = values["verdict"]
    low, high = values["low"], values["high"]
    ratio = f"× {significant(values['estimate'])}" if math.isfinite(values["estimate"]) else "–"
    if not math.isnan(low):
        ratio += f" [{significant(low)}, {significant(high) if math.isfinite(high) else '∞'}]"
    failed = f"{values['control_failures']} → {values['failures']} of {values['pairs']}"
    pairs = f"{values['pairs']} of {values['planned']}"
    words = verdict if isinstance(verdict, str) else "runs are still to come"
    return str(values["comparison"]), str(values["trick"]), words, ratio, failed, pairs


def table_frame(table: Table) -> pd.DataFrame:
    """Make a frame of a report's table, with limits and n in columns of their own, as its CSV."""
    columns: dict[str, pd.Series] = {}
    for place, column in enumerate(table.columns):
        cells = [row[place] for row in table.rows]
        parts = {column.title: _entries([cell.value for cell in cells], column)}
        if any(cell.interval is not None for cell in cells):
            for side, name in enumerate(("low", "high")):
                limits = [cell.interval[side] if cell.interval else None for cell in cells]
                parts[f"{column.title} {name}"] = pd.Series(limits, dtype="float64")
        if any(cell.n is not None for cell in cells):
            parts[f"{column.title} n"] = pd.Series([cell.n for cell in cells], dtype="Int64")
        for name, part in parts.items():
            again = sum(other == name or other.startswith(f"{name} (") for other in columns)
            columns[f"{name} ({again + 1})" if name in columns else name] = part
    return pd.DataFrame(columns)


def _entries(values: list[float | str | None], column: Column) -> pd.Series:
    numbers = all(value is None or not isinstance(value, str) for value in values)
    if column.numeric and numbers:
        whole = all(value is None or float(value).is_integer() for value in values)
        dtype = "Int64" if column.kind == "count" and whole else "float64"
        return pd.Series(values, dtype=dtype)
    texts = [None if v is None else v if isinstance(v, str) else repr(v) for v in values]
    return pd.Series(texts, dtype="string")
