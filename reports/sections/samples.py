"""What the generators made: samples over training, the worst seed of each cell first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.store.events import SampleFile
from harness.store.records import DataFacts
from reports.cells import CellRuns, Result, SuiteCells
from reports.document import Block, Gallery, Section, Thumbnail
from reports.figures.samples import GRID
from reports.sample_files import Picture, picture_of
from reports.sections.modes import build_maps
from reports.tables import percent, significant, unique_names

BUDGET_PER_RUN = 18_000
"""Bytes of PNG that all thumbnails of a report may take for each of its runs."""
LEAST_BUDGET, MOST_BUDGET = 1_800_000, 5_000_000
MOST_IMAGES = 1200
"""Thumbnails of a report, whatever their size."""
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Parts of training after which samples are shown."""
WORST, COMMON, BEST = range(3)
LEAD = (
    "Shown first is the worst seed of each cell: a failed one if there is any, else the one with "
    "the worst primary metric. The best of a cell flatters; the worst is what you may get. A run "
    "draws from the same latents at every moment, and so do runs of one seed in all cells: choose "
    "the common seed to compare image by image.",
)


@dataclass(frozen=True)
class Choice:
    """Which samples are shown, and how much of each.

    Attributes:
        ranks: Which runs of a cell: its worst, that of a seed common to all cells, its best.
        shares: Parts of training, ascending.
        tiles: Of an image grid, in each direction.
        left_out: What a reader is told; empty where nothing is.
    """

    ranks: tuple[int, ...]
    shares: tuple[float, ...]
    tiles: int
    left_out: str = ""


CHOICES = (
    Choice((WORST, COMMON, BEST), SHARES, 4),
    Choice((WORST,), SHARES, 4, "To keep the page small, only the worst seed is shown."),
    Choice((WORST,), (0.0, 0.5, 1.0), 4,
           "To keep the page small, only the worst seed and three moments are shown."),
    Choice((WORST,), (1.0,), 4,
           "To keep the page small, only the last samples of the worst seed are shown."),
    Choice((WORST,), (1.0,), 2,
           "To keep the page small, only a few of the last samples of the worst seed are shown."),
)  # fmt: skip
"""From much to little; the first that keeps to the budget is taken."""
TOO_LARGE = "The sample images are too large for a page; see the samples in the runs' folders."


def sample_events(result: Result) -> list[SampleFile]:
    """Return the records of a run's sample files, in order."""
    return [*result.record.of_type(SampleFile)] if result.record else []


def at_share(events: Sequence[SampleFile], steps: int, share: float) -> SampleFile:
    """Return the record nearest to a part of training; the last one for all of it."""
    if share >= 1:
        return events[-1]
    return min(events, key=lambda event: abs(event.step - share * steps))


def chosen(cell: CellRuns, ranks: Sequence[int], seed: int) -> list[tuple[Result, tuple[int, ...]]]:
    """Return the runs of a cell that are shown, each with what it is shown as; the worst first.

    Args:
        cell: The cell.
        ranks: As what runs can be shown.
        seed: The common one.
    """
    runs = cell.ranked
    if not runs:
        return []
    common = next((run for run in runs if run.planned.seed == seed), None)
    roles = {WORST: runs[0], COMMON: common, BEST: runs[-1]}
    return [
        (run, shown_as)
        for run in runs
        if (shown_as := tuple(rank for rank in ranks if roles[rank] is run))
    ]


def caption_of(cell: CellRuns, result: Result, event: SampleFile, *, last: bool) -> str:
    """Say which run a thumbnail shows, when, and how it did."""
    primary = cell.primary
    words = [f"seed {result.planned.seed}"]
    if last:
        words.append(result.status)
        value = result.last(primary.name) if primary else None
    else:
        measured = result.evaluation_at(event.step)
        value = measured.values.get(primary.name) if measured and primary else None
        words.append(f"{significant(measured.kimg)} kimg" if measured else "")
    if value is not None and math.isfinite(value):
        words.append(significant(value))
    return ", ".join(word for word in words if word)


@dataclass
class Painter:
    """Makes pictures of sample files, each once.

    Args:
        facts: Of the data.
    """

    facts: DataFacts

    def __post_init__(self) -> None:
        self._made: dict[tuple[str, str, int], Picture | None] = {}

    def paint(self, result: Result, event: SampleFile, tiles: int) -> Picture | None:
        """Draw a file, of an image grid so many tiles in each direction; None without one."""
        key = result.planned.id, event.file, tiles
        if key not in self._made:
            data = result.read(key[1])
            measured = result.evaluation_at(event.step)
            counts = measured.histogram if measured else None
            picture = None if data is None else picture_of(key[1], data, self.facts, counts)
            self._made[key] = picture and picture.tiled(tiles)
        return self._made[key]


