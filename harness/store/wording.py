"""Says in sentences what a run's records hold; terminals and reports use the same ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.store.code import PartCode
from harness.store.records import Provenance

MOST_NAMES = 12
"""Classes that a line lists."""
NO_BREAK = "\u00a0"
"""A space that keeps a number and its unit on one line."""


def printable(text: str) -> str:
    """Keep a text on one line, without control characters and marks that reverse its direction."""
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable() or character == NO_BREAK
        else " "
        if character.isspace()
        else "\ufffd"
        for character in text
    )


def listing(names: Iterable[str], most: int = MOST_NAMES) -> str:
    """List the first of some names, which anybody may have written."""
    shown = [printable(name) for name in names]
    more = f" and {len(shown) - most:,} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more


def class_counts(names: Sequence[str], histogram: Sequence[int]) -> str:
    """Say how many samples there are of each class; of many, those that have none come first."""
    counted = list(zip(names, histogram, strict=True))
    if len(counted) > MOST_NAMES:
        counted.sort(key=lambda pair: pair[1] > 0)
    return listing([f"{name}: {count:,}" for name, count in counted])


def provenance_lines(provenance: Provenance | None) -> list[str]:
    """Say in sentences what a run's numbers rest on; nothing where that is not known."""
    if provenance is None:
        return []
    weights = f", sha256 {provenance.weights_sha256}" if provenance.weights_sha256 else ""
    libraries = ", ".join(f"{name} {number}" for name, number in provenance.libraries.items())
    measured = (
        "its weights as they are trained"
        if provenance.weights == "raw"
        else f"the average of its weights ({provenance.weights}), the raw ones beside it"
    )
    classes = f"; it is asked for each class {provenance.classes}" if provenance.classes else ""
    return [
        f"extractor {provenance.extractor}{weights}",
        f"{provenance.samples} samples against {provenance.reference} "
        f"({provenance.reference_count} examples), real data from {provenance.floor}",
        f"{provenance.dtype}, preprocessing {provenance.preprocessing}, "
        f"on {provenance.device}; {libraries}",
        f"G is measured by {measured}; normalization in evaluation: {provenance.normalization}"
        f"{classes}",
    ]


def code_lines(code: Iterable[PartCode]) -> list[str]:
    """Say in sentences what code a run's foreign parts had, as far as it is known."""
    return [f"code of {part.part}: {part.name}{files_of(part)}" for part in code]


def files_of(part: PartCode) -> str:
    """List the files of a part in brackets; nothing where they are not known."""
    return f" ({', '.join(part.sources)})" if part.sources else ""
