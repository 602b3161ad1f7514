"""Figure of the learning-rate cliff: how well and how surely a variant learns, rate by rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.lines import Line2D
from matplotlib.patches import Patch
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
    leftmost,
    powers,
    set_titles,
    short,
    styled,
    to_svg,
)


@dataclass(frozen=True)
class RateCurve:
    """What became of one variant over a grid of learning rates.

    Attributes:
        rates: Ascending.
        values: By rate, the metric of each run that did not fail.
        failures: By rate, how many failed.
        medians: By rate, failures ranked worst; infinite where the median run failed.
        basin: First and last rate of the basin; None where nothing learnt.
        start: The metric before training.
    """

    rates: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]
    failures: tuple[int, ...]
    medians: tuple[float, ...]
    basin: tuple[float, float] | None
    start: float | None


@for_all_screens
def draw_rates(panels: Mapping[str, RateCurve], label: str) -> str:
    """Draw one plot per variant: every run a dot, failed ones crosses on the upper edge.

    Args:
        panels: By variant.
        label: Of the vertical axis: the metric in a word.
    """
    if not any(any(curve.values) or any(curve.failures) for curve in panels.values()):
        return ""
    everything = [v for curve in panels.values() for vs in curve.values for v in vs if v > 0]
    everything += [curve.start for curve in panels.values() if curve.start and curve.start > 0]
    low, high = (min(everything), max(everything)) if everything else (0.1, 1.0)
    top = high * (high / low) ** 0.08 * 1.15
    with styled():
        canvas, axes = facets(len(panels), columns=3, width=3.5, height=2.5)
        set_titles(axes, list(panels), pad=14)
        for plot, curve in zip(axes, panels.values(), strict=True):
            if curve.basin is not None:
                # A basin of one rate is as wide as its dot.
                plot.axvspan(curve.basin[0] / 1.12, curve.basin[1] * 1.12, color=GOOD, alpha=0.12)
            if curve.start is not None and curve.start > 0:
                plot.axhline(curve.start, color=MUTED, linewidth=1, linestyle=":")
            for rate, values, failures in zip(
                curve.rates, curve.values, curve.failures, strict=True
            ):
                plot.plot([rate] * len(values), values, "o", color=GOOD, alpha=0.45, markersize=4)
                if failures:
                    plot.plot([rate], [top], "x", color=BAD, markersize=6, clip_on=False)
                    plot.annotate(
                        str(failures), (rate, top), (0, 4), textcoords="offset points",
                        ha="center", fontsize=7.5, color=INK, annotation_clip=False,
                    )  # fmt: skip
            # The line has a gap where the median run failed.
            medians = [m if math.isfinite(m) else math.nan for m in curve.medians]
            plot.plot(curve.rates, medians, color=GOOD, linewidth=1.8)
            plot.set_xscale("log")
            plot.set_yscale("log")
            plot.set_ylim(low / 1.2, top)
            plot.xaxis.set_major_locator(LogLocator(numticks=8))
            plot.xaxis.set_major_formatter(TickText(powers))
            plot.xaxis.set_minor_formatter(NullFormatter())
            plot.yaxis.set_major_locator(LogLocator(numticks=5))
            plot.yaxis.set_minor_locator(LogLocator(subs=(), numticks=5))
            plot.yaxis.set_major_formatter(TickText())
            if not leftmost(plot):
                plot.tick_params(labelleft=False)
        canvas.supxlabel("learning rate of both players", fontsize=9, color=INK)
        canvas.supylabel(short(label, 60), fontsize=9, color=INK)
        handles = [
            Line2D([], [], color=GOOD, marker="o", linestyle="", label="run"),
            Line2D([], [], color=GOOD, linewidth=1.8, label="median"),
            Line2D([], [], color=BAD, marker="x", linestyle="", label="failed (how many)"),
            Patch(color=GOOD, alpha=0.12, label="basin"),
            Line2D([], [], color=MUTED, linestyle=":", label="untrained"),
        ]
        key(canvas, handles)
        return to_svg(canvas)
