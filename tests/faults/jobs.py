"""Starts jobs in processes of their own, lets them die, and compares what is left."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from harness.engines.local import child_main
from harness.jobs.cohort import JobOptions, JobRequest
from harness.spec import RunSpec
from harness.store.events import Attempt, Event, Protocol
from harness.store.fields import as_json
from harness.store.reading import RunRecord, read_run
from harness.training.checkpoint import last_state

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["harness.jobs.job", "harness.engines.local"])

TIMINGS = {"seconds", "evaluation_seconds", "peak_memory", "time", "attempt", "resumed_from"}


def start_job(
    root: Path,
    specs: Sequence[RunSpec],
    *,
    failpoint: str = "",
    checkpoint_seconds: float = 0.0,
) -> BaseProcess:
    """Start a job in a process; it saves a checkpoint at every evaluation unless told otherwise."""
    root.mkdir(parents=True, exist_ok=True)
    cohort = root.parent / f"{root.name}-cohort.json"
    options = JobOptions(checkpoint_seconds=checkpoint_seconds, patience=0.2)
    JobRequest(root, options, tuple(specs)).write(cohort)
    process = CONTEXT.Process(
        target=enter, args=(cohort, str(root.parent / f"{root.name}.log"), failpoint)
    )
    process.start()
    return process


def enter(file: Path, log: str, failpoint: str) -> None:
    """Run the job's entry with a failpoint armed."""
    if failpoint:
        os.environ["GANBENCH_FAILPOINT"] = failpoint
    child_main(file, "cpu", [log])


def run_job(root: Path, specs: Sequence[RunSpec], **options: Any) -> int:
    """Run a job to its end and return its exit code; negative for a signal."""
    process = start_job(root, specs, **options)
    process.join(120)
    assert process.exitcode is not None, (root.parent / f"{root.name}.log").read_text()
    return process.exitcode


def timeless(event: Event) -> dict[str, Any]:
    """Leave out what no two attempts have in common."""
    return {key: value for key, value in as_json(event).items() if key not in TIMINGS}


def assert_equivalent(a: RunRecord, b: RunRecord) -> None:
    """Check that two runs have the same events, final weights and sample bytes."""
    events_a = [timeless(e) for e in a.events if not isinstance(e, Attempt | Protocol)]
    events_b = [timeless(e) for e in b.events if not isinstance(e, Attempt | Protocol)]
    assert repr(events_a) == repr(events_b)
    assert a.of_type(Protocol) == b.of_type(Protocol)
    last_a, last_b = (last_state(run.path, run.spec.id) for run in (a, b))
    assert (last_a is None) == (last_b is None)
    if last_a is not None and last_b is not None:
        assert last_a.counters == last_b.counters
        tensors_a, tensors_b = last_a.tensors(), last_b.tensors()
        assert tensors_a.keys() == tensors_b.keys()
        for name, tensor in tensors_a.items():
            assert tensor.equal(tensors_b[name]), name
    assert digest(a.path / "samples") == digest(b.path / "samples")


def digest(folder: Path) -> dict[str, str]:
    """Hash every file below a folder."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def read_all(root: Path, specs: Sequence[RunSpec]) -> list[RunRecord]:
    """Read the records of several runs."""
    return [read_run(root / "runs" / spec.slug) for spec in specs]
