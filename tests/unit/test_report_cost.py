"""The chapter on cost: what is compared with what, and which cells none beats at both."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest

from harness.store.reading import read_suite
from reports.build import write_report
from reports.cells import SuiteCells, group
from reports.comma_separated import render
from reports.cost import costs_of, front, spent, surcharges
from reports.figures.cost import Priced, draw_cost
from reports.figures.curves import Cliff, draw_cliff
from reports.sections.cost import build, tricks_table
from reports.sections.verdict_words import cost_words
from reports.tables import Table
from tests.stores import Fate, FateOf, Where, build_store


def cells_of(folder: Path, fate_of: FateOf, **options: object) -> SuiteCells:
    root = build_store(folder / "s", fate_of=fate_of, **{"datasets": ("ring8",), **options})  # type: ignore[arg-type]
    return group(read_suite(root))


def rows_of(table: Table) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(render(table))))


def test_what_a_run_cost(tmp_path: Path) -> None:
    cells = cells_of(tmp_path, lambda _: Fate(seconds=8.0, memory=3 << 20), seeds=1)
    found = spent(cells.results[0])
    assert found is not None
    assert (found.machine, found.together, found.seconds) == ("cpu, 1 thread", 1, 8.0)
    assert found.rate == pytest.approx(400 * 64 / 8.0)
    assert (found.memory, found.evaluation, found.whole) == (3 << 20, 1.5, True)


def test_a_run_that_ended_early_is_not_cheap(tmp_path: Path) -> None:
    def fate(where: Where) -> Fate:
        return Fate("diverged", seconds=1.0) if where.seed < 2 else Fate(seconds=10.0)

    cells = cells_of(tmp_path, fate, variants=("gan",), tricks=("none",))
    (cost,) = costs_of(cells.cells[0])
    assert (cost.seconds, cost.whole, cost.failures) == (10.0, 3, 2)


def test_the_front_is_what_none_beats_at_both(tmp_path: Path) -> None:
    known = {"a": (1.0, 9.0), "b": (2.0, 5.0), "c": (3.0, 6.0), "d": (4.0, 1.0), "e": (4.0, 2.0)}

    def fate(where: Where) -> Fate:
        if where.variant == "f":
            return Fate("collapsed", seconds=0.1)
        seconds, value = known[where.variant]
        return Fate(value=value, seconds=seconds)

    cells = cells_of(tmp_path, fate, variants=(*known, "f"), tricks=("none",), seeds=2)
    costs = [cost for cell in cells.cells for cost in costs_of(cell)]
    assert [cost.cell.variant for cost in front(costs, lower=True)] == ["a", "b", "d"]
    assert [cost.cell.variant for cost in front(costs, lower=False)] == ["a"]


def test_a_trick_is_charged_for_what_it_adds(tmp_path: Path) -> None:
    def fate(where: Where) -> Fate:
        factor = {"none": 1.0, "label-smoothing": 2.0 if where.variant == "gan" else 8.0}
        return Fate(seconds=3.0 * factor[where.tricks], memory=1 << 20)

    cells = cells_of(tmp_path, fate)
    charge = surcharges(cells)["label-smoothing"]
    assert charge.ratio == pytest.approx(4.0)
    assert (charge.least, charge.most, charge.cells, charge.memory) == (2.0, 8.0, 2, 1.0)
    assert cost_words(charge) == " Cost: training time ×\u00a04.00 over 2 cells (2.0 to 8.0)."
    (row,) = rows_of(tricks_table(cells))
    assert float(row["Seconds"]) == pytest.approx(4.0)


def test_seconds_of_different_devices_are_not_compared(tmp_path: Path) -> None:
    def fate(where: Where) -> Fate:
        fast = where.tricks != "none"
        return Fate(seconds=1.0 if fast else 9.0, device="cuda" if fast else "cpu")

    cells = cells_of(tmp_path, fate, seeds=2)
    assert surcharges(cells) == {}
    section = build(cells)
    assert section is not None
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    rows = rows_of(table)
    assert {row["Machine"] for row in rows} == {"cpu, 1 thread", "cuda, 1 thread"}
    worth = {row["Machine"] for row in rows if row["Pareto"] == "yes"}
    assert len(worth) == 2


def test_no_chapter_without_any_seconds(tmp_path: Path) -> None:
    assert build(cells_of(tmp_path, lambda _: Fate(None), seeds=1)) is None


@pytest.mark.usefixtures("unrendered")
def test_the_first_sentences_say_the_cost(tmp_path: Path) -> None:
    root = build_store(tmp_path / "s", datasets=("ring8",), variants=("gan",), seeds=2)
    page = write_report(root).read_text()
    claims = page.partition('<ul class="claims">')[2].partition("</ul>")[0]
    assert re.search(r"Cost: training time ×\s1\.00 over 1 cell\.", claims)


def test_a_plot_without_failures_keeps_its_room() -> None:
    """An empty line that is not clipped makes the layout collapse, which warns."""
    assert draw_cliff({"lr_g": Cliff([(1e-3, 1.0)]), "beta1": Cliff([(0.0, 1.0)], 0.5, False)})
    cells = [Priced("a", 9.0, 1.3, True), Priced("b", 5.0, 2.3, True)]
    assert draw_cost({"cpu": cells, "cuda": cells}, "fd", lower=True)
