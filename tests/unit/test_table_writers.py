"""Tables for papers and for programs."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.spec import decode_numbers
from reports import comma_separated, latex, structured
from reports.document import Document, Section
from reports.statistics.intervals import Interval
from reports.tables import NO_BREAK, Column, Table, TableCell, full_text

TABLE = Table(
    "verdicts",
    "Verdicts & co.",
    (Column("Trick"), Column("Ratio", "ratio", "below 1 is better"), Column("p", "p")),
    (
        (
            TableCell("label_smoothing"),
            TableCell(0.5, Interval(0.25, 1.0), 20, ("a1", "b2"), "lower", "fd[data]@500/test"),
            TableCell(1e-5),
        ),
        (TableCell("50 % {x}"), TableCell(math.inf), TableCell(None)),
    ),
    "Read me.",
)


def test_a_table_for_a_paper() -> None:
    lines = latex.render(TABLE).splitlines()
    assert lines[:2] == ["% needs booktabs", "% Read me."]
    assert r"\caption{Verdicts \& co.}\label{tab:verdicts}" in lines
    assert r"\begin{tabular}{lrr}" in lines
    assert r"\toprule Trick & Ratio & p \\ \midrule" in lines
    assert r"label\_smoothing & $\times$~0.500 [0.250, 1.00] (n=20) & \textless{} 0.001 \\" in lines
    assert r"50 \% \{x\} & failed & -- \\" in lines
    assert lines[-1] == r"\end{table}"


def test_a_long_table_goes_over_pages() -> None:
    rows = tuple((TableCell(f"t{i}"), TableCell(1.0), TableCell(0.5)) for i in range(50))
    lines = latex.render(Table("long", "Long", TABLE.columns, rows)).splitlines()
    assert lines[0] == "% needs booktabs and longtable"
    assert lines[-1] == r"\end{longtable}"
    assert sum(line.endswith(r"\endhead") for line in lines) == 1


@given(st.text(max_size=40))
def test_no_text_gives_orders_to_latex(text: str) -> None:
    left = latex.escape(text)
    for order in sorted(latex.SPECIAL.values(), key=len, reverse=True):
        left = left.replace(order, "")
    assert not set(left) & set("\\&%$#_{}^\n")


def test_tables_for_programs_hold_every_number_in_full() -> None:
    document = Document(
        "mine", "Does it?", (("Seeds", "5"),), (Section("v", "Verdicts", (), (), (TABLE,)),)
    )
    read = json.loads(structured.render(document), parse_constant=pytest.fail)
    assert (read["suite"], read["facts"]) == ("mine", {"Seeds": "5"})
    (table,) = decode_numbers(read["tables"])
    assert [column["title"] for column in table["columns"]] == ["Trick", "Ratio", "p"]
    assert table["rows"][0][1] == {
        "value": 0.5,
        "interval": [0.25, 1.0],
        "n": 20,
        "runs": ["a1", "b2"],
        "better": "lower",
        "protocol": "fd[data]@500/test",
    }
    assert table["rows"][1][1:] == [{"value": math.inf}, {"value": None}]


def test_an_open_end_of_an_interval_is_no_failure() -> None:
    """An infinite value is a run that failed; an infinite limit is a side that is open."""
    column = Column("Ratio", "ratio")
    cell = TableCell(0.5, Interval(0.0, math.inf), 5)
    assert full_text(cell, column) == f"×{NO_BREAK}0.500 [0, ∞] (n=5)"
    table = Table("t", "T", (column,), ((cell,), (TableCell(math.inf),)))
    assert comma_separated.render(table).splitlines()[1:] == ["0.5,0.0,inf,5", "failed,,,"]
    assert r"$\infty$" in latex.render(table)
    document = Document("a", "b", (), (Section("v", "V", (), (), (table,)),))
    entry = json.loads(structured.render(document))["tables"][0]["rows"][0][0]
    assert entry["interval"] == [0.0, {"nonfinite": "inf"}]
    assert decode_numbers(entry["interval"]) == [0.0, math.inf]
