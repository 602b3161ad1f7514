"""Writes a report as one HTML file that loads nothing and may run only its own script."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from reports.document import Document, Figure, Gallery, Thumbnail
from reports.tables import Cell, Column, Table, interval_text, printable, value_text

if TYPE_CHECKING:
    from reports.run_links import RunLinks

ROOT = Path(__file__).parent
THUMBNAIL = 144
"""Width of a sample image, in CSS pixels."""
NUMERIC = frozenset({"count", "number", "share", "points", "ratio", "p"})
BADGES = {
    "helps": ("helps", "▲"),
    "hurts": ("hurts", "▼"),
    "fewer failures": ("fewer", "◆"),
    "no evidence": ("none", "○"),
    "screening": ("screening", "◌"),
}


def source_hash(text: str) -> str:
    """Return what a Content-Security-Policy calls an inline style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def policy(css: str, script: str) -> str:
    """Allow images inside the page, this style and this script, and nothing else."""
    return (
        f"default-src 'none'; img-src data:; style-src {source_hash(css)}; "
        f"script-src {source_hash(script)}; base-uri 'none'; form-action 'none'"
    )


def svg_uri(svg: str) -> str:
    """Write an SVG as a data address; percent-encoding is smaller than base64 here."""
    return "data:image/svg+xml," + quote(re.sub(r"[ \t\n]+", " ", svg), safe=" =:/;,()!*$@?+~.-_'")


def png_uri(image: Thumbnail) -> str:
    """Write a PNG as a data address."""
    return "data:image/png;base64," + base64.b64encode(image.png).decode()


def png_size(image: Thumbnail) -> tuple[int, int]:
    """Return width and height in CSS pixels: whole multiples where pixels are data."""
    width, height = (int.from_bytes(image.png[at : at + 4], "big") for at in (16, 20))
    if width <= THUMBNAIL:
        scale = max(1, THUMBNAIL // width) if image.pixelated else 1
        return scale * width, scale * height
    return THUMBNAIL, round(height * THUMBNAIL / width)


def svg_size(figure: Figure) -> tuple[int, int]:
    """Return width and height in CSS pixels, of which a point of the view box has 4/3."""
    box = figure.svg.split('viewBox="', 1)[1].split('"', 1)[0].split()
    return round(float(box[2]) * 4 / 3), round(float(box[3]) * 4 / 3)


def sort_value(cell: Cell, column: Column) -> str:
    """Return the exact number to sort by; empty where the text itself is what to sort by."""
    if column.kind not in NUMERIC or cell.value is None or isinstance(cell.value, str):
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


def finalize(value: Any) -> Any:
    """Keep foreign text on one line and free of control characters."""
    return printable(value) if type(value) is str else value


def render(document: Document, links: RunLinks | None = None) -> str:
    """Write the whole page.

    Args:
        document: What it shows.
        links: What leads to the runs behind a number; None where they have no pages.
    """
    environment = Environment(
        loader=FileSystemLoader(ROOT / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        badges=BADGES,
        breakable=breakable,
        interval_text=interval_text,
        kind_of=kind_of,
        links=links,
        numeric=NUMERIC,
        png_size=png_size,
        png_uri=png_uri,
        sort_value=sort_value,
        svg_size=svg_size,
        svg_uri=svg_uri,
        value_text=value_text,
    )
    css = (ROOT / "assets" / "report.css").read_text(encoding="utf-8")
    script = (ROOT / "assets" / "report.js").read_text(encoding="utf-8")
    return environment.get_template("report.html.jinja").render(
        document=document,
        policy=policy(css, script),
        css=Markup(css),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
    )
