"""The value of every setting that a suite leaves open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from harness.datasets.base import Dataset, Kind
from harness.networks.base import Family
from harness.parts import Variant
from harness.spec import Settings

STEPS = 2000


@dataclass(frozen=True)
class Basis:
    """What defaults follow from.

    Attributes:
        dataset: The cell's data set.
        variant: The cell's variant.
        family: The network family in force.
        steps: The steps in force.
        optimizer: The optimiser in force.
    """

    dataset: Dataset
    variant: Variant
    family: type[Family]
    steps: int
    optimizer: str


class Default(NamedTuple):
    """What a setting is if no suite says otherwise.

    Attributes:
        text: The value in words.
        value: Works it out.
    """

    text: str
    value: Callable[[Basis], Any]


def fixed(value: Any) -> Default:
    """Make a default that is the same in every cell."""
    return Default(str(value), lambda basis: value)


def recipe(name: str) -> Default:
    """Make a default that the variant's recipe gives."""
    return Default("the variant's recipe", lambda basis: getattr(basis.variant.recipe, name))


SAMPLES: Mapping[Kind, int] = {"points": 10_000, "images": 1000}
"""Per evaluation: points cost little, and good generators of them differ by thousandths."""
DECAYS = {"adam": (0.5, 0.999), "rmsprop": (0.0, 0.99), "sgd": (0.0, 0.0)}
"""Beta1 and beta2 of an optimiser that is not the recipe's: Adam's as GANs use it, and PyTorch's
defaults of RMSprop's alpha and SGD's momentum. 0 is what an optimiser without the one has."""
UNUSED = {"adam": (), "rmsprop": ("beta1",), "sgd": ("beta2",)}
"""Settings that an optimiser does not have."""


def extractor(basis: Basis) -> str:
    """Name the extractor that knows the data set's classes, else Inception."""
    from harness.metrics.applicable import default_extractor  # only sound files wait for metrics

    return default_extractor(basis.dataset)


def decay(which: int) -> Default:
    """Make a default that the recipe gives for its own optimiser only."""

    def value(basis: Basis) -> float:
        own = basis.variant.recipe
        decays = (own.beta1, own.beta2)
        return (decays if basis.optimizer == own.optimizer else DECAYS[basis.optimizer])[which]

    return Default("the variant's recipe, for its own optimizer; else the optimizer's", value)


def share_of_steps(parts: int) -> Default:
    """Make a default that is a share of the steps, rounded up."""
    return Default(f"steps / {parts}, rounded up", lambda basis: -(-basis.steps // parts))


DEFAULTS: Mapping[str, Default] = {
    "steps": fixed(STEPS),
    "batch": fixed(64),
    "latent": Default("the network's", lambda basis: basis.family.default_latent),
    "network": Default("the variant's, for points or images", lambda basis: basis.family.id),
    "width": Default("the network's", lambda basis: basis.family.default_width),
    "optimizer": recipe("optimizer"),
    "lr_g": recipe("lr_g"),
    "lr_d": recipe("lr_d"),
    "beta1": decay(0),
    "beta2": decay(1),
    "precision": fixed("float32"),
    "log_every": share_of_steps(40),
    "evaluate_every": share_of_steps(10),
    "evaluation_samples": Default(
        "10000 of points, 1000 of images, or 26000 of stacked digits",
        lambda basis: basis.dataset.samples or SAMPLES[basis.dataset.kind],
    ),
    "extractor": Default(
        "`data` for points, else the one that knows the classes, or Inception",
        extractor,
    ),
    "reference": fixed("train"),
    "collapse_diversity": fixed(0.1),
    "collapse_coverage": fixed(0.5),
    "probes": Default("none", lambda basis: ()),
    "metrics": Default("none on request", lambda basis: ()),
    "replicate": fixed(0),
    "injected_ratio": fixed(1.0),
    "injected_failures": fixed(0.0),
    "injected_real": fixed(0.0),
}
"""Default by setting, in the order of :class:`harness.spec.Settings`."""


def complete(
    given: Mapping[str, Any], dataset: Dataset, variant: Variant, family: type[Family]
) -> Settings:
    """Fill in the settings that are not given.

    Args:
        given: Settings that the suite gives.
        dataset: The cell's data set.
        variant: The cell's variant.
        family: The network family that the cell's ``network`` resolves to.
    """
    optimizer = given.get("optimizer", variant.recipe.optimizer)
    basis = Basis(dataset, variant, family, given.get("steps", STEPS), optimizer)
    values = {
        name: given[name] if name in given else default.value(basis)
        for name, default in DEFAULTS.items()
    }
    return Settings(**{**values, "network": family.id})
