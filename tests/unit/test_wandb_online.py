"""Online mirrors against an imitated server: what arrives, and what happens when W&B fails."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from harness.store.plan import read_plan
from harness.tracking.base import Mirrors, TrackedRun
from harness.tracking.choice import TrackingError
from harness.tracking.wandb_mirror import WandbMirror
from tests.event_logs import (
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
from tests.pushing import Patience, be_impatient, push
from tests.wandb_file import as_floats
from tests.wandb_server import Behaviour, WandbServer, serve

PROJECT = "team/ganbench"
KEY = "0123456789" * 4
IMPATIENT = Patience(init=1.0, finish=1.0, quiet=6)
LAST = 6.0


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WandbServer]:
    """A server on this machine, with a key for it."""
    for name in list(os.environ):
        if name.startswith("WANDB_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    be_impatient(monkeypatch, Patience())
    with serve() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.address)
        yield server


def assert_served(server: WandbServer, runs: Sequence[TrackedRun]) -> None:
    """Compare what arrived with the runs' own records."""
    for run in runs:
        found = server.runs[run.planned.id]
        rows = [{k: v for k, v in row.items() if k != "samples"} for row in found.rows]
        assert [repr(sorted(row.items())) for row in as_floats(rows)] == [
            repr(sorted(row.items())) for row in as_floats(logged_rows(run.path))
        ]
        assert found.received == len(found.rows)
        assert found.summary["outcome"] == "ok"
        assert found.group == "stability-f1a9e2b4c6d8"
        assert found.job_type == "train"
        assert sorted(found.tags)[0] == "data:ring8"
        assert found.exit_code == 0


def settled(server: WandbServer) -> int:
    """Wait until no request is on its way any more; return how many there were."""
    seen = -1
    while seen != server.requests:
        seen = server.requests
        time.sleep(0.5)
    return seen


def test_push_sends_what_the_server_lacks_and_nothing_else(
    server: WandbServer, tmp_path: Path
) -> None:
    root = tmp_path / "results"
    _, runs = make_store(root, [make_spec(0), make_spec(1)])
    for run in runs:
        write_events(run.path, [*begin(), *train(run.path, 0, 20)])
    lines: list[str] = []
    assert push(root, mode="online", project=PROJECT, announce=lines.append) == 2
    assert lines == [f"W&B: {server.address}/entity/project"]
    assert server.runs[runs[0].planned.id].exit_code == 1
    for run in runs:
        write_events(run.path, [*begin(2, 20), *train(run.path, 25, STEPS), *end()])
    # Without the memory of what was sent, the server's own count decides.
    (runs[1].path / "wandb.json").unlink()
    assert push(root, mode="online", project=PROJECT) == 2
    assert_served(server, runs)
    requests = settled(server)
    assert push(root, mode="online", project=PROJECT) == 0
    assert settled(server) == requests
    assert not list((root / "wandb").glob("run-*"))
    assert_nowhere(KEY, root)


def live(root: Path, runs: Sequence[TrackedRun], mirror: WandbMirror) -> tuple[float, list[str]]:
    """Train made-up runs under a mirror; return the seconds it took of the engine, and warnings."""
    mirrors = Mirrors([mirror])
    spent = 0.0

    def timed(call: Any, *arguments: Any) -> None:
        nonlocal spent
        start = time.monotonic()
        call(*arguments)
        spent = max(spent, time.monotonic() - start)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        timed(mirrors.suite_started, read_plan(root), runs, 0)
        for run in runs:
            mirrors.cohort_started("cohort", [run])
            for record in [*begin(), *train(run.path, 0, STEPS), *end()]:
                write_events(run.path, [record])
                timed(mirrors.event, run, record)
            time.sleep(0.3)
            timed(mirrors.cohort_ended, "cohort", [run])
        before_the_end = spent
        mirrors.suite_ended()
    return before_the_end, [str(warning.message) for warning in caught]


def online_mirror(
    root: Path, *, patience: float = 60.0, announce: Callable[[str], None] = str
) -> WandbMirror:
    return WandbMirror("online", project=PROJECT, folder=root, announce=announce, patience=patience)


def test_the_live_mirror_ends_where_push_would(server: WandbServer, tmp_path: Path) -> None:
    root = tmp_path / "results"
    _, runs = make_store(root, [make_spec(seed) for seed in range(3)])
    lines: list[str] = []
    spent, warned = live(root, runs, online_mirror(root, announce=lines.append))
    assert warned == []
    assert spent < 1.0
    told = [line for line in lines if not line.startswith("waiting for W&B")]
    assert told == [f"W&B: {server.address}/entity/project"]
    assert_served(server, runs)
    assert push(root, mode="online", project=PROJECT) == 0


