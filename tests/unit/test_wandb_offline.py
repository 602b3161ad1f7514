"""Offline mirrors, read back row by row from what W&B wrote and compared with the event logs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.store.events import SampleFile
from harness.store.folders import Store
from harness.store.plan import read_plan
from harness.store.reading import read_run
from harness.tracking.base import Mirrors, TrackedRun
from harness.tracking.choice import TrackingError
from harness.tracking.wandb_mirror import WandbMirror
from harness.tracking.wandb_run import Sender, Target, is_mirrored, offline_folders
from tests.event_logs import (
    METRIC,
    STEPS,
    begin,
    end,
    logged_rows,
    make_spec,
    make_store,
    train,
    whole_run,
    write_events,
)
from tests.processes import serving, still_serving
from tests.pushing import Patience, be_impatient, command, push
from tests.wandb_file import WandbRun, as_floats, read_wandb_file

PROJECT = "ganbench"


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """W&B as on a fresh machine."""
    for name in list(os.environ):
        if name.startswith("WANDB_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    be_impatient(monkeypatch, Patience())


def read_back(root: Path, run: TrackedRun) -> WandbRun:
    """Read the one file that W&B wrote for a run."""
    (folder,) = offline_folders(root, run.planned.id)
    return read_wandb_file(folder / f"run-{run.planned.id}.wandb")


def assert_equal(root: Path, run: TrackedRun) -> WandbRun:
    """Compare W&B's file with the run's own records, value by value."""
    found = read_back(root, run)
    expected = logged_rows(run.path)
    rows = [{k: v for k, v in row.items() if not k.startswith("samples.")} for row in found.rows]
    assert [repr(sorted(row.items())) for row in as_floats(rows)] == [
        repr(sorted(row.items())) for row in as_floats(expected)
    ]
    assert found.steps == list(range(len(expected)))
    return found


def test_push_sends_everything_once(tmp_path: Path) -> None:
    specs = [make_spec(0), make_spec(1, tricks=["ema", "spectral-norm"]), make_spec(2)]
    root = tmp_path / "results"
    _, runs = make_store(root, specs)
    whole_run(runs[0].path, "collapsed", pictures=".png")
    whole_run(runs[1].path)
    lines: list[str] = []

    assert push(root, mode="offline", project=PROJECT, announce=lines.append) == 2

    found = assert_equal(root, runs[0])
    assert found.id == specs[0].id
    assert found.project == PROJECT
    assert found.group == "stability-f1a9e2b4c6d8"
    assert found.job_type == "train"
    assert found.config == specs[0].model_dump(mode="json")
    assert sorted(found.tags) == [
        "data:ring8",
        "trick:none",
        "variant:wgan-gp(penalty_weight=0.1)",
    ]
    assert found.axes["evaluation/*"] == found.axes["losses/*"] == "kimg"
    assert found.summary["outcome"] == "collapsed"
    assert found.summary["onset"] == 20
    assert found.summary["reason"] == "because of collapsed"
    assert found.summary["primary"] == 0.2
    assert found.summary["primary_metric"] == METRIC
    assert found.exit_code == 0
    other = assert_equal(root, runs[1])
    assert {"trick:ema", "trick:spectral-norm"} < set(other.tags)
    assert not offline_folders(root, runs[2].planned.id)

    assert push(root, mode="offline", project=PROJECT) == 0
    assert len(list((root / "wandb").glob("offline-run-*"))) == 2
    assert lines == []
    assert not list((tmp_path / "home").iterdir())
    assert still_serving(root) == []


@pytest.mark.parametrize("pictures", [".png", ".npy"])
def test_one_picture_for_each_evaluation(tmp_path: Path, pictures: str) -> None:
    root = tmp_path / "results"
    _, (run,) = make_store(root, [make_spec()])
    whole_run(run.path, pictures=pictures)
    push(root, mode="offline", project=PROJECT)
    found = read_back(root, run)
    shown = [row for row in found.rows if "samples.path" in row]
    assert [row["kimg"] for row in shown] == [0, 1.28, 2.56]
    assert all(f"evaluation/{METRIC}" in row for row in shown)
    (folder,) = offline_folders(root, run.planned.id)
    assert all((folder / "files" / row["samples.path"]).is_file() for row in shown)


@pytest.mark.slow
def test_a_run_in_progress_is_completed_by_the_next_push(tmp_path: Path) -> None:
    root = tmp_path / "results"
    _, (run,) = make_store(root, [make_spec()])
    write_events(run.path, begin())
    assert push(root, mode="offline", project=PROJECT) == 0
    write_events(run.path, train(run.path, 0, 20))
    assert push(root, mode="offline", project=PROJECT) == 1
    assert "outcome" not in assert_equal(root, run).summary
    assert push(root, mode="offline", project=PROJECT) == 0
    write_events(run.path, [*train(run.path, 25, STEPS), *end()])
    assert push(root, mode="offline", project=PROJECT) == 1
    assert assert_equal(root, run).summary["outcome"] == "ok"
    assert push(root, mode="offline", project=PROJECT) == 0


def test_what_a_cut_attempt_said_is_taken_back(tmp_path: Path) -> None:
    root = tmp_path / "results"
    _, (run,) = make_store(root, [make_spec()])
    write_events(run.path, [*begin(), *train(run.path, 0, 30), *end("preempted", 30)])
    push(root, mode="offline", project=PROJECT)
    assert read_back(root, run).exit_code == 1
    write_events(run.path, [*begin(2, 20), *train(run.path, 25, STEPS), *end()])
    assert push(root, mode="offline", project=PROJECT) == 1
    found = assert_equal(root, run)
    assert found.summary["attempts"] == 2
    assert found.exit_code == 0


@pytest.mark.slow
def test_another_project_is_another_target_and_a_lost_file_is_written_again(
    tmp_path: Path,
) -> None:
    root = tmp_path / "results"
    _, (run,) = make_store(root, [make_spec()])
    whole_run(run.path)
    assert push(root, mode="offline", project="one") == 1
    assert push(root, mode="offline", project="team/two") == 1
    assert read_back(root, run).project == "two"
    assert push(root, mode="offline", project="team/two") == 0
    shutil.rmtree(offline_folders(root, run.planned.id)[0])
    assert push(root, mode="offline", project="team/two") == 1
    assert_equal(root, run)
    assert push(root, mode="offline", project="one") == 1


@pytest.mark.parametrize(
    "state",
    [
        "",
        "[]",
        "{",
        '{"schema": 9, "targets": {}}',
        '{"schema": 1}',
        '{"schema": 1, "targets": 3}',
        '{"schema": 1, "targets": {"offline ganbench": {}}}',
    ],
)
def test_a_damaged_memory_only_means_that_a_run_is_sent_again(tmp_path: Path, state: str) -> None:
    root = tmp_path / "results"
    _, (run,) = make_store(root, [make_spec()])
    whole_run(run.path)
    (run.path / "wandb.json").write_text(state)
    target = Target(root, "offline", PROJECT, "stability", "f1a9e2b4c6d8")
    assert not is_mirrored(target, run.planned, read_run(run.path))


def test_a_damaged_log_is_named_and_the_other_runs_are_sent(tmp_path: Path) -> None:
    root = tmp_path / "results"
    _, runs = make_store(root, [make_spec(0), make_spec(1)])
    for run in runs:
        whole_run(run.path)
    log = runs[0].path / "events.jsonl"
    log.write_bytes(log.read_bytes().replace(b"kimg", b"kimh", 1))
    lines: list[str] = []
    assert push(root, mode="offline", project=PROJECT, announce=lines.append) == 1
    assert len(lines) == 1
    assert str(log) in lines[0]
    assert_equal(root, runs[1])


def test_what_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    root = tmp_path / "results"
    _, runs = make_store(root, [make_spec(seed) for seed in range(5)])
    for run in runs:
        whole_run(run.path)
    logs = [run.path / "events.jsonl" for run in runs]
    newer = '{"schema": 99, "type": "loss"}'
    with logs[0].open("a") as log:
        log.write(f'{newer[:-1]}, "crc": "{crc32(newer.encode()):08x}"}}\n')
    logs[1].unlink()
    logs[1].mkdir()
    (runs[2].path / "wandb.json").mkdir()
    spec = runs[3].path / "spec.json"
    spec.write_text("{")
    lines: list[str] = []
    assert push(root, mode="offline", project=PROJECT, announce=lines.append) == 1
    places = [str(logs[0]), str(logs[1]), str(runs[2].path / "wandb.json"), str(spec)]
    assert [line for line in lines if not any(place in line for place in places)] == []
    assert len(lines) == 4 and all(line.startswith("skipped ") for line in lines)
    assert_equal(root, runs[4])


@pytest.mark.parametrize("gone", ["folder", "plan"])
def test_following_ends_with_its_folder(gone: str, tmp_path: Path) -> None:
    root = tmp_path / "results"
    make_store(root, [make_spec()])
    words = command(root, "offline", PROJECT, "--follow")
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 20
        while not (root / "wandb" / ".lock").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert process.poll() is None
        root.rename(tmp_path / "moved") if gone == "folder" else (root / "suite.json").unlink()
        _, told = process.communicate(timeout=20)
    assert (process.returncode, told.count("\n")) == (2, 1)
    assert told.startswith(f"error: {root} holds no results (no suite.json)")


def test_following_sees_the_plan_grow(tmp_path: Path) -> None:
    root = tmp_path / "results"
    store, runs = make_store(root, [make_spec(seed) for seed in range(2)])
    plan = read_plan(root)
    store.write_plan(replace(plan, runs=plan.runs[:1]))
    words = command(root, "offline", PROJECT, "--follow")
    with subprocess.Popen(words, stdin=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 20
        while not (root / "wandb" / ".lock").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        store.write_plan(plan)
        for run in reversed(runs):
            whole_run(run.path)
        assert process.wait(20) == 0
    for run in runs:
        assert_equal(root, run)


def test_trouble_with_our_own_files_is_not_blamed_on_wandb(tmp_path: Path) -> None:
    root = tmp_path / "results"
    make_store(root, [make_spec()])
    (root / "wandb").write_text("")
    with pytest.raises(TrackingError) as caught:
        push(root, mode="offline", project=PROJECT)
    assert str(caught.value) == f"error: {root / 'wandb'}: File exists\n"


@pytest.mark.parametrize("name", ["", " ", "a/b/c", "/a", "a/", "a?b", "a:b", "a\tb", "x" * 129])
def test_a_project_that_wandb_would_refuse_is_refused_first(name: str, tmp_path: Path) -> None:
    root = tmp_path / "results"
    make_store(root, [make_spec()])
    words = ["push", str(root), "--wandb", "offline", "--project", name]
    told = CliRunner().invoke(app, words)
    assert isinstance(told.exception, TrackingError)
    assert "cannot be a W&B project: give a name, or entity/name" in str(told.exception)
    assert not (root / "wandb").exists()


def test_disabled_is_nowhere_to_push_to(tmp_path: Path) -> None:
    make_store(tmp_path / "results", [make_spec()])
    with pytest.raises(TrackingError, match="--wandb"):
        push(tmp_path / "results", mode="disabled", project=PROJECT)


def offline_mirror(root: Path) -> WandbMirror:
    return WandbMirror("offline", project=PROJECT, folder=root, announce=lambda line: None)


def mirror_suite(root: Path, store: Store, runs: list[TrackedRun], mirror: WandbMirror) -> None:
    """Train two cohorts of made-up runs under a mirror, as the engine does."""
    mirrors = Mirrors([mirror])
    mirrors.suite_started(read_plan(root), runs, 0)
    for cohort in (runs[:2], runs[2:]):
        mirrors.cohort_started("cohort", cohort)
        for run in cohort:
            for record in [*begin(), *train(run.path, 0, STEPS), *end()]:
                write_events(run.path, [record])
                mirrors.event(run, record)
        mirrors.cohort_ended("cohort", cohort)
    mirrors.suite_ended()


def test_the_live_mirror_ends_where_push_would(tmp_path: Path) -> None:
    environ = dict(os.environ)
    modules = {name for name in sys.modules if name.startswith("wandb")}
    root = tmp_path / "results"
    store, (before, *runs) = make_store(root, [make_spec(seed) for seed in range(4)])
    whole_run(before.path, "collapsed")
    mirror_suite(root, store, runs, offline_mirror(root))
    assert assert_equal(root, before).summary["outcome"] == "collapsed"
    for run in runs:
        assert assert_equal(root, run).summary["outcome"] == "ok"
    assert push(root, mode="offline", project=PROJECT) == 0
    assert still_serving(root) == []
    assert dict(os.environ) == environ
    assert {name for name in sys.modules if name.startswith("wandb")} == modules


def test_following_ends_when_all_runs_have_results(tmp_path: Path) -> None:
    root = tmp_path / "results"
    _, runs = make_store(root, [make_spec(seed) for seed in range(2)])
    whole_run(runs[0].path)
    write_events(runs[1].path, [*begin(), *train(runs[1].path, 0, 20), *end("crashed", 20)])
    words = command(root, "offline", PROJECT, "--follow")
    with subprocess.Popen(words, stdin=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 20
        while not (runs[1].path / "wandb.json").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert process.poll() is None
        assert assert_equal(root, runs[1]).summary["outcome"] == "crashed"
        write_events(runs[1].path, [*begin(2, 20), *train(runs[1].path, 25, STEPS), *end()])
        assert process.wait(20) == 0
    for run in runs:
        assert assert_equal(root, run).summary["outcome"] == "ok"
    assert push(root, mode="offline", project=PROJECT) == 0


def is_sending(root: Path, run_id: str) -> bool:
    """Say whether W&B's own process is at work on a run; its folder may be there before that."""
    at_work = any("wandb-core" in command for command in serving(root))
    return at_work and bool(offline_folders(root, run_id))


