"""Every cell that the registries span, small enough to train in a moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from harness.datasets.base import Examples, dataset_of, datasets
from harness.networks.base import networks, unhonoured
from harness.parts import Context, Part, parts_of, refused, tricks, variants
from harness.spec import RunSpec
from harness.training.game import Game
from harness.training.trainer import Trainer, blueprint_of
from tests.specs import Named, make_spec

DATASETS = ("ring8", "digits")
CPU = torch.device("cpu")

QUICK = {"d_steps": 1, "boost": False}
"""Options that a variant gets where it has them: its schedule is proved elsewhere."""

TRICK_OPTIONS: dict[str, dict[str, Any]] = {
    "activation": {"kind": "elu"},
    "ada": {"speed": 40.0, "interval": 1, "target": -0.9},
    "consistency": {"mode": "icr"},
    "diffaugment": {"policy": ["color", "translation", "cutout"]},
    "gradient-clipping": {"max_norm": 0.05},
    "label-smoothing": {"form": "two-sided"},
    "lecam": {"start": 1},
    "lr-decay": {"start": 0.01},
    "sampling": {"up": "pixel-shuffle", "down": "average"},
    "update-ratio": {"d": 2, "g": 1},
    "r1": {"lazy": 2},
    "r2": {"lazy": 2},
    "unrolled": {"k": 2},
    "minibatch-discrimination": {"kernels": 5, "dimensions": 3},
    "virtual-batch-norm": {"reference": 5},
}
"""Options under which a trick has the most to do in the least time; others have their defaults."""

OTHER_WEIGHTS = {
    "normalization": "layers with weights of their own, or without",
    "orthogonal-init": "first weights are what it changes",
    "sampling": "kernels of other shapes",
}
"""Tricks under which G starts from other weights than without, and why."""

COMBINATION = ("feature-matching", "dropout-g", "update-ratio")
RATES = (1.0, 3.0, 0.5)
FACTORS = ((1.0,), (1.1, 0.9, 1.0), (1.25, 0.8, 1.0))
"""What the runs of a cohort multiply a scalar by: the first factor that gives a valid option."""


@lru_cache
def training_data(dataset: str) -> Examples:
    """Read a training split once."""
    return datasets.get(dataset)().load("train")


def options_of(part: type[Part], chosen: dict[str, Any], position: int) -> dict[str, Any]:
    """Choose a part's options for the run at a position: every scalar differs from run to run."""
    options = {name: value for name, value in chosen.items() if name in part.model_fields}
    for name in part.scalar_fields():
        value = getattr(part.model_validate(options), name)
        for factor in FACTORS[position]:
            try:
                part.model_validate({**options, name: value * factor})
            except ValidationError:
                continue
            options[name] = value * factor
            break
    return options


@dataclass(frozen=True)
class Cell:
    """A data set, a variant and tricks, with the options that the tests give them."""

    dataset: str
    variant: str
    tricks: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.dataset}-{self.variant}-{'+'.join(self.tricks) or 'none'}"

    def spec(self, position: int = 0, **settings: Any) -> RunSpec:
        """Describe the run at a position of the cell's cohort."""
        recipe = variants.get(self.variant).recipe
        rates = {"lr_g": recipe.lr_g * RATES[position], "lr_d": recipe.lr_d * RATES[-1 - position]}
        if "loss-sum" in self.tricks and recipe.optimizer == "sgd":
            # For gradient descent a sum is a rate times the batch, with which it diverges.
            rates = {name: rate / 8 for name, rate in rates.items()}
        decays = {"beta1": recipe.beta1 * FACTORS[position][-1], "beta2": recipe.beta2}
        if position:
            decays["beta2"] = abs(recipe.beta2 - 0.01 * position)
        return make_spec(
            self.dataset,
            (self.variant, options_of(variants.get(self.variant), QUICK, position)),
            [
                (name, options_of(tricks.get(name), TRICK_OPTIONS.get(name, {}), position))
                for name in self.tricks
            ],
            **{"seed": 11 + position, **rates, **decays, **settings},
        )

    @property
    def convolutional(self) -> bool:
        """Whether its networks are slow on a CPU."""
        return networks.get(self.spec().settings.network).convolutional

    @cached_property
    def refusal(self) -> str | None:
        """Why the cell cannot be trained, or None."""
        return refusal(self.spec())

    def without_tricks(self) -> Cell:
        """Return the cell of the same variant with no trick."""
        return Cell(self.dataset, self.variant)


def refusal(spec: RunSpec) -> str | None:
    """Ask the network family, the variant and every trick whether a run makes sense."""
    dataset = dataset_of(spec)
    variant, laid_over = parts_of(spec)
    context = Context(dataset, variant, tuple(laid_over), spec.settings)
    misfit = networks.get(spec.settings.network)().misfit(dataset.shape)
    if misfit is not None:
        return misfit
    for part in (variant, *laid_over):
        reason = refused(part, context)
        if reason is not None:
            return reason
    return unhonoured(blueprint_of(spec))


def all_cells() -> list[Cell]:
    """Span data sets, variants and tricks: none, each alone, and one combination."""
    laid_over = [(), *((name,) for name in tricks.names()), COMBINATION]
    return [
        Cell(dataset, variant, combination)
        for dataset in DATASETS
        for variant in variants.names()
        for combination in laid_over
    ]


CELLS = [cell for cell in all_cells() if cell.refusal is None]
REFUSED = [cell for cell in all_cells() if cell.refusal is not None]


def make_trainer(specs: Sequence[RunSpec], device: torch.device = CPU) -> Trainer:
    """Make the trainer of a cohort on its data set."""
    return Trainer(specs, training_data(specs[0].dataset.id), device)


def train(specs: Sequence[RunSpec], steps: int, device: torch.device = CPU) -> Trainer:
    """Train a cohort for some steps."""
    trainer = make_trainer(specs, device)
    for _ in range(steps):
        trainer.train_step()
    return trainer


def trainer_of(
    dataset: str, variant: Named, *laid_over: Named, runs: int = 1, **settings: Any
) -> Trainer:
    """Make a trainer in float64 for the seeds 0 and up, with options as they are given."""
    specs = [
        make_spec(dataset, variant, laid_over, seed=seed, precision="float64", **settings)
        for seed in range(runs)
    ]
    return make_trainer(specs)


def game_of(dataset: str, variant: Named, *laid_over: Named, runs: int = 1) -> Game:
    """Make such a trainer's game."""
    return trainer_of(dataset, variant, *laid_over, runs=runs).game


def assert_near(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    """Compare two states, tensor by tensor, within an absolute and relative tolerance."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )
