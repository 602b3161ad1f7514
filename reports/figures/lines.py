"""Small line plots as SVG text: cheap enough for a page per run, coloured by the page's classes.

Lengths inside a plot are tenths of a pixel, so that coordinates are whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape

from reports.tables import printable

LOG_SPAN = 20.0
"""Largest over smallest value from which an axis becomes logarithmic."""
SMALL, LARGE = (3300, 1560), (6600, 3000)
"""Width and height of plots; letters are of one size in both."""
LEFT, RIGHT, TOP, BOTTOM = 470, 60, 70, 220
HUGE = 1e300
"""What lies beyond is drawn there: differences of two such numbers are still finite."""
STEPS = (1.0, 2.0, 5.0, 10.0)

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """One line of a plot.

    Attributes:
        points: (kimg, value), finite, from left to right.
        kind: A class of the page's style: ``first``, ``second``, or ``raw`` for raw weights.
        seen: Whether every point is a measurement that gets a dot.
    """

    points: Points
    kind: str = "first"
    seen: bool = False


@dataclass(frozen=True)
class Axis:
    """Places of values along an axis, from ``start`` to ``stop``.

    Attributes:
        low: Value at ``start``.
        high: Value at ``stop``; unlike ``low``.
        start: Where the axis begins.
        stop: Where it ends.
        logarithmic: Whether equal ratios are equal distances.
        ticks: Values to label.
    """

    low: float
    high: float
    start: int
    stop: int
    logarithmic: bool
    ticks: tuple[float, ...]

    def place(self, values: Sequence[float]) -> list[int]:
        """Return where values lie."""
        if self.logarithmic:
            low, high = math.log(self.low), math.log(self.high)
            scale = (self.stop - self.start) / (high - low)
            log = math.log
            return [round(self.start + (log(value) - low) * scale) for value in values]
        scale, low = (self.stop - self.start) / (self.high - self.low), self.low
        return [round(self.start + (value - low) * scale) for value in values]


def linear_ticks(low: float, high: float, most: int) -> tuple[float, ...]:
    """Return round numbers between two values, at most so many and at least two where it can be."""
    raw = (high - low) / most
    size = 10.0 ** math.floor(math.log10(raw))
    step = next((size * f for f in STEPS if size * f >= raw * (1 - 1e-9)), 10 * size)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(i * step for i in range(first, last + 1))


def log_ticks(low: float, high: float, most: int) -> tuple[float, ...]:
    """Return powers of ten between two positive values, or 1, 2 and 5 times those."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    if last - first >= 1:
        stride = -(-(last - first + 1) // most)
        return tuple(10.0**i for i in range(first, last + 1, stride))
    candidates = [factor * 10.0**i for i in range(first - 1, last + 1) for factor in (1, 2, 5)]
    return tuple(tick for tick in candidates if low <= tick <= high)


def kimg_axis(end: float, size: tuple[int, int] = SMALL) -> Axis:
    """Lay out the axis of thousands of images that D has seen, from 0 on."""
    end = end if 0 < end < HUGE else 1.0
    most = 4 if size == SMALL else 8
    return Axis(0.0, end, LEFT, size[0] - RIGHT, False, linear_ticks(0.0, end, most))


def value_axis(values: Sequence[float], bottom: int) -> Axis:
    """Lay out the axis of some values, logarithmic where they are positive and span decades."""
    low, high = min(values), max(values)
    if low > 0 and high > LOG_SPAN * low:
        low, high = low / 1.15, high * 1.15
        return Axis(low, high, bottom, TOP, True, log_ticks(low, high, 4))
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 0.5
    low, high = low - margin, high + margin
    if not high > low:
        # So close together that rounding takes the margin.
        low, high = low - 1.0, high + 1.0
    return Axis(low, high, bottom, TOP, False, linear_ticks(low, high, 4))


@lru_cache(64)
def kimg_ticks(axis: Axis, bottom: int) -> str:
    """Write the numbers below an axis, which all plots of a page have in common."""
    return "".join(
        f'<text x="{place}" y="{bottom + 160}">{tick_text(tick)}</text>'
        for tick, place in zip(axis.ticks, axis.place(axis.ticks), strict=True)
    )


def tick_text(value: float) -> str:
    """Write the number of a tick."""
    text = f"{value:.0f}" if 1e4 <= abs(value) < 1e5 else f"{value:.4g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        text = f"{mantissa}e{int(exponent)}"
    return text.replace("-", "−")


def clipped(values: Sequence[float]) -> list[float]:
    """Bring values beyond all measure back to where they can be drawn."""
    if min(values, default=0.0) >= -HUGE and max(values, default=0.0) <= HUGE:
        return list(values)
    return [min(max(value, -HUGE), HUGE) for value in values]


def plot(
    lines: Sequence[Line],
    x: Axis,
    alt: str,
    *,
    size: tuple[int, int] = SMALL,
    died: bool = False,
    onset: float | None = None,
    level: float | None = None,
) -> str:
    """Draw lines over training.

    Args:
        lines: At least one with a point.
        x: From :func:`kimg_axis`, of the same size.
        alt: What it shows, for someone who cannot see it; any text.
        size: Width and height.
        died: Whether the run ended where its first line does, and not well: an ×.
        onset: kimg at which a collapse began: a vertical line.
        level: A value to compare with, such as that of real data: a dashed horizontal line.

    Returns:
        An ``<svg>`` element, without ids, styles or scripts of its own.
    """
    columns = [clipped([y for _, y in line.points]) for line in lines]
    values = [value for column in columns for value in column]
    if level is not None:
        values += clipped([level])
    width, height = size
    bottom, right = height - BOTTOM, width - RIGHT
    y = value_axis(values, bottom)
    large = " large" if size == LARGE else ""
    parts = [
        f'<svg class="plot{large}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(printable(alt))}">'
    ]
    grid, texts = [], [kimg_ticks(x, bottom)]
    for tick, place in zip(y.ticks, y.place(y.ticks), strict=True):
        grid.append(f"M{LEFT} {place}H{right}")
        texts.append(f'<text class="y" x="{LEFT - 60}" y="{place + 38}">{tick_text(tick)}</text>')
    parts.append(f'<path class="grid" d="{"".join(grid)}"/><g>{"".join(texts)}</g>')
    if level is not None:
        parts.append(f'<path class="level" d="M{LEFT} {y.place(clipped([level]))[0]}H{right}"/>')
    if onset is not None:
        parts.append(f'<path class="onset" d="M{x.place([onset])[0]} {TOP}V{bottom}"/>')
    for line, column in zip(lines, columns, strict=True):
        across = x.place([place for place, _ in line.points])
        places = [f"{a},{b}" for a, b in zip(across, y.place(column), strict=True)]
        dots = " seen" if line.seen or len(places) == 1 else ""
        parts.append(f'<polyline class="{line.kind}{dots}" points="{" ".join(places)}"/>')
        if died and places and line is lines[0]:
            end = places[-1].replace(",", " ")
            parts.append(f'<path class="cross" d="M{end}m-55-55l110 110m0-110l-110 110"/>')
    parts.append("</svg>")
    return "".join(parts)