def test_runs_are_sent_while_they_train(tmp_path: Path) -> None:
    root = tmp_path / "results"
    _, runs = make_store(root, [make_spec()])
    mirror = offline_mirror(root)
    mirror.suite_started(read_plan(root), runs, 0)
    mirror.cohort_started("cohort", runs)
    write_events(runs[0].path, [*begin(), *train(runs[0].path, 0, 20)])
    deadline = time.monotonic() + 20
    while not is_sending(root, runs[0].planned.id) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert is_sending(root, runs[0].planned.id)
    (first,) = offline_folders(root, runs[0].planned.id)
    write_events(runs[0].path, [*train(runs[0].path, 25, STEPS), *end()])
    mirror.cohort_ended("cohort", runs)
    mirror.suite_ended()
    assert offline_folders(root, runs[0].planned.id) == [first]
    assert_equal(root, runs[0])


def test_an_attempt_that_resumes_while_it_is_mirrored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With W&B replaced: rows that come again are not sent again, others open the run anew."""
    root = tmp_path / "results"
    _, (run,) = make_store(root, [make_spec()])
    opened: list[FakeRun] = []
    monkeypatch.setattr(
        "harness.tracking.wandb_run._start",
        lambda target, who: open_fake(opened),
    )
    monkeypatch.setattr("harness.tracking.wandb_run.read_picture", lambda file: None)
    sender = Sender(Target(root, "offline", PROJECT, "s", "f"), run.planned)
    write_events(run.path, [*begin(), *train(run.path, 0, 30)])
    assert sender.send(last=False)
    assert len(opened[0].rows) == 8
    write_events(run.path, [*begin(2, 20)])
    assert not sender.send(last=False)
    write_events(run.path, train(run.path, 25, 40))
    assert sender.send(last=False)
    assert len(opened[0].rows) == 11
    assert len(opened) == 1
    write_events(run.path, begin(3, 20))
    changed = [
        event if isinstance(event, SampleFile) else replace(event, kimg=99.0)
        for event in train(run.path, 25, 40)
    ]
    write_events(run.path, [*changed, *end()])
    assert sender.send(last=False)
    assert sender.is_done
    assert len(opened[1].rows) == len(logged_rows(run.path)) == 11
    assert len(opened) == 2
    assert opened[0].exit_code == 1
    assert opened[1].exit_code == 0
    assert [row["kimg"] for row in opened[1].rows] == [r["kimg"] for r in logged_rows(run.path)]


class FakeRun:
    """Takes what a W&B run takes."""

    starting_step = 0
    project_url = None

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.exit_code: int | None = None

    def define_metric(self, name: str, **options: Any) -> None:
        pass

    def log(self, values: dict[str, Any]) -> None:
        self.rows.append(values)

    def finish(self, exit_code: int) -> None:
        self.exit_code = exit_code


def open_fake(opened: list[FakeRun]) -> FakeRun:
    opened.append(FakeRun())
    return opened[-1]


LIVE = """
import os, signal, sys, time
from pathlib import Path
from harness.store.plan import read_plan
from harness.tracking import wandb_mirror
from harness.tracking.wandb_run import offline_folders
from tests.event_logs import begin, make_spec, make_store, train, write_events

