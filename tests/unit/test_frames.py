"""Frames have the columns that are described, and the numbers that records and reports have."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ganbench
from harness.errors import CorruptRecordError, StoreError
from harness.store.events import EvaluationRow, LossRow
from harness.store.reading import read_suite
from harness.store.records import Outcome
from reports.build import compose
from reports.effects import trick_effects
from reports.frame_columns import FRAMES, described
from reports.results import Results
from reports.sections.modes import captured
from tests.stores import Fate, Where, build_store, plausible, write_tuning

ROOT = Path(__file__).parents[2]
HOSTILE = '<script>alert("x")</script>\ud800'
OUTCOMES: tuple[Outcome | None, ...] = ("ok", "collapsed", "diverged", "crashed", None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Results:
    tricks = ("none", "label-smoothing", "dropout-g")
    root = build_store(tmp_path_factory.mktemp("frames") / "suite", seeds=6, tricks=tricks)
    for trick in tricks:
        for dataset in ("ring8", "digits"):
            for variant in ("gan", "wgan-gp"):
                write_tuning(root, dataset, variant, trick, default=(1.0, 1.1, None, 1.2, 1.0))
    return ganbench.load(root)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of every kind, one missing and one damaged."""

    def fate(where: Where) -> Fate:
        return Fate("missing") if where.seed == 5 else Fate(OUTCOMES[where.seed], 2.0, "because")

    root = build_store(
        tmp_path_factory.mktemp("begun") / "suite",
        datasets=("ring8",),
        variants=("gan",),
        seeds=6,
        fate_of=fate,
        labels={"gan": HOSTILE},
    )
    first = read_suite(root).plan.runs[0]
    log = root / "runs" / first.folder / "events.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([lines[0], b"{}\n", *lines[2:]]))
    return root


@pytest.mark.parametrize("name", FRAMES)
def test_frames_have_the_columns_that_are_described(
    name: str, whole: Results, begun: Path, tmp_path: Path
) -> None:
    nothing = build_store(tmp_path / "nothing", seeds=1, fate_of=lambda where: Fate("missing"))
    for results in (whole, ganbench.load(begun, skip_corrupt=True), ganbench.load(nothing)):
        frame = getattr(results, name)
        assert {c.name: c.dtype for c in FRAMES[name]} == {
            column: str(dtype) for column, dtype in frame.dtypes.items()
        }
    assert len(getattr(whole, name))


def test_every_column_is_described() -> None:
    readme = (ROOT / "reports" / "README.md").read_text()
    for name, columns in FRAMES.items():
        assert described(name) in readme, f"reports/README.md lacks the table of {name}"
        assert len({column.name for column in columns}) == len(columns)
        assert all(column.meaning and "|" not in column.meaning for column in columns)


def test_evaluations_and_losses_are_those_of_the_records(whole: Results) -> None:
    for frame, kind in ((whole.evaluations, EvaluationRow), (whole.losses, LossRow)):
        name = "protocol" if kind is EvaluationRow else "series"
        by_run = dict(iter(frame.groupby("run", observed=True)))
        for result in whole.cells.results:
            assert result.record is not None
            told = [
                (row.step, row.kimg, name, value)
                for row in result.record.of_type(kind)
                for name, value in row.values.items()
            ]
            rows = by_run[result.planned.id]
            assert [*zip(rows.step, rows.kimg, rows[name], rows.value, strict=True)] == told
    assert set(whole.evaluations.metric) == {"fd", "cs", "modes", "class-histogram", "diversity"}
    assert set(whole.evaluations.weights) == {"raw"}


def test_runs_say_what_became_of_them(whole: Results) -> None:
    for row, result in zip(whole.runs.itertuples(), whole.cells.results, strict=True):
        cell = whole.cells.cell(row.dataset, row.variant, row.tricks)
        assert cell is not None and cell.primary is not None and result.record is not None
        assert (row.run, row.seed, row.outcome) == (
            result.planned.id,
            result.planned.seed,
            result.status,
        )
        assert (row.final, row.failed) == (result.final, result.failed)
        assert row.primary == result.last(row.metric) and row.metric == cell.primary.name
        best, share = result.record.best(cell.primary), captured(result)
        assert best is not None and (row.best, row.best_step) == (best.value, best.step)
        assert row.untrained == result.record.curve(row.metric)[1][0]
        assert share is not None and row.modes == share[0]
        assert json.loads(row.settings)["steps"] == row.steps
    assert whole.runs.onset.notna().sum() == (whole.runs.outcome == "collapsed").sum() > 0
    assert (whole.runs.lasted[~whole.runs.failed] == 1).all()


def test_runs_in_progress_and_damaged_ones_are_told_of_as_in_the_report(begun: Path) -> None:
    with pytest.raises(CorruptRecordError) as refused:
        compose(begun)
    with pytest.raises(CorruptRecordError) as here:
        ganbench.load(begun)
    assert str(here.value) == str(refused.value)
    runs = ganbench.load(begun, skip_corrupt=True).runs
    assert runs.outcome[0] == "corrupt" and runs.reason[0] == str(refused.value)
    assert set(runs.outcome) == {
        "corrupt", "ok", "collapsed", "diverged", "crashed", "running", "missing"
    }  # fmt: skip
    assert runs[runs.outcome == "missing"].primary.isna().all()
    assert not runs.final[runs.outcome.isin(["crashed", "running", "missing", "corrupt"])].any()


