"""A chapter where a suite measures what others have published: their numbers beside ours."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness.store.records import MetricInfo
from reports.cells import CellRuns, SuiteCells
from reports.document import Section
from reports.statistics.intervals import t_interval
from reports.tables import ARROWS, Column, Row, Table, TableCell, entries, significant, unique_names

FILE = Path(__file__).parent.parent / "published.yaml"
OURS, THEIRS = "ours", "published, not ours"
LEAD = (
    "Rows marked “published, not ours” are copied from the literature: context, not targets, for "
    "the same method scores differently from paper to paper. They stand beside our cells of the "
    "same data set, in the columns that are measured by the same protocol; what is known to "
    "differ is said, in the row or below the table.",
    "Ours are means over all finished runs that have the number, failed ones included, at the last "
    "checkpoint at which they have it, with 95 % t-intervals. Published errors are "
    "of the kind that is named, and are no such intervals.",
)


class Strict(BaseModel):
    """Refuses keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(Strict):
    """Where numbers come from.

    Attributes:
        title: A paper or a repository.
        where: Its arXiv id and place in it.
    """

    title: str
    where: str


class PublishedRow(Strict):
    """One method: a number per column of its table, and its error where there is one."""

    method: str
    values: tuple[float | None, ...]
    errors: tuple[float | None, ...] = ()


class PublishedTable(Strict):
    """What one source says of one data set.

    Attributes:
        dataset: Id.
        source: Key of the source.
        protocol: How it was measured and trained, as far as our columns and settings do not say.
        columns: Names of our columns of the same protocol, without the extractor.
        rows: The methods.
        runs: Trainings behind each number; None where that is not known.
        error: What kind of error is given.
        data: Options of the data set.
        training: Settings of the training.
    """

    dataset: str
    source: str
    protocol: str
    columns: tuple[str, ...] = Field(min_length=1)
    rows: tuple[PublishedRow, ...] = Field(min_length=1)
    runs: int | None = None
    error: str = ""
    data: dict[str, Any] = {}
    training: dict[str, Any] = {}

    @model_validator(mode="after")
    def check_lengths(self) -> Self:
        """Refuse rows that do not fit the columns, and errors of no kind."""
        for row in self.rows:
            if len(row.values) != len(self.columns):
                raise ValueError(f"{row.method} has {len(row.values)} values")
            if row.errors and (not self.error or len(row.errors) != len(self.columns)):
                raise ValueError(f"{row.method}: errors need a kind, and one per column")
        return self


class Published(Strict):
    """The whole file."""

    sources: dict[str, Source]
    tables: tuple[PublishedTable, ...]

    @model_validator(mode="after")
    def check_sources(self) -> Self:
        """Refuse tables of no source."""
        missing = {table.source for table in self.tables} - self.sources.keys()
        if missing:
            raise ValueError(f"unknown sources {sorted(missing)}")
        return self


@lru_cache(maxsize=1)
def read() -> Published:
    """Read the file that lies beside the sections' folder."""
    return Published.model_validate(yaml.safe_load(FILE.read_bytes()))


def bare(name: str) -> str:
    """Leave the extractor out of a metric's name: ``modes[…]@26k`` becomes ``modes@26k``."""
    return re.sub(r"\[[^\]]*\]", "", name, count=1)


def dataset_id(cells: list[CellRuns]) -> str | None:
    """Return the id of the data set that cells share, without options; None before any run."""
    return next((cell.record.spec.dataset.id for cell in cells if cell.record), None)


