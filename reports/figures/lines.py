"""Small line plots as SVG text, in the page itself and coloured by its classes.

Lengths inside a plot are tenths of a pixel, so that coordinates are whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reports.tables import printable

LOG_SPAN = 20.0
"""Largest over smallest value from which an axis becomes logarithmic."""
SMALL, LARGE = (3300, 1560), (6600, 3000)
"""Width and height of plots; letters are of one size in both."""
LEFT, RIGHT, TOP, BOTTOM = 470, 60, 70, 220
HUGE = 1e300
"""What lies beyond is drawn there: differences of two such numbers are still finite."""
STEPS = (1.0, 2.0, 5.0, 10.0)

Values = NDArray[np.float64]


class Polyline(NamedTuple):
    """One line of a plot.

    Attributes:
        kimg: Thousand images that D had seen, ascending; at least one.
        values: As many, finite.
        kind: A class of the page's style: ``first``, ``second``, or ``raw`` for raw weights.
        seen: Whether every point is a measurement that gets a dot.
    """

    kimg: Values
    values: Values
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

    def places(self, values: Values) -> list[int]:
        """Return where values lie."""
        if self.logarithmic:
            values, low, high = np.log(values), math.log(self.low), math.log(self.high)
        else:
            low, high = self.low, self.high
        places = (values - low) * ((self.stop - self.start) / (high - low)) + (self.start + 0.5)
        return list(map(int, places))

    def at(self, value: float) -> int:
        """Return where one value lies."""
        low, high = self.low, self.high
        if self.logarithmic:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return int((value - low) * ((self.stop - self.start) / (high - low)) + self.start + 0.5)


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


def value_axis(low: float, high: float, bottom: int) -> Axis:
    """Lay out the axis of values between two, logarithmic where they are decades above 0."""
    if low > 0 and high > LOG_SPAN * low:
        low, high = low / 1.15, high * 1.15
        return Axis(low, high, bottom, TOP, True, log_ticks(low, high, 4))
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 0.5
    low, high = low - margin, high + margin
    if not high > low:
        # So close together that rounding takes the margin.
        low, high = low - 1.0, high + 1.0
    return Axis(low, high, bottom, TOP, False, linear_ticks(low, high, 4))


def tick_text(value: float) -> str:
    """Write the number of a tick."""
    text = f"{value:.0f}" if 1e4 <= abs(value) < 1e5 else f"{value:.4g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        text = f"{mantissa}e{int(exponent)}"
    return text.replace("-", "−")


def plot(
    lines: Sequence[Polyline],
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
        lines: At least one.
        x: From :func:`kimg_axis`, of the same size.
        alt: What it shows, for someone who cannot see it; any text.
        size: Width and height.
        died: Whether the run ended where its first line does, and not well: an ×.
        onset: kimg at which a collapse began: a vertical line.
        level: A value to compare with, such as that of real data: a dashed horizontal line.

    Returns:
        An ``<svg>`` element, without ids, styles or scripts of its own.
    """
    heights = [np.clip(line.values, -HUGE, HUGE) for line in lines]
    low = min(float(values.min()) for values in heights)
    high = max(float(values.max()) for values in heights)
    if level is not None:
        level = min(max(level, -HUGE), HUGE)
        low, high = min(low, level), max(high, level)
    width, height = size
    bottom, right = height - BOTTOM, width - RIGHT
    y = value_axis(low, high, bottom)
    grid = "".join(f"M{LEFT} {y.at(tick)}H{right}" for tick in y.ticks)
    texts = "".join(
        f'<text x="{x.at(tick)}" y="{bottom + 160}">{tick_text(tick)}</text>' for tick in x.ticks
    ) + "".join(
        f'<text class="y" x="{LEFT - 60}" y="{y.at(tick) + 38}">{tick_text(tick)}</text>'
        for tick in y.ticks
    )
    large = " large" if size == LARGE else ""
    parts = [
        f'<svg class="plot{large}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(printable(alt))}"><path class="grid" d="{grid}"/>'
        f"<g>{texts}</g>"
    ]
    if level is not None:
        parts.append(f'<path class="level" d="M{LEFT} {y.at(level)}H{right}"/>')
    if onset is not None:
        parts.append(f'<path class="onset" d="M{x.at(onset)} {TOP}V{bottom}"/>')
    for line, values in zip(lines, heights, strict=True):
        points = list(zip(x.places(line.kimg), y.places(values), strict=True))
        places = " ".join(f"{across},{up}" for across, up in points)
        dots = " seen" if line.seen or len(values) == 1 else ""
        parts.append(f'<polyline class="{line.kind}{dots}" points="{places}"/>')
        if died and line is lines[0]:
            across, up = points[-1]
            parts.append(f'<path class="cross" d="M{across} {up}m-55-55l110 110m0-110l-110 110"/>')
    parts.append("</svg>")
    return "".join(parts)
