"""Tuning and reporting share no data: by type, at run time, and in what is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from harness.datasets.mixtures import Ring8
from harness.datasets.splits import ReportSplits, TuningSplits, splits_of
from harness.errors import StoreError, SuiteError
from harness.jobs.cohort import JobOptions, JobRequest
from harness.jobs.job import Job
from harness.store.folders import Store
from harness.store.reading import ReportedRun, TrialRun, read_run, read_suite
from harness.store.records import SuitePlan
from harness.suite.load import read_suite as read_suite_file
from harness.suite.matrix import expand
from harness.testing.specs import make_spec
from harness.tracking.base import Mirror
from harness.tuning.course import SEEDS, TunedCell
from harness.tuning.numbers import DEFAULT
from harness.tuning.tune import Tuner
from tests.stores import planned_cell

CPU = torch.device("cpu")
MISUSES = """
from pathlib import Path
from harness.datasets.splits import ReportSplits, TuningSplits
from harness.store.records import PlannedRun
from harness.store.reading import ReportedRun, RunRecord, SuiteRecord, TrialRun
from reports.cells import Result

def misuse(trial: TrialRun, run: RunRecord, planned: PlannedRun, suite: SuiteRecord) -> None:
    TuningSplits("test")
    TuningSplits("train")
    ReportSplits("validation")
    Result(planned, "ok", trial)
    Result(planned, "ok", run)
    suite.runs["0"] = trial

def use(reported: ReportedRun, planned: PlannedRun) -> None:
    TuningSplits("validation")
    ReportSplits("test")
    Result(planned, "ok", reported)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_type_checker_refuses_to_mix_them(tmp_path: Path) -> None:
    api = pytest.importorskip("mypy.api")
    file = tmp_path / "misuses.py"
    file.write_text(MISUSES)
    root = Path(__file__).parents[2]
    out, _, _ = api.run(["--config-file", str(root / "pyproject.toml"), str(file)])
    lines = MISUSES.splitlines()
    refused = [int(line.split(":")[1]) for line in out.splitlines() if ": error: " in line]
    first = lines.index('    TuningSplits("test")') + 1
    assert refused == list(range(first, first + 6)), out


def test_splits_refuse_each_other_at_run_time() -> None:
    splits: Any
    for splits, wrong in (
        (TuningSplits, "test"),
        (TuningSplits, "train"),
        (ReportSplits, "validation"),
    ):
        with pytest.raises(ValueError, match=f"measured against {wrong}"):
            splits(wrong)
    assert splits_of("validation") == TuningSplits()
    assert [splits_of(split).held_out for split in ("train", "test")] == ["test", "train"]


def forbid(monkeypatch: pytest.MonkeyPatch, forbidden: str) -> list[str]:
    """Let a split of ring8 raise when it is read; return the splits that were read."""
    read, seen = Ring8.read, []

    def guarded(self: Ring8, split: Any, root: Path | None = None) -> Any:
        assert split != forbidden, f"{split} was read"
        seen.append(split)
        return read(self, split, root)

    monkeypatch.setattr(Ring8, "read", guarded)
    return seen


class Guarded:
    """An engine that trains in this process, trials without test and all others without
    validation."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.seen: dict[str, set[str]] = {"trial": set(), "fresh": set()}

    def run(self, assignments: Any, mirror: Mirror) -> int:
        for assignment in assignments:
            request = JobRequest.read(assignment.file)
            specs = request.specs
            is_trial = specs[0].seed in SEEDS
            with self.monkeypatch.context() as patch:
                seen = forbid(patch, "test" if is_trial else "validation")
                assert Job(Store(request.store), CPU).train(specs) == 0
            self.seen["trial" if is_trial else "fresh"] |= set(seen)
        return 0


def test_a_search_never_reads_test_and_what_is_reported_never_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    specs = tuple(make_spec("ring8", seed=seed, steps=10) for seed in range(2))
    engine = Guarded(monkeypatch)
    plan = SuitePlan("tiny", "", "f00d", ())
    tuner = Tuner(tmp_path, plan, engine, Mirror(), "cpu", JobOptions())
    space = {each.name: each for each in DEFAULT}
    assert tuner.tune([TunedCell(planned_cell("ring8", "gan"), specs, space)], trials=4) == 0
    # Nothing was in the cache, so all that may be read was.
    assert engine.seen == {"trial": {"train", "validation"}, "fresh": {"train", "test"}}
    folders = list((tmp_path / "tuning" / "runs").iterdir())
    records = [read_run(folder) for folder in folders]
    trials = [r for r in records if r.spec.seed in SEEDS]
    fresh = [r for r in records if r.spec.seed not in SEEDS]
    assert len(trials) == 4 + 3 * 2 and fresh
    for record in trials:
        TrialRun.of(record)
        with pytest.raises(StoreError, match="which tuning looks at: it is in no report"):
            ReportedRun.of(record)
    for record in fresh:
        ReportedRun.of(record)
        with pytest.raises(StoreError, match="is no trial"):
            TrialRun.of(record)
    with pytest.raises(StoreError, match="which tuning looks at"):
        read_suite(tmp_path / "tuning")


def test_a_suite_cannot_report_against_validation() -> None:
    text = (
        "suite: mine\ndatasets: ring8\nvariants: gan\n"
        "settings: {steps: 30, reference: validation}\n"
    )
    with pytest.raises(SuiteError, match=r":4: settings.reference: .*give train or test"):
        expand(read_suite_file(text.encode(), "mine.yaml"))
