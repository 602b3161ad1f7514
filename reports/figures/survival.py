"""Survival curves: the share of runs that have not failed yet, over training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from reports.figures.style import (
    INK,
    facets,
    for_all_screens,
    leftmost,
    legend,
    set_titles,
    styled,
    to_svg,
    trick_styles,
)
from reports.statistics.survival import SurvivalCurve

STAGGER = 0.006
"""Lines on one another are drawn so much apart, or only the last would be seen."""


@for_all_screens
def draw_survival(panels: Mapping[str, Mapping[str, SurvivalCurve]]) -> str:
    """Draw one small plot per variant, a falling line per trick.

    Args:
        panels: By variant, then by trick, in one order for all; times are shares of training.
    """
    if not any(panels.values()):
        return ""
    tricks = list(dict.fromkeys(trick for panel in panels.values() for trick in panel))
    styles = trick_styles(tricks)
    with styled():
        canvas, axes = facets(len(panels), columns=3, width=3.5, height=2.3)
        set_titles(axes, list(panels))
        for plot, panel in zip(axes, panels.values(), strict=True):
            for trick, curve in panel.items():
                _draw(plot, curve, styles[trick], STAGGER * tricks.index(trick), trick == tricks[0])
            plot.set_xlim(0, 1.02)
            plot.set_ylim(-0.06, 1.06)
            plot.set_xticks([0, 0.5, 1], ["0", "50", "100"])
            plot.set_yticks([0, 0.5, 1], ["0", "50", "100"])
            if not leftmost(plot):
                plot.tick_params(labelleft=False)
        canvas.supxlabel("% of training", fontsize=9, color=INK)
        canvas.supylabel("% of runs that have not failed", fontsize=9, color=INK)
        legend(canvas, styles)
        return to_svg(canvas)


def _draw(
    plot: Axes, curve: SurvivalCurve, style: dict[str, Any], offset: float, band: bool
) -> None:
    xs = [0.0, *curve.times]
    ys = [1.0, *curve.shares]
    if xs[-1] < 1:
        xs, ys = [*xs, 1.0], [*ys, ys[-1]]
    plot.step(xs, [y - offset for y in ys], where="post", linewidth=1.8, **style)
    if band:
        low = [1.0, *(i.low for i in curve.intervals)]
        high = [1.0, *(i.high for i in curve.intervals)]
        times = [0.0, *curve.times]
        plot.fill_between(
            times, low, high, step="post", alpha=0.15, color=style["color"], linewidth=0
        )