def test_verdicts_are_those_of_the_report(whole: Results) -> None:
    verdicts = whole.verdicts
    table = whole.tables["verdicts"].set_index("Trick")
    effects = {effect.tricks: effect for effect in trick_effects(whole.cells)}
    ours = verdicts[verdicts.comparison == "tricks"].set_index("trick")
    assert list(ours.index) == list(table.index) == list(effects)
    for mine, theirs in (
        ("verdict", "Verdict"),
        ("estimate", "Ratio"),
        ("low", "Ratio low"),
        ("high", "Ratio high"),
        ("p_adjusted", "p (Holm)"),
        ("failure_p_adjusted", "p failures (Holm)"),
        ("failure_low", "Change in failures low"),
    ):
        assert list(ours[mine]) == list(table[theirs])
    assert (ours.p <= ours.p_adjusted).all() and (ours.p < ours.p_adjusted).any()
    sections = compose(whole.folders).sections
    claims = {c.subject: c.sentence for section in sections for c in section.claims}
    for trick, words in ours.words.items():
        assert words.startswith(f"{trick} ") and words.endswith(claims[trick])
    tuned = verdicts[verdicts.comparison == "tuned"]
    after = whole.tables["after-tuning"]
    assert list(tuned.verdict) == list(after["After"]) and len(tuned) == 2
    assert list(tuned.estimate) == list(after["Ratio after"])


def test_nothing_is_claimed_while_runs_are_to_come(begun: Path) -> None:
    results = ganbench.load(begun, skip_corrupt=True)
    assert results.verdicts.verdict.isna().all() and results.verdicts.words.isna().all()
    assert "runs are still to come" in results._repr_html_()


def test_trials_have_parameters_and_values(whole: Results) -> None:
    first = whole.trials.iloc[0]
    assert json.loads(first.parameters).keys() == {"lr_g", "variant.momentum"}
    assert list(whole.trials.trial[:10]) == [*range(10)]
    assert whole.trials.value.isna().sum() == (whole.trials.outcome == "diverged").sum() == 24


def test_tables_are_those_of_the_report(whole: Results) -> None:
    tables = compose(whole.folders).tables()
    assert list(whole.tables) == [table.name for table in tables]
    for table in tables:
        frame = whole.tables[table.name]
        assert len(frame) == len(table.rows)
        for place, column in enumerate(table.columns):
            for row, got in zip(table.rows, frame[column.title], strict=True):
                value = row[place].value
                assert (pd.isna(got) and (value is None or value != value)) or got == value


def test_a_notebook_shows_verdicts_and_map_and_no_foreign_markup(
    whole: Results, begun: Path
) -> None:
    page = whole._repr_html_()
    assert "label-smoothing" in page and page.count("<img ") == 1 and "image/svg+xml" in page
    labels = {"label-smoothing": HOSTILE, "dropout-g": HOSTILE.upper()}
    root = begun.parent / "hostile"
    build_store(root, tricks=("none", "label-smoothing", "dropout-g"), labels=labels, suite=HOSTILE)
    hostile = ganbench.load(root)._repr_html_()
    assert "<script" not in hostile.lower() and "&lt;script&gt;" in hostile
    hostile.encode()


def test_several_folders_are_read_as_one(tmp_path: Path) -> None:
    roots = [
        build_store(
            tmp_path / name,
            fate_of=lambda w, name=name: (  # type: ignore[misc]
                plausible(w) if (w.seed < 2) == (name == "a") else Fate("missing")
            ),
        )
        for name in ("a", "b")
    ]
    results = ganbench.load(*roots)
    assert len(results.runs) == 40 and not (results.runs.outcome == "missing").any()
    assert set(results.runs.folder) == {"a", "b"}
    assert repr(results) == f"ganbench.load({str(roots[0])!r}, {str(roots[1])!r})"
    with pytest.raises(StoreError, match="holds no results"):
        ganbench.load(tmp_path / "nowhere")
    with pytest.raises(TypeError, match="give a results folder"):
        ganbench.load()


def test_import_loads_nothing_heavy() -> None:
    program = (
        "import sys, ganbench; assert dir(ganbench) == ganbench.__all__\n"
        "heavy = {'torch', 'pandas', 'numpy', 'matplotlib', 'pyarrow', 'typer'} & {*sys.modules}\n"
        "assert not heavy, heavy\n"
        "assert not hasattr(ganbench, 'no_such_name')"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)


def test_every_name_is_there() -> None:
    assert all(callable(getattr(ganbench, name)) for name in ganbench.__all__)
    assert {*ganbench.__all__} == {*ganbench._HOMES}


def test_long_frames_are_small(whole: Results) -> None:
    for frame in (whole.evaluations, whole.losses):
        assert frame.memory_usage(deep=False, index=False).sum() <= 32 * len(frame) + 4000
        assert np.issubdtype(frame.run.cat.codes.dtype, np.int8)
