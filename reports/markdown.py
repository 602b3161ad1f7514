"""Writes a report as Markdown that shows every foreign string as text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from reports.document import Document, Figure, Gallery, Section, Thumbnail
from reports.markup import COMMAND
from reports.tables import NO_BREAK, Column, Table, TableCell, full_text, printable

if TYPE_CHECKING:
    from reports.run_links import RunLinks

SPECIAL = re.compile(r"([\\`*_\[\]<>|~#$])")
MARKER = re.compile(r"^(\d{0,9})([-+](?=\s|$)|-(?=[-\s]+$)|[.)](?=\s|$))", re.ASCII)
"""What would begin a list or draw a line at the start of a paragraph."""


def escape(text: str) -> str:
    """Escape everything that Markdown or HTML inside it could act on, pipes included."""
    clean = SPECIAL.sub(r"\\\1", printable(text).replace("&", "&amp;").replace(NO_BREAK, " "))
    clean = MARKER.sub(r"\1\\\2", clean.lstrip())
    # A bare address would become a link.
    return clean.replace("://", ":&#47;&#47;").replace("www.", "www&#46;")


def prose(text: str) -> str:
    """Escape a sentence, and write a command in brackets as code."""
    found = COMMAND.match(text)
    if found is None:
        return escape(text)
    before, command, after = found.groups()
    return escape(before) + code(command) + escape(after)


def code(text: str) -> str:
    """Write a code span that holds any text, also inside a table."""
    clean = printable(text)
    if "\\|" in clean:
        # Inside a table no code span can hold this: the backslash would free the pipe.
        return escape(text)
    longest = max((len(run) for run in re.findall("`+", clean)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if clean.startswith("`") or clean.endswith("`") else ""
    return f"{fence}{pad}{clean}{pad}{fence}".replace("|", "\\|")


def entry(cell: TableCell, column: Column, links: RunLinks | None = None) -> str:
    """Write one entry of a table; what names a single run leads to its page."""
    text = full_text(cell, column)
    if column.kind == "code" and cell.value:
        written = code(text)
    else:
        written = f"**{escape(text)}**" if column.kind == "verdict" else escape(text)
    page = links.page(cell.runs[0]) if links is not None and len(cell.runs) == 1 else None
    return written if page is None else f"[{written}]({page})"


def render_table(table: Table, links: RunLinks | None = None) -> str:
    """Write a table with its caption and note."""
    parts = [f"### {escape(table.title)}"]
    if table.rows:
        lines = [
            "| " + " | ".join(escape(column.title) for column in table.columns) + " |",
            "|" + "|".join("--:" if c.numeric else "---" for c in table.columns) + "|",
        ]
        lines += [
            "| "
            + " | ".join(entry(c, k, links) for c, k in zip(row, table.columns, strict=True))
            + " |"
            for row in table.rows
        ]
        parts.append("\n".join(lines))
    else:
        parts.append(escape(table.empty))
    if table.note:
        parts.append(escape(table.note))
    return "\n\n".join(parts)


def render_figure(figure: Figure) -> str:
    """Write a figure as an image that lies beside the report, or why there is none."""
    parts = [f"### {escape(figure.title)}"]
    if not figure.svg:
        return "\n\n".join([*parts, escape(figure.empty)])
    parts.append(f"![{escape(figure.alt)}](figures/{figure.name}.svg)")
    return "\n\n".join([*parts, escape(figure.note)] if figure.note else parts)


def render_gallery(gallery: Gallery, links: RunLinks | None = None) -> str:
    """Say what a gallery shows at first, place by place; the images themselves are in the page."""

    def told(image: Thumbnail | None) -> str:
        if image is None:
            return "–"
        page = links.page(image.run) if links is not None else None
        caption = escape(image.caption)
        return caption if page is None else f"[{caption}]({page})"

    lines = [
        "| | " + " | ".join(escape(column) for column in gallery.columns) + " |",
        "|---|" + "---|" * len(gallery.columns),
    ]
    for row in gallery.rows:
        captions = (told(gallery.images.get((row, column))) for column in gallery.columns)
        lines.append(f"| {escape(row)} | {' | '.join(captions)} |")
    parts = [f"### {escape(gallery.title)}", "The images are in `index.html`.", "\n".join(lines)]
    return "\n\n".join([*parts, escape(gallery.note)] if gallery.note else parts)


def render_section(section: Section, links: RunLinks | None = None) -> str:
    """Write a chapter."""
    parts = [f"## {escape(section.title)}", escape(section.headline)]
    if section.claims:
        parts.append(
            "\n".join(
                f"- **{escape(claim.subject)} {claim.predicate}**: {prose(claim.sentence)}"
                for claim in section.claims
            )
        )
    parts += [escape(paragraph) for paragraph in section.lead]
    for block in section.blocks:
        match block:
            case Table():
                parts.append(render_table(block, links))
            case Figure():
                parts.append(render_figure(block))
            case Gallery():
                parts.append(render_gallery(block, links))
    if section.method:
        parts += ["### How this is judged", *map(escape, section.method)]
    return "\n\n".join(part for part in parts if part)


def render(document: Document, links: RunLinks | None = None) -> str:
    """Write the whole report.

    Args:
        document: What it shows.
        links: Addresses of the pages of runs; None where they have none.
    """
    facts = "\n".join(f"- {escape(name)}: {escape(value)}" for name, value in document.facts)
    warnings = [f"**{escape(sentence)}**" for sentence in document.warnings]
    parts = [f"# {escape(document.title)}", *warnings, escape(document.summary), facts]
    parts += [render_section(section, links) for section in document.sections]
    return "\n\n".join(part for part in parts if part) + "\n"
