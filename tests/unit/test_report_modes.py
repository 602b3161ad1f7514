"""Densities of points beside the truth, and which modes were hit by how many runs."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.store.events import Protocol
from harness.store.log import encode, read_events
from harness.store.reading import read_suite
from reports.cells import SuiteCells, group
from reports.document import Figure
from reports.figures.densities import BINS, Density, draw_densities, mass_of, true_mass
from reports.sections import modes
from reports.sections.modes import build_maps, landed
from reports.tables import Table
from tests.stores import Fate, FateOf, Where, build_store

CENTRES = np.array([[-1.0, 0.5], [1.0, -0.5]])


def cells_of(folder: Path, fate_of: FateOf, **options: object) -> SuiteCells:
    root = build_store(folder / "s", datasets=("ring8",), fate_of=fate_of, **options)  # type: ignore[arg-type]
    return group(read_suite(root))


def test_the_true_mass_is_what_many_draws_give() -> None:
    draw = np.random.default_rng(0)
    points = CENTRES[draw.integers(0, 2, 400_000)] + draw.normal(0, 0.2, (400_000, 2))
    mass = true_mass(CENTRES, 0.2, 2.0)
    assert mass.sum() == pytest.approx(1, abs=1e-4)
    assert mass_of(points.astype(np.float32), 2.0) == pytest.approx(mass, abs=4e-4)


def test_up_is_up_and_right_is_right() -> None:
    mass = mass_of(np.array([[0.9, -0.4], [9.0, 0.0]], np.float32), 1.0)
    (line,), (column,) = np.nonzero(mass)
    assert line < BINS / 2 < column
    assert mass.sum() == 0.5


def test_marks_and_numbers_of_modes() -> None:
    panel = Density(("x",), np.zeros((BINS, BINS)), (0.31, 0.0), (1.0, 0.0))
    svg = draw_densities([("row", [panel, None])], CENTRES, 0.1, 2.0)
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert "31" in texts and "row" in texts and "0" not in texts


def collapsing(where: Where) -> Fate:
    return Fate("collapsed" if where.tricks != "none" or where.seed == 0 else "ok", 1.0)


def test_where_a_cell_landed(tmp_path: Path) -> None:
    cells = cells_of(tmp_path, collapsing, variants=("gan",), seeds=2)
    plain, treated = (landed(cell, 8) for cell in cells.cells)
    assert plain is not None and treated is not None
    # A synthetic run that collapsed is counted in two modes, another in all eight.
    assert plain.hit.tolist() == [1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    assert treated.hit.tolist() == [1, 1, 0, 0, 0, 0, 0, 0]
    assert plain.shares[:2] == pytest.approx([(0.5 + 62 / 500) / 2] * 2)
    assert plain.points.shape == (1000, 2)
    assert landed(cells.cells[0], 25) is None


def test_classes_that_were_missed_are_named(tmp_path: Path) -> None:
    def fate(where: Where) -> Fate:
        return Fate("collapsed" if where.seed < 2 else "ok", 1.0)

    root = build_store(
        tmp_path / "s", datasets=("digits",), variants=("gan",), seeds=3, fate_of=fate
    )
    (plain,) = (b for b in build_maps(group(read_suite(root))) if isinstance(b, Figure))
    assert "Missed" not in plain.note
    names = [f"kind {k}" for k in range(10)]
    for log in root.glob("runs/*/events.jsonl"):
        events = (
            replace(event, data=replace(event.data, class_names=tuple(names)))
            if isinstance(event, Protocol)
            else event
            for event in read_events(log)
        )
        log.write_bytes(b"".join(map(encode, events)))
    (named,) = (b for b in build_maps(group(read_suite(root))) if isinstance(b, Figure))
    cells = sum(len(cell.finals) for cell in group(read_suite(root)).cells)
    # A synthetic run that collapsed is counted in two classes.
    missed = ", ".join(f"{name} by {2 * cells // 3}" for name in names[2:])
    assert named.note == f"{plain.note} Missed, of {cells} runs: {missed}."


def test_the_table_starts_with_the_truth(tmp_path: Path) -> None:
    blocks = build_maps(cells_of(tmp_path, collapsing, variants=("gan",), seeds=2))
    (table,) = (block for block in blocks if isinstance(block, Table))
    truth, plain, treated = ([cell.value for cell in row] for row in table.rows)
    assert truth[0] == "true density" and truth[3:6] == [8, 0, 0]
    assert (plain[3:6], treated[3:6]) == ([2, 6, 0], [2, 0, 6])
    assert truth[6] == pytest.approx(1 - np.exp(-4.5), abs=1e-5)


def test_more_cells_than_can_be_drawn_are_in_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modes, "MOST_PANELS", 2)
    cells = cells_of(tmp_path, collapsing, variants=("a", "b", "c"), tricks=("none",), seeds=1)
    blocks = build_maps(cells)
    (figure,) = (b for b in blocks if isinstance(b, Figure) and b.name == "density-ring8")
    assert "Of 3 cells, the first 2 are drawn" in figure.note
    (table,) = (block for block in blocks if isinstance(block, Table))
    assert len(table.rows) == 4
