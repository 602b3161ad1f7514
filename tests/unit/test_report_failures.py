"""What comes before a failure: failed runs among survivors, aligned at the failure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.store.reading import read_suite
from reports.cells import SuiteCells, group
from reports.sections import failures
from reports.sections.failures import LATE, build_blocks, course, percentile, traces
from reports.tables import Table
from tests.stores import Fate, FateOf, Where, build_store


def cells_of(folder: Path, fate_of: FateOf, **options: object) -> SuiteCells:
    root = build_store(folder / "s", datasets=("ring8",), fate_of=fate_of, seeds=4, **options)  # type: ignore[arg-type]
    return group(read_suite(root))


def warned(where: Where) -> Fate:
    """Runs with the trick collapse half way, with a tiny gradient of G from the beginning."""
    failing = where.tricks != "none"
    return Fate("collapsed", losses={"g_grad_norm": 1e-6}) if failing else Fate()


def test_a_percentile_counts_equal_ones_half() -> None:
    assert percentile(2.0, np.array([1.0, 2.0, 3.0, 4.0])) == 0.375
    assert percentile(0.0, np.array([1.0])) == 0
    assert percentile(9.0, np.array([1.0])) == 1


def test_a_failed_run_is_placed_among_survivors_of_its_variant(tmp_path: Path) -> None:
    found, total = traces(cells_of(tmp_path, warned))
    assert (len(found), total) == (8, 8)
    assert {one.when for one in found} == {LATE}
    rows = found[0].percentiles["g_grad_norm"]
    # Logged every 40 of 400 steps; the collapse began at step 200.
    assert [since for since, _ in rows] == pytest.approx([-0.4, -0.3, -0.2, -0.1, 0, 0.1, 0.2])
    assert {share for _, share in rows} == {0.0}


def test_a_warning_stands_out_and_noise_does_not(tmp_path: Path) -> None:
    found, _ = traces(cells_of(tmp_path, warned))
    tiny, noise = (course(found, name).rows for name in ("g_grad_norm", "d_grad_norm"))
    assert {row[1:] for row in tiny} == {(0.0, 0.0, 0.0)}
    assert 0.3 < np.mean([row[2] for row in noise]) < 0.7


def test_the_table_gives_the_chance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "WARNING", 0.11)
    blocks = build_blocks(cells_of(tmp_path, warned))
    (table,) = (block for block in blocks if isinstance(block, Table))
    by_name = {row[0].value: row[1] for row in table.rows}
    assert by_name["g_grad_norm"].value == 0.0 and by_name["g_grad_norm"].n == 8
    assert by_name["d_grad_norm"].interval is not None


def test_nothing_without_survivors_or_without_failures(tmp_path: Path) -> None:
    assert build_blocks(cells_of(tmp_path / "a", lambda _: Fate("collapsed"))) == []
    assert build_blocks(cells_of(tmp_path / "b", lambda _: Fate())) == []


def test_many_failures_are_thinned_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "MOST_FAILED", 4)
    figure, _ = build_blocks(cells_of(tmp_path, warned))
    assert "4 of 8 failed runs" in figure.note