root = Path(sys.argv[1])
_, runs = make_store(root, [make_spec()])
wandb_mirror.PUSH = ("tests.pushing", "push")
mirror = wandb_mirror.WandbMirror("offline", project="ganbench", folder=root, announce=print)
mirror.suite_started(read_plan(root), runs, 0)
mirror.cohort_started("cohort", runs)
write_events(runs[0].path, [*begin(), *train(runs[0].path, 0, 30)])
while not offline_folders(root, runs[0].planned.id):
    time.sleep(0.02)
time.sleep(float(sys.argv[2]))
if sys.argv[3] == "both":
    os.kill(mirror._process.pid, signal.SIGKILL)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("who", ["engine", pytest.param("both", marks=pytest.mark.slow)])
def test_an_offline_run_cut_by_sigkill_is_restored_by_push(tmp_path: Path, who: str) -> None:
    root = tmp_path / "results"
    done = subprocess.run([sys.executable, "-c", LIVE, str(root), "0.3", who], check=False)
    assert done.returncode == -signal.SIGKILL
    assert still_serving(root) == []
    _, (run,) = make_store(root, [make_spec()])
    write_events(run.path, [*begin(2, 20), *train(run.path, 25, STEPS), *end()])
    assert push(root, mode="offline", project=PROJECT) == 1
    assert assert_equal(root, run).summary["outcome"] == "ok"
    assert push(root, mode="offline", project=PROJECT) == 0


def test_two_mirrors_of_one_folder_do_not_disturb_each_other(tmp_path: Path) -> None:
    root = tmp_path / "results"
    _, (run,) = make_store(root, [make_spec()])
    whole_run(run.path)
    mirror = offline_mirror(root)
    mirror.suite_started(read_plan(root), [run], 0)
    deadline = time.monotonic() + 20
    while not (root / "wandb" / ".lock").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.1)
    with pytest.raises(TrackingError, match=r"^error: another process is mirroring [^;]*$"):
        push(root, mode="offline", project=PROJECT)
    mirror.suite_ended()
    assert_equal(root, run)
    assert push(root, mode="offline", project=PROJECT) == 0
