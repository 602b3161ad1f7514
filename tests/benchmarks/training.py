"""Steps of a whole cohort against the reference loop's, both on the same device."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from harness.datasets.base import Examples, datasets
from harness.jobs.job import compute_as_declared
from harness.planning.cohorts import one_thread
from harness.testing.specs import make_spec
from harness.training.programs import recorder_for
from harness.training.trainer import Trainer
from tests.benchmarks.floors import floors
from tests.benchmarks.racing import Way, race
from tests.benchmarks.reference import gap, reference_loop
from tests.benchmarks.table import NO_GPU, Row

ROUNDS = 7
SECONDS = 0.5
WORKERS = (0, 2)
EXAMPLES = 50_000
FOLLOWED = 5
"""Steps in which both are given the same data and noise."""
TOLERANCE = 0.02
"""By how much their losses may then differ: float32 sums go in other orders."""


@dataclass(frozen=True)
class Case:
    """What is trained.

    Attributes:
        name: Row of the table.
        device: ``cpu`` or ``cuda``.
        target: How many times the reference loop's run-steps per second.
        runs: Size of the cohort.
        variant: With its options.
        settings: Of every run.
    """

    name: str
    device: str
    target: float
    runs: int
    dataset: str
    variant: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def trainer(self, examples: Examples, device: torch.device, *, plain: bool = False) -> Trainer:
        """Make the cohort, as jobs do or with every update run as it is."""
        specs = [
            make_spec(self.dataset, self.variant, seed=seed, **self.settings)
            for seed in range(self.runs)
        ]
        return Trainer(specs, examples, device, None if plain else recorder_for(device))


DCGAN = {"network": "dcgan32", "width": 64, "latent": 100, "batch": 64, "steps": 10_000}
RESNET = {"network": "resnet32", "width": 128, "latent": 128, "batch": 64, "steps": 10_000}
MLP = {"network": "toy2d", "width": 64, "latent": 16, "batch": 128, "steps": 10_000}
"""As suite ``stability`` trains on mixtures."""
CASES = {
    "mlp": Case("2-D MLP of width 64, 8 runs, CPU", "cpu", 5, 8, "ring8", "gan", MLP),
    "mlp-wide": Case(
        "2-D MLP of width 128, 8 runs, CPU", "cpu", 5, 8, "ring8", "gan", {**MLP, "width": 128}
    ),
    "dcgan-1": Case("DCGAN 32×32, 1 run, GPU", "cuda", 3, 1, "cifar10", "dcgan", DCGAN),
    "dcgan-16": Case("DCGAN 32×32, 16 runs, GPU", "cuda", 20, 16, "cifar10", "dcgan", DCGAN),
    "dcgan-64": Case("DCGAN 32×32, 64 runs, GPU", "cuda", 30, 64, "cifar10", "dcgan", DCGAN),
    "resnet": Case("WGAN-GP ResNet 32×32, 8 runs, GPU", "cuda", 5, 8, "cifar10", "wgan-gp", RESNET),
}


def examples_of(dataset: str, count: int) -> Examples:
    """Synthesise a data set of points, or draw images of the shape of one: the time is the same."""
    data = datasets.get(dataset)()
    if data.kind == "points":
        return data.load("train")
    draws = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, *data.shape), generator=draws, dtype=torch.uint8)
    labels = None
    if data.classes:
        labels = torch.randint(data.classes, (count,), generator=draws)
    return Examples(images, labels)


@contextmanager
def as_jobs_do() -> Iterator[None]:
    """Compute as jobs do: on one core, in the precision that is declared."""
    with one_thread():
        compute_as_declared()
        yield


def in_own_seconds(
    ways: Mapping[str, Way], runs: int, rounds: int, where: torch.device, seconds: float
) -> dict[str, float]:
    """Return the ratio again in seconds that this process computed, for a busy machine's sake.

    Both ways must be this process's alone: the loop without workers, on a CPU.
    """
    alone = "reference, 0 workers"
    if where.type != "cpu" or alone not in ways:
        return {}
    both = {name: ways[name] for name in ("cohort", alone)}
    found = race(both, rounds, where, seconds, time.process_time)
    pairs = zip(found[alone], found["cohort"], strict=True)
    return {"ratio_in_own_seconds": statistics.median(runs * a / b for a, b in pairs)}


def measure(
    case: Case,
    *,
    device: str | None = None,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
    workers: tuple[int, ...] = WORKERS,
    examples: int = EXAMPLES,
    followed: int = FOLLOWED,
) -> Row:
    """Return how many times the run-steps per second of the reference loop a cohort makes.

    Before anything is timed, both make some steps with the same data and noise.

    Raises:
        ValueError: if their losses differ then, so that they do not train the same.
    """
    where = torch.device(device or case.device)
    if where.type == "cuda" and not torch.cuda.is_available():
        return Row(case.name, case.target, "×", skipped=NO_GPU)
    data = examples_of(case.dataset, examples)
    with as_jobs_do():
        trainer = case.trainer(data, where)
        loops = {count: reference_loop(trainer.specs[0], data, where, count) for count in workers}
        difference = gap(trainer, loops[workers[0]], followed)
        if not difference < TOLERANCE:
            raise ValueError(f"{case.name}: losses of both ways differ by {difference:.2g}")
        ways = {"cohort": trainer.train_step}
        ways |= {f"reference, {count} workers": loop.train_step for count, loop in loops.items()}
        found = race(ways, rounds, where, seconds)
        own = in_own_seconds(ways, case.runs, rounds, where, seconds)
        least = floors(replace(case, runs=1).trainer(data, where, plain=True), case.runs)
    rivals = [name for name in ways if name != "cohort"]
    faster = min(rivals, key=lambda name: statistics.median(found[name]))
    values = [
        case.runs * theirs / ours
        for theirs, ours in zip(found[faster], found["cohort"], strict=True)
    ]
    return Row(
        case.name,
        case.target,
        "×",
        values,
        floor=least.seconds / statistics.median(found["cohort"]),
        figures={
            "floors": least.as_json(),
            "against": faster,
            "runs": case.runs,
            "loss_difference": difference,
            **own,
            "run_steps_per_second": {
                name: (case.runs if name == "cohort" else 1) / statistics.median(times)
                for name, times in found.items()
            },
            "seconds_per_step": found,
        },
    )
