"""The chapter on what losses tell: pairing, the three correlations, and when it is there."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from harness.store.events import EvaluationRow, Event, LossRow
from harness.store.packed import Packed
from harness.store.reading import RunRecord, read_suite
from harness.store.records import MetricInfo, PlannedRun
from reports.build import compose, write_report
from reports.cells import CellRuns, Result, group
from reports.sections import losses
from tests.stores import SETTINGS, build_store, planned_cell

METRIC = "fd[data]@500/test"


def losses_row(step: int, **values: float) -> LossRow:
    return LossRow(step=step, kimg=step / 10, values=values)


def evaluation(step: int, value: float) -> EvaluationRow:
    return EvaluationRow(step=step, kimg=step / 10, values={METRIC: value})


def result_of(events: Sequence[Event], seed: int = 0, status: str = "ok") -> Result:
    spec = None
    record = RunRecord(Path("nowhere"), spec, Packed(events))  # type: ignore[arg-type]
    planned = PlannedRun(f"run{seed}", f"run{seed}", planned_cell("ring8", "gan"), seed)
    return Result(planned, status, record)


def run_of(loss: list[float], quality: list[float], seed: int = 0, status: str = "ok") -> Result:
    """Make a run with one loss record per evaluation, after the untrained generator's."""
    events = [evaluation(0, 9.0)]
    for step, (a, b) in enumerate(zip(loss, quality, strict=True), start=1):
        events += [losses_row(step, d_loss=a), evaluation(step, b)]
    return result_of(events, seed, status)


def test_a_loss_is_the_median_since_the_evaluation_before() -> None:
    events = [
        evaluation(0, 9.0),
        losses_row(2, d_loss=1.0),
        losses_row(4, d_loss=100.0),
        losses_row(6, d_loss=3.0),
        evaluation(6, 5.0),
        losses_row(8, d_loss=float("inf")),
        losses_row(10, d_loss=7.0),
        evaluation(10, 4.0),
        losses_row(12, d_loss=1.0),
        evaluation(12, float("nan")),
        evaluation(14, 2.0),
    ]
    assert losses.paired(result_of(events), "d_loss", METRIC) == [(3.0, 5.0), (7.0, 4.0)]
    assert losses.paired(result_of(events), "g_loss", METRIC) == []


def test_two_trends_correlate_and_their_steps_do_not() -> None:
    """A loss that falls beside a falling distance, with steps that have nothing to do with it."""
    steps = np.random.default_rng(7).uniform(0.5, 1.5, (2, 200))
    loss, quality = (300 - np.cumsum(s) for s in steps)
    found = losses.meaning(cell(run_of(list(loss), list(quality))), "d_loss", METRIC)
    ((_, over, n),), ((_, stepwise, m),) = found.over, found.steps
    assert (over, n, m) == (1.0, 200, 199)
    assert stepwise == pytest.approx(stats.spearmanr(*steps[:, 1:]).statistic)
    assert abs(stepwise) < 0.2


def cell(*results: Result) -> CellRuns:
    return CellRuns(planned_cell("ring8", "gan"), results)


def test_across_seeds_is_over_the_ends_of_finished_runs() -> None:
    """Within each run the loss falls with the distance; across runs it is the other way."""
    runs = [run_of([9 + s, 8 + s, 7 + s, 6 + s, 5 + s], [9, 8, 7, 6, 5 - s], s) for s in range(6)]
    runs[5] = run_of([1.0, 1, 1, 1, 1], [1.0, 1, 1, 1, 99], 5, "diverged")
    found = losses.meaning(cell(*runs), "d_loss", METRIC)
    assert [rho for _, rho, _ in found.over] == [1.0] * 5
    assert [run for run, _, _ in found.last] == ["run0", "run1", "run2", "run3", "run4"]
    assert found.final == -1.0
    written = losses.final_cell(found)
    assert (written.value, written.n) == (-1.0, 5)
    assert written.interval is not None and written.interval.low < -0.9 < written.interval.high


def test_too_few_evaluations_or_seeds_are_no_correlation() -> None:
    found = losses.meaning(cell(run_of([4, 3, 2, 1], [4, 3, 2, 1])), "d_loss", METRIC)
    assert (found.over, found.steps, found.final) == ((), (), None)
    assert losses.mean_cell(found.over).value is None
    assert losses.final_cell(found).value is None
    # Five evaluations have four changes, one too few.
    found = losses.meaning(cell(run_of([5, 4, 3, 2, 1], [5, 4, 3, 2, 1])), "d_loss", METRIC)
    assert len(found.over) == 1
    assert found.steps == ()


def test_a_loss_that_never_changes_has_no_correlation() -> None:
    flat = losses.meaning(cell(run_of([1.0] * 6, [6, 5, 4, 3, 2, 1])), "d_loss", METRIC)
    assert flat.over == ()


def test_the_chapter_has_a_figure_and_a_table_per_data_set(tmp_path: Path) -> None:
    root = build_store(tmp_path / "s", tricks=("none", "dropout-g"), seeds=6)
    write_report(root)
    for dataset in ("ring8", "digits"):
        assert (root / "report" / "figures" / f"losses-{dataset}.svg").stat().st_size > 5000
        text = (root / "report" / "tables" / f"losses-{dataset}.csv").read_text()
        rows = list(csv.DictReader(io.StringIO(text)))
        assert {row["Tricks"] for row in rows} == {"none"}
        assert {row["Diagnostic"] for row in rows} == {"d_loss", "g_loss"}
        # The store's losses and distances are trends with noise: one falls, one rises.
        by_name = {row["Diagnostic"]: float(row["Over a run"]) for row in rows}
        assert by_name["d_loss"] > 0.5 and by_name["g_loss"] < -0.5
    for name in ("index.html", "report.md"):
        assert "Does the loss track quality?" in (root / "report" / name).read_text()


@pytest.mark.usefixtures("unrendered")
def test_cells_with_tricks_are_shown_where_there_are_no_others(tmp_path: Path) -> None:
    root = build_store(tmp_path / "s", tricks=("dropout-g", "label-smoothing"), seeds=2)
    tables = {table.name: table for table in compose(root).tables()}
    assert {row[1].value for row in tables["losses-ring8"].rows} == {"dropout-g", "label-smoothing"}


def test_no_chapter_with_fewer_than_five_evaluations(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"evaluate_every": 100})
    cells = group(read_suite(build_store(tmp_path / "s", seeds=2, settings=settings)))
    assert losses.build(cells) is None


def test_a_suite_that_has_not_begun_has_no_chapter(tmp_path: Path) -> None:
    suite = read_suite(build_store(tmp_path / "s", seeds=1))
    blank = {name: replace(record, events=Packed([])) for name, record in suite.runs.items()}
    assert losses.build(group(replace(suite, runs=blank))) is None


def test_metrics_of_another_protocol_share_no_table(tmp_path: Path) -> None:
    suite = read_suite(build_store(tmp_path / "s", datasets=("ring8",), seeds=2))
    for name, record in suite.runs.items():
        if record.spec.variant.id == "wgan-gp":
            begun, protocol, *rest = record.events
            other = replace(record.metrics[0], name="fd[other]@500/test")
            protocol = replace(protocol, metrics=(other, *record.metrics[1:]))
            suite.runs[name] = replace(record, events=Packed([begun, protocol, *rest]))
    cells = group(suite)
    other = next(c for c in cells.cells if c.variant == "wgan-gp")
    section = losses.build(cells)
    assert section is not None
    assert isinstance(other.primary, MetricInfo)
    table = section.blocks[1]
    assert {row[0].value for row in table.rows} == {"gan"}  # type: ignore[union-attr]
