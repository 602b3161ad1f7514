"""Builds results folders by hand, with known outcomes and values, for tests of their readers."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from harness.spec import DatasetSpec, PartSpec, RunSpec, Settings
from harness.store.events import Attempt, Ending, EvaluationRow, LossRow, Protocol, SampleFile, Sign
from harness.store.folders import Store
from harness.store.log import EventLog
from harness.store.records import (
    TUNING_SCHEMA,
    DataFacts,
    MetricInfo,
    Outcome,
    PlannedCell,
    PlannedPart,
    PlannedRun,
    SkippedCell,
    SuitePlan,
)

FINGERPRINT = "0f0f0f0f0f0f"
RING = [[float(np.cos(a)), float(np.sin(a))] for a in np.arange(8) * np.pi / 4]
SETTINGS = Settings(
    steps=400, batch=64, latent=16, network="toy2d", width=32, optimizer="adam", lr_g=2e-4,
    lr_d=2e-4, beta1=0.5, beta2=0.999, precision="float32", log_every=40, evaluate_every=80,
    evaluation_samples=500, extractor="data", reference="test", collapse_diversity=0.2,
    collapse_coverage=0.3,
)  # fmt: skip


@dataclass(frozen=True)
class Fate:
    """What shall become of a run.

    Attributes:
        outcome: As in the store; None leaves the run without an outcome, ``missing`` without a
            folder.
        value: The primary metric's last value.
        reason: Text of the outcome record.
        signs: Signs of instability in it; None where it says nothing of them.
        seconds: Of training.
        device: That it was trained on.
        memory: Peak, in bytes.
        losses: What it logs in place of plausible diagnostics.
    """

    outcome: Outcome | Literal["missing"] | None = "ok"
    value: float = 1.0
    reason: str = ""
    signs: dict[str, Sign | float] | None = None
    seconds: float = 12.5
    device: str = "cpu"
    memory: int | None = None
    losses: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Where:
    """Which run a fate is asked for."""

    dataset: str
    variant: str
    tricks: str
    seed: int


FateOf = Callable[[Where], Fate]


def plausible(where: Where) -> Fate:
    """Let FD depend on the cell, with one helpful trick, one harmful, and some failures."""
    name = f"{where.dataset}/{where.variant}/{where.tricks}/{where.seed}"
    draw = np.random.default_rng(zlib.crc32(name.encode()))
    value = 0.5 * (1 + zlib.crc32(where.variant.encode()) % 5) * float(np.exp(draw.normal(0, 0.15)))
    risk = 0.25 if where.variant == "gan" else 0.04
    if "spectral" in where.tricks or "smoothing" in where.tricks:
        value, risk = value * 0.6, risk / 3
    if "dropout" in where.tricks:
        value, risk = value * 1.4, risk * 2
    if draw.random() < risk:
        return Fate(str(draw.choice(["collapsed", "diverged"])), value * 8, "d_loss is not finite")
    return Fate("ok", value)


def protocol(*, images: bool) -> Protocol:
    """Make the protocol record of a run."""
    name = "fd[digits-cnn@1a2b3c4d]@500/test" if images else "fd[data]@500/test"
    coverage = "class-histogram" if images else "modes"
    metrics = [
        MetricInfo(name, "frechet", "Fréchet distance to real data", "lower", True, 0.012),
        MetricInfo("cs@500", "classifier-score", "classifier score", "higher", False, 7.9),
        MetricInfo(f"{coverage}@500", coverage, "share of modes captured", "higher", False, 1.0),
        MetricInfo("diversity@500", "diversity", "pairwise distance", "none", False, None),
    ]
    data = DataFacts(
        kind="images" if images else "points",
        shape=(1, 8, 8) if images else (2,),
        classes=10 if images else 8,
        modes=None if images else RING,
        sigma=None if images else 0.05,
        extractor="digits-cnn" if images else "data",
        reference_count=500,
    )
    return Protocol(metrics=tuple(metrics), data=data)


def write_samples(folder: Path, step: int, *, images: bool, spread: int, seed: int) -> str:
    """Write a sample file as a run does and return its name relative to the run's folder."""
    draw = np.random.default_rng(seed)
    name = f"samples/step-{step:06d}.{'png' if images else 'npy'}"
    if images:
        pixels = draw.integers(0, 256, (64, 64), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    else:
        modes = np.array(RING)[draw.integers(0, spread, 500)]
        np.save(folder / name, (modes + draw.normal(0, 0.05, modes.shape)).astype(np.float32))
    return name


def write_run(store: Store, spec: RunSpec, fate: Fate, *, images: bool, noise: int) -> None:
    """Write one run's folder: attempt, protocol, diagnostics, evaluations, samples, outcome."""
    folder = store.create(spec)
    draw = np.random.default_rng(noise)
    environment = {"ganbench": "0.1.0", "torch": "2.15.0", "device": fate.device, "threads": 1}
    (folder / "environment-1.json").write_text(json.dumps(environment))
    settings = spec.settings
    steps = settings.steps
    died = fate.outcome in ("diverged", "oom", "crashed", None)
    end = steps // 2 if died else steps
    info = protocol(images=images)
    names = [metric.name for metric in info.metrics]
    classes = 10 if images else 8
    spread = 2 if fate.outcome == "collapsed" else classes
    with EventLog(folder / "events.jsonl") as log:
        log.append(Attempt(attempt=1, resumed_from=0, cohort=(spec.id,)))
        log.append(info)
        for step in range(0, end + 1, spec.settings.log_every):
            kimg = step * spec.settings.batch / 1000
            progress = step / steps
            if step:
                values = {
                    "d_loss": 1.4 - 0.3 * progress + float(draw.normal(0, 0.05)),
                    "g_loss": 0.7 + 0.8 * progress + float(draw.normal(0, 0.1)),
                    "d_accuracy_real": 0.6 + 0.2 * progress,
                    "d_accuracy_fake": 0.6 + 0.3 * progress,
                    "d_grad_norm": float(np.exp(draw.normal(0, 0.3))),
                    "g_grad_norm": float(np.exp(draw.normal(-1, 0.3))),
                }
                values |= fate.losses
                log.append(LossRow(step=step, kimg=kimg, values=values))
            if step % spec.settings.evaluate_every == 0:
                value = fate.value * (1 + 30 * (1 - progress) ** 3)
                hits = [500 // spread if k < spread else 0 for k in range(classes)]
                measured = [value, 1 + 6 * progress, spread / classes, 0.9 * progress]
                log.append(
                    EvaluationRow(
                        step=step,
                        kimg=kimg,
                        values=dict(zip(names, measured, strict=True)),
                        histogram=hits,
                        mode_coverage=spread / classes,
                        seconds=0.1,
                    )
                )
            if step in (0, end // 2 // settings.log_every * settings.log_every):
                file = write_samples(folder, step, images=images, spread=classes, seed=noise + step)
                log.append(SampleFile(step=step, file=file))
        file = write_samples(folder, end, images=images, spread=min(spread, 8), seed=noise)
        log.append(SampleFile(step=end, file=file))
        if fate.outcome is not None:
            log.append(
                Ending(
                    outcome=fate.outcome,
                    step=end,
                    onset=end // 2 if fate.outcome == "collapsed" else None,
                    reason=fate.reason,
                    signs=fate.signs,
                    seconds=fate.seconds,
                    evaluation_seconds=1.5,
                    kimg=end * spec.settings.batch / 1000,
                    updates={"d": end, "g": end},
                    peak_memory=fate.memory,
                )
            )


def planned_cell(dataset: str, variant: str, tricks: str = "none") -> PlannedCell:
    """Describe a cell by its labels; tricks are joined by `` + ``, each with one option at most."""
    laid = () if tricks == "none" else tuple(map(planned_part, tricks.split(" + ")))
    return PlannedCell(planned_part(dataset), planned_part(variant), laid)


def planned_part(label: str) -> PlannedPart:
    """Describe a part by its label, such as ``ema(decay=0.9)``; anything else is an id."""
    found = re.fullmatch(r"([\w-]+)\((\w+)=([\d.]+)\)", label)
    return PlannedPart(found[1], {found[2]: json.loads(found[3])}) if found else PlannedPart(label)


def build_store(
    root: Path,
    *,
    suite: str = "synthetic",
    summary: str = "Which tricks stabilise which variants?",
    datasets: Sequence[str] = ("ring8", "digits"),
    variants: Sequence[str] = ("gan", "wgan-gp"),
    tricks: Sequence[str] = ("none", "label-smoothing"),
    seeds: int = 5,
    fate_of: FateOf = plausible,
    skipped: Sequence[SkippedCell] = (),
    settings: Settings = SETTINGS,
    labels: dict[str, str] | None = None,
) -> Path:
    """Write a results folder and return it.

    Args:
        root: The folder.
        suite: Its name.
        summary: What it asks.
        datasets: Ids; those that start with ``digits`` hold images, the others points.
        variants: Ids.
        tricks: Ids joined by `` + ``, or ``none``.
        seeds: Number of seeds, from 0.
        fate_of: Decides what becomes of each run.
        skipped: Cells that the plan leaves out.
        settings: Settings of every run.
        labels: What the plan calls an id instead, for instance something hostile.
    """
    store = Store(root)
    labels = labels or {}
    runs = []
    for dataset in datasets:
        for variant in variants:
            for trick in tricks:
                parts = () if trick == "none" else tuple(PartSpec(id=t) for t in trick.split(" + "))
                for seed in range(seeds):
                    spec = RunSpec(
                        dataset=DatasetSpec(
                            id=dataset, fingerprint=f"{dataset:0<12.12}", shape=(2,)
                        ),
                        variant=PartSpec(id=variant),
                        tricks=parts,
                        settings=settings,
                        metrics=FINGERPRINT,
                        seed=seed,
                    )
                    data, recipe, laid = (
                        labels.get(name, name) for name in (dataset, variant, trick)
                    )
                    cell = planned_cell(data, recipe, laid)
                    runs.append(PlannedRun(spec.id, spec.slug, cell, seed))
                    fate = fate_of(Where(dataset, variant, trick, seed))
                    if fate.outcome != "missing":
                        noise = zlib.crc32(spec.id.encode())
                        images = dataset.startswith("digits")
                        write_run(store, spec, fate, images=images, noise=noise)
    plan = SuitePlan(suite, summary, FINGERPRINT, tuple(runs), tuple(skipped), source=suite)
    store.write_plan(plan)
    return root


def write_tuning(
    root: Path,
    dataset: str = "ring8",
    variant: str = "gan",
    tricks: str = "none",
    *,
    default: Sequence[float | None] = (1.0, 1.03, 1.06, 1.09, 1.12),
    chosen: Sequence[float | None] = (0.5, 0.52, 0.54, 0.56, 0.58),
    space: Mapping[str, Mapping[str, Any]] | None = None,
    edges: Sequence[str] = ("lr_g",),
    **other: Any,
) -> Path:
    """Write a summary of a search into a results folder; None is a value of a failed run."""
    ranges = space or {
        "lr_g": {"low": 1e-5, "high": 1e-2, "log": True},
        "variant.momentum": {"low": 0.0, "high": 0.9, "log": False},
    }
    trials = [
        {
            "number": number,
            "params": {
                name: r["low"] * (r["high"] / r["low"]) ** (number / 9)
                if r["log"]
                else r["low"] + (r["high"] - r["low"]) * number / 9
                for name, r in ranges.items()
            },
            "seed": 1_000_000_007,
            "value": None if number > 7 else 0.4 + abs(number - 5) * 0.3,
            "outcome": "diverged" if number > 7 else "ok",
            "run": f"trial-{number}",
        }
        for number in range(10)
    ]
    fresh = [
        [
            {
                "seed": seed,
                "value": value,
                "outcome": "diverged" if value is None else "ok",
                "run": f"{dataset}-{variant}-{tricks}-{kind}-{seed}",
            }
            for seed, value in enumerate(values)
        ]
        for kind, values in (("default", default), ("chosen", chosen))
    ]
    params = {name: 0.3 if name == "variant.momentum" else 2e-4 for name in ranges}
    summary = {
        "schema": TUNING_SCHEMA,
        "cell": {"dataset": dataset, "variant": variant, "tricks": tricks},
        "metric": "fd[data]@500/validation",
        "reported_metric": "fd[data]@500/train",
        "better": "lower",
        "space": ranges,
        "trials": trials,
        "default": {"params": params, "fresh": fresh[0]},
        "chosen": {"params": trials[5]["params"], "edges": list(edges), "fresh": fresh[1]},
        "sampler": "sobol",
        "optuna_version": "5.0.0",
    }
    file = root / "tuning" / f"{dataset}-{variant}-{tricks}" / "summary.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(summary | other))
    return file
