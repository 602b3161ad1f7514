"""Damaged, foreign, hostile and unwritable folders: a clear refusal, or the state before."""

from __future__ import annotations

import json
import math
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from harness.errors import CorruptRecordError, StoreError
from harness.jobs import training_loop
from harness.jobs.cohort import JobOptions
from harness.jobs.job import Job
from harness.spec import PartSpec
from harness.store.events import Attempt, LossRow
from harness.store.folders import Store, begun_plan, hold
from harness.store.log import EventLog, read_events
from harness.store.plan import read_plan
from harness.store.reading import read_run, read_suite
from harness.store.records import PlannedCell, PlannedPart, PlannedRun, SuitePlan
from harness.testing.specs import make_spec
from harness.training.checkpoint import find_checkpoints, save_checkpoint
from tests.faults.jobs import assert_equivalent
from tests.stores import build_store

COUNTERS = {"step": 0, "d_updates": 0, "g_updates": 0, "d_rows": 0, "g_rows": 0}


def checkpoints(
    folder: Path, run_id: str = "aaaaaaaaaaaa", steps: tuple[int, ...] = (10, 20)
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for step in steps:
        save_checkpoint(
            folder,
            run_id,
            {"generator/weight": torch.full((3,), float(step))},
            {**COUNTERS, "step": step},
            seconds=1.0,
            evaluation_seconds=0.5,
        )


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "missing", "sidecar"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(damage: str, tmp_path: Path) -> None:
    checkpoints(tmp_path)
    newest = tmp_path / "step-00000020.safetensors"
    data = newest.read_bytes()
    if damage == "truncated":
        newest.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        newest.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "empty":
        newest.write_bytes(b"")
    elif damage == "missing":
        newest.unlink()
    else:
        newest.with_suffix(".json").write_text("{")
    assert [found.step for found in find_checkpoints(tmp_path, "aaaaaaaaaaaa")] == [10]


def test_two_checkpoints_are_kept(tmp_path: Path) -> None:
    checkpoints(tmp_path, steps=(10, 20, 30))
    assert [found.step for found in find_checkpoints(tmp_path, "aaaaaaaaaaaa")] == [30, 20]
    assert len(list(tmp_path.iterdir())) == 4
    assert load_file(tmp_path / "step-00000030.safetensors")["generator/weight"][0] == 30


def test_a_foreign_checkpoint_is_refused(tmp_path: Path) -> None:
    checkpoints(tmp_path, run_id="bbbbbbbbbbbb")
    with pytest.raises(StoreError, match="belongs to run bbbbbbbbbbbb, not aaaaaaaaaaaa"):
        find_checkpoints(tmp_path, "aaaaaaaaaaaa")


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("PAYLOAD-RAN",)


def test_a_pickle_is_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoints(tmp_path / "c")
    newest = tmp_path / "c" / "step-00000020.safetensors"
    data = pickle.dumps(Payload())
    newest.write_bytes(data)
    sidecar = json.loads(newest.with_suffix(".json").read_text())
    import hashlib

    sidecar["sha256"] = hashlib.sha256(data).hexdigest()  # even if it vouches for the payload
    newest.with_suffix(".json").write_text(json.dumps(sidecar))
    assert [found.step for found in find_checkpoints(tmp_path / "c", "aaaaaaaaaaaa")] == [10]
    assert not (tmp_path / "PAYLOAD-RAN").exists()


def test_a_corrupt_line_is_an_error_that_names_file_and_line(tmp_path: Path) -> None:
    from tests.stores import build_store

    build_store(tmp_path)
    suite = read_suite(tmp_path)
    run_id, run = next(iter(suite.runs.items()))
    file = run.path / "events.jsonl"
    lines = file.read_bytes().split(b"\n")
    lines[2] = lines[2].replace(b"1", b"2", 1)
    file.write_bytes(b"\n".join(lines))
    with pytest.raises(CorruptRecordError, match=r"events\.jsonl:3: checksum differs"):
        read_run(run.path)
    with pytest.raises(CorruptRecordError):
        read_suite(tmp_path)
    assert "events.jsonl:3" in read_suite(tmp_path, skip_corrupt=True).corrupt[run_id]
    assert len(read_events(file, skip_corrupt=True)) == len(lines) - 2


def test_an_unwritable_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(StoreError, match="choose another folder with --out") as caught:
        Store(blocked / "results")
    assert "\n" not in str(caught.value)


def test_a_linked_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(StoreError, match="symbolic link"):
        Store(tmp_path / "link")
    store = Store(tmp_path / "results")
    spec = make_spec()
    store.folder(spec).symlink_to(tmp_path / "real")
    with pytest.raises(StoreError, match="leads out of"):
        store.create(spec)


@pytest.mark.parametrize("name", ["../x", "/abs", "a\0b", "x" * 300, "-rf", "", "Ä", "gаn", "a b"])
def test_hostile_names_are_no_ids(name: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        PartSpec(id=name)


def test_another_spec_under_the_same_name_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    spec = make_spec(seed=1)
    path = store.create(spec)
    assert store.create(spec) == path
    (path / "spec.json").write_text(make_spec(seed=2).model_dump_json())
    with pytest.raises(StoreError, match="describes another run"):
        store.create(spec)


def test_records_of_another_run_are_no_result(tmp_path: Path) -> None:
    root = build_store(tmp_path / "s", datasets=("ring8",), seeds=1)
    mine, other = sorted((root / "runs").iterdir())[:2]
    shutil.rmtree(mine)
    shutil.copytree(other, mine)
    with pytest.raises(CorruptRecordError, match=r"describes run .* delete the folder"):
        read_suite(root)
    assert len(read_suite(root, skip_corrupt=True).corrupt) == 1
    with pytest.raises(CorruptRecordError, match="describes run"):
        read_run(mine, "0" * 12)


@pytest.mark.parametrize("kept", [0, 4])
def test_a_log_that_was_cut_short_is_trained_again(
    kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checkpoint is whole; going on from it would leave the run without evaluations."""
    monkeypatch.setattr(training_loop, "keep_networks", lambda *_: None)
    spec = make_spec(steps=30, collapse_coverage=1.0)
    store, job = Store(tmp_path), Job(Store(tmp_path), torch.device("cpu"))
    assert job.train([spec]) == 0
    before = read_run(store.folder(spec))
    assert before.outcome.outcome == "unlearned"
    log = store.folder(spec) / "events.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:kept]))
    assert job.train([spec]) == 0
    after = read_run(store.folder(spec))
    assert after.attempts[-1].resumed_from == 0
    assert_equivalent(before, after)


def test_states_are_saved_between_evaluations_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_loop, "keep_networks", lambda *_: None)
    spec = make_spec(steps=30, log_every=5, evaluate_every=10)
    assert (
        Job(Store(tmp_path), torch.device("cpu"), JobOptions(checkpoint_seconds=0)).train([spec])
        == 0
    )
    found = find_checkpoints(Store(tmp_path).folder(spec) / "checkpoints", spec.id)
    assert [checkpoint.step for checkpoint in found] == [30, 25]


@pytest.mark.parametrize(
    "content",
    ["5", '"x"', "{}", "[]", "{", '{"schema": "a"}', '{"schema": 2, "runs": [{"id": 7}]}'],
)
def test_a_damaged_plan_is_told_in_one_line(content: str, tmp_path: Path) -> None:
    (tmp_path / "suite.json").write_text(content)
    with pytest.raises(StoreError, match=r"is damaged .*running the suite rewrites it") as caught:
        read_plan(tmp_path)
    assert len(str(caught.value).splitlines()) == 1
    assert begun_plan(tmp_path) is None


RUN = ("runs", 0)
CONTRADICTIONS: dict[str, tuple[tuple[str | int, ...], Any, str]] = {
    "schema true": (("schema",), True, "schema"),
    "schema 0": (("schema",), 0, "schema"),
    "upward": ((*RUN, "folder"), "../../x", "plain name"),
    "absolute": ((*RUN, "folder"), "/tmp", "plain name"),
    "nowhere": ((*RUN, "folder"), "", "plain name"),
    "an id twice": ((*RUN, "id"), "1", "id of a run is there twice"),
    "a folder twice": ((*RUN, "folder"), "b", "folder of a run is there twice"),
    "a seed twice": ((*RUN, "seed"), 1, "seed of a cell is there twice"),
    "true as seed": ((*RUN, "seed"), True, "runs.0.seed"),
    "no seed": ((*RUN, "seed"), -1, "runs.0.seed"),
    "no cell": ((*RUN, "cell"), 7, "not of its cells"),
    "the last cell": ((*RUN, "cell"), -1, "runs.0.cell"),
    "a margin of nothing": (("margin",), 0, "margin"),
    "a margin of a half": (("margin",), 0.5, "margin"),
    "a margin that is none": (("margin",), math.nan, "expected value"),
    "an infinite margin": (("margin",), math.inf, "expected value"),
    "a baseline of nothing": (("baseline",), ["gan", "ema"], "no run is of gan × ema"),
    "a contrast of nothing": (("contrasts",), [["none", "ema"]], "no run is of ema"),
    "looks that descend": (("looks",), [10, 5], "looks"),
    "looks of none": (("looks",), [0, 5], "looks.0"),
    "looks that were not declared": (
        ("taken",), [{"seeds": 7, "time": "", "settled": {}}], "not declared"
    ),
    "a number as name": (("suite",), 3, "suite"),
    "deep nesting": (("more",), "DEEP", "recursion limit"),
}  # fmt: skip


def a_plan() -> SuitePlan:
    cell = PlannedCell(PlannedPart("ring8"), PlannedPart("gan"))
    runs = tuple(PlannedRun(str(i), folder, cell, i) for i, folder in enumerate("ab"))
    return SuitePlan("mine", "", "feed", runs, baseline=("gan", "none"), margin=1.25, looks=(5, 10))


@pytest.mark.parametrize("how", CONTRADICTIONS)
def test_a_plan_that_contradicts_itself_is_damaged(how: str, tmp_path: Path) -> None:
    place, value, told = CONTRADICTIONS[how]
    Store(tmp_path).write_plan(a_plan())
    assert read_plan(tmp_path) == a_plan()
    file = tmp_path / "suite.json"
    plan = inside = json.loads(file.read_text())
    for step in place[:-1]:
        inside = inside[step]
    inside[place[-1]] = value
    file.write_text(json.dumps(plan).replace('"DEEP"', "[" * 10**5 + "]" * 10**5))
    with pytest.raises(CorruptRecordError) as caught:
        read_suite(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{file} is damaged (") and told in message
    assert message.endswith("); running the suite rewrites it")


@pytest.mark.parametrize(("schema", "age"), [(1, "older"), (3, "newer")])
def test_the_plan_of_another_version_is_refused_and_stays(
    schema: int, age: str, tmp_path: Path
) -> None:
    (tmp_path / "suite.json").write_text(json.dumps({"schema": schema, "runs": []}))
    for read in (lambda: read_plan(tmp_path), lambda: begun_plan(tmp_path)):
        with pytest.raises(StoreError, match=f"suite.json was written by an? {age} ganbench; "):
            read()


def test_a_log_knows_what_a_reader_would_find(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        log.append(LossRow(step=1, kimg=0.1, values={"d": float("inf")}))
    with EventLog(path, read_events(path)) as log:
        log.append(Attempt(attempt=2, resumed_from=0, cohort=("a", "b")))
        assert len(log.events) == 2
        assert log.events == read_events(path)


def test_a_lock_names_its_holder_and_is_dropped_at_the_end(tmp_path: Path) -> None:
    refusal = pytest.raises(StoreError, match=f"in use by process {os.getpid()}")
    with hold(tmp_path), refusal, hold(tmp_path):
        pass
    with hold(tmp_path):
        pass
