"""Figure of what comes before a failure: diagnostics as percentiles among survivors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from reports.figures.style import (
    BAD,
    GOOD,
    INK,
    MUTED,
    facets,
    for_all_screens,
    key,
    leftmost,
    styled,
    to_svg,
)

COLOURS = (GOOD, BAD)
DASHES: tuple[Any, ...] = ("-", "--")


@dataclass(frozen=True)
class Course:
    """One diagnostic of one group of failed runs.

    Attributes:
        rows: Share of training since the failure, then lower quartile, median and upper quartile
            of the percentile among survivors, 0 to 1.
    """

    rows: tuple[tuple[float, float, float, float], ...]


@for_all_screens
def draw_courses(panels: Mapping[str, Mapping[str, Course]]) -> str:
    """Draw one plot per diagnostic, aligned at the failure.

    Args:
        panels: By diagnostic, then by when the runs failed.
    """
    groups = list(next(iter(panels.values()), ()))
    courses = [course for panel in panels.values() for course in panel.values()]
    if not any(course.rows for course in courses):
        return ""
    times = [row[0] for course in courses for row in course.rows]
    low, high = min(times, default=-0.1), max(times, default=0.1)
    with styled():
        canvas, axes = facets(len(panels), columns=4, width=2.7, height=2.0)
        for plot, (name, panel) in zip(axes, panels.items(), strict=True):
            plot.axhspan(25, 75, color=MUTED, alpha=0.12, linewidth=0)
            plot.axhline(50, color=MUTED, linewidth=0.8)
            plot.axvline(0, color=INK, linewidth=1)
            for group, colour, dash in zip(groups, COLOURS, DASHES, strict=False):
                xs, low_ys, ys, high_ys = (
                    [100 * row[k] for row in panel[group].rows] for k in range(4)
                )
                plot.fill_between(xs, low_ys, high_ys, color=colour, alpha=0.18, linewidth=0)
                plot.plot(xs, ys, dash, color=colour, linewidth=1.8)
            plot.set_title(name)
            plot.set_ylim(-4, 104)
            plot.set_yticks([0, 25, 50, 75, 100])
            plot.set_xlim(100 * low - 3, 100 * high + 3)
            if not leftmost(plot):
                plot.tick_params(labelleft=False)
        canvas.supxlabel("% of training since the failure began", fontsize=9, color=INK)
        canvas.supylabel("percentile among survivors", fontsize=9, color=INK)
        handles = [
            *(
                Line2D([], [], color=colour, linestyle=dash, linewidth=1.8, label=f"failed {group}")
                for group, colour, dash in zip(groups, COLOURS, DASHES, strict=False)
            ),
            Patch(color=MUTED, alpha=0.2, label="middle half of the survivors"),
        ]
        key(canvas, handles)
        return to_svg(canvas)
