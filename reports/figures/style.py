"""How every figure looks, and how it becomes an SVG that is the same byte for byte each time."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, wraps
from typing import Any, ParamSpec

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.markers import CARETLEFTBASE, CARETRIGHTBASE
from matplotlib.textpath import TextToPath
from matplotlib.ticker import Formatter

from reports.statistics.intervals import Interval
from reports.tables import NO_BREAK, significant

INK = "#24292e"
"""Text and axes. Its place is taken by a light ink on dark pages."""
FAINT = "#d5d9dd"
"""Grid lines and frames; likewise."""
MUTED = "#6b7280"
"""Secondary marks; readable on light and dark alike."""
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#7f5fc4")
"""Okabe and Ito's colours for the colour-blind; their yellow and black replaced, which vanish on
light and dark pages."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.5)))
GOOD, BAD = PALETTE[0], PALETTE[1]
CUT = "cut"
"""What an SVG calls the arrow at the end of an interval that goes on beyond the axis."""
MOST_STYLES = 1 + len(PALETTE) * len(DASHES)
"""Lines that can be told apart: the first is ink."""
DARK_INKS = {
    INK: "#e3e6e9",
    FAINT: "#3d444c",
    MUTED: "#9aa3ad",
    GOOD: "#3f9fdc",
    BAD: "#ee7d2b",
    "#009e73": "#1fb58a",
}
"""What replaces a colour where the reader prefers dark pages."""

