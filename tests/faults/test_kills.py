"""Kills at every moment: nothing is lost, nothing doubled, the result is bit for bit the same."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from harness.store.events import Attempt, LossRow
from harness.store.log import EventLog, read_events
from harness.store.reading import read_run
from harness.testing.specs import make_spec
from harness.training.checkpoint import find_checkpoints, last_state
from tests.faults.jobs import assert_equivalent, read_all, run_job, start_job

SPECS = [make_spec("ring8", "gan", seed=seed, steps=40, evaluate_every=10) for seed in (0, 1)]
MOMENTS = ["checkpoint-begin", "replace", "checkpoint-tensors", "checkpoint-sidecar"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("uninterrupted") / "store"
    assert run_job(root, SPECS) == 0
    return root


# Both runs are saved at steps 10, 20, 30 and 40, so counts reach into the third save, where the
# oldest checkpoint is deleted. `replace` counts every atomic write: spec, environment, checkpoint.
@pytest.mark.parametrize(
    "failpoint",
    [f"{name}:{count}:kill" for name in MOMENTS for count in (1, 2, 5)]
    + [f"checkpoint-delete:{count}:kill" for count in (1, 2)]
    + ["replace:6:kill", "replace:7:kill", "replace:12:kill"],
)
def test_kill_while_a_checkpoint_is_saved(
    failpoint: str, uninterrupted: Path, tmp_path: Path
) -> None:
    root = tmp_path / "store"
    assert run_job(root, SPECS, failpoint=failpoint) == -signal.SIGKILL
    assert run_job(root, SPECS) == 0
    for run, expected in zip(read_all(root, SPECS), read_all(uninterrupted, SPECS), strict=True):
        assert_equivalent(run, expected)
        assert not list((run.path / "checkpoints").iterdir())
        assert len(list(run.path.glob("networks.*"))) == 2


# Each run is saved every five of its 40 steps, so the 17th state is what is kept of the first one.
@pytest.mark.parametrize(
    "failpoint",
    ["checkpoint-tensors:17:kill", "checkpoint-sidecar:17:kill", "networks-kept:1:kill"],
)
def test_kill_while_a_finished_run_is_reduced(
    failpoint: str, uninterrupted: Path, tmp_path: Path
) -> None:
    root = tmp_path / "store"
    assert run_job(root, SPECS, failpoint=failpoint) == -signal.SIGKILL
    assert [run.is_final for run in read_all(root, SPECS)] == [True, False]
    assert run_job(root, SPECS) == 0
    first, second = read_all(root, SPECS)
    expected = read_all(uninterrupted, SPECS)
    assert_equivalent(second, expected[1])
    # The first one had its result; its checkpoints are still there, and hold the same networks.
    assert len(find_checkpoints(first.path / "checkpoints", first.spec.id)) == 2
    left, kept = (last_state(run.path, run.spec.id) for run in (first, expected[0]))
    assert left is not None and kept is not None and left.counters == kept.counters
    everything = left.tensors()
    assert all(everything[name].equal(tensor) for name, tensor in kept.tensors().items())


@pytest.mark.slow
def test_twenty_kills_at_random_steps(tmp_path: Path) -> None:
    specs = [make_spec("ring8", "gan", seed=seed, steps=400, evaluate_every=10) for seed in (0, 1)]
    assert run_job(tmp_path / "whole", specs) == 0
    root = tmp_path / "store"
    moments = random.Random(1)
    kills = 0
    while kills < 20:
        # An event is written every 5 steps per run and twice more per evaluation: a kill within
        # the first 60 records of an attempt lands before the end of training.
        failpoint = f"event:{moments.randint(6, 40)}:kill"
        code = run_job(root, specs, failpoint=failpoint, checkpoint_seconds=0.0)
        assert code == -signal.SIGKILL
        kills += 1
    assert run_job(root, specs) == 0
    for run, expected in zip(
        read_all(root, specs), read_all(tmp_path / "whole", specs), strict=True
    ):
        assert_equivalent(run, expected)
        assert len(run.attempts) == kills + 1


@pytest.mark.slow
@pytest.mark.parametrize("terms", [1, 2])
def test_sigterm_saves_and_the_same_command_resumes(
    terms: int, uninterrupted: Path, tmp_path: Path
) -> None:
    specs = [make_spec("ring8", "gan", seed=seed, steps=600, evaluate_every=200) for seed in (0, 1)]
    root = tmp_path / "store"
    process = start_job(root, specs, checkpoint_seconds=3600)
    log = root / "runs" / specs[0].slug / "events.jsonl"
    while not any(isinstance(event, LossRow) for event in read_events(log)):
        time.sleep(0.01)
    for _ in range(terms):
        process.terminate()
    process.join(60)
    assert process.exitcode == 75
    for run in read_all(root, specs):
        assert run.outcome is not None
        assert run.outcome.outcome == "preempted"
        assert 0 < run.outcome.step < 600
        assert find_checkpoints(run.path / "checkpoints", run.spec.id)[0].step == run.outcome.step
    assert run_job(root, specs) == 0
    assert run_job(tmp_path / "whole", specs) == 0
    for run, expected in zip(
        read_all(root, specs), read_all(tmp_path / "whole", specs), strict=True
    ):
        assert_equivalent(run, expected)
        assert [attempt.attempt for attempt in run.attempts] == [1, 2]


def test_sigterm_during_a_save(uninterrupted: Path, tmp_path: Path) -> None:
    root = tmp_path / "store"
    assert run_job(root, SPECS, failpoint="checkpoint-tensors:1:term") == 75
    assert run_job(root, SPECS) == 0
    for run, expected in zip(read_all(root, SPECS), read_all(uninterrupted, SPECS), strict=True):
        assert_equivalent(run, expected)


def test_torn_last_line_at_every_byte(uninterrupted: Path, tmp_path: Path) -> None:
    source = uninterrupted / "runs" / SPECS[0].slug / "events.jsonl"
    data = source.read_bytes()
    whole = read_events(source)
    last = data.rstrip(b"\n").rfind(b"\n") + 1
    torn = tmp_path / "events.jsonl"
    for end in range(last, len(data)):
        torn.write_bytes(data[:end])
        assert repr(read_events(torn)) == repr(whole[:-1])
        with EventLog(torn) as log:
            log.append(whole[-1])
        assert repr(read_events(torn)) == repr(whole)


def test_a_run_whose_outcome_was_torn_is_finished_again(
    uninterrupted: Path, tmp_path: Path
) -> None:
    root = tmp_path / "store"
    # As above: killed after the first run's outcome, before its checkpoints are given up.
    assert run_job(root, SPECS, failpoint="checkpoint-tensors:17:kill") == -signal.SIGKILL
    path = root / "runs" / SPECS[0].slug
    data = (path / "events.jsonl").read_bytes()
    (path / "events.jsonl").write_bytes(data[:-10])
    assert read_run(path).outcome is None
    assert run_job(root, SPECS) == 0
    for run, expected in zip(read_all(root, SPECS), read_all(uninterrupted, SPECS), strict=True):
        assert_equivalent(run, expected)


def test_disk_full_at_a_checkpoint_keeps_the_old_one(tmp_path: Path) -> None:
    root = tmp_path / "store"
    # The third save is the first run's second, at step 10; losses are logged, and states saved,
    # every five steps.
    code = run_job(root, SPECS, failpoint="checkpoint-begin:3:full")
    assert code == 1
    for run in read_all(root, SPECS):
        assert run.outcome is not None
        assert run.outcome.outcome == "crashed"
        assert "No space left" in run.outcome.reason
        assert find_checkpoints(run.path / "checkpoints", run.spec.id)[0].step == 5
    assert run_job(root, SPECS) == 0


def test_a_job_that_is_training_is_not_started_twice(tmp_path: Path) -> None:
    specs = [make_spec("ring8", "gan", steps=100_000, evaluate_every=50_000)]
    root = tmp_path / "store"
    first = start_job(root, specs)
    log = root / "runs" / specs[0].slug / "events.jsonl"
    while not read_events(log):
        time.sleep(0.01)
    second_log = tmp_path / "store.log"
    second = start_job(root, specs)
    second.join(60)
    assert second.exitcode == 1
    assert f"is in use by process {first.pid}" in second_log.read_text()
    # The lock of a process that died without a word is free at once.
    first.kill()
    first.join(60)
    third = start_job(root, specs)
    while len([e for e in read_events(log) if isinstance(e, Attempt)]) < 2:
        time.sleep(0.01)
    third.kill()
    third.join(60)
