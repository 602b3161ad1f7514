"""Writes a report as one HTML file that loads nothing and may run only its own script."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from markupsafe import Markup, escape

from reports.document import Document, Figure, Gallery, Thumbnail
from reports.markup import prose
from reports.tables import Column, Table, TableCell, interval_text, printable, value_text
from reports.templating import environment, inlined

if TYPE_CHECKING:
    from reports.run_links import RunLinks

THUMBNAIL = 144
"""Width of a sample image, in CSS pixels."""
MARGINS = 56
"""CSS pixels of a narrow page to the left and right of a figure."""
BADGES = {
    "helps": ("helps", "▲"),
    "hurts": ("hurts", "▼"),
    "fewer failures": ("fewer", "◆"),
    "more failures": ("hurts", "◆"),
    "no difference": ("none", "="),
    "no evidence": ("none", "○"),
    "screening": ("screening", "◌"),
}


def svg_uri(svg: str) -> str:
    """Write an SVG as a data address; percent-encoding is smaller than base64 here."""
    return "data:image/svg+xml," + quote(re.sub(r"[ \t\n]+", " ", svg), safe=" =:/;,()!*$@?+~.-_'")


def srcset(svg: str) -> str:
    """Write an SVG as a data address for a list of addresses, in which a space ends one."""
    return svg_uri(svg).replace(" ", "%20")


def png_uri(png: bytes) -> str:
    """Write a PNG as a data address."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def png_size(image: Thumbnail) -> tuple[int, int]:
    """Return width and height in CSS pixels: whole multiples where pixels are data."""
    width, height = (int.from_bytes(image.png[at : at + 4], "big") for at in (16, 20))
    if width <= THUMBNAIL:
        scale = max(1, THUMBNAIL // width) if image.pixelated else 1
        return scale * width, scale * height
    return THUMBNAIL, round(height * THUMBNAIL / width)


def svg_size(svg: str) -> tuple[int, int]:
    """Return width and height in CSS pixels, of which a point of the view box has 4/3."""
    box = svg.split('viewBox="', 1)[1].split('"', 1)[0].split()
    return round(float(box[2]) * 4 / 3), round(float(box[3]) * 4 / 3)


def narrow_below(svg: str) -> int:
    """Return the width of a page, in CSS pixels, under which letters would be too small to read.

    That is where a figure has to shrink to three quarters.
    """
    return round(0.75 * svg_size(svg)[0]) + MARGINS


def sort_value(cell: TableCell, column: Column) -> str:
    """Return the exact number to sort by; empty where the text itself is what to sort by."""
    if not column.numeric or cell.value is None or isinstance(cell.value, str):
        return ""
    return repr(float(cell.value))


def breakable(text: str) -> Markup:
    """Let a long label break where it is put together."""
    escaped = escape(printable(text))
    for mark in "(,=_":
        escaped = escaped.replace(mark, Markup(f"{mark}<wbr>"))  # noqa: S704 - one of ours
    return escaped


def kind_of(block: Table | Figure | Gallery) -> str:
    """Name the macro that draws a block."""
    return type(block).__name__.lower()


def render(document: Document, links: RunLinks | None = None) -> str:
    """Write the whole page.

    Args:
        document: What it shows.
        links: What leads to the runs behind a number; None where they have no pages.
    """
    templates = environment()
    templates.globals.update(
        badges=BADGES,
        breakable=breakable,
        interval_text=interval_text,
        kind_of=kind_of,
        links=links,
        narrow_below=narrow_below,
        png_size=png_size,
        png_uri=png_uri,
        prose=prose,
        sort_value=sort_value,
        srcset=srcset,
        svg_size=svg_size,
        svg_uri=svg_uri,
        value_text=value_text,
    )
    return templates.get_template("report.html.jinja").render(
        document=document, **inlined(["report.css"], ["report.js"])
    )
