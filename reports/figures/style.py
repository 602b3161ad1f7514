"""How every figure looks, and how it becomes an SVG that is the same byte for byte each time."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

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


def facets(count: int, *, columns: int, width: float, height: float) -> tuple[Canvas, list[Axes]]:
    """Make a grid of small plots and return only as many as are asked for.

    Args:
        count: Number of plots.
        columns: At most so many side by side.
        width: Of one plot, in inches.
        height: Of one plot, in inches.
    """
    columns = min(columns, max(count, 1))
    rows = -(-max(count, 1) // columns)
    canvas = Canvas(figsize=(max(columns * width, 4.2), rows * height), layout="constrained")
    axes = [canvas.add_subplot(rows, columns, i + 1) for i in range(count)]
    return canvas, axes


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
    cut = [short(label, length) for label in listed]
    for alike in {text for text in cut if cut.count(text) > 1}:
        group = [label for label, text in zip(listed, cut, strict=True) if text == alike]
        columns = enumerate(zip(*group, strict=False))
        shared = next((i for i, letters in columns if len(set(letters)) > 1), min(map(len, group)))
        head = group[0][: min(shared, length // 2)]
        for place, label in enumerate(listed):
            if cut[place] == alike and shared < len(label):
                cut[place] = short(f"{head}…{label[shared:]}", length)
    return cut


def legend(
    canvas: Canvas, styles: Mapping[str, dict[str, Any]], further: Sequence[Line2D] = ()
) -> None:
    """Name the lines of a figure above it, in as many columns as fit.

    Args:
        canvas: The figure.
        styles: Of each line, by its label.
        further: More entries, with labels of their own.
    """
    handles = [
        Line2D([], [], linewidth=2, label=label, **style)
        for label, style in zip(short_apart(styles), styles.values(), strict=True)
    ]
    handles += further
    width = canvas.get_size_inches()[0]
    longest = max((len(str(handle.get_label())) for handle in handles), default=8)
    columns = max(1, min(len(handles), int(width / (0.5 + 0.085 * longest))))
    canvas.legend(handles=handles, loc="outside upper left", ncols=columns)


def thin(points: Sequence[tuple[float, float]], most: int = 60) -> list[tuple[float, float]]:
    """Keep the first and the last of a curve's points and evenly many between."""
    if len(points) <= most:
        return list(points)
    return [points[round(i * (len(points) - 1) / (most - 1))] for i in range(most)]


def _two_decimals(match: re.Match[str]) -> str:
    return re.sub(r"(\d+\.\d\d)\d+", r"\1", match.group(0))


def to_svg(canvas: Canvas) -> str:
    """Write a figure as an SVG that follows the reader's light or dark preference.

    No date, no library version and no random id is in it, so equal figures are equal bytes.
    Coordinates keep two decimals, which halves the size and is 1/100 of a point.
    """
    buffer = io.BytesIO()
    # What savefig does for any format draws everything once before, and throws that away.
    FigureCanvasSVG(canvas).print_svg(  # type: ignore[no-untyped-call]
        buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    svg = buffer.getvalue().decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\b(?:d|x|y|points|transform)="[^"]*"', _two_decimals, svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    rules = "".join(
        f'[style*="{kind}: {light}"]{{{kind}:{dark}!important}}'
        for light, dark in DARK_INKS.items()
        for kind in ("fill", "stroke")
    )
    style = f"<style>@media (prefers-color-scheme:dark){{{rules}}}</style>"
    end = svg.index(">") + 1
    return f"{svg[:end]}{style}{svg[end:]}"
