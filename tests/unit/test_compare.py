"""Two results folders beside each other: only what cannot be chance is called a change."""

from __future__ import annotations

import contextlib
import io
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.cli import main
from harness.errors import ExitStatus, StoreError
from harness.store.events import EvaluationRow, Event, Protocol
from harness.store.log import encode, read_events
from harness.store.reading import read_suite
from reports.build import write_comparison
from reports.cells import group
from reports.compare import Comparison, compare, sentences
from reports.effects import pairs_of
from reports.statistics.intervals import t_interval
from tests.stores import Fate, FateOf, Where, build_store


def noisy(factor: float = 1.0, *, scale: float = 0.2, salt: str = "") -> FateOf:
    def fate(where: Where) -> Fate:
        text = f"{salt}{where.dataset}{where.variant}{where.tricks}{where.seed}"
        draw = np.random.default_rng(list(text.encode())).normal(0, scale)
        return Fate("ok", factor * math.exp(draw))

    return fate


def compared(folder: Path, first: FateOf, second: FateOf, *, seeds: int = 8) -> Comparison:
    one = build_store(folder / "one", fate_of=first, seeds=seeds)
    other = build_store(folder / "other", fate_of=second, seeds=seeds)
    return compare(one, other)


def test_a_folder_against_itself_is_identical(tmp_path: Path) -> None:
    found = compared(tmp_path, noisy(), noisy())
    assert {one.change for one in (found.overall, *found.cells)} == {"identical"}
    assert not found.regressions and not found.alone and not found.settings
    assert "identical" in sentences(found)[-1]


def test_chance_is_no_change(tmp_path: Path) -> None:
    found = compared(tmp_path, noisy(salt="a"), noisy(salt="b"))
    assert {one.change for one in (found.overall, *found.cells)} == {"no change shown"}


@pytest.mark.parametrize(("factor", "change"), [(3.0, "worse"), (1 / 3, "better")])
def test_a_change_of_one_variant_is_found_there(factor: float, change: str, tmp_path: Path) -> None:
    def changed(where: Where) -> Fate:
        return noisy(factor if where.variant == "gan" else 1.0, scale=0.1, salt="b")(where)

    found = compared(tmp_path, noisy(scale=0.1, salt="a"), changed)
    for one in found.cells:
        assert one.change == (change if one.label[1] == "gan" else "no change shown")
        if one.label[1] == "gan":
            assert one.ratio == pytest.approx(factor, rel=0.15)
    assert bool(found.regressions) == (change == "worse")


def test_runs_that_fail_now_are_a_regression(tmp_path: Path) -> None:
    def failing(where: Where) -> Fate:
        return Fate("collapsed", 9.0) if where.variant == "gan" else noisy()(where)

    found = compared(tmp_path, noisy(), failing, seeds=10)
    worse = [one for one in found.cells if one.change == "worse"]
    assert {one.label[1] for one in worse} == {"gan"}
    assert worse[0].failures == (0, 10) and worse[0].ratio is None
    assert found.overall in found.regressions


def test_intervals_widen_with_the_number_of_cells(tmp_path: Path) -> None:
    few = compare(
        *(
            build_store(tmp_path / name, fate_of=noisy(salt=name), datasets=("ring8",))
            for name in ("a", "b")
        )
    )
    many = compared(tmp_path, noisy(salt="a"), noisy(salt="b"), seeds=5)
    narrow, wide = few.cells[0].interval, many.cells[0].interval
    assert few.cells[0].label == many.cells[0].label
    assert narrow is not None and wide is not None
    assert wide.low < narrow.low and narrow.high < wide.high
    # Each of four cells and of all together has an interval of the ratio and one of failures.
    logs = [math.log(one) for one in narrow]
    whole = compare(tmp_path / "a", tmp_path / "b")
    assert len(whole.cells) == 4
    pairs = pairs_of(*(group(read_suite(tmp_path / name)).cells[0] for name in ("b", "a")))
    limits = t_interval([pair.difference for pair in pairs], 1 - 0.05 / 10)
    assert limits == pytest.approx(logs)


def test_what_only_one_folder_has_is_named(tmp_path: Path) -> None:
    one = build_store(tmp_path / "a", fate_of=noisy(), tricks=("none", "label-smoothing"))
    other = build_store(tmp_path / "b", fate_of=noisy(), tricks=("none", "ema"))
    found = compare(one, other)
    assert {label[2] for label, _ in found.alone} == {"label-smoothing", "ema"}
    assert {one.label[2] for one in found.cells} == {"none"}
    page = write_comparison(found, tmp_path / "c").read_text()
    assert "label-smoothing" in page and "Cells of one folder only" in page
    assert "identical" in (tmp_path / "c" / "compare.md").read_text()


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no results"):
        compare(build_store(tmp_path / "a", fate_of=noisy()), tmp_path)


