"""Draws sheets of generated images with captions, and plots of generated points."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from harness.datasets.base import to_bytes

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

CELL = 64
"""Smaller images are enlarged to at least so many pixels, by whole factors."""
GAP = 2
TEXT = 13
LINE = TEXT + 5
PAPER, INK = (255, 255, 255), (40, 40, 40)


@dataclass(frozen=True)
class Tile:
    """One place of a sheet.

    Attributes:
        image: ``(channels, height, width)`` in [−1, 1]; None leaves the place to the sign.
        caption: Above the image.
        sign: Drawn large where there is no image, such as ``+``.
    """

    image: Tensor | None = None
    caption: str = ""
    sign: str = ""


def draw_sheet(rows: Sequence[Sequence[Tile]], labels: Sequence[str] = ()) -> bytes:
    """Draw rows of cells, with a label to the left of each row where there are labels.

    Columns without an image are as narrow as their sign; there is room for captions in the rows
    that have one.

    Returns:
        A PNG.
    """
    from PIL import Image, ImageDraw

    first = next(cell.image for row in rows for cell in row if cell.image is not None)
    scale = max(1, -(-CELL // max(first.shape[1:])))
    height, width = (side * scale for side in first.shape[1:])
    font, big = typeface(TEXT), typeface(2 * TEXT)
    columns = max(map(len, rows))
    narrow = 3 * TEXT
    widths = [
        width if any(len(row) > i and row[i].image is not None for row in rows) else narrow
        for i in range(columns)
    ]
    captions = [[cell.caption for cell in row if cell.caption] for row in rows]
    wide = max((text_width(font, text) for row in captions for text in row), default=0)
    widths = [max(w, wide) if w != narrow else w for w in widths]
    margin = max((text_width(font, label) + 3 * GAP for label in labels), default=0)
    heights = [height + (LINE if texts else 0) for texts in captions]
    sheet = Image.new(
        "RGB",
        (margin + sum(widths) + GAP * (columns + 1), sum(heights) + GAP * (len(rows) + 1)),
        PAPER,
    )
    draw = ImageDraw.Draw(sheet)
    top = GAP
    for number, (row, texts) in enumerate(zip(rows, captions, strict=True)):
        below = top + (LINE if texts else 0)
        left = margin + GAP
        if labels:
            draw.text((GAP, below + height / 2), labels[number], INK, font, anchor="lm")
        for cell, room in zip(row, widths, strict=False):
            middle = left + room / 2
            if cell.image is not None:
                sheet.paste(picture(cell.image, scale), (left + (room - width) // 2, below))
            if cell.caption:
                draw.text((middle, below - GAP), cell.caption, INK, font, anchor="md")
            if cell.sign:
                draw.text((middle, below + height / 2), cell.sign, INK, big, anchor="mm")
            left += room + GAP
        top += heights[number] + GAP
    return png(sheet)


def typeface(size: int) -> FreeTypeFont:
    """Open the font that Matplotlib brings along: Pillow's own has no minus sign."""
    from matplotlib import get_data_path
    from PIL import ImageFont

    return ImageFont.truetype(Path(get_data_path()) / "fonts/ttf/DejaVuSans.ttf", size)


def text_width(font: FreeTypeFont, text: str) -> int:
    """Measure a line of text in pixels."""
    return int(font.getlength(text)) + GAP


def picture(image: Tensor, scale: int) -> Image:
    """Turn ``(channels, height, width)`` in [−1, 1] into an image, enlarged by a whole factor."""
    from PIL import Image

    pixels = to_bytes(image).permute(1, 2, 0).numpy()
    drawn = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).convert("RGB")
    return drawn.resize((drawn.width * scale, drawn.height * scale), Image.Resampling.NEAREST)


def png(image: Image) -> bytes:
    """Encode an image."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def draw_points(
    groups: dict[str, NDArray[np.float64]], title: str, modes: NDArray[np.float64] | None
) -> bytes:
    """Plot generated points: a scatter in the plane, a histogram on the line.

    Args:
        groups: Points ``(n, 1)`` or ``(n, 2)`` by label; ``""`` where there is one group.
        title: Above the plot.
        modes: Centres of the data's modes, ``(modes, 2)``, drawn as crosses; None draws none.

    Returns:
        A PNG.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), dpi=150, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=9)
    for name, points in groups.items():
        label = name.replace("$", r"\$")  # or it would be a formula
        if points.shape[1] == 1:
            axes.hist(points[:, 0], bins=80, histtype="step", density=True, label=label or None)
        else:
            axes.scatter(
                points[:, 0], points[:, 1], s=4, alpha=0.5, linewidths=0, label=label or None
            )
    if modes is not None:
        axes.scatter(
            modes[:, 0],
            modes[:, 1],
            s=50,
            marker="+",
            color="black",
            linewidths=1,
            label="modes of the data",
        )
    if next(iter(groups.values())).shape[1] == 1:
        axes.set(xlabel="x", ylabel="density of generated samples")
    else:
        axes.set(xlabel="$x_1$", ylabel="$x_2$")
        axes.set_aspect("equal", adjustable="datalim")
    if modes is not None or len(groups) > 1:
        axes.legend(fontsize=8, markerscale=1.5)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
