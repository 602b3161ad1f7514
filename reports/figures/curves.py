"""Figures over training: distance by images seen, diagnostics, and the cliff of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from reports.figures.lines import LOG_SPAN
from reports.figures.style import (
    BAD,
    GOOD,
    INK,
    MUTED,
    TickText,
    facet_rows,
    facets,
    for_all_screens,
    goes_on_below,
    key,
    leftmost,
    legend,
    powers,
    set_titles,
    short,
    styled,
    thin,
    to_svg,
    trick_styles,
)

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Curve:
    """One run's curve.

    Attributes:
        points: (kimg, value), finite.
        died: Whether the run diverged where the curve ends.
        onset: kimg at which a collapsed run collapsed; None for others.
        drawn: Whether it has a line of its own; the median takes it in either way.
    """

    points: Points
    died: bool = False
    onset: float | None = None
    drawn: bool = True


def median_curve(curves: Sequence[Points]) -> list[tuple[float, float]]:
    """Return the median at each kimg that at least half of the curves reach.

    Where fewer are left, the median would be one of the survivors only.
    """
    points = np.array([point for curve in curves for point in curve]).reshape(-1, 2)
    places, which, counts = np.unique(points[:, 0], return_inverse=True, return_counts=True)
    ordered = points[np.lexsort((points[:, 1], which)), 1]
    first = np.cumsum(counts) - counts
    middle = (ordered[first + (counts - 1) // 2] + ordered[first + counts // 2]) / 2
    reached = 2 * counts >= len(curves)
    return list(zip(places[reached].tolist(), middle[reached].tolist(), strict=True))


@for_all_screens
def draw_curves(panels: Mapping[str, Mapping[str, Sequence[Curve]]], label: str) -> str:
    """Draw one small plot per variant: every seed thin, each trick's median bold.

    Args:
        panels: By variant, then by trick: one curve per seed. Tricks of all panels must come in
            one order, the baseline first.
        label: Of the vertical axis: the metric in a word; its protocol stands in the title.
    """
    if not any(c.points for panel in panels.values() for cs in panel.values() for c in cs):
        return ""
    tricks = list(dict.fromkeys(trick for panel in panels.values() for trick in panel))
    styles = trick_styles(tricks)
    with styled():
        canvas, axes = facets(len(panels), columns=3, width=3.5, height=2.5)
        set_titles(axes, list(panels))
        for plot, panel in zip(axes, panels.values(), strict=True):
            for trick, curves in panel.items():
                _draw_seeds(plot, curves, styles[trick])
            plot.xaxis.set_major_locator(MaxNLocator(5))
        values = [
            y for panel in panels.values() for cs in panel.values() for c in cs for _, y in c.points
        ]
        _share_scale(axes, values)
        canvas.supxlabel("thousand images or points seen by D", fontsize=9, color=INK)
        canvas.supylabel(short(label, 60), fontsize=9, color=INK)
        _legend_with_deaths(canvas, styles)
        return to_svg(canvas)


def _draw_seeds(plot: Axes, curves: Sequence[Curve], style: dict[str, Any]) -> None:
    # One artist for all lines and one for all marks of a kind: a figure has hundreds.
    drawn = [(curve, thin(curve.points)) for curve in curves if curve.drawn and curve.points]
    plot.add_collection(
        LineCollection(
            [points for _, points in drawn], linewidths=0.7, alpha=0.4,
            colors=style["color"], linestyles=[style["linestyle"]],
        )
    )  # fmt: skip
    deaths = [points[-1] for curve, points in drawn if curve.died]
    plot.plot(*_columns(deaths), "x", color=style["color"], markersize=6, markeredgewidth=1.5)
    onsets = [
        (curve.onset, float(np.interp(curve.onset, *_columns(points))))
        for curve, points in drawn
        if curve.onset is not None
    ]
    plot.plot(*_columns(onsets), "v", color=style["color"], markersize=5, markerfacecolor="none")
    xs, ys = _columns(thin(median_curve([curve.points for curve in curves])))
    plot.plot(xs, ys, linewidth=2, **style)


@for_all_screens
def draw_diagnostics(
    rows: Mapping[str, Mapping[str, Mapping[str, Points]]],
    variants: Sequence[str],
    comparable: frozenset[str],
) -> str:
    """Draw medians over seeds of training diagnostics: a row of plots for each, a column a variant.

    Args:
        rows: By diagnostic, then by variant, then by trick: (kimg, median).
        variants: Columns.
        comparable: Diagnostics that mean the same for all variants and share a vertical scale.
    """
    if not any(points for row in rows.values() for p in row.values() for points in p.values()):
        return ""
    tricks = list(
        dict.fromkeys(t for row in rows.values() for panel in row.values() for t in panel)
    )
    styles = trick_styles(tricks)
    with styled():
        canvas, lines = facet_rows(len(rows), len(variants), width=1.95, height=1.5)
        for line, (name, row) in zip(lines, rows.items(), strict=True):
            if line is lines[0] or goes_on_below(line):
                set_titles(line, variants, size=9, margin=0.85)
            for plot, variant in zip(line, variants, strict=True):
                for trick, points in row.get(variant, {}).items():
                    plot.plot(*_columns(thin(points, 40)), linewidth=1.1, **styles[trick])
                if variant not in row:
                    # An objective without a boundary has no accuracy; axes would say it was 0.
                    plot.set_xticks([])
                    plot.set_yticks([])
                    plot.text(0.5, 0.5, "not defined", transform=plot.transAxes, ha="center",
                              va="center", color=MUTED, fontsize=8)  # fmt: skip
                    continue
                plot.xaxis.set_major_locator(MaxNLocator(3))
            by_plot = [
                [y for points in row.get(variant, {}).values() for _, y in points]
                for variant in variants
            ]
            if name in comparable:
                _share_scale(line, [y for values in by_plot for y in values], of_variant=True)
            else:
                for plot, values in zip(line, by_plot, strict=True):
                    _share_scale([plot], values)
            line[0].set_ylabel(name)
        canvas.supxlabel("thousand images or points seen by D", fontsize=9, color=INK)
        legend(canvas, styles)
        return to_svg(canvas)


@dataclass(frozen=True)
class Cliff:
    """Trials by a number that was searched.

    Attributes:
        points: (number, value of the trial), None where it failed.
        default: The number at the default setting; None where it is not known.
        logarithmic: Whether its range was searched over the logarithm.
    """

    points: Sequence[tuple[float, float | None]]
    default: float | None = None
    logarithmic: bool = True

    def shown(self, number: float | None) -> bool:
        """Say whether a number has a place on the axis."""
        return number is not None and (number > 0 or not self.logarithmic)


@for_all_screens
def draw_cliff(cliffs: Mapping[str, Cliff]) -> str:
    """Draw trial values by what was searched; failed trials stand as crosses on the upper edge.

    Args:
        cliffs: By the number's name, such as ``lr_g``.
    """
    values = [v for cliff in cliffs.values() for _, v in cliff.points if v is not None and v > 0]
    if not any(cliff.points for cliff in cliffs.values()):
        return ""
    with styled():
        canvas, axes = facets(len(cliffs), columns=2, width=4.4, height=2.7)
        top = max(values) * 1.6 if values else 1.0
        for plot, (name, cliff) in zip(axes, cliffs.items(), strict=True):
            points = [(number, v) for number, v in cliff.points if cliff.shown(number)]
            finished = [(number, v) for number, v in points if v is not None and v > 0]
            failed = [number for number, v in points if v is None]
            plot.plot(*_columns(finished), "o", color=GOOD, alpha=0.75, markersize=5)
            if failed:
                # What is not clipped takes room, even where there is nothing to draw.
                plot.plot(failed, [top] * len(failed), "x", color=BAD, markersize=6, clip_on=False)
            if cliff.logarithmic:
                plot.set_xscale("log")
                plot.xaxis.set_major_formatter(TickText(powers))
                plot.xaxis.set_minor_formatter(NullFormatter())
            else:
                plot.xaxis.set_major_locator(MaxNLocator(4))
                plot.xaxis.set_major_formatter(TickText())
            if cliff.default is not None and cliff.shown(cliff.default):
                plot.axvline(cliff.default, color=MUTED, linewidth=1, linestyle="--")
            plot.set_xlabel(short(name))
        _share_scale(axes, [*values, top])
        if axes:
            axes[0].set_ylabel("value of the trial")
        handles = [
            Line2D([], [], color=GOOD, marker="o", linestyle="", label="trial"),
            Line2D([], [], color=BAD, marker="x", linestyle="", label="failed"),
            Line2D([], [], color=MUTED, linestyle="--", label="default"),
        ]
        key(canvas, handles)
        return to_svg(canvas)


def _columns(points: Points) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _share_scale(
    axes: Sequence[Axes], values: Sequence[float], *, of_variant: bool = False
) -> None:
    """Give plots one vertical scale, logarithmic where the values span decades."""
    if not values or not axes:
        return
    low, high = min(values), max(values)
    logarithmic = low > 0 and high > LOG_SPAN * low
    for position, plot in enumerate(axes):
        if logarithmic:
            plot.set_yscale("log")
            plot.set_ylim(low / 1.15, high * 1.15)
            plot.yaxis.set_major_locator(LogLocator(numticks=5))
            plot.yaxis.set_minor_locator(LogLocator(subs=(), numticks=5))
            plot.yaxis.set_major_formatter(TickText())
        else:
            margin = 0.05 * (high - low) or 0.5
            plot.set_ylim(low - margin, high + margin)
            plot.yaxis.set_major_locator(MaxNLocator(4))
            plot.yaxis.set_major_formatter(TickText())
        if of_variant and position and not leftmost(plot):
            plot.tick_params(labelleft=False)


def _legend_with_deaths(canvas: Canvas, styles: Mapping[str, dict[str, Any]]) -> None:
    died = Line2D([], [], color=MUTED, marker="x", linestyle="", label="died")
    began = Line2D([], [], color=MUTED, marker="v", markerfacecolor="none", linestyle="",
                   label="collapse began")  # fmt: skip
    legend(canvas, styles, (died, began))