RC: Any = {
    "svg.hashsalt": "ganbench",
    "svg.fonttype": "none",
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": 9.5,
    "text.color": INK,
    "text.parse_math": False,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "path.simplify_threshold": 0.3,
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw inside this, so that neither the caller's settings nor ours reach the other."""
    with warnings.catch_warnings(), matplotlib.rc_context():
        # A label in a script that the bundled font lacks is set in the reader's own font.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)
        yield


def trick_styles(tricks: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Give every trick a colour and a dash that it keeps in all figures; the first is ink."""
    styles: dict[str, dict[str, Any]] = {}
    for position, label in enumerate(tricks):
        if position == 0:
            styles[label] = {"color": INK, "linestyle": "-"}
        else:
            dash = DASHES[((position - 1) // len(PALETTE)) % len(DASHES)]
            styles[label] = {"color": PALETTE[(position - 1) % len(PALETTE)], "linestyle": dash}
    return styles


class Drawing(str):
    """An SVG document, with what stands in its place on a narrow screen; empty without data."""

    narrow: str = ""


NARROW = 3.9
"""Inches that a figure may be wide on a narrow screen, where its letters keep their size."""
SHRINK = 0.65
"""How much narrower plots get before fewer of them stand side by side."""
_narrow: ContextVar[bool] = ContextVar("narrow", default=False)
_drawn: ContextVar[bool] = ContextVar("drawn", default=True)
Asked = ParamSpec("Asked")


@contextmanager
def undrawn() -> Iterator[None]:
    """Leave all drawings of a report empty inside this, where only its tables are wanted."""
    token = _drawn.set(False)
    try:
        yield
    finally:
        _drawn.reset(token)


def for_all_screens(draw: Callable[Asked, str]) -> Callable[Asked, Drawing]:
    """Let a function that draws do so twice, the second time for a narrow screen."""

    @wraps(draw)
    def drawn(*arguments: Asked.args, **options: Asked.kwargs) -> Drawing:
        drawing = Drawing(draw(*arguments, **options) if _drawn.get() else "")
        token = _narrow.set(True)
        try:
            again = draw(*arguments, **options) if drawing else ""
        finally:
            _narrow.reset(token)
        drawing.narrow = again if again != drawing else ""
        return drawing

    return drawn


def room(width: float) -> float:
    """Return so many inches, or as many as there are on a narrow screen."""
    return min(width, NARROW) if _narrow.get() else width


def side_by_side(count: int, width: float) -> tuple[int, float]:
    """Return how many of some plots stand side by side, and how wide each is, in inches."""
    if not _narrow.get() or count * width <= NARROW:
        return count, width
    columns = max(1, min(count, int(NARROW / (SHRINK * width))))
    return columns, NARROW / columns


def facets(count: int, *, columns: int, width: float, height: float) -> tuple[Canvas, list[Axes]]:
    """Make a grid of small plots and return only as many as are asked for.

    Args:
        count: Number of plots.
        columns: At most so many side by side.
        width: Of one plot, in inches.
        height: Of one plot, in inches.
    """
    columns, width = side_by_side(min(columns, max(count, 1)), width)
    rows = -(-max(count, 1) // columns)
    size = room(max(columns * width, 4.2)), rows * height
    canvas = Canvas(figsize=size, layout="constrained")
    axes = [canvas.add_subplot(rows, columns, i + 1) for i in range(count)]
    return canvas, axes


def facet_rows(
    rows: int, columns: int, *, width: float, height: float
) -> tuple[Canvas, list[list[Axes]]]:
    """Make rows of small plots, each with as many; on a narrow screen a row goes on below itself.

    Args:
        rows: Number of rows.
        columns: Plots of each.
        width: Of one plot, in inches.
        height: Of one plot, in inches.
    """
    across, width = side_by_side(columns, width)
    lines = -(-columns // across)
    size = room(max(across * width, 4.2)), rows * lines * height
    canvas = Canvas(figsize=size, layout="constrained")
    return canvas, [
        [
            canvas.add_subplot(rows * lines, across, i * lines * across + j + 1)
            for j in range(columns)
        ]
        for i in range(rows)
    ]


def goes_on_below(row: Sequence[Axes]) -> bool:
    """Say whether a row of plots goes on below its beginning."""
    places = [plot.get_subplotspec() for plot in row]
    return len({place.rowspan.start for place in places if place is not None}) > 1


def leftmost(plot: Axes) -> bool:
    """Say whether no other plot stands to the left of one."""
    place = plot.get_subplotspec()
    return place is None or place.is_first_col()


@lru_cache(4096)
def text_width(text: str, size: float, bold: bool = False) -> float:
    """Return the width of a line of text in points, which are also the unit of its size."""
    font = FontProperties(size=size, weight="bold" if bold else "normal")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of glyphs that the bundled font lacks
        width, _, _ = TextToPath().get_text_width_height_descent(text, font, ismath=False)
    return float(width)


def short(label: str, length: int = 34) -> str:
    """Shorten a label for a plot, which cannot wrap; its tables have it in full."""
    printable = "".join(c if c.isprintable() else " " for c in label)
    # A legend would leave out what starts with an underscore.
    printable = f" {printable}" if printable.startswith("_") else printable
    return printable if len(printable) <= length else printable[: length - 1] + "…"


def short_apart(labels: Iterable[str], length: int = 34) -> list[str]:
    """Shorten labels that stand side by side, so that different ones still look different.

    Those that would be cut to the same lose what they have in common in their middle instead.
    """
    listed = list(labels)
    cut = _cut_apart([short(label, 10**6) for label in dict.fromkeys(listed)], length)
    by_label = dict(zip(dict.fromkeys(listed), cut, strict=True))
    taken = set(cut)
    if len(taken) < len(cut):
        # Where no beginning and no end tells labels apart, their numbers do.
        for number, label in enumerate(by_label, 1):
            mark = f"…{number}"
            by_label[label] = f"{label[: max(0, length - len(mark))]}{mark}"
    return [by_label[label] for label in listed]


def _cut_apart(labels: Sequence[str], length: int) -> list[str]:
    """Shorten different labels; those that begin alike are cut within what they share."""
    cut = [short(label, length) for label in labels]
    for text in {text for text in cut if cut.count(text) > 1}:
        places = [place for place, one in enumerate(cut) if one == text]
        group = [labels[place] for place in places]
        columns = enumerate(zip(*group, strict=False))
        shortest = min(map(len, group))
        shared = next((i for i, letters in columns if len({*letters}) > 1), shortest)
        # What differs is told from the beginning of its word on, if there is room for that.
        word = 1 + max(group[0].rfind(mark, 0, shared) for mark in " (,+·")
        head = group[0][: min(word or shared, length // 3)]
        left = length - len(head) - 1
        if left < 3:
            continue
        start = word if word > len(head) and 5 * (shared - word) < 3 * left else shared
        endings = _cut_apart([label[start:] for label in group], left)
        for place, end in zip(places, endings, strict=True):
            cut[place] = f"{head}…{end}"
    return cut


def fitted(
    labels: Iterable[str], inches: float, *, size: float = 8.5, bold: bool = False
) -> list[str]:
    """Shorten labels that stand side by side until each fits, different ones still different.

    Args:
        labels: Any texts.
        inches: Room for each.
        size: Of the letters, in points.
        bold: Whether they are bold.
    """
    listed = list(labels)
    fewest, most = 6, min(60, max(map(len, listed), default=6))
    while fewest < most:
        length = (fewest + most + 1) // 2
        widths = (text_width(text, size, bold) for text in short_apart(listed, length))
        fewest, most = (length, most) if max(widths) <= 72 * inches else (fewest, length - 1)
    return short_apart(listed, fewest)


def wrapped(text: str, inches: float, *, size: float = 9.5) -> str:
    """Break a text into lines that fit."""
    lines: list[str] = []
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= 72 * inches:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)


def figure_width(plot: Axes) -> float:
    """Return the width of the figure that a plot is in, in inches."""
    canvas = plot.get_figure(root=True)
    assert canvas is not None  # noqa: S101 - every plot is made in one
    return float(canvas.get_size_inches()[0])


def cell_width(plot: Axes) -> float:
    """Return the width of what a plot has to itself of its figure, in inches."""
    place = plot.get_subplotspec()
    return figure_width(plot) / (1 if place is None else place.get_gridspec().ncols)


def set_titles(
    plots: Sequence[Axes],
    titles: Sequence[str],
    *,
    size: float = 10,
    margin: float = 0.65,
    **style: Any,
) -> None:
    """Write over each of some plots of one width what it shows, as much as fits.

    Args:
        plots: Side by side, or below each other.
        titles: One for each.
        size: Of the letters, in points.
        margin: Inches to the left of a plot's axis, where its title begins.
        style: Of the titles.
    """
    if plots:
        inches = cell_width(plots[0]) - margin
        for plot, title in zip(plots, fitted(titles, inches, size=size, bold=True), strict=True):
            plot.set_title(title, fontsize=size, **style)


def label_rows(plot: Axes, labels: Iterable[str], inches: float | None = None) -> None:
    """Name the rows of a plot on its left, in so many inches, or a part of the figure's width."""
    texts = fitted(labels, inches or min(0.42 * figure_width(plot), 3.2))
    plot.set_yticks(range(len(texts)), texts)
    plot.tick_params(axis="y", length=0, pad=7)  # an arrow may stand before the first letters
    plot.grid(visible=False, axis="y")


def label_below(
    plot: Axes, text: str, inches: float | None = None, *, low: str = "", high: str = ""
) -> None:
    """Say below a plot what its numbers are, and what the two ends mean, in lines that fit.

    Args:
        plot: The plot.
        text: What they are.
        inches: Room for it; unless said, what names of rows leave of the figure.
        low: What less means.
        high: What more means.
    """
    # It stands in the middle of the plot, which names of rows push to the right.
    width = inches or min(0.58 * figure_width(plot), 5.0)
    gap = 6 * NO_BREAK
    line = gap.join(part for part in (low and f"◂ {low}", text, high and f"{high} ▸") if part)
    if text_width(line, 9.5) > 72 * width:
        ends = gap.join(part for part in (low and f"◂ {low}", high and f"{high} ▸") if part)
        line = "\n".join(part for part in (ends, wrapped(text, width)) if part)
    plot.set_xlabel(line, color=INK)


def legend(
    canvas: Canvas, styles: Mapping[str, dict[str, Any]], further: Sequence[Artist] = ()
) -> None:
    """Name the lines of a figure above it.

    Args:
        canvas: The figure.
        styles: Of each line, by its label.
        further: More entries, with labels of their own.
    """
    handles = [Line2D([], [], linewidth=2, label=name, **style) for name, style in styles.items()]
    key(canvas, [*handles, *further])


def key(canvas: Canvas, handles: Sequence[Artist], *, below: bool = False) -> None:
    """Explain marks above a figure's plots, or below them, in as many columns as fit."""
    size, handle = 9, 0.5
    width = canvas.get_size_inches()[0] - 0.1
    labels = fitted([str(h.get_label()) for h in handles], width - handle, size=size)
    widest = max(text_width(label, size) for label in labels) / 72 + handle
    columns = max(1, min(len(handles), int(width / widest)))
    for one, label in zip(handles, labels, strict=True):
        one.set_label(label)
    canvas.legend(
        handles=handles, loc="outside lower left" if below else "outside upper left",
        ncols=columns, columnspacing=1.0, handlelength=2.0, borderaxespad=0.2,
    )  # fmt: skip


def draw_estimate(
    plot: Axes,
    value: float | None,
    limits: Interval | None,
    place: float,
    *,
    width: float = 2.0,
    **style: Any,
) -> None:
    """Draw a number with its interval along a row; where the axis ends before it, as an arrow.

    The plot's limits must have been set.

    Args:
        plot: The plot.
        value: The number; None for the interval alone.
        limits: The interval; None for the number alone.
        place: Height of the row.
        width: Of the interval's line, in points.
        style: Of the number's mark, ``color`` also of the line's.
    """
    low, high = plot.get_xlim()
    colour = style["color"]
    ends = [end for end in (*(limits or ()), value) if end is not None and not math.isnan(end)]
    if limits is not None and limits.low < high and limits.high > low:
        seen = max(limits.low, low), min(limits.high, high)
        plot.plot(seen, [place, place], color=colour, linewidth=width, solid_capstyle="butt")
    if value is not None and low <= value <= high:
        plot.plot([value], [place], **{"marker": "o", "linestyle": "", **style})
    for edge, marker, beyond in (
        (low, CARETLEFTBASE, any(end < low for end in ends)),
        (high, CARETRIGHTBASE, any(end > high for end in ends)),
    ):
        if beyond:
            # A caret stands on the edge and points away from the plot.
            plot.plot([edge], [place], marker=marker, color=colour, markersize=8, clip_on=False,
                      markeredgewidth=0, gid=CUT)  # fmt: skip


def powers(value: float, digits: int) -> str:
    """Write a number as a digit and a power of ten, such as ``2e-4``."""
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def _number_in(text: str) -> float:
    return float(re.sub(r"[^\d.e-]", "", text))


class TickText(Formatter):
    """Writes the numbers of an axis with as few digits as say what they are.

    Args:
        write: Writes a number with so many significant digits.
    """

    MOST = 9
    """Digits that are taken as exact."""

    def __init__(self, write: Callable[[float, int], str] = significant) -> None:
        self.write = write

    def __call__(self, value: float, pos: int | None = None) -> str:
        """Write one number."""
        return self.write(value, 2)

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """Write all numbers of an axis."""
        low, high = sorted(self.axis.get_view_interval()) if self.axis else (-math.inf, math.inf)
        seen = [value for value in values if low <= value <= high]
        exact = [_number_in(self.write(value, self.MOST)) for value in seen]
        nearest = min(np.diff(sorted({*exact})), default=0.0)
        for digits in range(1, self.MOST):
            texts = [self.write(value, digits) for value in seen]
            errors = [abs(_number_in(t) - e) for t, e in zip(texts, exact, strict=True)]
            if len({*texts}) == len({*exact}) and max(errors, default=0.0) <= nearest / 10:
                break
        return [self.write(value, digits).replace("-", "−") for value in values]


def evenly(count: int, most: int) -> list[int]:
    """Choose so many of some places, at least two, with the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def thin(points: Sequence[tuple[float, float]], most: int = 60) -> list[tuple[float, float]]:
    """Keep the first and the last of a curve's points and evenly many between."""
    return [points[place] for place in evenly(len(points), most)]


def _one_decimal(match: re.Match[str]) -> str:
    return re.sub(r"(\d+\.\d)\d+", r"\1", match.group(0))


def _dense(match: re.Match[str]) -> str:
    """Write a path without the spaces and breaks that it does not need."""
    path = re.sub(r"\s*([A-Za-z])\s*", r"\1", match.group(1))
    return 'd="{}"'.format(",".join(path.split()))


def to_svg(canvas: Canvas) -> str:
    """Write a figure as an SVG that follows the reader's light or dark preference.

    No date, no library version and no random id is in it, so equal figures are equal bytes.
    Coordinates keep one decimal, which halves the size and is 1/10 of a point.
    """
    buffer = io.BytesIO()
    # What savefig does for any format draws everything once before, and throws that away.
    FigureCanvasSVG(canvas).print_svg(  # type: ignore[no-untyped-call]
        buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    svg = buffer.getvalue().decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\b(?:d|x|y|points|transform)="[^"]*"', _one_decimal, svg)
    svg = re.sub(r'\bd="([^"]*)"', _dense, svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    rules = "".join(
        f'[style*="{kind}: {light}"]{{{kind}:{dark}!important}}'
        for light, dark in DARK_INKS.items()
        for kind in ("fill", "stroke")
    )
    style = f"<style>@media (prefers-color-scheme:dark){{{rules}}}</style>"
    end = svg.index(">") + 1
    return f"{svg[:end]}{style}{svg[end:]}"
