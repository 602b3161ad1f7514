"""Sample images of one run over its training, few and small enough for a page of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from harness.store.events import Event
from reports.figures.samples import GRID
from reports.figures.style import evenly
from reports.sample_files import Picture, picture_of

MOST = 8
"""Moments of a run's training that its page shows; half as many if they are large."""
BUDGET = 180_000
"""Bytes that they may take together, before they are written as text."""


@dataclass(frozen=True)
class Moment:
    """What the generator made of the same latents at one moment.

    Attributes:
        step: When.
        kimg: Thousands of images that D had seen; None where no evaluation says.
        png: The image.
        alt: What it shows, for someone who cannot see it.
        pixelated: Whether its pixels are data, to be enlarged without smoothing.
    """

    step: int
    kimg: float | None
    png: bytes = field(repr=False)
    alt: str
    pixelated: bool = True


@dataclass(frozen=True)
class Moments:
    """Moments in order, with what is left out.

    Attributes:
        shown: The moments.
        recorded: How many sample files the run tells of.
        unreadable: How many of those that were to be shown are absent or damaged.
        tiles: How many of each grid's are shown, in each direction.
    """

    shown: tuple[Moment, ...]
    recorded: int
    unreadable: int = 0
    tiles: int = GRID


def moments_of(
    read: Callable[[str], bytes | None],
    events: Sequence[Event],
    evaluation_at: Callable[[int], Event],
    facts: Mapping[str, Any],
) -> Moments:
    """Choose, read and draw the sample files of a run; fewer, or parts, where they are large.

    Args:
        read: Gives what is in a file of the run's, by its name.
        events: Its records of samples.
        evaluation_at: Gives its evaluation at a step; empty without one.
        facts: What its protocol says of the data: centres of modes and their width.
    """
    pictures: dict[int, tuple[Event, Event, Picture]] = {}
    for place in evenly(len(events), MOST):
        event = events[place]
        measured = evaluation_at(event["step"])
        name = str(event["file"])
        data = read(name)
        counts = measured.get("histogram")
        drawn = None if data is None else picture_of(name, data, facts, counts)
        if drawn is not None:
            pictures[place] = event, measured, drawn
    sizes = [len(picture.png) for _, _, picture in pictures.values()]
    asked, tiles = min(MOST, len(events)), GRID
    places = list(pictures)
    for tiles, count in product((GRID, 4, 2, 1), (MOST, MOST // 2)):
        kept = evenly(len(sizes), count)
        if sum(sizes[i] for i in kept) * tiles**2 <= BUDGET * GRID**2:
            places = [places[i] for i in kept]
            break
    else:
        places = places[-1:]
    shown = [
        Moment(
            event["step"],
            measured.get("kimg"),
            part.png,
            f"{part.shows}{part.beyond}",
            part.pixelated,
        )
        for event, measured, picture in map(pictures.__getitem__, places)
        if (part := picture if tiles == GRID else picture.tiled(tiles)) is not None
    ]
    if not any(moment.pixelated for moment in shown):
        tiles = GRID
    return Moments(tuple(shown), len(events), asked - len(pictures), tiles)
