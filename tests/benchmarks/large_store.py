"""Builds results folders of many thousand runs, as large as real ones and quickly."""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.spec import DatasetSpec, PartSpec, RunSpec
from harness.store.events import Attempt, Ending, EvaluationRow, LossRow, Protocol, SampleFile
from harness.store.folders import Store
from harness.store.log import encode
from harness.store.records import DataFacts, MetricInfo, PlannedRun, SuitePlan
from tests.stores import (
    FINGERPRINT,
    RING,
    SETTINGS,
    Fate,
    Where,
    planned_cell,
    plausible,
    write_samples,
)

EVALUATIONS = 50
LOSS_ROWS = 100
MOULDS = 8
"""Different courses of training per data set and outcome; every run has its own ends."""
TRICKS = ("label-smoothing", "spectral-norm", "dropout-g", "instance-noise", "ema", "ttur")
LOSSES = (
    "d_loss", "d_grad_norm", "d_real", "d_fake", "logit_gap", "d_accuracy_real",
    "d_accuracy_fake", "saturation", "g_loss", "g_grad_norm", "d_loss_std",
)  # fmt: skip
POINTS = (
    ("fd[data]@2500/train", "frechet", "lower"),
    ("cs[data]@2500", "classifier-score", "higher"),
    ("diversity[data]@2500/train", "diversity", "none"),
    ("modes@2500", "modes", "higher"),
    ("high-quality@2500", "modes", "higher"),
    ("mode-kl@2500", "modes", "lower"),
    ("fair-modes@2500", "modes", "higher"),
)
IMAGES = (
    ("fd[digits-cnn@ce3e73cd]@1000/train", "frechet", "lower"),
    ("class-kl[digits-cnn@ce3e73cd]@1000/train", "class-histogram", "lower"),
    ("missing-classes[digits-cnn@ce3e73cd]@1000", "class-histogram", "lower"),
    ("class-tv[digits-cnn@ce3e73cd]@1000/train", "class-histogram", "lower"),
    ("cs[digits-cnn@ce3e73cd]@1000", "classifier-score", "higher"),
    ("diversity[digits-cnn@ce3e73cd]@1000/train", "diversity", "none"),
)
ENVIRONMENT = {
    "ganbench": "0.1.0", "results_version": 2, "python": "3.11.7", "platform": "Linux-6.1-x86_64",
    "host": "vm", "device": "cpu x86_64", "threads": 1, "cores": 2, "tf32": False,
    "deterministic": False, "versions": {"torch": "2.15.0", "numpy": "2.4.6", "scipy": "1.17.1"},
}  # fmt: skip


@dataclass(frozen=True)
class Size:
    """How large a suite is: two data sets, and these numbers of each."""

    variants: int
    tricks: int
    seeds: int

    @property
    def runs(self) -> int:
        """How many runs that makes; cells without tricks are among them."""
        return 2 * self.variants * self.tricks * self.seeds


SIZES = (Size(10, 10, 5), Size(15, 10, 10), Size(20, 25, 10))


def build_large_store(root: Path, size: Size) -> Path:
    """Write a results folder of finished runs and return it.

    Every run has 50 evaluations after the untrained one, two rows of losses to each, and the full
    metrics of ``ring8`` or ``digits``; sample files are shared by hard links.
    """
    store = Store(root)
    settings = SETTINGS.model_copy(
        update={"steps": 5000, "batch": 128, "log_every": 50, "evaluate_every": 100}
    )
    variants = [f"variant-{i:02}" for i in range(size.variants)]
    kinds = [f"{TRICKS[i % len(TRICKS)]}-{i:02}" for i in range(size.tricks - 1)]
    pool = root / "moulds"
    (pool / "samples").mkdir(parents=True)
    runs = []
    moulds: dict[tuple[str, str, int], list[bytes]] = {}
    for dataset in ("ring8", "digits"):
        images = dataset == "digits"
        for spread in (2, 8):
            write_samples(pool, spread, images=images, spread=spread, seed=spread)
        data = DatasetSpec(id=dataset, fingerprint=f"{dataset:0<12.12}", shape=(2,))
        for variant in variants:
            for trick in ("none", *kinds):
                cell = planned_cell(dataset, variant, trick)
                for seed in range(size.seeds):
                    spec = RunSpec(
                        dataset=data,
                        variant=PartSpec(id=variant),
                        tricks=() if trick == "none" else (PartSpec(id=trick),),
                        settings=settings,
                        metrics=FINGERPRINT,
                        seed=seed,
                    )
                    runs.append(PlannedRun(spec.id, spec.slug, cell, seed))
                    fate = plausible(Where(dataset, variant, trick, seed))
                    key = (dataset, fate.outcome or "", zlib.crc32(spec.id.encode()) % MOULDS)
                    if key not in moulds:
                        moulds[key] = course(images, fate, spec.settings.steps, key[2])
                    write_run(root / "runs" / spec.slug, spec, fate, moulds[key], pool)
    store.write_plan(SuitePlan("large", "How large?", FINGERPRINT, tuple(runs), source="large"))
    return root