def thumbnails(cell: CellRuns, painter: Painter, choice: Choice, seed: int) -> Thumbnail | None:
    """Make all thumbnails of a cell; None where its worst run left no samples."""
    made: list[Thumbnail] = []
    for result, shown_as in chosen(cell, choice.ranks, seed):
        events, record = sample_events(result), result.record
        if not events or record is None:
            continue
        before: SampleFile | None = None
        for moment, share in enumerate(choice.shares):
            event = at_share(events, record.spec.settings.steps, share)
            painted = painter.paint(result, event, choice.tiles)
            if painted is None or event is before:
                continue
            before, last = event, event is events[-1]
            caption = caption_of(cell, result, event, last=last) + painted.beyond
            place = f"{cell.dataset}, {cell.variant}, {cell.tricks}"
            onset = result.outcome.onset if result.outcome else None
            failed = result.failed and (last or (onset is not None and event.step >= onset))
            made.append(
                Thumbnail(painted.png, caption, f"{painted.shows}: {place}, {caption}", failed,
                          painted.pixelated, moment, shown_as, result.planned.id)
            )  # fmt: skip
    first = [t for t in made if WORST in t.ranks]
    if not first:
        return None
    shown = first[-1]
    return replace(shown, others=tuple(t for t in made if t is not shown))


def galleries_of(
    cells: SuiteCells, painters: dict[str, Painter], choice: Choice, most: int
) -> list[Gallery]:
    """Make one gallery per data set, of at most so many cells in all."""
    galleries = []
    for dataset, name in zip(cells.datasets, unique_names(cells.datasets), strict=True):
        group = cells.of_dataset(dataset)
        seeds = Counter(result.planned.seed for cell in group for result in cell.results)
        seed = min(seeds, key=lambda seed: (-seeds[seed], seed))
        images = {}
        for cell in group:
            image = thumbnails(cell, painters[dataset], choice, seed) if most > 0 else None
            if image is not None:
                images[cell.variant, cell.tricks] = image
                most -= 1
        if images:
            several = len(choice.ranks) > 1 and any(len(c.ranked) > 1 for c in group)
            names = ("worst of each cell", f"seed {seed} in every cell", "best of each cell")
            galleries.append(
                Gallery(
                    f"samples-{name}",
                    f"{dataset}: samples, the worst seed first",
                    tuple(v for v in cells.variants if any(v == row for row, _ in images)),
                    tuple(t for t in cells.tricks if any(t == column for _, column in images)),
                    images,
                    _legend(painters[dataset].facts, choice.tiles),
                    tuple(f"{percent(share)} of training" for share in choice.shares),
                    names if several else (),
                )
            )
    return galleries


def size_of(galleries: Sequence[Gallery]) -> int:
    """Return the bytes of all thumbnails."""
    return sum(
        len(thumbnail.png)
        for gallery in galleries
        for image in gallery.images.values()
        for thumbnail in (image, *image.others)
    )


def fitted(cells: SuiteCells) -> tuple[list[Gallery], str]:
    """Make the galleries, with as much in them as keeps to the budget, and say what is left out."""
    painters = {dataset: Painter(cells.data_facts(dataset)) for dataset in cells.datasets}
    budget = min(max(LEAST_BUDGET, BUDGET_PER_RUN * len(cells.results)), MOST_BUDGET)
    count = len(cells.cells)
    for choice in CHOICES:
        least = choice is CHOICES[-1]
        if count * len(choice.ranks) * len(choice.shares) > MOST_IMAGES and not least:
            continue
        galleries = galleries_of(cells, painters, choice, MOST_IMAGES)
        if size_of(galleries) <= budget:
            note = choice.left_out
            if count > MOST_IMAGES:
                note += f" Of {count} cells, only the first {MOST_IMAGES} are shown."
            return galleries, note
    return [], TOO_LARGE


def build(cells: SuiteCells) -> Section:
    """Make the chapter."""
    galleries, note = fitted(cells)
    blocks: tuple[Block, ...] = (*build_maps(cells), *galleries)
    lead = (*LEAD, note) if note else LEAD
    return Section(
        "samples", "Samples and modes", lead if blocks else ("No samples yet.",), (), blocks
    )


def _legend(facts: DataFacts, tiles: int) -> str:
    value = "The last number of a caption is the primary metric."
    if facts.kind == "points" and facts.shape == (1,):
        return f"Blue: a histogram of generated points. Orange: the true density. {value}"
    if facts.kind == "points":
        return (
            "Blue: generated points. Orange rings: 3σ around the true modes that were hit; orange "
            f"crosses: modes that no high-quality sample hit. {value}"
        )
    return f"{tiles * tiles} of the {GRID * GRID} stored images of a run are shown. {value}"
