"""Results folders for tests of mirrors: runs whose event logs are written by the store itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.spec import DatasetSpec, PartSpec, RunSpec, Settings
from harness.store.events import (
    Attempt,
    Ending,
    EvaluationRow,
    Event,
    LossRow,
    Protocol,
    SampleFile,
    effective,
)
from harness.store.folders import Store
from harness.store.log import EventLog, read_events
from harness.store.records import (
    MetricInfo,
    Outcome,
    PlannedCell,
    PlannedPart,
    PlannedRun,
    SuitePlan,
)
from harness.tracking.base import TrackedRun

METRIC = "fd[data@0123abcd]@1000/test"
STEPS = 40
KIMG = 0.064


def make_spec(seed: int = 0, *, tricks: Sequence[str] = (), dataset: str = "ring8") -> RunSpec:
    """Describe a run by hand."""
    return RunSpec(
        dataset=DatasetSpec(id=dataset, fingerprint="0123abcd4567", shape=(2,)),
        variant=PartSpec(id="wgan-gp", options={"penalty_weight": 0.1}),
        tricks=tuple(PartSpec(id=trick) for trick in tricks),
        settings=Settings(
            steps=STEPS,
            batch=64,
            latent=2,
            network="mlp",
            width=16,
            optimizer="adam",
            lr_g=1e-4,
            lr_d=2e-4,
            beta1=0.5,
            beta2=0.9,
            precision="float32",
            log_every=5,
            evaluate_every=20,
            evaluation_samples=1000,
            extractor="data",
            reference="test",
            collapse_diversity=0.1,
            collapse_coverage=0.5,
        ),
        metrics="feedfacecafe",
        seed=seed,
    )


def plan_of(specs: Sequence[RunSpec]) -> SuitePlan:
    """Plan runs as a suite would."""
    planned = tuple(
        PlannedRun(
            id=spec.id,
            folder=spec.slug,
            cell=PlannedCell(
                PlannedPart(spec.dataset.id),
                PlannedPart("wgan-gp", {"penalty_weight": 0.1}),
                tuple(PlannedPart(trick.id) for trick in spec.tricks),
            ),
            seed=spec.seed,
        )
        for spec in specs
    )
    return SuitePlan("stability", "What helps?", "f1a9e2b4c6d8", planned)


def make_store(root: Path, specs: Sequence[RunSpec]) -> tuple[Store, list[TrackedRun]]:
    """Create a results folder with its plan and the runs' folders."""
    store = Store(root)
    plan = plan_of(specs)
    store.write_plan(plan)
    tracked = [
        TrackedRun(planned, store.create(spec), STEPS)
        for planned, spec in zip(plan.runs, specs, strict=True)
    ]
    return store, tracked


def write_events(path: Path, records: Sequence[Event]) -> None:
    """Append records to a run's log, as a job does."""
    with EventLog(path / "events.jsonl") as log:
        for record in records:
            log.append(record)


def begin(attempt: int = 1, resumed_from: int = 0) -> list[Event]:
    """Return what an attempt says first."""
    metric = MetricInfo(METRIC, "frechet", "", "lower", True, 0.01)
    return [Attempt(attempt=attempt, resumed_from=resumed_from), Protocol(metrics=(metric,))]


def train(path: Path, start: int, stop: int, *, pictures: str = ".npy") -> list[Event]:
    """Return what a run says from one step to another, and save its examples."""
    records: list[Event] = []
    for step in range(start, stop + 1, 5):
        kimg = step * KIMG
        if step:
            values = {"d": 1 / step, "g": math.nan if step == 15 else -float(step)}
            records.append(LossRow(step=step, kimg=kimg, values=values))
        if step % 20 == 0:
            file = f"samples/step-{step:08d}{pictures}"
            if pictures == ".npy":
                points = np.random.RandomState(step).standard_normal((64, 2))
                np.save(path / file, points.astype(np.float32))
            else:
                Image.new("RGB", (64, 64), (step, 0, 255)).save(path / file)
            records.append(SampleFile(step=step, file=file))
            records.append(
                EvaluationRow(
                    step=step,
                    kimg=kimg,
                    values={METRIC: math.inf if step == 0 else 8.0 / step, "modes": 8.0},
                    diversity=0.75,
                    mode_coverage=1.0,
                    seconds=0.25,
                )
            )
    return records


def end(outcome: Outcome = "ok", step: int = STEPS) -> list[Event]:
    """Return what a run says last."""
    return [
        Ending(
            outcome=outcome,
            step=step,
            onset=20 if outcome == "collapsed" else None,
            reason=f"because of {outcome}",
            seconds=12.5,
            evaluation_seconds=0.75,
            kimg=step * KIMG,
            updates={"d": 5 * step, "g": step},
        )
    ]


def whole_run(path: Path, outcome: Outcome = "ok", *, pictures: str = ".npy") -> None:
    """Write a run that trained without interruption."""
    write_events(path, [*begin(), *train(path, 0, STEPS, pictures=pictures), *end(outcome)])


def logged_rows(path: Path) -> list[dict[str, Any]]:
    """Say what W&B should hold, straight from a run's log: a row per losses and evaluation."""
    rows = []
    for event in effective(read_events(path / "events.jsonl")):
        if isinstance(event, LossRow | EvaluationRow):
            row: dict[str, Any] = {"kimg": event.kimg}
            row.update({f"{event.type}/{k}": v for k, v in event.values.items()})
            if isinstance(event, EvaluationRow):
                row["evaluation/diversity"] = event.diversity
                row["evaluation/mode_coverage"] = event.mode_coverage
            rows.append(row)
    return rows
