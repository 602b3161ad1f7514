"""Figures of scores over all data sets: pooled means with intervals, and profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.lines import Line2D

from reports.figures.style import (
    GOOD,
    INK,
    MUTED,
    draw_estimate,
    facets,
    for_all_screens,
    key,
    label_below,
    label_rows,
    leftmost,
    set_titles,
    styled,
    to_svg,
)
from reports.statistics.intervals import Interval


@dataclass(frozen=True)
class Profile:
    """The share of runs that score above each threshold, with its band."""

    shares: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


@for_all_screens
def draw_scores(rows: Sequence[tuple[str, float, Interval | None]]) -> str:
    """Draw a dot with its interval for each entrant.

    Args:
        rows: Label, pooled mean and interval, in order.
    """
    if not rows:
        return ""
    with styled():
        canvas, (plot,) = facets(1, columns=1, width=8.6, height=0.9 + 0.27 * len(rows))
        high = max([1.0, *(limits.high for _, _, limits in rows if limits is not None)])
        plot.set_xlim(-0.03, 1.02 * high)
        for place, (_, score, limits) in enumerate(rows):
            draw_estimate(plot, score, limits, place, color=GOOD, markersize=6)
        label_rows(plot, [label for label, _, _ in rows])
        plot.set_ylim(len(rows) - 0.4, -0.6)
        plot.spines["left"].set_visible(False)
        label_below(plot, "score: 0 as an untrained generator or a failed run, 1 as real data")
        return to_svg(canvas)


@for_all_screens
def draw_profiles(
    panels: Mapping[str, tuple[Profile, Profile]], thresholds: Sequence[float]
) -> str:
    """Draw for each trick the profiles of the same cells with it and without.

    Args:
        panels: By trick: with, and without.
        thresholds: Scores, ascending.
    """
    if not panels:
        return ""
    with styled():
        canvas, axes = facets(len(panels), columns=3, width=3.5, height=2.4)
        set_titles(axes, list(panels))
        for plot, pair in zip(axes, panels.values(), strict=True):
            for profile, colour, dash in zip(pair, (GOOD, INK), ("-", (0, (5, 1.5))), strict=True):
                plot.fill_between(thresholds, profile.low, profile.high, color=colour, alpha=0.15,
                                  linewidth=0)  # fmt: skip
                plot.plot(thresholds, profile.shares, color=colour, linestyle=dash, linewidth=1.8)
            plot.set_xlim(0, max(thresholds))
            plot.set_ylim(-0.03, 1.03)
            plot.set_yticks([0, 0.5, 1], ["0", "50", "100"])
            if not leftmost(plot):
                plot.tick_params(labelleft=False)
        canvas.supxlabel("score", fontsize=9, color=INK)
        canvas.supylabel("% of runs above it", fontsize=9, color=INK)
        handles = [
            Line2D([], [], color=GOOD, linewidth=1.8, label="with the trick"),
            Line2D([], [], color=INK, linewidth=1.8, linestyle=(0, (5, 1.5)),
                   label="the same cells without"),
            Line2D([], [], color=MUTED, linewidth=6, alpha=0.3, label="95 % band"),
        ]  # fmt: skip
        key(canvas, handles)
        return to_svg(canvas)
