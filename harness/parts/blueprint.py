"""The plan of a run's networks: its settings, with every part laid over them."""

from __future__ import annotations

from harness.networks.blueprint import Blueprint
from harness.parts.part import all_parts
from harness.spec import RunSpec


def blueprint_of(spec: RunSpec) -> Blueprint:
    """Plan both networks: the settings, then the variant, then each trick in its order."""
    settings, dataset = spec.settings, spec.dataset
    blueprint = Blueprint.plain(
        settings.network,
        settings.width,
        settings.latent,
        dataset.shape,
        dataset.classes,
        settings.batch,
    )
    for part in all_parts(spec):
        blueprint = part.build(blueprint)
    return blueprint