def number(value: Any) -> str:
    """Write a setting's value."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return significant(value) if isinstance(value, float) else str(value)


def unlike(cell: CellRuns, published: PublishedTable) -> str:
    """Say in which settings and options a cell is not what a source says of its training."""
    if cell.record is None:
        return ""
    spec = cell.record.spec
    ours = {**spec.settings.model_dump(), **spec.dataset.options}
    differences = [
        f"{name} {number(ours[name])} ({number(value)})"
        if name in ours
        else f"{name} not {number(value)}"
        for name, value in {**published.data, **published.training}.items()
        if ours.get(name) != value
    ]
    return ", ".join(differences) or "as published"


def our_row(
    cell: CellRuns, columns: dict[str, MetricInfo], published: PublishedTable | None
) -> Row:
    """Write one of our cells."""
    numbers = []
    for info in columns.values():
        measured = [
            (result.planned.id, value)
            for metric in cell.metrics
            if metric.name == info.name
            for result in cell.finals
            if (value := result.last(metric.name)) is not None
        ]
        values = [value for _, value in measured]
        numbers.append(
            TableCell(
                float(np.mean(values)) if values else None,
                t_interval(values) if values else None,
                len(values) or None,
                tuple(run for run, _ in measured),
                info.better,
                info.name,
            )
        )
    failed = f", {cell.failures} failed" if cell.failures else ""
    name = f"{cell.variant} × {cell.tricks}"
    training = unlike(cell, published) if published else ""
    whole = f"{len(cell.finals)}{failed}"
    return entries(OURS, name, *numbers, whole, None, None, training)


def their_rows(
    published: PublishedTable, source: Source, columns: dict[str, MetricInfo]
) -> list[Row]:
    """Write one source's rows, in our columns."""
    rows = []
    for row in published.rows:
        values = dict(zip(published.columns, row.values, strict=True))
        errors = dict(zip(published.columns, row.errors, strict=False))
        said = [
            f"{name} ± {significant(error)}"
            for name in columns
            if (error := errors.get(name)) is not None
        ]
        rows.append(
            entries(
                THEIRS,
                row.method,
                *(
                    TableCell(values.get(name), better=info.better, protocol=name)
                    for name, info in columns.items()
                ),
                str(published.runs) if published.runs else "not stated",
                "; ".join(said) or None,
                source.title,
                None,
            )
        )
    return rows


def table_of(dataset: str, cells: list[CellRuns], read_from: Published) -> Table | None:
    """Make the table of one data set; None where nothing is published by a protocol of ours."""
    known = dataset_id(cells)
    measured = {bare(info.name): info for cell in cells for info in cell.metrics}
    tables = [t for t in read_from.tables if t.dataset == known and {*t.columns} & {*measured}]
    if not tables:
        return None
    names = dict.fromkeys(name for table in tables for name in table.columns)
    columns = {name: measured[name] for name in names if name in measured}
    detailed = next((table for table in tables if table.training), None)
    having = [c for c in cells if any(bare(info.name) in columns for info in c.metrics)]
    notes = [
        f"{read_from.sources[t.source].title} ({read_from.sources[t.source].where}): {t.protocol}"
        + (f"; ± is the {t.error}" if t.error else "")
        for t in tables
    ]
    if detailed is not None:
        title = read_from.sources[detailed.source].title
        notes.append(
            f"“Unlike”: settings of ours that are not those of {title}, theirs in brackets"
        )
    return Table(
        f"published-{dataset}",
        f"{dataset}: ours and published",
        (
            Column("Whose"),
            Column("Method"),
            *(
                Column(f"{name} {ARROWS[info.better]}".strip(), "number", info.summary)
                for name, info in columns.items()
            ),
            Column("Runs", "text", "finished trainings behind the numbers"),
            Column("Published error", "prose"),
            Column("Source", "prose"),
            Column("Unlike", "prose", "settings that differ from the published training"),
        ),
        (
            *(our_row(cell, columns, detailed) for cell in having),
            *(
                row
                for table in tables
                for row in their_rows(table, read_from.sources[table.source], columns)
            ),
        ),
        ". ".join(notes) + ".",
    )


def build(cells: SuiteCells) -> Section | None:
    """Make the chapter; None unless the suite measures something that is published."""
    candidates = [table_of(name, cells.of_dataset(name), read()) for name in cells.datasets]
    tables = [table for table in candidates if table is not None]
    if not tables:
        return None
    names = unique_names([table.name for table in tables])
    named = (
        Table(name, t.title, t.columns, t.rows, t.note)
        for name, t in zip(names, tables, strict=True)
    )
    return Section("published", "Published numbers", LEAD, (), tuple(named))