def end_of(fate: Fate, steps: int) -> int:
    """Return the step at which a run ended."""
    return steps // 2 if fate.outcome == "diverged" else steps


def evaluation(images: bool, step: int, value: float, spread: int, draw: float) -> EvaluationRow:
    """Make an evaluation's record."""
    classes = 10 if images else 8
    names = [name for name, _, _ in (IMAGES if images else POINTS)]
    values = [value, *(spread / classes * (1 + 0.1 * k) + 0.01 * draw for k in range(1, 7))]
    hits = [2500 // spread if k < spread else 0 for k in range(classes)]
    return EvaluationRow(
        step=step, kimg=step * 0.128, values=dict(zip(names, values, strict=False)),
        histogram=hits, diversity=values[2], mode_coverage=spread / classes,
        seconds=0.0234 + 0.001 * draw,
    )  # fmt: skip


def course(images: bool, fate: Fate, steps: int, seed: int) -> list[bytes]:
    """Write the lines of a run from its protocol up to its last evaluation, which is its own."""
    draw = np.random.default_rng(seed)
    spread = 2 if fate.outcome == "collapsed" else 8
    end = end_of(fate, steps)
    lines = [encode(protocol(images=images))]
    for step in range(0, end + 1, steps // LOSS_ROWS):
        if step:
            noise = draw.normal(1, 0.1, len(LOSSES))
            values = dict(zip(LOSSES, map(float, noise), strict=True))
            lines.append(encode(LossRow(step=step, kimg=step * 0.128, values=values)))
        if step % (steps // EVALUATIONS) == 0:
            if step < end:
                value = 1 + 30 * (1 - step / steps) ** 3 + float(draw.normal(0, 0.05))
                lines.append(encode(evaluation(images, step, value, spread, float(draw.random()))))
            file = f"samples/step-{spread:06d}.{'png' if images else 'npy'}"
            lines.append(encode(SampleFile(step=step, file=file)))
    return lines


def protocol(*, images: bool) -> Protocol:
    """Make the protocol's record."""
    metrics = [
        MetricInfo(name, metric, f"what {metric} measures, said in one line of usual length",
                   better, i == 0, 0.012, 1197, 1)  # type: ignore[arg-type]
        for i, (name, metric, better) in enumerate(IMAGES if images else POINTS)
    ]  # fmt: skip
    data = DataFacts(
        kind="images" if images else "points",
        shape=(1, 16, 16) if images else (2,),
        classes=10 if images else 8,
        modes=None if images else RING,
        sigma=None if images else 0.05,
        extractor="digits-cnn" if images else "data",
        reference_count=1197,
    )
    return Protocol(metrics=tuple(metrics), data=data)


def write_run(folder: Path, spec: RunSpec, fate: Fate, lines: list[bytes], pool: Path) -> None:
    """Write one run's folder."""
    steps = spec.settings.steps
    end, images = end_of(fate, steps), spec.dataset.id == "digits"
    spread = 2 if fate.outcome == "collapsed" else 8
    (folder / "samples").mkdir(parents=True)
    (folder / "spec.json").write_text(spec.model_dump_json(indent=1) + "\n")
    (folder / "environment-001.json").write_text(json.dumps(ENVIRONMENT))
    for file in pool.glob(f"samples/*-{spread:06d}.{'png' if images else 'npy'}"):
        os.link(file, folder / "samples" / file.name)
    head = Attempt(
        attempt=1, resumed_from=0, cohort=(spec.id,), device="cpu", time="2026-01-01T00:00:00Z"
    )
    last = evaluation(images, end, fate.value, spread, spec.seed / 10)
    outcome = Ending(
        outcome=fate.outcome or "ok", step=end,
        onset=end // 2 if fate.outcome == "collapsed" else None,
        reason=fate.reason, signs={}, seconds=12.5, evaluation_seconds=1.5,
        kimg=end * 0.128, updates={"d": end, "g": end}, peak_memory=528732160,
    )  # fmt: skip
    records = [encode(head), *lines[:-1], encode(last), lines[-1], encode(outcome)]
    (folder / "events.jsonl").write_bytes(b"".join(records))