def test_the_key_is_in_no_command_and_no_file(server: WandbServer, tmp_path: Path) -> None:
    root = tmp_path / "results"
    _, (run,) = make_store(root, [make_spec()])
    mirror = online_mirror(root)
    mirror.suite_started(read_plan(root), [run], 0)
    write_events(run.path, [*begin(), *train(run.path, 0, 20)])
    commands: set[str] = set()
    deadline = time.monotonic() + 60
    while not any("wandb-core" in each for each in commands) and time.monotonic() < deadline:
        commands.update(serving(root))
        time.sleep(0.02)
    assert any("push" in command for command in commands)
    assert any("wandb-core" in command for command in commands)
    assert KEY not in "".join(commands)
    assert_nowhere(KEY, root)
    mirror.suite_ended()
    assert_nowhere(KEY, root)


def assert_nowhere(text: str, root: Path) -> None:
    """Look into all files of a folder, also those that come and go meanwhile."""
    for file in root.rglob("*"):
        with suppress(FileNotFoundError):
            assert not file.is_file() or text.encode() not in file.read_bytes(), file


@pytest.mark.parametrize(
    "behaviour",
    [
        "reject",
        "hang",
        pytest.param("hang at rows", marks=pytest.mark.slow),
        pytest.param("refuse", marks=pytest.mark.slow),
    ],
)
def test_a_failing_server_costs_one_warning_and_a_bounded_delay(
    server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behaviour: str
) -> None:
    if behaviour == "refuse":
        monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    server.behaviour = "work" if behaviour == "refuse" else known(behaviour)
    be_impatient(monkeypatch, IMPATIENT)
    root = tmp_path / "results"
    _, runs = make_store(root, [make_spec(seed) for seed in range(2)])
    start = time.monotonic()
    spent, warned = live(root, runs, online_mirror(root, patience=LAST))
    assert time.monotonic() - start < LAST + 10
    assert spent < 1.0
    assert len(warned) == 1
    assert "WandbMirror failed and was switched off" in warned[0]
    assert f"ganbench push {root}" in warned[0]
    for run in runs:
        assert len(logged_rows(run.path)) == 11
        assert not (run.path / "wandb.json").exists()
    assert still_serving(root) == []
    assert_nowhere(KEY, root)

    server.behaviour = "work"
    monkeypatch.setenv("WANDB_BASE_URL", server.address)
    be_impatient(monkeypatch, Patience())
    assert push(root, mode="online", project=PROJECT) == 2
    assert_served(server, runs)


def known(behaviour: str) -> Behaviour:
    choices: dict[str, Behaviour] = {
        "reject": "reject",
        "hang": "hang",
        "hang at rows": "hang at rows",
    }
    return choices[behaviour]


def test_push_names_a_failing_server(
    server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.behaviour = "reject"
    be_impatient(monkeypatch, IMPATIENT)
    root = tmp_path / "results"
    _, (run,) = make_store(root, [make_spec()])
    whole_run(run.path)
    with pytest.raises(TrackingError, match=r"W&B stopped: .*; the results are complete in"):
        push(root, mode="online", project=PROJECT)


FAKE = """
import os, time
class Settings:
    def __init__(self, **options): pass
def init(**options):
    {action}
"""


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Put a module in W&B's place, that does something else as soon as a run is opened."""
    (tmp_path / "fake").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    be_impatient(monkeypatch, Patience())

    def do(action: str) -> None:
        (tmp_path / "fake" / "wandb.py").write_text(FAKE.format(action=action))

    return do


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ("time.sleep(600)", "it took too long at the end"),
        ("raise RuntimeError('no such entity\\nand more')", "RuntimeError: no such entity;"),
        ("raise SystemExit(1)", "SystemExit: 1"),
        ("os.abort()", "its process ended early"),
    ],
)
def test_a_client_that_hangs_raises_or_aborts(
    tmp_path: Path, fake: Callable[[str], None], action: str, reason: str
) -> None:
    fake(action)
    root = tmp_path / "results"
    _, runs = make_store(root, [make_spec(seed) for seed in range(2)])
    lines: list[str] = []
    start = time.monotonic()
    patience = 3.0 if "sleep" in action else 30.0
    spent, warned = live(root, runs, online_mirror(root, patience=patience, announce=lines.append))
    assert time.monotonic() - start < 10
    assert spent < 1.0
    assert len(warned) == 1
    assert reason in warned[0]
    said = f"waiting for W&B to take what is left, {patience:.0f} s at most"
    assert lines in ([[said]] if "sleep" in action else [[said], []])
    assert still_serving(root) == []


def test_push_gives_up_on_a_client_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake: Callable[[str], None]
) -> None:
    fake("time.sleep(600)")
    be_impatient(monkeypatch, Patience(quiet=2))
    root = tmp_path / "results"
    _, (run,) = make_store(root, [make_spec()])
    whole_run(run.path)
    with pytest.raises(TrackingError, match="no answer for 2 s"):
        push(root, mode="online", project=PROJECT)
