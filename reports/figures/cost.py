"""Figure of what cells cost and what they give, with those that none beats at both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from reports.figures.style import (
    BAD,
    GOOD,
    INK,
    MUTED,
    TickText,
    facets,
    for_all_screens,
    key,
    label_below,
    set_titles,
    short,
    short_apart,
    styled,
    to_svg,
)
from reports.tables import NO_BREAK

GAP = 6 * NO_BREAK
MOST_NAMES = 12
"""Cells on the front that are named; a table names the others."""


@dataclass(frozen=True)
class Priced:
    """One cell.

    Attributes:
        label: Its name.
        seconds: Per run.
        quality: Its metric; infinite where the median run failed.
        worth: Whether no cell is both cheaper and better.
    """

    label: str
    seconds: float
    quality: float
    worth: bool


@for_all_screens
def draw_cost(panels: Mapping[str, Sequence[Priced]], label: str, *, lower: bool) -> str:
    """Draw quality against seconds, one plot per kind of machine.

    Args:
        panels: By machine: its cells.
        label: Of the vertical axis: the metric in a word.
        lower: Whether less of the metric is better.
    """
    if not any(panels.values()):
        return ""
    with styled():
        width = 8.6 if len(panels) == 1 else 5.0
        canvas, axes = facets(len(panels), columns=2, width=width, height=3.6)
        names: list[str] = []
        set_titles(axes, list(panels))
        for plot, cells in zip(axes, panels.values(), strict=True):
            names += _draw(plot, cells, len(names), lower=lower)
            label_below(plot, "seconds of training per run", low="cheaper")
        arrow = "▾ better" if lower else "▴ better"
        canvas.supylabel(f"{short(label, 22)}, median{GAP}{arrow}", fontsize=9, color=INK)
        handles = [
            Line2D([], [], color=GOOD, marker="o", markersize=7, linewidth=1.2,
                   label="no cell is both cheaper and better"),
            Line2D([], [], color=MUTED, marker="o", markersize=5, linestyle="",
                   markerfacecolor="none", label="another cell"),
            Line2D([], [], color=BAD, marker="x", linestyle="", label="its median run failed"),
        ]  # fmt: skip
        key(canvas, handles)
        keys = [Line2D([], [], linestyle="", label=f"{i + 1}  {n}") for i, n in enumerate(names)]
        if keys:
            width, height = canvas.get_size_inches()
            canvas.set_size_inches(width, height + 0.18 * len(keys))
            key(canvas, keys, below=True)
        return to_svg(canvas)


def _draw(plot: Axes, cells: Sequence[Priced], before: int, *, lower: bool) -> list[str]:
    """Draw one plot and return the names of what it numbers, after so many of other plots."""
    good = [cell for cell in cells if math.isfinite(cell.quality)]
    values = [cell.quality for cell in good] or [1.0]
    logarithmic = min(values) > 0
    low, high = min(values), max(values)
    if logarithmic:
        room = max(high / low, 1.5) ** 0.08
        bottom, top = low / room**2, high * room**2
    else:
        room = (high - low) * 0.08 or 0.5
        bottom, top = low - room, high + room
    edge = top if lower else bottom
    worth = sorted((c for c in good if c.worth), key=lambda cell: cell.seconds)
    others = [c for c in good if not c.worth]
    plot.plot([c.seconds for c in others], [c.quality for c in others], "o", color=MUTED,
              markerfacecolor="none", markersize=5, alpha=0.8)  # fmt: skip
    failed = [c.seconds for c in cells if not math.isfinite(c.quality)]
    if failed:
        # What is not clipped takes room, even where there is nothing to draw.
        plot.plot(failed, [edge] * len(failed), "x", color=BAD, markersize=6, clip_on=False)
    plot.step([c.seconds for c in worth], [c.quality for c in worth], where="post", color=GOOD,
              linewidth=1.2, alpha=0.7)  # fmt: skip
    plot.plot([c.seconds for c in worth], [c.quality for c in worth], "o", color=GOOD, markersize=7)
    named = worth[:MOST_NAMES]
    for number, cell in enumerate(named, before + 1):
        plot.annotate(str(number), (cell.seconds, cell.quality), (5, 4), color=INK, fontsize=9,
                      textcoords="offset points", fontweight="bold")  # fmt: skip
    plot.set_xscale("log")
    if logarithmic:
        plot.set_yscale("log")
        # Under one and a half decades there would be one tick or none.
        ticks: tuple[float, ...] = (1.0,) if top / bottom > 30 else (1.0, 2.0, 5.0)
        plot.yaxis.set_major_locator(LogLocator(subs=ticks, numticks=6))
        plot.yaxis.set_minor_locator(LogLocator(subs=(), numticks=5))
        plot.yaxis.set_major_formatter(TickText())
    plot.set_ylim(bottom, top)
    seconds = [cell.seconds for cell in cells]
    span = max(max(seconds) / min(seconds), 1.5)
    plot.set_xlim(min(seconds) / span**0.06, max(seconds) * span**0.06)
    subs: tuple[float, ...] = (1.0, 2.0, 5.0) if span > 8 else tuple(float(k) for k in range(1, 10))
    plot.xaxis.set_major_locator(LogLocator(subs=subs, numticks=8))
    plot.xaxis.set_major_formatter(TickText())
    plot.xaxis.set_minor_formatter(NullFormatter())
    return short_apart((cell.label for cell in named), 60)
