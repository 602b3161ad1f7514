"""Figures of what tricks change: a forest of intervals, and a map over all cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator

from reports.effects import Effect
from reports.figures.style import (
    BAD,
    GOOD,
    INK,
    MUTED,
    draw_estimate,
    facets,
    fitted,
    for_all_screens,
    label_below,
    label_rows,
    room,
    styled,
    to_svg,
)
from reports.tables import significant

DIVERGING = LinearSegmentedColormap.from_list(
    "blue-white-orange", ["#0b5a94", "#6aaed6", "#f4f4f2", "#f2a66a", "#b84a00"]
)
"""Blue is better, orange is worse; told apart by every common kind of colour vision."""
BLUES = LinearSegmentedColormap.from_list("blues", ["#f1f4f7", "#7fb3d9", "#08457e"])
COLOURS = {"helps": GOOD, "fewer failures": GOOD, "hurts": BAD, "more failures": BAD}
"""Of verdicts that claim a change."""
REACH = 2
"""Powers of two at which the colours of ratios end."""
ON_DARK, ON_LIGHT = "#ffffff", "#000000"
WIDEST, ROW_LABELS = 12.0, 2.6
"""Inches of a map that a page shows at its own size, and of the labels of its rows."""
HALF = np.array([0.47, 0.44])
"""Of a field's width and height, where the distance of two is one."""


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """Frame ratios symmetrically around 1, at least from ½ to 2, at most from 1/32 to 32."""
    reach = max([abs(math.log2(value)) for value in values if value > 0] + [1.0])
    reach = min(reach * 1.08, 5.0)
    return 2.0**-reach, 2.0**reach


@for_all_screens
def forest(effects: Sequence[Effect]) -> str:
    """Draw each trick's ratio with its interval, on a log axis with 1 marked."""
    shown = [effect for effect in effects if effect.interval is not None]
    numbers = [
        end for e in shown for end in (e.ratio or 1.0, *(e.interval or ())) if 0 < end < math.inf
    ]
    if not shown:
        return ""
    low, high = _limits(numbers)
    with styled():
        canvas, (axes,) = facets(1, columns=1, width=8.6, height=0.9 + 0.36 * len(shown))
        axes.set_xscale("log", base=2)
        axes.set_xlim(low, high)
        axes.axvline(1, color=INK, linewidth=1)
        for row, effect in enumerate(shown):
            colour = COLOURS.get(effect.verdict or "", MUTED)
            claimed = effect.verdict in ("helps", "hurts")
            draw_estimate(
                axes,
                effect.ratio,
                effect.interval,
                row,
                width=2.2,
                color=colour,
                markersize=7,
                markerfacecolor=colour if claimed else "none",
                markeredgewidth=1.6,
            )
        axes.set_ylim(len(shown) - 0.4, -0.6)
        label_rows(axes, [effect.tricks for effect in shown])
        axes.spines["left"].set_visible(False)
        ticks = max(3, int(room(8.6) / 1.3))
        axes.xaxis.set_major_locator(LogLocator(base=2, numticks=ticks))
        axes.xaxis.set_major_formatter(lambda value, _: f"×{significant(value, 2)}")
        label_below(axes, "primary metric with the trick / without", low="better", high="worse")
        return to_svg(canvas)


