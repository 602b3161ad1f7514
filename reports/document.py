"""A report before it is written: sections of sentences, tables, figures and sample images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from reports.figures.style import Drawing
from reports.statistics.claims import Verdict
from reports.tables import Table, shortened

PREDICATES: dict[Verdict, str] = {
    "helps": "helps",
    "hurts": "hurts",
    "fewer failures": "makes fewer runs fail",
    "more failures": "makes more runs fail",
    "no difference": "makes no difference that matters",
    "no evidence": "shows no evidence of an effect",
    "screening": "was only screened",
}


@dataclass(frozen=True)
class Claim:
    """A verdict in plain sentences with its numbers.

    Attributes:
        verdict: The verdict.
        subject: What it is about.
        sentence: What it rests on.
        less_than_margin: Whether what is claimed is shown to be less than matters.
    """

    verdict: Verdict
    subject: str
    sentence: str
    less_than_margin: bool = False

    @property
    def predicate(self) -> str:
        """What is said of the subject, up to the numbers."""
        small = self.less_than_margin and self.verdict != "no difference"
        return PREDICATES[self.verdict] + (", by less than the margin" if small else "")


@dataclass(frozen=True)
class Figure:
    """A drawing.

    Attributes:
        name: File name without suffix.
        title: Caption.
        alt: What it shows, for someone who cannot see it.
        svg: The drawing; empty where there is nothing to draw.
        note: How to read it.
        folded: Whether a page may show it closed at first.
        empty: What to say where there is nothing to draw.
    """

    name: str
    title: str
    alt: str
    svg: Drawing = field(repr=False)
    note: str = ""
    folded: bool = False
    empty: str = "There is nothing to draw yet."


@dataclass(frozen=True)
class Thumbnail:
    """A small image of one run's samples.

    Attributes:
        png: The image.
        caption: Which run, and how it did.
        alt: What it shows, for someone who cannot see it.
        failed: Whether the run had failed by then.
        pixelated: Whether its pixels are data, to be enlarged without smoothing.
        moment: Position among the gallery's moments from which on it is shown.
        ranks: Positions among the gallery's ranks, as which it is shown.
        run: Id of the run.
        others: What the same place shows at other moments and of other ranks.
    """

    png: bytes = field(repr=False)
    caption: str = ""
    alt: str = ""
    failed: bool = False
    pixelated: bool = True
    moment: int = 0
    ranks: tuple[int, ...] = (0,)
    run: str = ""
    others: tuple[Thumbnail, ...] = ()


@dataclass(frozen=True)
class Gallery:
    """Thumbnails in rows and columns, keyed by (row, column); not every place is filled.

    Attributes:
        name: Unlike any other's.
        title: Caption.
        rows: Labels.
        columns: Labels.
        images: By place, what is seen at first: the last moment of the first rank.
        note: How to read it.
        moments: Labels of what a slider can show, in order; one or none where nothing moves.
        ranks: Labels of the runs of a place that can be chosen, in order.
    """

    name: str
    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    images: Mapping[tuple[str, str], Thumbnail] = field(repr=False)
    note: str = ""
    moments: tuple[str, ...] = ()
    ranks: tuple[str, ...] = ()


Block = Table | Figure | Gallery


def left_out(what: str, count: int, most: int) -> str:
    """Say that a figure shows only the first of something; nothing where it shows all."""
    return f" Of {count} {what}, the first {most} are drawn." if count > most else ""


@dataclass(frozen=True)
class Section:
    """A chapter of the report.

    Attributes:
        id: Its anchor.
        title: Its heading.
        lead: Paragraphs that say how to read it.
        claims: What it claims, one by one.
        blocks: Tables, figures and galleries.
        headline: What it claims, in one sentence.
        method: Paragraphs that say how its claims are come by; a page shows them closed at first.
    """

    id: str
    title: str
    lead: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    blocks: tuple[Block, ...] = ()
    headline: str = ""
    method: tuple[str, ...] = ()


@dataclass(frozen=True)
class Document:
    """A whole report.

    Attributes:
        title: The suite's name.
        summary: What it asks.
        facts: Label and value pairs for the head of the page.
        sections: In reading order.
        warnings: What readers have to know before anything else, in sentences.
    """

    title: str
    summary: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    warnings: tuple[str, ...] = ()

    def for_readers(self) -> Document:
        """Cut tables that are longer than anyone reads; their files have them whole."""
        sections = (
            replace(
                section,
                blocks=tuple(shortened(b) if isinstance(b, Table) else b for b in section.blocks),
            )
            for section in self.sections
        )
        return replace(self, sections=tuple(sections))

    def tables(self) -> list[Table]:
        """Return all tables, in order."""
        return [b for section in self.sections for b in section.blocks if isinstance(b, Table)]

    def figures(self) -> list[Figure]:
        """Return all figures that are drawn, in order."""
        blocks = (block for section in self.sections for block in section.blocks)
        return [block for block in blocks if isinstance(block, Figure) and block.svg]
