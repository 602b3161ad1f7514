"""A figure of what probes found: trained and untrained discriminators beside their baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from reports.figures.style import (
    GOOD,
    INK,
    MUTED,
    PALETTE,
    TickText,
    draw_estimate,
    facets,
    for_all_screens,
    key,
    label_rows,
    room,
    short,
    styled,
    to_svg,
)
from reports.statistics.intervals import Interval
from reports.tables import NO_BREAK

BASELINES: tuple[tuple[str, Any], ...] = ((PALETTE[1], "--"), (PALETTE[2], ":"))
"""Colour and dash of each baseline, in order."""


@dataclass(frozen=True)
class Probed:
    """One cell.

    Attributes:
        trained: Accuracy of each seed's trained D.
        mean: Their mean.
        interval: Of the mean.
        untrained: Mean accuracy of the same discriminators before training; None without any.
    """

    trained: tuple[float, ...]
    mean: float
    interval: Interval | None
    untrained: float | None


@for_all_screens
def draw_probes(rows: Sequence[tuple[str, Probed]], baselines: Mapping[str, float]) -> str:
    """Draw accuracies, a line per cell, over upright lines for what needs no discriminator.

    Args:
        rows: Label and numbers of each cell.
        baselines: Accuracy by label.
    """
    if not rows:
        return ""
    with styled():
        height = 1.25 + 0.36 * len(rows)
        canvas, (plot,) = facets(1, columns=1, width=8.2, height=height)
        handles = []
        for (label, accuracy), (colour, dash) in zip(baselines.items(), BASELINES, strict=False):
            plot.axvline(accuracy, color=colour, linewidth=1.6, linestyle=dash)
            handles.append(
                Line2D([], [], color=colour, linewidth=1.6, linestyle=dash, label=short(label))
            )
        plot.set_xlim(*_limits(rows, baselines))
        for row, (_, probed) in enumerate(rows):
            below = [row + 0.22] * len(probed.trained)
            plot.plot(probed.trained, below, "o", color=GOOD, markersize=3.5, alpha=0.35,
                      markeredgewidth=0)  # fmt: skip
            draw_estimate(plot, probed.mean, probed.interval, row, color=GOOD, markersize=6.5)
            if probed.untrained is not None:
                plot.plot([probed.untrained], [row], "o", color=MUTED, markersize=6.5,
                          markerfacecolor="none", markeredgewidth=1.4)  # fmt: skip
        label_rows(plot, [label for label, _ in rows])
        plot.set_ylim(len(rows) - 0.5, -0.5)
        plot.xaxis.set_major_locator(MaxNLocator(max(2, int(room(8.2) / 1.6))))
        plot.xaxis.set_major_formatter(TickText(_percent))
        plot.set_xlabel("accuracy of a linear classifier", color=INK)
        handles += [
            Line2D([], [], color=GOOD, marker="o", markersize=6.5, linewidth=2,
                   label="trained D: mean over seeds, 95 %"),
            Line2D([], [], color=MUTED, marker="o", markersize=6.5, markerfacecolor="none",
                   linestyle="", label="the same D untrained"),
        ]  # fmt: skip
        key(canvas, handles)
        return to_svg(canvas)


def _percent(value: float, digits: int) -> str:
    return f"{100 * value:.{max(0, digits - 2)}f}{NO_BREAK}%"


def _limits(
    rows: Sequence[tuple[str, Probed]], baselines: Mapping[str, float]
) -> tuple[float, float]:
    """Frame all that is drawn."""
    shown = [*baselines.values()]
    for _, probed in rows:
        shown += [*probed.trained, probed.mean, *(probed.interval or ())]
        shown += [] if probed.untrained is None else [probed.untrained]
    margin = 0.04 * (max(shown) - min(shown)) or 0.05
    return min(shown) - margin, max(shown) + margin
