"""What a report leaves out where a suite has more than a page can show, and that it says so."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import CorruptRecordError
from harness.store import parallel
from harness.store.events import EvaluationRow, LossRow
from harness.store.reading import read_suite
from reports import tables
from reports.build import write_report
from reports.cells import group
from reports.document import Figure
from reports.figures.curves import median_curve
from reports.sections import training
from reports.tables import Column, Table, TableCell, shortened
from tests.benchmarks.large_store import EVALUATIONS, LOSS_ROWS, Size, build_large_store
from tests.benchmarks.reporting import report
from tests.stores import build_store

POINTS = st.lists(st.tuples(st.sampled_from([0.0, 1.0, 2.5]), st.floats(-9, 9)), max_size=3)


@given(st.lists(POINTS, max_size=5))
def test_the_median_curve_is_numpys_median_at_each_place(
    curves: list[list[tuple[float, float]]],
) -> None:
    by_place: dict[float, list[float]] = {}
    for place, value in (point for curve in curves for point in curve):
        by_place.setdefault(place, []).append(value)
    expected = [
        (place, float(np.median(values)))
        for place, values in sorted(by_place.items())
        if 2 * len(values) >= len(curves)
    ]
    assert median_curve(curves) == expected


def test_a_long_table_is_cut_and_says_where_it_is_whole() -> None:
    rows = tuple((TableCell(i),) for i in range(tables.MOST_ROWS + 1))
    table = Table("long", "Long", (Column("n"),), rows, "A note.")
    short = shortened(table)
    assert short.rows == rows[:-1]
    assert short.note == "The first 100 of 101 rows; all are in tables/long.csv. A note."
    assert shortened(short) is short


def test_page_and_markdown_are_cut_and_the_files_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = build_store(tmp_path, datasets=("ring8",), tricks=("none", "ema", "ttur"), seeds=1)
    monkeypatch.setattr(tables, "MOST_ROWS", 4)
    write_report(root)
    for name in ("index.html", "report.md"):
        text = (root / "report" / name).read_text()
        assert "The first 4 of 6 rows" in text
        assert "variant=wgan-gp --only tricks=none" in text
        assert "variant=wgan-gp --only tricks=ema" not in text
    for name in ("outcomes.csv", "outcomes.tex"):
        whole = (root / "report" / "tables" / name).read_text()
        assert whole.count("wgan-gp") == 3


def test_figures_draw_what_can_be_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = build_store(
        tmp_path, datasets=("ring8",), variants=("gan", "lsgan", "wgan-gp"), seeds=3,
        tricks=("none", "ema", "ttur"),
    )  # fmt: skip
    cells = group(read_suite(root))
    whole = [block for block in training.build(cells).blocks if isinstance(block, Figure)]
    assert not any("readable" in figure.note for figure in whole)
    monkeypatch.setattr(training, "MOST_PLOTS", 2)
    monkeypatch.setattr(training, "MOST_COLUMNS", 1)
    monkeypatch.setattr(training, "MOST_STYLES", 2)
    monkeypatch.setattr(training, "MOST_SEEDS", 4)
    cut = [block for block in training.build(cells).blocks if isinstance(block, Figure)]
    distances, diagnostics = (f for f in cut if f.name != "before-failures")
    assert "the first 2 of 3 variants and the first 2 of 3 tricks are drawn" in distances.note
    assert "Only each cell's first seed has a line of its own" in distances.note
    assert "the first 1 of 3 variants" in diagnostics.note
    uncut = {figure.name: figure.svg for figure in whole}
    for figure in (distances, diagnostics):
        assert len(figure.svg) < 0.6 * len(uncut[figure.name])


class TestSeveralProcesses:
    """A large folder is read by all cores; here every run is a share."""

    @pytest.fixture(autouse=True)
    def _small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(parallel, "FEWEST", 1)
        monkeypatch.setattr(parallel, "cores", lambda: 2)

    def store(self, root: Path) -> Path:
        return build_store(root, datasets=("ring8",), variants=("gan",), seeds=2)

    def test_what_they_read_is_what_one_reads(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = self.store(tmp_path)
        together = read_suite(root)
        monkeypatch.setattr(parallel, "cores", lambda: 1)
        alone = read_suite(root)
        assert list(together.runs) == list(alone.runs)
        for mine, theirs in zip(together.runs.values(), alone.runs.values(), strict=True):
            assert (mine.path, mine.spec) == (theirs.path, theirs.spec)
            assert list(mine.events) == list(theirs.events)

    def test_damage_is_told_by_whoever_reads_it(self, tmp_path: Path) -> None:
        root = self.store(tmp_path)
        last = read_suite(root).plan.runs[-1]
        log = root / "runs" / last.folder / "events.jsonl"
        lines = log.read_bytes().splitlines(keepends=True)
        lines[3] = lines[3].replace(b"1", b"2", 1)
        log.write_bytes(b"".join(lines))
        with pytest.raises(CorruptRecordError, match=r"events\.jsonl:4: checksum differs"):
            read_suite(root)
        assert list(read_suite(root, skip_corrupt=True).corrupt) == [last.id]

    def test_a_process_that_dies_is_stood_in_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = self.store(tmp_path)
        monkeypatch.setattr(parallel.sys, "executable", "/bin/false")
        assert len(read_suite(root).runs) == 4

    def test_without_room_for_another_one_process_reads_all(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = self.store(tmp_path)
        full = OSError(28, "No space left on device")
        monkeypatch.setattr(parallel.pickle, "dump", Mock(side_effect=full))
        assert len(read_suite(root).runs) == 4


def test_the_benchmark_reports_what_it_says(tmp_path: Path) -> None:
    size = Size(variants=1, tricks=2, seeds=1)
    root = build_large_store(tmp_path / "results", size)
    records = list(read_suite(root).runs.values())
    assert len(records) == size.runs == 4
    for record in records:
        assert record.is_final
        steps = [event.step for event in record.of_type(EvaluationRow)]
        rows = len(record.of_type(LossRow))
        assert (len(steps), rows) in ((EVALUATIONS + 1, LOSS_ROWS), (26, 50))
        assert record.last("fd[data]@2500/train") or record.last(
            "fd[digits-cnn@ce3e73cd]@1000/train"
        )
    found = report(root, tmp_path / "report")
    assert found["peak_bytes"] > 50e6
    assert found["page_bytes"] == (tmp_path / "report" / "timed" / "index.html").stat().st_size
    assert 0 < found["cpu_seconds"] < 100
