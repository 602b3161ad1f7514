"""Tables as data: every cell knows its number, its n and its runs; writers only write."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.store.wording import NO_BREAK as NO_BREAK
from harness.store.wording import printable as printable
from reports.statistics.intervals import Interval

Kind = Literal[
    "text", "prose", "code", "verdict", "count", "number", "share", "points", "ratio", "p"
]
"""How a column is written: ``share`` in percent, ``points`` as a signed change in
percentage points,
``prose`` wraps where ``text`` stays on one line."""
ARROWS = {"lower": "↓", "higher": "↑", "none": ""}
ABSENT = "–"
MOST_ROWS = 100
"""Of a table in the page and in Markdown."""


@dataclass(frozen=True)
class TableCell:
    """One entry of a table.

    Attributes:
        value: A number or a text; None where there is nothing to say. An infinite number means
            that the run in question failed.
        interval: 95 % interval of the value; an infinite end is open.
        n: What the value rests on, in the unit that the column's title names.
        runs: Ids of the runs behind it.
        better: Which direction is good.
        protocol: Full name of the metric.
    """

    value: float | str | None
    interval: Interval | None = None
    n: int | None = None
    runs: tuple[str, ...] = ()
    better: Literal["lower", "higher", "none"] = "none"
    protocol: str = ""


Row = tuple[TableCell, ...]
"""An entry for each column."""


def entries(*values: TableCell | float | str | None) -> Row:
    """Make a table's row; what is a number, a text or nothing becomes an entry of its own."""
    return tuple(v if isinstance(v, TableCell) else TableCell(v) for v in values)


@dataclass(frozen=True)
class Column:
    """A column: its title, how to write it, and what it means."""

    title: str
    kind: Kind = "text"
    meaning: str = ""

    @property
    def numeric(self) -> bool:
        """Whether its entries are numbers."""
        return self.kind not in ("text", "prose", "code", "verdict")


@dataclass(frozen=True)
class Table:
    """A table, before anything is rendered.

    Attributes:
        name: File name of its CSV, without suffix.
        title: Caption.
        columns: One per entry of every row.
        rows: The entries.
        note: What a reader must know to read it.
        folded: Whether a page may show it closed at first.
        empty: What to say where it has no rows.

    Raises:
        ValueError: if a row has another length than the columns.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    note: str = ""
    folded: bool = False
    empty: str = "Nothing to show yet."

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.name}: {len(row)} entries for {len(self.columns)} columns")


def shortened(table: Table) -> Table:
    """Keep the first rows of a table that is too long to be read, and say where all are."""
    if len(table.rows) <= MOST_ROWS:
        return table
    said = (
        f"The first {MOST_ROWS} of {len(table.rows)} rows; all are in tables/{table.name}.csv. "
        + table.note
    )
    return replace(table, rows=table.rows[:MOST_ROWS], note=said.rstrip())


def significant(value: float, digits: int = 3) -> str:
    """Write a number with so many significant digits, without exponent where that is readable."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size < -4 or size > 6:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{value:.{max(0, digits - 1 - size)}f}"


def percent(share: float) -> str:
    """Write a share in percent, as a whole number except for small ones."""
    return f"{_hundredths(share, '')}{NO_BREAK}%"


def percentage_points(change: float) -> str:
    """Write a change of a share, signed, in percentage points (pp)."""
    return f"{_hundredths(change, '+')}{NO_BREAK}pp"


def _hundredths(value: float, sign: str) -> str:
    digits = 1 if 0 < abs(100 * value) < 9.95 else 0
    text = f"{100 * value:{sign}.{digits}f}"
    return "0" if float(text) == 0 else text.replace("-", "−")


def p_value(value: float) -> str:
    """Write a p-value, never as zero."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def number_text(value: float, kind: Kind) -> str:
    """Write one number as its column wants it."""
    if math.isnan(value):
        return ABSENT
    if math.isinf(value):
        return "failed"
    match kind:
        case "share":
            return percent(value)
        case "points":
            return percentage_points(value)
        case "count":
            return f"{value:.0f}"
        case "p":
            return p_value(value)
        case "ratio":
            return f"×{NO_BREAK}{significant(value).replace('-', '−')}"
        case _:
            return significant(value).replace("-", "−")


def limit_text(limit: float, kind: Kind) -> str:
    """Write an end of an interval, which may be open."""
    if math.isinf(limit):
        return "∞" if limit > 0 else "−∞"
    return number_text(limit, kind)


def value_text(cell: TableCell, column: Column) -> str:
    """Write a cell's value, without its interval."""
    if cell.value is None:
        return ABSENT
    if isinstance(cell.value, str):
        return printable(cell.value)
    return number_text(cell.value, column.kind)


def interval_text(cell: TableCell, column: Column) -> str:
    """Write a cell's interval, empty without one."""
    if cell.interval is None:
        return ""
    low, high = (
        limit_text(limit, column.kind)
        .removeprefix(f"×{NO_BREAK}")
        .removesuffix(f"{NO_BREAK}%")
        .removesuffix(f"{NO_BREAK}pp")
        for limit in cell.interval
    )
    return f"[{low}, {high}]"


def full_text(cell: TableCell, column: Column) -> str:
    """Write value, interval and n in one line."""
    parts = [value_text(cell, column), interval_text(cell, column)]
    if cell.n is not None and column.kind not in ("count", "text", "prose"):
        parts.append(f"(n={cell.n})")
    return " ".join(part for part in parts if part)


def unique_names(names: Sequence[str]) -> list[str]:
    """Make file names of labels: safe characters only, no two alike."""
    taken: set[str] = set()
    result = []
    for name in names:
        safe = "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower())
        safe = "-".join(part for part in safe.split("-") if part)[:60] or "table"
        chosen, number = safe, 2
        while chosen in taken:
            chosen, number = f"{safe}-{number}", number + 1
        taken.add(chosen)
        result.append(chosen)
    return result
