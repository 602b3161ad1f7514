"""One report of several results folders: a suite that was divided over machines."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import CorruptRecordError, GanbenchError, StoreError
from harness.store.events import Attempt, Ending, EvaluationRow, Event, last_step
from harness.store.log import encode, read_events
from harness.store.merging import distinguished, read_suites
from harness.store.reading import read_suite
from reports.build import compose, is_current, write_report
from reports.cells import group
from reports.document import Figure
from reports.sections import tuning
from tests.stores import build_store, write_tuning

pytestmark = pytest.mark.usefixtures("unrendered")

Table = list[dict[str, str]]


def small(root: Path, **options: Any) -> Path:
    return build_store(root, **{"datasets": ("ring8",), "seeds": 3, **options})


def keep(root: Path, wanted: Callable[[str], bool]) -> None:
    """Delete the runs that a machine was not asked for; the plan stays whole, as with --only."""
    for folder in (root / "runs").iterdir():
        if not wanted(folder.name):
            shutil.rmtree(folder)


def rewrite(log: Path, change: Callable[[Event], Event | None]) -> None:
    changed = (change(event) for event in read_events(log))
    log.write_bytes(b"".join(encode(event) for event in changed if event is not None))


def trained_on(root: Path, device: str) -> None:
    for log in root.glob("runs/*/events.jsonl"):
        rewrite(log, lambda e: replace(e, device=device) if isinstance(e, Attempt) else e)


def table(out: Path, name: str) -> Table:
    return list(csv.DictReader(io.StringIO((out / "tables" / f"{name}.csv").read_text())))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small(tmp_path_factory.mktemp("whole") / "results")


@pytest.fixture
def halves(whole: Path, tmp_path: Path) -> list[Path]:
    """Two machines' folders: one trained gan, the other wgan-gp."""
    found = []
    for machine, variant in (("a", "-gan-"), ("b", "-wgan-gp-")):
        root = tmp_path / machine / "results"
        shutil.copytree(whole, root)
        keep(root, lambda name, variant=variant: variant in name)  # type: ignore[misc]
        found.append(root)
    return found


