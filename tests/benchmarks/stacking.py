"""Eight runs of a two-dimensional GAN: stacked as a cohort against one after the other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from harness.datasets.base import datasets
from harness.testing.specs import make_spec
from harness.training.trainer import Trainer

RUNS = 8
STEPS = 40
ROUNDS = 7


def measure() -> dict[str, object]:
    """Return run-steps per second of both ways, and the median of their paired ratios."""
    torch.set_num_threads(1)
    specs = [
        make_spec("ring8", seed=seed, width=128, latent=16, batch=128, steps=STEPS)
        for seed in range(RUNS)
    ]
    data = datasets.get("ring8")().load("train")
    device = torch.device("cpu")
    stacked = Trainer(specs, data, device)
    alone = [Trainer([spec], data, device) for spec in specs]

    def step_stacked() -> None:
        stacked.train_step()

    def step_alone() -> None:
        for trainer in alone:
            trainer.train_step()

    rates: dict[str, list[float]] = {"stacked": [], "one by one": []}
    # Interleaved, so that a noisy neighbour slows both.
    for _ in range(ROUNDS):
        rates["stacked"].append(run_steps_per_second(step_stacked))
        rates["one by one"].append(run_steps_per_second(step_alone))
    ratios = [a / b for a, b in zip(rates["stacked"], rates["one by one"], strict=True)]
    return {
        "benchmark": "stacking: 2-D MLP, 8 runs, CPU",
        "run_steps_per_second": {name: statistics.median(r) for name, r in rates.items()},
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
    }


def run_steps_per_second(step: Callable[[], None]) -> float:
    """Time ``STEPS`` steps of all runs."""
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    return RUNS * STEPS / (time.perf_counter() - start)
