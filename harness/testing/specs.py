"""Run specs for proofs: small, with every value that a suite would resolve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.datasets.base import datasets
from harness.networks.base import resolve
from harness.parts import tricks as all_tricks
from harness.parts import variants
from harness.spec import DatasetSpec, PartSpec, RunSpec, Settings

Named = str | tuple[str, dict[str, Any]]


def part(registry: Any, named: Named) -> PartSpec:
    """Write out a variant's or trick's options."""
    name, options = (named, {}) if isinstance(named, str) else named
    return PartSpec(id=name, options=registry.get(name)(**options).model_dump(mode="json"))


def make_spec(
    dataset: str = "ring8",
    variant: Named = "gan",
    tricks: Sequence[Named] = (),
    *,
    seed: int = 0,
    **settings: Any,
) -> RunSpec:
    """Make a run that trains in well under a second."""
    data = datasets.get(dataset)()
    described = part(variants, variant)
    cls = variants.get(described.id)
    recipe = cls.recipe
    network = resolve(settings.pop("network", cls.networks[data.kind]), data.shape)
    values: dict[str, Any] = {
        "steps": 20,
        "batch": 8,
        "latent": 4,
        "network": network,
        "width": 8,
        "optimizer": recipe.optimizer,
        "lr_g": recipe.lr_g,
        "lr_d": recipe.lr_d,
        "beta1": recipe.beta1,
        "beta2": recipe.beta2,
        "precision": "float32",
        "log_every": 5,
        "evaluate_every": 10,
        "evaluation_samples": 64,
        "extractor": "data" if data.kind == "points" else f"{dataset}-cnn",
        "reference": "train",
        "collapse_diversity": 0.1,
        "collapse_coverage": 0.0,
    }
    return RunSpec(
        dataset=DatasetSpec(
            id=dataset, fingerprint=data.fingerprint(), shape=data.shape, classes=data.classes
        ),
        variant=described,
        tricks=tuple(part(all_tricks, trick) for trick in tricks),
        settings=Settings(**{**values, **settings}),
        metrics="test",
        seed=seed,
    )