def test_two_halves_are_the_whole(whole: Path, halves: list[Path], tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "two"
    write_report(whole, one)
    assert not is_current(halves, other)
    write_report(halves, other)
    for name in ("verdicts", "outcomes", "metric-ring8-fd-data-500-test", "gaps"):
        assert (other / "tables" / f"{name}.csv").read_text() == (
            one / "tables" / f"{name}.csv"
        ).read_text()
    rows = [{k: row[k] for k in ("Folder", "Variants", "Runs")} for row in table(other, "folders")]
    assert rows == [
        {"Folder": "a/results", "Variants": "gan", "Runs": "6"},
        {"Folder": "b/results", "Variants": "wgan-gp", "Runs": "6"},
    ]
    assert not (one / "tables" / "folders.csv").exists()


def test_it_is_current_until_one_of_them_changes(halves: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "report"
    write_report(halves, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert is_current(halves, out)
    assert not is_current(halves[:1], out)
    write_report(halves, out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    log = next(halves[1].glob("runs/*/events.jsonl"))
    log.write_bytes(log.read_bytes() + b"torn")
    assert not is_current(halves, out)


def test_the_command(halves: list[Path], tmp_path: Path) -> None:
    arguments = ["report", *map(str, halves)]
    found = CliRunner().invoke(app, arguments)
    assert isinstance(found.exception, GanbenchError)
    assert "--out" in str(found.exception)
    out = tmp_path / "here"
    found = CliRunner().invoke(app, [*arguments, "--out", str(out)])
    assert found.exit_code == 0, found.output
    assert found.output == f"report: {out / 'index.html'}\n"
    assert (out / "index.html").is_file()


def test_another_suite_is_refused(whole: Path, tmp_path: Path) -> None:
    other = small(tmp_path / "other", suite="else", seeds=1)
    with pytest.raises(StoreError, match="suites 'synthetic' and 'else'") as error:
        read_suites([whole, other])
    assert str(whole) in str(error.value)
    assert str(other) in str(error.value)


def test_another_plan_is_refused(whole: Path, tmp_path: Path) -> None:
    fewer = small(tmp_path / "fewer", seeds=2)
    with pytest.raises(StoreError, match=r"runs 12 and 8; 8 runs are the same.*--only"):
        read_suites([whole, fewer])
    renamed = small(tmp_path / "renamed", labels={"gan": "my gan"})
    with pytest.raises(StoreError, match="the same runs have other labels"):
        read_suites([whole, renamed])


def test_a_copy_counts_once(whole: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    for log in copy.glob("runs/*/events.jsonl"):
        rewrite(log, lambda e: replace(e, seconds=77.0) if e.type == "outcome" else e)
    merged = read_suites([whole, copy, whole])
    assert {run.path.parent.parent for run in merged.runs.values()} == {whole}
    assert len(merged.folders) == 2


@pytest.mark.parametrize("first", [True, False])
def test_the_finished_copy_is_taken(first: bool, whole: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    shutil.copytree(whole, cut)
    for log in cut.glob("runs/*/events.jsonl"):
        rewrite(log, lambda e: None if isinstance(e, Ending) else e)
    merged = read_suites([cut, whole] if first else [whole, cut])
    assert {run.path.parent.parent for run in merged.runs.values()} == {whole}


def test_of_unfinished_copies_the_longest_is_taken(whole: Path, tmp_path: Path) -> None:
    roots = [tmp_path / "short", tmp_path / "long"]
    for root, last in zip(roots, (80, 160), strict=True):
        shutil.copytree(whole, root)
        for log in root.glob("runs/*/events.jsonl"):
            rewrite(log, lambda e, last=last: e if last_step([e]) <= last else None)  # type: ignore[misc]
    merged = read_suites(roots)
    assert {run.path.parent.parent for run in merged.runs.values()} == {roots[1]}


def test_two_results_of_one_run_are_refused(whole: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(whole, other)
    log = next(other.glob("runs/*/events.jsonl"))
    rewrite(log, lambda e: replace(e, values={}) if isinstance(e, EvaluationRow) else e)
    with pytest.raises(StoreError, match="different results of one run") as error:
        read_suites([whole, other])
    for root in (whole, other):
        assert str(root / "runs" / log.parent.name) in str(error.value)


def test_a_whole_copy_stands_for_a_damaged_one(whole: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(whole, damaged)
    log = next(damaged.glob("runs/*/events.jsonl"))
    log.write_bytes(b"x" + log.read_bytes())
    with pytest.raises(CorruptRecordError, match=r"events\.jsonl:1"):
        read_suites([damaged, whole])
    assert not read_suites([damaged, whole], skip_corrupt=True).corrupt
    assert len(read_suites([damaged, damaged], skip_corrupt=True).corrupt) == 1


def test_pairs_on_unlike_devices_are_listed(halves: list[Path], tmp_path: Path) -> None:
    for root, device in zip(halves, ("cpu", "cuda"), strict=True):
        trained_on(root, device)
    assert "unlike" not in {table.name for table in compose(halves).tables()}
    # Now the tricks of gan are trained elsewhere than gan without them.
    elsewhere = tmp_path / "c" / "results"
    shutil.copytree(halves[0], elsewhere)
    keep(elsewhere, lambda name: "-none-" not in name)
    keep(halves[0], lambda name: "-none-" in name)
    trained_on(elsewhere, "cuda")
    tables = {table.name: table for table in compose([*halves, elsewhere]).tables()}
    (row,) = tables["unlike"].rows
    assert [cell.value for cell in row[1:]] == [
        "gan", "label-smoothing", "device, in 3 of 3 pairs", "cuda", "cpu",
    ]  # fmt: skip
    assert [row[1].value for row in tables["folders"].rows] == ["cpu", "cuda", "cuda"]


def test_searches_of_all_folders_are_shown_and_copies_once(halves: list[Path]) -> None:
    for root in halves:
        write_tuning(root)
    write_tuning(halves[1], variant="wgan-gp")
    found = tuning.build(group(read_suites(halves)), halves)
    assert found is not None
    assert len([block for block in found.blocks if isinstance(block, Figure)]) == 2


def test_stale_folders_say_whose(halves: list[Path]) -> None:
    (halves[1] / "runs" / "old").mkdir()
    assert read_suites(halves).stale == ["b/results/old"]
    assert read_suite(halves[1]).stale == ["old"]


def test_folders_are_named_by_what_tells_them_apart() -> None:
    paths = [Path("/x/a/results/s"), Path("/x/b/results/s")]
    assert distinguished(paths) == ["a/results/s", "b/results/s"]
    assert distinguished([Path("/x/s1"), Path("/x/s2")]) == ["s1", "s2"]
