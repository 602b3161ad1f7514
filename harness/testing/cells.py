"""Cells for proofs: small enough to train in a moment, with options in which no two runs agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from harness.datasets.base import Examples, dataset_of, datasets
from harness.networks.base import networks, resolve, unsupported
from harness.parts import Context, Part, parts_of, refused, tricks, variants
from harness.parts.blueprint import blueprint_of
from harness.spec import RunSpec
from harness.testing.specs import Named, make_spec
from harness.training.game import Game
from harness.training.trainer import Trainer

CPU = torch.device("cpu")
DATASETS = ("ring8", "digits")
"""What needs no files and trains fast: points, and images with labels."""

HOSTS = (
    ("ring8", "gan"),
    ("digits", "dcgan"),
    ("ring8", "wgan-gp"),
    ("digits", "gan"),
    ("digits", "infogan"),
    ("digits", "cgan"),
)
"""Cells over which a trick is laid to prove it, the first that it applies to."""

QUICK = {"d_steps": 1, "boost": False}
"""Options that a variant gets where it has them: its schedule is proved elsewhere."""

RATES = (1.0, 3.0, 0.5)
SHORT, STEPS = 10, 50
"""Steps after which a run alone and in a cohort are compared; no proof trains for longer."""
NARROW = 4
"""Width of convolutional networks, which are slow in double precision on a CPU."""

FACTORS = ((1.0,), (1.1, 0.9, 1.0), (1.25, 0.8, 1.0))
"""What the runs of a cohort multiply a scalar by: the first factor that gives a valid option."""


@lru_cache
def training_data(dataset: str) -> Examples:
    """Read a training split once."""
    return datasets.get(dataset)().load("train")


def options_of(part: type[Part], chosen: Mapping[str, Any], position: int) -> dict[str, Any]:
    """Choose a part's options for the run at a position: every scalar differs from run to run."""
    options = {name: value for name, value in chosen.items() if name in part.model_fields}
    made = part.model_validate(options)
    for name in part.scalar_fields():
        value = getattr(made, name)
        for factor in FACTORS[position]:
            try:
                part.model_validate({**options, name: value * factor})
            except (ValidationError, TypeError):
                continue
            options[name] = value * factor
            break
    return options


def named(part: Named) -> tuple[str, dict[str, Any]]:
    """Split an id with or without options."""
    return (part, {}) if isinstance(part, str) else part


@dataclass(frozen=True)
class KitCell:
    """A data set, a variant and tricks, each by its id or as (id, options).

    Attributes:
        dataset: Id of a data set that needs no files.
        variant: The variant.
        tricks: The tricks, in the order in which they act.
        network: Id of a network family; None for the variant's.
        starts: Steps after which the tricks begin to act.
    """

    dataset: str
    variant: Named
    tricks: tuple[Named, ...] = ()
    network: str | None = None
    starts: int = 0

    def __str__(self) -> str:
        words = "+".join(named(trick)[0] for trick in self.tricks) or "none"
        network = f"-{self.network}" if self.network else ""
        return f"{self.dataset}-{named(self.variant)[0]}-{words}{network}"

    def __hash__(self) -> int:
        # Options are dictionaries, which have no hash.
        return hash(str(self))

    def spec(self, position: int = 0, **settings: Any) -> RunSpec:
        """Describe the run at a position, 0 to 2, of the cell's cohort; its seed is its own."""
        variant, chosen = named(self.variant)
        cls = variants.get(variant)
        recipe = cls.recipe
        rates = {"lr_g": recipe.lr_g * RATES[position], "lr_d": recipe.lr_d * RATES[-1 - position]}
        decays = {"beta1": recipe.beta1 * FACTORS[position][-1], "beta2": recipe.beta2}
        if position:
            decays["beta2"] = abs(recipe.beta2 - 0.01 * position)
        if self.network:
            settings = {"network": self.network, **settings}
        if self.convolutional:
            settings = {"width": NARROW, **settings}
        return make_spec(
            self.dataset,
            (variant, options_of(cls, {**QUICK, **chosen}, position)),
            [
                (trick, options_of(tricks.get(trick), options, position))
                for trick, options in map(named, self.tricks)
            ],
            **{"steps": STEPS, "seed": 11 + position, **rates, **decays, **settings},
        )

    @cached_property
    def convolutional(self) -> bool:
        """Whether its networks are slow on a CPU."""
        data = datasets.get(self.dataset)()
        default = variants.get(named(self.variant)[0]).networks[data.kind]
        return networks.get(resolve(self.network or default, data.shape)).convolutional

    @cached_property
    def refusal(self) -> str | None:
        """Why the cell cannot be trained, or None."""
        return refusal(self.spec())

    def without_tricks(self) -> KitCell:
        """Return the cell of the same variant with no trick."""
        return KitCell(self.dataset, self.variant, network=self.network)


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
    return unsupported(blueprint_of(spec))


def accepted(cells: Iterable[KitCell]) -> list[KitCell]:
    """Choose the cells that can be trained."""
    return [cell for cell in cells if cell.refusal is None]


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


State = dict[str, Tensor]


def assert_near(actual: State, expected: State, tolerance: float) -> None:
    """Compare two states, tensor by tensor, within an absolute and relative tolerance."""
    if actual.keys() != expected.keys():
        raise AssertionError(f"states differ in {sorted(actual.keys() ^ expected.keys())}")
    for name, value in expected.items():
        torch.testing.assert_close(
            actual[name],
            value,
            rtol=tolerance,
            atol=tolerance,
            equal_nan=True,
            msg=partial("{}: {}".format, name),
        )
