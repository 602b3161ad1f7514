"""The plan of a run's networks: its settings, with every part laid over them."""

from __future__ import annotations

from harness.networks.blueprint import Blueprint
from harness.parts.part import all_parts, laid_over, plain_blueprint
from harness.spec import RunSpec


def blueprint_of(spec: RunSpec) -> Blueprint:
    """Plan both networks: the settings, then the variant, then each trick in its order."""
    return laid_over(plain_blueprint(spec.settings, spec.dataset), all_parts(spec))
