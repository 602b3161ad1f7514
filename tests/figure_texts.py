"""Reads the texts of figures as they are drawn, and says which of them nobody could read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any
from unittest.mock import patch

from matplotlib.axis import Axis
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.text import Text
from matplotlib.transforms import Bbox

TOUCHING = 0.5
"""Points by which letters' boxes, which have some air in them, may overlap."""


@dataclass(frozen=True)
class DrawnText:
    """One text with where it is, in points, and the axis that it is a tick label of."""

    text: str
    box: Bbox
    axis: int | None


@dataclass
class DrawnFigure:
    """What a figure says, and how large it is."""

    size: Bbox
    texts: list[DrawnText] = field(default_factory=list)

    def faults(self) -> list[str]:
        """List texts that overlap, are cut off at the border, or stand twice on an axis."""
        found = [
            f"{one.text!r} overlaps {other.text!r}"
            for one, other in combinations(self.texts, 2)
            if min(one.box.x1, other.box.x1) - max(one.box.x0, other.box.x0) > TOUCHING
            and min(one.box.y1, other.box.y1) - max(one.box.y0, other.box.y0) > TOUCHING
        ]
        found += [
            f"{one.text!r} is cut off"
            for one in self.texts
            if one.box.x0 < self.size.x0 - TOUCHING
            or one.box.y0 < self.size.y0 - TOUCHING
            or one.box.x1 > self.size.x1 + TOUCHING
            or one.box.y1 > self.size.y1 + TOUCHING
        ]
        ticks = Counter((one.axis, one.text) for one in self.texts if one.axis is not None)
        return found + [f"{text!r} labels {n} ticks" for (_, text), n in ticks.items() if n > 1]


@contextmanager
def drawn_figures() -> Iterator[list[DrawnFigure]]:
    """Keep what every figure says that is written as an SVG meanwhile."""
    figures: list[DrawnFigure] = []
    sheets: list[DrawnFigure] = []
    axes: list[Axis] = []
    print_svg, draw_axis, draw_text = FigureCanvasSVG.print_svg, Axis.draw, Text.draw

    def printing(canvas: FigureCanvasSVG, *arguments: Any, **options: Any) -> None:
        size = 72 * canvas.figure.get_size_inches()
        sheets.append(DrawnFigure(Bbox.from_bounds(0, 0, *size)))
        try:
            print_svg(canvas, *arguments, **options)
            figures.append(sheets[-1])
        finally:
            # A layout that asks for the size of letters begins a drawing and breaks it off.
            sheets.pop()

    def drawing_axis(axis: Axis, *arguments: Any, **options: Any) -> None:
        axes.append(axis)
        draw_axis(axis, *arguments, **options)
        axes.pop()

    def drawing_text(text: Text, renderer: Any, *arguments: Any, **options: Any) -> None:
        draw_text(text, renderer, *arguments, **options)
        if text.get_visible() and text.get_text().strip():
            ticked = axes and text is not axes[-1].label
            box = text.get_window_extent(renderer)
            sheets[-1].texts.append(
                DrawnText(text.get_text(), box, id(axes[-1]) if ticked else None)
            )

    with (
        patch.object(FigureCanvasSVG, "print_svg", printing),
        patch.object(Axis, "draw", drawing_axis),
        patch.object(Text, "draw", drawing_text),
    ):
        yield figures