def readable_on(colour: tuple[float, float, float, float]) -> str:
    """Return the dark or the light ink, whichever stands out more from a field's colour.

    Fields keep their colour on a dark page, so these inks are none that such a page replaces.
    """
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in colour[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    # The contrast with white and with black is equal at this luminance (WCAG 2.1).
    return ON_DARK if luminance < 0.179 else ON_LIGHT


class Field(NamedTuple):
    """A coloured field of a map.

    Attributes:
        column: Where it is.
        row: Where it is.
        colour: Red, green, blue, opacity.
        framed: Whether it has a frame.
    """

    column: int
    row: int
    colour: tuple[float, float, float, float]
    framed: bool = False


def _draw_fields(axes: Axes, fields: Sequence[Field]) -> None:
    """Draw fields as one artist, since a map has hundreds."""
    places = np.array([(field.column, field.row) for field in fields]).reshape(-1, 1, 2)
    axes.add_collection(
        PolyCollection(
            places + HALF * [(-1, -1), (1, -1), (1, 1), (-1, 1)],
            facecolors=[field.colour for field in fields],
            edgecolors=[INK if field.framed else "none" for field in fields],
            linewidths=1.8,
        ),
        autolim=False,
    )


def _write(axes: Axes, column: float, row: float, text: str, **style: Any) -> None:
    """Write into a field, which no layout has to make room for."""
    axes.text(column, row, text, ha="center", va="center", in_layout=False, **style)


class Piece(NamedTuple):
    """A map, or what of it fits side by side.

    Attributes:
        plot: Where it is drawn.
        columns: Labels of its columns.
        width: Of one of them, in inches.
    """

    plot: Axes
    columns: Sequence[str]
    width: float


def names_of_rows() -> float:
    """Return the inches that a map gives to the names of its rows."""
    return min(ROW_LABELS, 0.42 * room(WIDEST))


def pieces_of(
    rows: int, columns: Sequence[str], *, width: float, height: float, rest: float
) -> tuple[Canvas, list[Piece]]:
    """Make room for a map; one with more columns than fit goes on below its beginning.

    Args:
        rows: Number of rows.
        columns: Labels of the columns.
        width: Of a column, in inches.
        height: Of a row, in inches.
        rest: What else there is under the map, in inches.
    """
    names = names_of_rows()
    most = max(1, int((room(WIDEST) - names) / width))
    count = max(1, -(-len(columns) // most))
    each = -(-len(columns) // count)
    size = room(max(names + each * width, 4.2)), count * (0.5 + height * rows) + rest
    canvas = Canvas(figsize=size, layout="constrained")
    plots = canvas.subplots(count, 1, squeeze=False)[:, 0]
    parts = [columns[i * each : (i + 1) * each] for i in range(count)]
    return canvas, [
        Piece(plot, part, (size[0] - names - 0.35) / each)
        for plot, part in zip(plots, parts, strict=True)
    ]


def _finish_maps(pieces: Sequence[Piece], rows: Sequence[str], columns: Sequence[str]) -> None:
    width = min(piece.width for piece in pieces)
    labels = dict(zip(columns, fitted(columns, width - 0.12), strict=True))
    for axes, shown, _ in pieces:
        # The last of several may have fewer columns; its fields are as wide as all others.
        axes.set_xlim(-0.5, len(pieces[0].columns) - 0.5)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        label_rows(axes, rows, names_of_rows())
        axes.set_xticks(range(len(shown)), [labels[label] for label in shown])
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.grid(visible=False)
        for spine in axes.spines.values():
            spine.set_visible(False)


def excludes_nothing(effect: Effect) -> bool:
    """Say whether the interval of the survivors' ratio lies on one side of 1."""
    interval = effect.survivors_interval
    return interval is not None and not interval.low <= 1 <= interval.high


@for_all_screens
def effect_map(
    rows: Sequence[str], columns: Sequence[str], effects: dict[tuple[str, str], Effect]
) -> str:
    """Draw the survivors' ratio of every cell as a coloured field with its number and its failures.

    Where the interval over seeds excludes 1, the field has a frame and its number a star.

    Args:
        rows: Labels of data set and variant.
        columns: Labels of tricks.
        effects: By (row, column); where there is none, the field is a dash.
    """
    if not any(effect.pairs for effect in effects.values()):
        return ""
    with styled():
        canvas, pieces = pieces_of(len(rows), columns, width=1.35, height=0.42, rest=1.0)
        for piece in pieces:
            fields: list[Field] = []
            for i, row in enumerate(rows):
                for j, column in enumerate(piece.columns):
                    effect = effects.get((row, column))
                    if effect is None or effect.pairs == 0:
                        text = "–" if effect is None else "no pair yet"
                        _write(piece.plot, j, i, text, color=MUTED, fontsize=7.5)
                        continue
                    fields += _draw_effect(piece.plot, j, i, effect)
            _draw_fields(piece.plot, fields)
        _finish_maps(pieces, rows, columns)
        scale = ScalarMappable(Normalize(-REACH, REACH), DIVERGING)
        width, height = canvas.get_size_inches() - (names_of_rows(), 0)
        length = min(width, 4.0)
        bar = canvas.colorbar(
            scale, ax=[piece.plot for piece in pieces], location="bottom", aspect=length / 0.1,
            shrink=length / width, fraction=0.15 / height, pad=0.12 / height,
        )  # fmt: skip
        ticks = range(-REACH, REACH + 1, 1 if length > 2.4 else 2)
        bar.set_ticks(list(ticks), labels=[f"×{significant(2.0**k, 2)}" for k in ticks])
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0)
        label_below(bar.ax, "with the trick / without", width - 0.2, low="better", high="worse")
        return to_svg(canvas)


def _draw_effect(axes: Axes, column: int, row: int, effect: Effect) -> list[Field]:
    """Write a ratio and its failures, and return the field behind them, if it has a colour."""
    with_trick, without = effect.failures
    failures = f"failed {without} → {with_trick} of {effect.pairs}"
    ratio = effect.survivors_ratio
    if ratio is None:
        # There is no colour for what has no ratio; hatching says that it was run.
        axes.add_patch(
            Rectangle((column - HALF[0], row - HALF[1]), *(2 * HALF), facecolor="none",
                      edgecolor=MUTED, linewidth=0.6, hatch="////", alpha=0.45)
        )  # fmt: skip
        fields: list[Field] = []
        label, ink, size = "no pair survived", INK, 7.5
    else:
        share = 0.5 + max(-1.0, min(1.0, math.log2(ratio) / REACH)) / 2
        colour = DIVERGING(share)
        marked = excludes_nothing(effect)
        fields = [Field(column, row, colour, marked)]
        star = " ★" if marked else ""
        label, ink, size = f"×{significant(ratio, 2)}{star}", readable_on(colour), 9.5
    lift = 0.14 if with_trick or without else 0
    _write(axes, column, row - lift, label, color=ink, fontsize=size)
    if lift:
        _write(axes, column, row + 0.23, failures, color=ink, fontsize=7)
    return fields


@for_all_screens
def share_map(
    rows: Sequence[str], columns: Sequence[str], shares: dict[tuple[str, str], tuple[float, str]]
) -> str:
    """Draw shares between 0 and 1 as fields of a blue that deepens with the share.

    Args:
        rows: Labels of variants.
        columns: Labels of tricks.
        shares: By (row, column): the share, and a text such as ``7.5 / 8``.
    """
    if not shares:
        return ""
    with styled():
        canvas, pieces = pieces_of(len(rows), columns, width=1.35, height=0.36, rest=0.1)
        for piece in pieces:
            fields: list[Field] = []
            for i, row in enumerate(rows):
                for j, column in enumerate(piece.columns):
                    if (row, column) not in shares:
                        _write(piece.plot, j, i, "–", color=MUTED, fontsize=7.5)
                        continue
                    share, label = shares[row, column]
                    fields.append(Field(j, i, BLUES(share)))
                    _write(piece.plot, j, i, label, color=readable_on(BLUES(share)), fontsize=9)
            _draw_fields(piece.plot, fields)
        _finish_maps(pieces, rows, columns)
        return to_svg(canvas)
