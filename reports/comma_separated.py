"""Writes a table as CSV: full numbers, limits and n in columns of their own."""

from __future__ import annotations

import csv
import io
import math

from reports.tables import Row, Table, printable

FORMULA = ("=", "+", "-", "@")


def text_entry(text: str) -> str:
    """Write a text so that a spreadsheet takes it for one, not for a formula."""
    clean = printable(text)
    return f"'{clean}" if clean.startswith(FORMULA) else clean


def entry(value: float | str | None) -> str:
    """Write a value: empty where there is none, ``failed`` where the run in question failed."""
    if value is None:
        return ""
    if isinstance(value, str):
        return text_entry(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "failed" if math.isinf(value) else ""
    return repr(value)


def limit_entry(limit: float | None) -> str:
    """Write an end of an interval: ``inf`` where it is open."""
    return repr(limit) if limit is not None and math.isinf(limit) else entry(limit)


def render(table: Table) -> str:
    """Return the table as CSV text with a header line."""
    with_interval = [
        any(row[i].interval is not None for row in table.rows) for i in range(len(table.columns))
    ]
    with_n = [any(row[i].n is not None for row in table.rows) for i in range(len(table.columns))]
    has_runs = any(cell.runs for row in table.rows for cell in row)
    header: list[str] = []
    for i, column in enumerate(table.columns):
        header.append(column.title)
        header += [f"{column.title} low", f"{column.title} high"] if with_interval[i] else []
        header += [f"{column.title} n"] if with_n[i] else []
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([text_entry(title) for title in header] + (["runs"] if has_runs else []))
    for row in table.rows:
        line: list[str] = []
        for i, cell in enumerate(row):
            line.append(entry(cell.value))
            if with_interval[i]:
                line += [limit_entry(limit) for limit in cell.interval or (None, None)]
            line += [entry(cell.n)] if with_n[i] else []
        writer.writerow(line + ([_runs(row)] if has_runs else []))
    return buffer.getvalue()


def _runs(row: Row) -> str:
    return " ".join(dict.fromkeys(run for cell in row for run in cell.runs))
