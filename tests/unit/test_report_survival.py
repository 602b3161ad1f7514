"""The chapter on how long runs last, on results whose end is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.store.reading import read_suite
from reports.cells import group
from reports.document import Figure, Section
from reports.sections import survival
from reports.tables import Table
from tests.stores import Fate, FateOf, Where, build_store


def chapter(folder: Path, fate_of: FateOf) -> Section | None:
    root = build_store(folder / "r", fate_of=fate_of, seeds=5, datasets=("ring8", "digits"))
    return survival.build(group(read_suite(root)))


def test_nothing_is_said_where_nothing_failed(tmp_path: Path) -> None:
    assert chapter(tmp_path, lambda where: Fate("ok", 1.0)) is None


def test_failures_are_compared_within_data_set_and_variant(tmp_path: Path) -> None:
    def fate(where: Where) -> Fate:
        treated = where.tricks != "none"
        return Fate("diverged" if treated and where.variant == "gan" else "ok", 1.0)

    made = chapter(tmp_path, fate)
    assert made is not None
    figure, table = made.blocks
    assert isinstance(figure, Figure) and isinstance(table, Table)
    assert "gan" in figure.svg
    (row,) = table.rows
    trick, share, observed, expected, p = row
    assert trick.value == "label-smoothing"
    # Two variants on two data sets, five seeds: all runs of one variant diverge half way.
    assert share.value == pytest.approx(0.5)
    assert share.n == 20 and share.interval is not None
    assert (observed.value, expected.value) == (10, pytest.approx(5))
    assert isinstance(p.value, float) and p.value < 0.01
    assert len(share.runs) == 40


def test_a_run_lasts_until_its_onset(tmp_path: Path) -> None:
    root = build_store(
        tmp_path / "r", fate_of=lambda w: Fate("diverged" if w.seed else "ok", 1.0), seeds=2
    )
    cell = group(read_suite(root)).cells[0]
    lived = survival.lifetimes([cell])
    assert lived.failed == [False, True]
    assert lived.times == [1.0, pytest.approx(0.5)]
