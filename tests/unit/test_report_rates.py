"""The chapter on learning rates: which cells form a grid, its basin, its cliff, its sensitivity."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.spec import DatasetSpec, PartSpec, RunSpec
from harness.store.columns import Series
from harness.store.records import MetricInfo, PlannedCell, PlannedRun
from reports.cells import CellRuns, Result, SuiteCells
from reports.sections import rates
from reports.statistics.rates import basin, rate_sensitivity
from tests.stores import SETTINGS, planned_cell

METRIC = MetricInfo("fd[data]@500/test", "frechet", "distance", "lower", True, 0.01)
START = 8.0


class Record(SimpleNamespace):
    """A run's record with an untrained and a final value."""

    def last(self, metric: str, weights: str = "values") -> float:
        return self.value

    def series(self, kind: str, name: str) -> Series:
        kimg = np.array([0.0, 1.0])
        return Series(kimg, kimg, np.array([START, self.value]))


def run(variant: str, rate: float, seed: int, value: float | None, other: float = 1.0) -> Result:
    """Make a run; without a value it collapsed."""
    spec = RunSpec(
        dataset=DatasetSpec(id="ring8", fingerprint="0f", shape=(2,)),
        variant=PartSpec(id=variant),
        settings=SETTINGS.model_copy(update={"lr_g": rate, "lr_d": rate * other}),
        metrics="test",
        seed=seed,
    )
    status = "collapsed" if value is None else "ok"
    record = Record(spec=spec, value=START if value is None else value, metrics=[METRIC])
    record.outcome = {"outcome": status}
    planned = PlannedRun(spec.id, spec.slug, cell_at(variant, rate), seed)
    return Result(planned, status, record)  # type: ignore[arg-type]


def cell_at(variant: str, rate: float) -> PlannedCell:
    return planned_cell("ring8", variant, f"settings(lr={rate})")


def cell(variant: str, rate: float, values: list[float | None], other: float = 1.0) -> CellRuns:
    results = tuple(run(variant, rate, seed, value, other) for seed, value in enumerate(values))
    return CellRuns(cell_at(variant, rate), results)


def suite(*cells: CellRuns) -> SuiteCells:
    return SuiteCells(SimpleNamespace(), cells)  # type: ignore[arg-type]


GRID = suite(
    cell("gan", 1e-2, [None, None, 2.0]),
    cell("gan", 1e-4, [1.1, 1.2, 1.3]),
    cell("gan", 1e-3, [0.9, 1.0, 1.1]),
    cell("gan", 1e-5, [4.0, 4.0, 4.0]),
    cell("wgan", 1e-3, [1.0]),
    cell("wgan", 1e-2, [1.0]),
)


def test_a_grid_is_read_in_the_order_of_its_rates() -> None:
    section = rates.build(GRID)
    assert section is not None
    table, figure = section.blocks
    ((_, variant, best, value, span, decades, broken, how, sensitivity),) = table.rows  # type: ignore[union-attr]
    assert (variant.value, best.value, value.value, value.n) == ("gan", 1e-3, 1.0, 3)
    assert span.value == "0.0001 to 0.001"
    assert decades.value == pytest.approx(1.0)
    assert (broken.value, how.value) == (1e-2, "2 of 3 fail")
    by_hand = (math.log(4) + math.log(1.2) + 0 + math.log(START)) / 4
    assert sensitivity.value == pytest.approx(by_hand)
    assert figure.svg.startswith("<?xml") or "<svg" in figure.svg  # type: ignore[union-attr]
    assert "2" in figure.svg  # type: ignore[union-attr]


def test_fewer_than_three_rates_or_unequal_ones_are_no_grid() -> None:
    assert rates.build(suite(cell("wgan", 1e-3, [1.0]), cell("wgan", 1e-2, [1.0]))) is None
    unequal = [cell("gan", rate, [1.0], other=4.0) for rate in (1e-4, 1e-3, 1e-2)]
    assert rates.build(suite(*unequal)) is None


def test_a_grid_that_never_learns_has_no_basin() -> None:
    section = rates.build(suite(*(cell("gan", rate, [None] * 3) for rate in (1e-3, 1e-2, 1e-1))))
    assert section is not None
    (row,) = section.blocks[0].rows  # type: ignore[union-attr]
    assert [entry.value for entry in row[4:8]] == [None] * 4
    assert row[3].value == math.inf


def test_the_basin_is_contiguous() -> None:
    assert basin([1, 2, 3, 4, 5], [1.2, 9.0, 1.0, 1.25, 1.26]) == (3, 4)
    assert basin([1.0], [math.inf]) is None
    assert basin([], []) is None


values = st.lists(st.floats(0.01, 100), min_size=1, max_size=9)


@given(values, st.floats(0.1, 10))
def test_neither_depends_on_the_unit_of_the_metric(found: list[float], unit: float) -> None:
    grid = [float(i) for i in range(len(found))]
    scaled = [value * unit for value in found]
    first = rate_sensitivity(found, 50.0)
    assert first is not None and first >= 0
    assert rate_sensitivity(scaled, 50.0 * unit) == pytest.approx(first, abs=1e-9)
    ends = basin(grid, found)
    assert ends is not None and ends[0] <= grid[found.index(min(found))] <= ends[1]


def test_sensitivity_by_hand() -> None:
    assert rate_sensitivity([1.0, math.e, math.inf], math.e**2) == pytest.approx(1.0)
    assert rate_sensitivity([1.0, math.inf], None) is None
    assert rate_sensitivity([0.0, 1.0], 2.0) is None
