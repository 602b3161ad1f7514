"""Says in sentences what a run's records hold; terminals and reports use the same ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def provenance_lines(found: Mapping[str, Any] | None) -> list[str]:
    """Say in sentences what a run's numbers rest on.

    Args:
        found: A :class:`harness.store.records.Provenance` as a dictionary; None without one.
    """
    if found is None:
        return []
    weights = f", sha256 {found['weights_sha256']}" if found["weights_sha256"] else ""
    libraries = ", ".join(f"{name} {number}" for name, number in found["libraries"].items())
    measured = (
        "its weights as they are trained"
        if found["weights"] == "raw"
        else f"the average of its weights ({found['weights']}), the raw ones beside it"
    )
    return [
        f"extractor {found['extractor']}{weights}",
        f"{found['samples']} samples against {found['reference']} "
        f"({found['reference_count']} examples), real data from {found['floor']}",
        f"{found['dtype']}, preprocessing {found['preprocessing']}, on {found['device']}; "
        f"{libraries}",
        f"G is measured by {measured}; normalization in evaluation: {found['normalization']}",
    ]
