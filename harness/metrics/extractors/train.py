"""Trains the shipped classifiers: ``python -m harness.metrics.extractors.train digits``."""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn.functional import affine_grid, cross_entropy, grid_sample
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from harness.datasets.base import Examples, datasets
from harness.metrics.extractors.base import extractors
from harness.metrics.extractors.classifiers import WEIGHTS, ShippedClassifier, SmallClassifier
from harness.store.folders import write_atomically, write_json

AVERAGING = 0.99
"""Decay per update of the exponentially averaged weights, which are the ones kept."""


@dataclass(frozen=True)
class TrainingPlan:
    """How one classifier is trained.

    Attributes:
        extractor: Id of the classifier.
        dataset: Id of the data set.
        epochs: Passes over the training images, less the held-out ones.
        held_out: Training images kept aside to choose the epoch by.
        batch: Images per update.
        lr: Peak learning rate of AdamW; warms up, then falls as a cosine.
        weight_decay: Of AdamW.
        smoothing: Label smoothing.
        rotation: Largest rotation, degrees.
        scaling: Largest relative change of size.
        shift: Largest shift, pixels.
        seed: Of everything random.
    """

    extractor: str
    dataset: str
    epochs: int
    held_out: int
    batch: int
    lr: float = 3e-3
    weight_decay: float = 0.02
    smoothing: float = 0.05
    rotation: float = 10.0
    scaling: float = 0.1
    shift: float = 2.0
    seed: int = 0


PLANS = {
    "digits": TrainingPlan("digits-cnn", "digits", epochs=150, held_out=150, batch=64),
    "mnist": TrainingPlan("mnist-cnn", "mnist", epochs=24, held_out=3000, batch=128),
}


def distorted(images: Tensor, plan: TrainingPlan, generator: torch.Generator) -> Tensor:
    """Rotate, scale and shift each image a little; black comes in at the borders."""

    def draw(limit: float) -> Tensor:
        return (torch.rand(len(images), generator=generator) * 2 - 1) * limit

    angle = draw(math.radians(plan.rotation))
    scale_x, scale_y = 1 + draw(plan.scaling), 1 + draw(plan.scaling)
    unit = 2 / images.shape[-1]
    shift_x, shift_y = draw(plan.shift * unit), draw(plan.shift * unit)
    cos, sin = angle.cos(), angle.sin()
    rows = [
        torch.stack([cos * scale_x, -sin * scale_y, shift_x], dim=1),
        torch.stack([sin * scale_x, cos * scale_y, shift_y], dim=1),
    ]
    grid = affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    return grid_sample(images.float(), grid, align_corners=False)


@torch.inference_mode()
def score(network: torch.nn.Module, examples: Examples) -> tuple[float, float]:
    """Return accuracy and mean cross-entropy in nats, in evaluation mode."""
    network.eval()
    logits = torch.cat(
        [network(examples.values[i : i + 500])[1] for i in range(0, len(examples), 500)]
    )
    assert examples.labels is not None  # noqa: S101 - both data sets are labelled
    right = (logits.argmax(1) == examples.labels).double().mean().item()
    return right, cross_entropy(logits, examples.labels).item()


def hold_out(examples: Examples, count: int, seed: int) -> tuple[Examples, Examples]:
    """Cut training data at random into what is trained on and what chooses the epoch."""
    assert examples.labels is not None  # noqa: S101 - both data sets are labelled
    order = torch.from_numpy(np.random.RandomState(seed).permutation(len(examples)))
    kept, aside = order[count:], order[:count]
    return (
        Examples(examples.values[kept], examples.labels[kept]),
        Examples(examples.values[aside], examples.labels[aside]),
    )


def fit(plan: TrainingPlan, examples: Examples) -> tuple[SmallClassifier, dict[str, float]]:
    """Train, and return the averaged weights of the epoch that does best on the held-out images.

    The averaged weights' BatchNorm statistics are averaged alike.
    """
    torch.manual_seed(plan.seed)
    generator = torch.Generator().manual_seed(plan.seed)
    training, held_out = hold_out(examples, plan.held_out, plan.seed)
    assert training.labels is not None  # noqa: S101 - both data sets are labelled
    extractor = extractors.get(plan.extractor)
    assert issubclass(extractor, ShippedClassifier)  # noqa: S101 - plans name only these
    network = extractor.untrained()
    steps_per_epoch = len(training) // plan.batch
    average = AveragedModel(
        network,
        multi_avg_fn=get_ema_multi_avg_fn(AVERAGING),  # type: ignore[no-untyped-call]
        use_buffers=True,
    )
    optimizer = torch.optim.AdamW(network.parameters(), plan.lr, weight_decay=plan.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, plan.lr, epochs=plan.epochs, steps_per_epoch=steps_per_epoch, pct_start=0.1
    )
    best = (0.0, math.inf)
    chosen = extractor.untrained()
    report: dict[str, float] = {}
    for epoch in range(1, plan.epochs + 1):
        started = time.monotonic()
        network.train()
        order = torch.randperm(len(training), generator=generator)
        for indices in order[: steps_per_epoch * plan.batch].view(steps_per_epoch, -1):
            images = distorted(training.values[indices], plan, generator)
            loss = cross_entropy(
                network(images)[1], training.labels[indices], label_smoothing=plan.smoothing
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            average.update_parameters(network)
        accuracy, entropy = score(average.module, held_out)
        print(
            f"epoch {epoch}: held-out {accuracy:.4f}, {entropy:.4f} nats, "
            f"{time.monotonic() - started:.0f} s",
            flush=True,
        )
        if (accuracy, -entropy) > (best[0], -best[1]):
            best = (accuracy, entropy)
            chosen.load_state_dict(average.module.state_dict())
            report = {"epoch": epoch, "held_out_accuracy": accuracy, "held_out_nats": entropy}
    return chosen, report


def main() -> None:
    """Train one classifier and write its weights and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plan", choices=sorted(PLANS))
    parser.add_argument("--data-root", type=Path, default=os.environ.get("GANBENCH_DATA"))
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder of the weights")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    plan = PLANS[arguments.plan]
    root = Path(arguments.data_root) if arguments.data_root else None
    dataset = datasets.get(plan.dataset)()
    network, report = fit(plan, dataset.load("train", root))
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    data = save(state)
    write_atomically(arguments.out / f"{plan.extractor}.safetensors", data)
    record = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "parameters": sum(p.numel() for p in network.parameters()),
        "data": {"id": plan.dataset, "fingerprint": dataset.fingerprint()},
        **report,
        "validation_accuracy": score(network, dataset.load("validation", root))[0],
        "test_accuracy": score(network, dataset.load("test", root))[0],
        "plan": asdict(plan),
        "torch": torch.__version__,
        "command": f"python -m harness.metrics.extractors.train {arguments.plan}",
    }
    write_json(arguments.out / f"{plan.extractor}.json", record)
    print(f"validation {record['validation_accuracy']:.4f}, test {record['test_accuracy']:.4f}")


if __name__ == "__main__":
    main()
