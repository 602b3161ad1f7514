"""A figure of rank correlations: every seed a dot, their mean with its interval, seeds compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.lines import Line2D

from reports.figures.style import (
    BAD,
    GOOD,
    MUTED,
    draw_estimate,
    facets,
    for_all_screens,
    key,
    label_rows,
    leftmost,
    styled,
    to_svg,
)
from reports.statistics.intervals import Interval


@dataclass(frozen=True)
class Correlations:
    """How one diagnostic of one cell goes with quality.

    Attributes:
        seeds: Correlation over each run.
        mean: Their mean; None without any.
        interval: Of the mean.
        final: Correlation over seeds at the end of training; None for too few.
        final_interval: Of that.
    """

    seeds: tuple[float, ...] = ()
    mean: float | None = None
    interval: Interval | None = None
    final: float | None = None
    final_interval: Interval | None = None


@for_all_screens
def draw_correlations(panels: Mapping[str, Sequence[tuple[str, Correlations]]]) -> str:
    """Draw one plot per diagnostic, with a line for each cell.

    Args:
        panels: By diagnostic: (label, correlations) of each cell, the same cells in each.
    """
    labels = [label for label, _ in next(iter(panels.values()), ())]
    if not labels:
        return ""
    with styled():
        height = 1.0 + 0.44 * len(labels)
        canvas, axes = facets(len(panels), columns=len(panels), width=2.9, height=height)
        for plot, (name, rows) in zip(axes, panels.items(), strict=True):
            plot.set_xlim(-1.05, 1.05)
            plot.axvline(0, color=MUTED, linewidth=1)
            for row, (_, correlations) in enumerate(rows):
                over, across = row - 0.13, row + 0.2
                plot.plot(correlations.seeds, [over] * len(correlations.seeds), "o", color=GOOD,
                          markersize=3.5, alpha=0.35, markeredgewidth=0)  # fmt: skip
                for value, limits, place, colour, marker in (
                    (correlations.mean, correlations.interval, over, GOOD, "o"),
                    (correlations.final, correlations.final_interval, across, BAD, "D"),
                ):
                    draw_estimate(plot, value, limits, place, width=1.6, color=colour,
                                  marker=marker, markersize=5)  # fmt: skip
            plot.set_title(name)
            plot.set_xticks([-1, 0, 1], ["−1", "0", "1"])
            plot.set_ylim(len(labels) - 0.5, -0.5)
            label_rows(plot, labels)
            plot.tick_params(axis="y", labelleft=leftmost(plot))
        handles = [
            Line2D([], [], color=GOOD, marker="o", markersize=5, linewidth=1.6,
                   label="over a run: mean over seeds, 95 %"),
            Line2D([], [], color=GOOD, marker="o", markersize=3.5, alpha=0.35, linestyle="",
                   label="one seed"),
            Line2D([], [], color=BAD, marker="D", markersize=5, linewidth=1.6,
                   label="across seeds at the end, 95 %"),
        ]  # fmt: skip
        key(canvas, handles)
        return to_svg(canvas)
