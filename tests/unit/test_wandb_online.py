"""Online mirrors against an imitated server: what arrives, and what happens when W&B fails."""

from __future__ import annotations

import os
import re
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.store.reading import read_plan
from harness.tracking.base import Mirrors, TrackedRun
from harness.tracking.choice import TrackingError
from harness.tracking.wandb_mirror import WandbMirror, push
from harness.tracking.wandb_process import Patience
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
from tests.processes import still_serving
from tests.wandb_file import as_floats
from tests.wandb_server import Behaviour, WandbServer, serve

PROJECT = "team/ganbench"
IMPATIENT = Patience(init=1.0, finish=1.0, quiet=6.0, last=6.0, live=0.1)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WandbServer]:
    """A server on this machine, with a key for it."""
    for name in list(os.environ):
        if name.startswith("WANDB_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
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
    requests = server.requests
    assert push(root, mode="online", project=PROJECT) == 0
    assert server.requests == requests
    assert not list((root / "wandb").glob("run-*"))
    assert "0123456789" * 4 not in "".join(
        file.read_text(errors="replace") for file in root.rglob("*") if file.is_file()
    )


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


def test_the_live_mirror_ends_where_push_would(server: WandbServer, tmp_path: Path) -> None:
    root = tmp_path / "results"
    _, runs = make_store(root, [make_spec(seed) for seed in range(3)])
    mirror = WandbMirror("online", project=PROJECT, folder=root, patience=Patience(live=0.1))
    spent, warned = live(root, runs, mirror)
    assert warned == []
    assert spent < 1.0
    assert_served(server, runs)
    assert push(root, mode="online", project=PROJECT) == 0


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
    root = tmp_path / "results"
    _, runs = make_store(root, [make_spec(seed) for seed in range(2)])
    mirror = WandbMirror("online", project=PROJECT, folder=root, patience=IMPATIENT)
    start = time.monotonic()
    spent, warned = live(root, runs, mirror)
    assert time.monotonic() - start < IMPATIENT.last + 10
    assert spent < 1.0
    assert len(warned) == 1
    assert "WandbMirror failed and was switched off" in warned[0]
    assert f"ganbench push {root}" in warned[0]
    for run in runs:
        assert len(logged_rows(run.path)) == 11
        assert not (run.path / "wandb.json").exists()
    assert still_serving(root) == []

    server.behaviour = "work"
    monkeypatch.setenv("WANDB_BASE_URL", server.address)
    assert push(root, mode="online", project=PROJECT) == 2
    assert_served(server, runs)


def known(behaviour: str) -> Behaviour:
    choices: dict[str, Behaviour] = {
        "reject": "reject",
        "hang": "hang",
        "hang at rows": "hang at rows",
    }
    return choices[behaviour]


def test_push_names_a_failing_server(server: WandbServer, tmp_path: Path) -> None:
    server.behaviour = "reject"
    root = tmp_path / "results"
    _, (run,) = make_store(root, [make_spec()])
    whole_run(run.path)
    with pytest.raises(TrackingError, match=r"W&B stopped: .*; the results are complete in"):
        push(root, mode="online", project=PROJECT, patience=IMPATIENT)


FAKE = """
import os, time
class Settings:
    def __init__(self, **options): pass
def init(**options):
    {action}
"""


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ("time.sleep(600)", "it took too long at the end|no answer for"),
        ("raise RuntimeError('no such entity\\nand more')", "RuntimeError: no such entity;"),
        ("raise SystemExit(1)", "SystemExit: 1"),
        ("os.abort()", "its process ended early"),
    ],
)
def test_a_client_that_hangs_raises_or_aborts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str, reason: str
) -> None:
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "wandb.py").write_text(FAKE.format(action=action))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))
    root = tmp_path / "results"
    _, runs = make_store(root, [make_spec(seed) for seed in range(2)])
    limit = 2.0 if "sleep" in action else 30.0
    patience = Patience(quiet=limit, last=limit, live=0.1)
    mirror = WandbMirror("online", project=PROJECT, folder=root, patience=patience)
    start = time.monotonic()
    spent, warned = live(root, runs, mirror)
    assert time.monotonic() - start < 10
    assert spent < 1.0
    assert len(warned) == 1
    assert re.search(reason, warned[0])
    assert still_serving(root) == []


def test_push_gives_up_on_a_client_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "wandb.py").write_text(FAKE.format(action="time.sleep(600)"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))
    root = tmp_path / "results"
    _, (run,) = make_store(root, [make_spec()])
    whole_run(run.path)
    with pytest.raises(TrackingError, match="no answer for 2 s"):
        push(root, mode="online", project=PROJECT, patience=Patience(quiet=2.0))
