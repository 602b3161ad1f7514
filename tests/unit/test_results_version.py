"""Proves that results of older definitions are named as such wherever they are met."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from harness.commands import run
from harness.commands.begun import results_version
from harness.spec import RunSpec
from harness.store.folders import Store, begun_plan
from harness.store.reading import read_suite
from harness.version import CHANGED, RESULTS_VERSION, since
from reports.cells import group
from reports.code import older_results
from tests import stores
from tests.stores import build_store


def test_every_raise_says_which_numbers_are_others() -> None:
    assert max(CHANGED) == RESULTS_VERSION
    assert since(RESULTS_VERSION) == ""
    assert "lecam" in since(4)


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """Make a results folder of the version before."""

    def of_version_4(**fields: Any) -> RunSpec:
        return RunSpec(results_version=4, **fields)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stores, "RunSpec", of_version_4)
        return build_store(tmp_path / "older", datasets=("ring8",), variants=("gan",), seeds=3)


def test_a_report_of_older_results_says_so_first(older: Path, tmp_path: Path) -> None:
    (sentence,) = older_results(group(read_suite(older)))
    versions = f"results version 4, and this ganbench gives version {RESULTS_VERSION}"
    assert sentence.startswith(f"These runs are of {versions}")
    present = build_store(tmp_path / "now", datasets=("ring8",), variants=("gan",), seeds=3)
    assert older_results(group(read_suite(present))) == []


def test_running_the_suite_again_says_why_all_is_trained_anew(older: Path) -> None:
    store = Store(older)
    before = begun_plan(store.root)
    assert before is not None
    written = io.StringIO()
    plan = SimpleNamespace(suite=before.suite, runs=(), margin=None, contrasts=())
    matrix: Any = SimpleNamespace(plan=plan)
    run._announce_plan(store, matrix, Console(file=written, width=10_000))
    told = written.getvalue()
    begun = len(list((older / "runs").iterdir()))
    assert f"{begun} runs of the one before stay on the disk" in told
    assert (
        f"they are of results version 4, and this ganbench gives version {RESULTS_VERSION}" in told
    )
    assert since(4) in told


def test_a_damaged_record_is_no_version(older: Path) -> None:
    store = Store(older)
    plan = begun_plan(store.root)
    assert plan is not None
    planned = plan.runs[0]
    file = older / "runs" / planned.folder / "spec.json"
    assert results_version(older, planned) == 4
    for text in ("[]", "{", '{"results_version": null}'):
        file.write_text(text)
        assert results_version(older, planned) is None
    file.unlink()
    assert results_version(older, planned) is None
