"""Sample images of one run over its training, few and small enough for a page of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

from harness.store.events import EvaluationRow, SampleFile
from harness.store.records import DataFacts
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
        picture: The image, and what it shows.
    """

    step: int
    kimg: float | None
    picture: Picture


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
    events: Sequence[SampleFile],
    evaluation_at: Callable[[int], EvaluationRow | None],
    facts: DataFacts,
) -> Moments:
    """Choose, read and draw the sample files of a run; fewer, or parts, where they are large.

    Args:
        read: Gives what is in a file of the run's, by its name.
        events: Its records of samples.
        evaluation_at: Gives its evaluation at a step; None without one.
        facts: Centres of modes and their width.
    """
    drawn: list[Moment] = []
    for place in evenly(len(events), MOST):
        event = events[place]
        data, measured = read(event.file), evaluation_at(event.step)
        counts = measured.histogram if measured else None
        picture = None if data is None else picture_of(event.file, data, facts, counts)
        if picture is not None:
            drawn.append(Moment(event.step, measured.kimg if measured else None, picture))
    for tiles, count in product((GRID, 4, 2, 1), (MOST, MOST // 2)):
        kept = evenly(len(drawn), count)
        if sum(len(drawn[i].picture.png) for i in kept) * tiles**2 <= BUDGET * GRID**2:
            break
    else:
        kept = [len(drawn) - 1]
    shown = [
        replace(drawn[i], picture=part)
        for i in kept
        if (part := drawn[i].picture if tiles == GRID else drawn[i].picture.tiled(tiles))
    ]
    if not any(moment.picture.pixelated for moment in shown):
        tiles = GRID
    unreadable = min(MOST, len(events)) - len(drawn)
    return Moments(tuple(shown), len(events), unreadable, tiles)
