"""How often a conditional generator makes the digit that it is asked for.

``python -m tests.benchmarks.asking cgan`` trains on scikit-learn's digits, or with ``--dataset
mnist`` on MNIST under ``GANBENCH_DATA``, and asks for each class; ``… infogan`` asks for each value
of the categorical code, matches values with digits as well as they can be, and says what the
continuous codes change. The data set's own classifier, which names 99.7 % of its test images
rightly, judges.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from harness.datasets.base import datasets, to_bytes
from harness.metrics.extractors.base import extractors
from harness.parts import Condition
from harness.testing.specs import make_spec
from harness.training.streams import Stream
from harness.training.trainer import Trainer

CLASSES = 10
SETTINGS: dict[str, dict[str, Any]] = {
    "cgan": {
        "network": "mlp-small",
        "width": 256,
        "latent": 64,
        "batch": 64,
        "steps": 3000,
        "lr_g": 1e-3,
        "lr_d": 1e-3,
    },
    "infogan": {"network": "dcgan", "width": 16, "latent": 62, "batch": 64, "steps": 2000},
}
"""Settings beside the variant's own. At the 2e-4 of its recipe cgan makes the same digits for
every class after 1000 steps; five times that and three times as long is a matter of minutes."""


def train(
    variant: str, seeds: int, device: torch.device, dataset: str = "digits", **settings: Any
) -> Trainer:
    """Train some runs of a variant on a data set of digits together."""
    chosen = {**SETTINGS[variant], **settings}
    specs = [make_spec(dataset, variant, seed=seed, **chosen) for seed in range(seeds)]
    root = os.environ.get("GANBENCH_DATA")
    data = datasets.get(dataset)().load("train", Path(root) if root else None)
    trainer = Trainer(specs, data, device)
    for _ in range(chosen["steps"]):
        trainer.train_step()
    return trainer


def ask(trainer: Trainer, count: int, **chosen: Any) -> Tensor:
    """Generate images ``(runs, count, 1, side, side)`` under a condition, the rest of it drawn."""
    game = trainer.game
    described = game.variant.joins(game.classes)
    draws = Stream(game.streams, "asking", 0)
    with torch.no_grad():
        z = game.latents(draws, count)
        any_class = torch.zeros(game.runs, count, dtype=torch.int64)
        y = described.chosen(described.draw(draws, any_class, count, z.dtype), **chosen)
        images: Tensor = game.G(z, y, theta=game.evaluated(), training=False, noise=draws.noise)
    return images


def confusion(trainer: Trainer, described: Condition, count: int) -> NDArray[np.int64]:
    """Count what the classifier sees, ``(runs, asked for, seen)``."""
    dataset = trainer.specs[0].dataset.id
    judge = extractors.get(f"{dataset}-cnn").load(torch.device("cpu"), None)
    asked = described.classes or described.categories[0]
    found = np.zeros((trainer.game.runs, asked, CLASSES), dtype=np.int64)
    for value in range(asked):
        entry: dict[str, Any] = (
            {"label": value} if described.classes else {"categories": {0: value}}
        )
        for run, images in enumerate(ask(trainer, count, **entry)):
            _, logits = judge.features(to_bytes(images).cpu())
            assert logits is not None
            seen = logits.argmax(1).numpy()
            found[run, value] = np.bincount(seen, minlength=CLASSES)
    return found


def matched(counts: NDArray[np.int64]) -> tuple[float, list[int]]:
    """Match values with digits one to one; return the accuracy and each value's digit."""
    rows, columns = linear_sum_assignment(-counts)
    return float(counts[rows, columns].sum() / counts.sum()), columns.tolist()


def shape_of(images: Tensor) -> dict[str, Tensor]:
    """Measure images ``(n, 1, side, side)`` in [−1, 1]: ink, slant and width, ``(n,)`` each.

    Slant is the regression of the column on the row, width the spread of columns around it,
    both weighted by ink.
    """
    ink = (images[:, 0].double() + 1) / 2
    total = ink.sum((1, 2)) + 1e-9
    side = images.shape[-1]
    axis = torch.arange(side, dtype=torch.float64, device=images.device)
    row, column = axis[:, None].expand(side, side), axis[None].expand(side, side)

    def mean(values: Tensor) -> Tensor:
        return (ink * values).sum((1, 2)) / total

    y, x = row - mean(row)[:, None, None], column - mean(column)[:, None, None]
    slant = mean(x * y) / (mean(y * y) + 1e-9)
    width = mean((x - slant[:, None, None] * y).square()).sqrt()
    return {"ink": total / side**2, "slant": slant, "width": width}


def effects(trainer: Trainer, code: int, count: int) -> list[dict[str, dict[str, float]]]:
    """Say for each run what a continuous code changes from −1 to 1, all else held.

    Returns:
        By measure: the mean change, and its standard deviation over images in units of which
        it is ``in_deviations`` of that measure among images with all codes drawn.
    """
    low, high, drawn = (
        [shape_of(images) for images in ask(trainer, count, **chosen)]
        for chosen in ({"continuous": {code: -1.0}}, {"continuous": {code: 1.0}}, {})
    )
    return [
        {
            name: {
                "change": (after[name] - before[name]).mean().item(),
                "in_deviations": ((after[name] - before[name]).mean() / usual[name].std()).item(),
            }
            for name in usual
        }
        for before, after, usual in zip(low, high, drawn, strict=True)
    ]


def measure(
    variant: str,
    seeds: int = 3,
    count: int = 200,
    device: str = "cpu",
    dataset: str = "digits",
    **settings: Any,
) -> dict[str, Any]:
    """Train, ask and count.

    Args:
        variant: ``cgan`` or ``infogan``.
        seeds: Runs, of the seeds 0 and up.
        count: Images for each thing that is asked for.
        device: Where to train.
        dataset: ``digits`` or ``mnist``.
        settings: In place of :data:`SETTINGS`.
    """
    start = time.perf_counter()
    trainer = train(variant, seeds, torch.device(device), dataset, **settings)
    seconds = time.perf_counter() - start
    described = trainer.game.variant.joins(CLASSES)
    counts = confusion(trainer, described, count)
    found: dict[str, Any] = {
        "benchmark": f"digits that {variant} is asked for",
        "dataset": dataset,
        "settings": {**SETTINGS[variant], **settings},
        "images_per_value": count,
        "training_seconds": round(seconds, 1),
    }
    if described.classes:
        found["accuracy"] = [float(np.trace(run) / run.sum()) for run in counts]
        found["worst_class"] = [float((run.diagonal() / run.sum(1)).min()) for run in counts]
    else:
        pairs = [matched(run) for run in counts]
        found["accuracy"] = [accuracy for accuracy, _ in pairs]
        found["digit_of_each_value"] = [digits for _, digits in pairs]
        found["continuous"] = [
            effects(trainer, code, count) for code in range(described.continuous)
        ]
        rows, _ = trainer.read()
        found["bound_in_nats"] = [
            {name: row[name] for name in ("info_categorical", "info_continuous")} for row in rows
        ]
    found["confusion"] = counts.tolist()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.asking", description=__doc__)
    parser.add_argument("variant", entries=sorted(SETTINGS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dataset", entries=("digits", "mnist"), default="digits")
    parser.add_argument("--network", entries=("mlp-small", "dcgan"))
    parser.add_argument("--width", type=int)
    given = parser.parse_args()
    torch.set_num_threads(1)
    asked = {name: getattr(given, name) for name in ("steps", "network", "width")}
    settings = {name: value for name, value in asked.items() if value}
    found = measure(
        given.variant, given.seeds, given.count, given.device, given.dataset, **settings
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
