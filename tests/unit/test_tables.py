"""Tables as data, and the writers that render them."""

from __future__ import annotations

import csv
import io
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import comma_separated, markdown
from reports.statistics.intervals import Interval
from reports.tables import (
    ABSENT,
    Column,
    Table,
    TableCell,
    full_text,
    interval_text,
    p_value,
    percent,
    percentage_points,
    printable,
    significant,
    unique_names,
    value_text,
)

HOSTILE = ["<script>alert(1)</script>", "a|b", "`code`", "x\ny", "[a](http://b.c)", "*b*", "</td>"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.0, "1.00"), (0.012345, "0.0123"), (123.456, "123"), (12345.6, "12346"),
     (1e-7, "1.00e-7"), (2.5e9, "2.50e9"), (-0.5, "-0.500"),
     (1e308, "1.00e308"), (5e-324, "4.94e-324"), (math.inf, "inf"), (math.nan, "nan")],
)  # fmt: skip
def test_significant(value: float, text: str) -> None:
    assert significant(value) == text


def test_shares_and_changes() -> None:
    assert percent(0.5) == "50\u00a0%"
    assert percent(0.0123) == "1.2\u00a0%"
    assert percent(1.0) == "100\u00a0%"
    assert percentage_points(-0.123) == "−12\u00a0pp"
    assert percentage_points(0.04) == "+4.0\u00a0pp"
    assert percentage_points(0.0) == "0\u00a0pp"


def test_p_is_never_zero() -> None:
    assert p_value(0.0) == "< 0.001"
    assert p_value(0.0421) == "0.042"


def test_value_interval_and_n_in_one_line() -> None:
    cell = TableCell(0.75, Interval(0.5, 1.1), 5)
    assert full_text(cell, Column("Ratio", "ratio")) == "×\u00a00.750 [0.500, 1.10] (n=5)"
    assert interval_text(TableCell(1.0), Column("Ratio", "ratio")) == ""


def test_absent_and_failed() -> None:
    number = Column("FD", "number")
    assert value_text(TableCell(None), number) == ABSENT
    assert value_text(TableCell(math.nan), number) == ABSENT
    assert value_text(TableCell(math.inf), number) == "failed"


def test_a_row_must_fit_its_columns() -> None:
    with pytest.raises(ValueError, match="2 entries for 1 columns"):
        Table("t", "T", (Column("A"),), ((TableCell(1), TableCell(2)),))


@given(st.text())
def test_printable_is_one_line_without_controls(text: str) -> None:
    clean = printable(text)
    assert all(c.isprintable() or c == "\u00a0" for c in clean)
    assert len(clean) == len(text)


@given(st.lists(st.text(), max_size=6))
def test_names_are_unique_and_safe(labels: list[str]) -> None:
    names = unique_names(labels)
    assert len(set(names)) == len(labels)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for name in names)


def example() -> Table:
    columns = (Column("Name"), Column("FD ↓", "number"), Column("Command", "code"))
    rows = (
        (
            TableCell("a"),
            TableCell(0.1 + 0.2, Interval(0.1, 0.5), 5, ("r1", "r2")),
            TableCell("run 'a|b'"),
        ),
        (TableCell("=SUM(A1)"), TableCell(math.inf, None, 4), TableCell("``x`")),
    )
    return Table("t", "T | one", columns, rows, "a note")


def test_csv_has_full_numbers_limits_n_and_runs() -> None:
    header, first, second = csv.reader(io.StringIO(comma_separated.render(example())))
    assert header == ["Name", "FD ↓", "FD ↓ low", "FD ↓ high", "FD ↓ n", "Command", "runs"]
    assert first == ["a", repr(0.1 + 0.2), "0.1", "0.5", "5", "run 'a|b'", "r1 r2"]
    assert second == ["'=SUM(A1)", "failed", "", "", "4", "``x`", ""]


def test_markdown_table() -> None:
    lines = markdown.render_table(example()).splitlines()
    assert lines[0] == r"### T \| one"
    assert lines[2] == "| Name | FD ↓ | Command |"
    assert lines[3] == "|---|--:|---|"
    assert lines[4] == r"| a | 0.300 \[0.100, 0.500\] (n=5) | `run 'a\|b'` |"
    assert lines[5] == "| =SUM(A1) | failed (n=4) | ``` ``x` ``` |"


def test_markdown_says_that_a_table_is_empty() -> None:
    table = Table("t", "T", (Column("A"),), (), empty="None was skipped.")
    assert markdown.render_table(table) == "### T\n\nNone was skipped."


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_escapes(text: str) -> None:
    escaped = markdown.escape(text)
    assert "\n" not in escaped
    for special in "<>|`*[]":
        assert escaped.count(special) == escaped.count(f"\\{special}")
    assert "://" not in escaped


@given(st.text(alphabet="a`|\\ \n", max_size=8))
def test_a_hostile_text_keeps_its_place_in_a_markdown_table(text: str) -> None:
    table = Table(
        "t", "T", (Column("A"), Column("B", "code")), ((TableCell(text), TableCell(text)),)
    )
    row = markdown.render_table(table).splitlines()[4]
    # As GFM splits a row: a backslash takes the character after it along.
    assert re.sub(r"\\.", "", row).count("|") == 3