def test_the_command(tmp_path: Path) -> None:
    one = build_store(tmp_path / "a", fate_of=noisy(), seeds=8)
    other = build_store(tmp_path / "b", fate_of=noisy(4.0), seeds=8)
    command = [sys.executable, "-m", "harness.cli", "compare"]

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *map(str, arguments)], capture_output=True, text=True, check=False
        )

    told = run(one, other)
    assert (told.returncode, told.stderr) == (0, "")
    assert "▼ worse  all cells: × 4.00" in told.stdout
    assert (other / "compare" / "index.html").is_file()
    judged = run(one, other, "--json", "--fail-on-regression")
    assert judged.returncode == 1
    table = json.loads(judged.stdout)["tables"][0]
    assert table["rows"][0][3]["value"] == "▼ worse"
    assert run(other, one, "--json", "--fail-on-regression").returncode == 0


def refusal(*arguments: object) -> str:
    """Run the command, which must refuse its input, and return what it says."""
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stderr(io.StringIO()) as said,
        pytest.raises(SystemExit) as ended,
    ):
        patch.setattr(sys, "argv", ["ganbench", "compare", *map(str, arguments)])
        main()
    assert ended.value.code == ExitStatus.BAD_INPUT
    return said.getvalue()


def files_of(*folders: Path) -> list[Path]:
    return sorted(file for folder in folders for file in folder.rglob("*"))


@pytest.mark.parametrize("arguments", [[], ["--json"], ["--fail-on-regression"]])
def test_without_a_common_cell_it_says_what_each_has_and_writes_nothing(
    arguments: list[str], tmp_path: Path
) -> None:
    one = build_store(tmp_path / "a", datasets=("ring8",), variants=("gan",), tricks=("none",))
    other = build_store(
        tmp_path / "b", suite="other", datasets=("grid25",), variants=("lsgan",), tricks=("ema",)
    )
    before = files_of(one, other)
    said = refusal(one, other, *arguments)
    for name in (one, "synthetic", "ring8", "gan", other, "suite other", "grid25", "lsgan", "ema"):
        assert str(name) in said
    assert files_of(one, other) == before


def crashed(where: Where) -> Fate:
    return Fate("crashed", 1.0)


def missing(where: Where) -> Fate:
    return Fate("missing")


def early(where: Where) -> Fate:
    return Fate("ok" if where.seed < 2 else None, 1.0)


def late(where: Where) -> Fate:
    return Fate("ok" if where.seed > 2 else "preempted", 1.0)


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        (missing, noisy(), "no run has a result in the first folder"),
        (noisy(), missing, "no run has a result in the second folder"),
        (missing, missing, "no run has a result in the first folder"),
        (noisy(), crashed, "no run has a result in the second folder"),
        (early, late, "seeds 0, 1 in the first, 3, 4 in the second"),
    ],
)
def test_without_a_pair_of_runs_it_says_why_and_writes_nothing(
    first: FateOf, second: FateOf, why: str, tmp_path: Path
) -> None:
    one, other = (
        build_store(tmp_path / name, fate_of=fate_of)
        for name, fate_of in (("a", first), ("b", second))
    )
    before = files_of(one, other)
    assert why in refusal(one, other)
    assert files_of(one, other) == before


def renamed(event: Event) -> Event:
    """Let an event tell of the same metrics under another protocol."""

    def name(old: str) -> str:
        return old.replace("@500/test", "@900/test")

    if isinstance(event, Protocol):
        return replace(event, metrics=tuple(replace(m, name=name(m.name)) for m in event.metrics))
    if isinstance(event, EvaluationRow):
        return replace(event, values={name(old): value for old, value in event.values.items()})
    return event


def test_without_a_common_protocol_it_names_both(tmp_path: Path) -> None:
    one, other = (build_store(tmp_path / name, datasets=("ring8",)) for name in ("a", "b"))
    for log in other.glob("runs/*/events.jsonl"):
        log.write_bytes(b"".join(encode(renamed(event)) for event in read_events(log)))
    assert "measured by fd[data]@500/test and by fd[data]@900/test" in refusal(one, other)
    assert not (other / "compare").exists()


def test_a_folder_is_not_compared_with_itself(tmp_path: Path) -> None:
    one = build_store(tmp_path / "a", datasets=("ring8",))
    assert "same folder" in refusal(one, tmp_path / "a" / ".." / "a")
    assert not (one / "compare").exists()
