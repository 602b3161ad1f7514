"""Fifth chapter: what the generators made, the worst seed of each cell, and the modes they hit."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from reports.cells import CellRuns, Result, SuiteCells
from reports.document import Block, Figure, Gallery, Section, Thumbnail
from reports.figures.effects import share_map
from reports.figures.samples import (
    encode_png,
    halve,
    histogram_png,
    read_grid,
    read_points,
    scatter_png,
)
from reports.tables import significant, unique_names

BUDGET = 1_800_000
"""Bytes that all thumbnails of a report may take."""
LEAD = (
    "Shown is the worst seed of each cell: a failed one if there is any, else the one with the "
    "worst primary metric. The best of a cell flatters; the worst is what you may get.",
)


def sample_file(result: Result) -> Path | None:
    """Return the last sample file that a run wrote, if it lies in the run's folder."""
    if result.record is None:
        return None
    for event in reversed(result.record.of_type("samples")):
        path = result.file(str(event["file"]))
        if path is not None:
            return path
    return None


def caption_of(cell: CellRuns, result: Result) -> str:
    """Say which run a thumbnail shows and how it did."""
    primary = cell.primary
    value = result.last(primary.name) if primary else None
    words = [f"seed {result.planned.seed}", result.status]
    if value is not None:
        words.append(significant(value))
    return ", ".join(words)


def thumbnail(cell: CellRuns, facts: dict[str, Any]) -> Thumbnail | None:
    """Make the thumbnail of a cell's worst run; None where it left no samples."""
    worst = cell.worst
    path = sample_file(worst) if worst else None
    if worst is None or path is None:
        return None
    place = f"{cell.dataset}, {cell.variant}, {cell.tricks}"
    caption = caption_of(cell, worst)
    if path.suffix == ".npy":
        points = read_points(path)
        if points is None:
            return None
        line = points.shape[1] == 1
        draw = histogram_png if line else scatter_png
        png, outside = draw(points, facts.get("modes"), facts.get("sigma"))
        beyond = f", {outside} of {len(points)} out of view" if outside else ""
        truth = "under the true density" if line else "over the true modes"
        alt = f"{len(points)} generated points {truth}: {place}, {caption}{beyond}"
        return Thumbnail(png, caption + beyond, alt, worst.failed, pixelated=False)
    grid = read_grid(path)
    if grid is None:
        return None
    alt = f"generated samples: {place}, {caption}"
    return Thumbnail(encode_png(grid), caption, alt, worst.failed)


def fitted(galleries: list[Gallery]) -> tuple[list[Gallery], str]:
    """Show fewer samples of each image grid until all thumbnails keep to the budget."""
    note = ""
    for share in ("a quarter", "a sixteenth", "a sixty-fourth"):
        if sum(len(t.png) for g in galleries for t in g.images.values()) <= BUDGET:
            return galleries, note
        galleries = [
            replace(g, images={place: _smaller(t) for place, t in g.images.items()})
            for g in galleries
        ]
        note = f"To keep the page small, {share} of each stored grid is shown."
    if sum(len(t.png) for g in galleries for t in g.images.values()) > BUDGET:
        return (
            [],
            "The sample images are too large for a page; see the samples in the runs' folders.",
        )
    return galleries, note


def _smaller(image: Thumbnail) -> Thumbnail:
    if not image.pixelated:
        return image
    with Image.open(io.BytesIO(image.png)) as picture:
        return replace(image, png=encode_png(halve(picture)))


def captured(result: Result) -> tuple[float, int] | None:
    """Return the share of modes or classes with a generated example, and how many there are."""
    evaluations = result.record.of_type("evaluation") if result.record else []
    counted = [event for event in evaluations if event.get("histogram")]
    return (counted[-1]["coverage"], len(counted[-1]["histogram"])) if counted else None


def coverage_figure(dataset: str, cells: list[CellRuns], name: str) -> Figure | None:
    """Draw which share of the modes each cell captured; None where no run counted them."""
    shares: dict[tuple[str, str], tuple[float, str]] = {}
    for cell in cells:
        found = [c for result in cell.finals if (c := captured(result)) is not None]
        if found:
            share = float(np.mean([c[0] for c in found]))
            total = found[0][1]
            text = f"{share * total:.1f}".removesuffix(".0")
            shares[cell.variant, cell.tricks] = (share, f"{text} of {total}  (n={len(found)})")
    if not shares:
        return None
    rows = list(dict.fromkeys(cell.variant for cell in cells))
    columns = list(dict.fromkeys(cell.tricks for cell in cells))
    return Figure(
        name,
        f"{dataset}: modes or classes captured",
        f"A map of {len(rows)} variants by {len(columns)} tricks, deeper blue for more modes.",
        share_map(rows, columns, shares),
        "Mean over all finished runs, failed ones with what they had captured when they ended; "
        "a mode counts from one generated example on.",
    )


def build(cells: SuiteCells) -> Section:
    """Make the chapter."""
    galleries: list[Gallery] = []
    maps: list[Figure] = []
    for dataset, name in zip(cells.datasets, unique_names(cells.datasets), strict=True):
        group = cells.of_dataset(dataset)
        facts = cells.data_facts(dataset)
        found = {(c.variant, c.tricks): t for c in group if (t := thumbnail(c, facts)) is not None}
        if found:
            galleries.append(
                Gallery(
                    f"samples-{name}",
                    f"{dataset}: samples of the worst seed",
                    tuple(dict.fromkeys(cell.variant for cell in group)),
                    tuple(t for t in cells.tricks if any(c.tricks == t for c in group)),
                    found,
                    _legend(facts),
                )
            )
        figure = coverage_figure(dataset, group, f"coverage-{name}")
        if figure:
            maps.append(figure)
    galleries, note = fitted(galleries)
    blocks: tuple[Block, ...] = (*maps, *galleries)
    lead = (*LEAD, note) if note else LEAD
    return Section(
        "samples", "Samples and modes", lead if blocks else ("No samples yet.",), (), blocks
    )


def _legend(facts: dict[str, Any]) -> str:
    value = "The last number of a caption is the primary metric."
    if facts.get("kind") == "points" and facts.get("shape") == [1]:
        return f"Blue: a histogram of generated points. Orange: the true density. {value}"
    if facts.get("kind") == "points":
        return f"Blue: generated points. Orange rings: 3σ around the true modes. {value}"
    return value
