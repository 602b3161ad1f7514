"""Text of anybody as HTML, and the parts of a page that are written without a template."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from html import escape

from markupsafe import Markup

from reports.tables import printable


@lru_cache(8192)
def text(foreign: str) -> str:
    """Show any string as text: on one line, without control characters, escaped."""
    return escape(printable(foreign))


COMMAND = re.compile(r"^(.*?\()`(ganbench .*)`(\).*)$", re.DOTALL)
"""A sentence with a command in brackets. At most one is found, whatever its names consist of."""


def prose(foreign: str) -> Markup:
    """Show a sentence as text, and a command in brackets as code."""
    found = COMMAND.match(foreign)
    if found is None:
        return Markup(text(foreign))  # noqa: S704 - escaped
    before, command, after = map(text, found.groups())
    return Markup(f"{before}<code>{command}</code>{after}")  # noqa: S704 - escaped above


def figure(
    title: str,
    drawing: str,
    *,
    rest: str = "",
    keys: Iterable[tuple[str, str]] = (),
    note: str = "",
) -> Markup:
    """Write a plot with its caption.

    Args:
        title: What it is of; any text.
        drawing: From :func:`reports.figures.lines.plot`; empty where there is nothing to draw.
        rest: Of the title, in a softer colour; any text.
        keys: Class and name of each line, where there are several; any text.
        note: Below it; any text.
    """
    head = [f"<b>{text(title)}</b>"] if title else []
    head += [f' <span class="protocol">{text(rest)}</span>'] if rest else []
    head += [f'<span class="key {kind}">{text(name)}</span>' for kind, name in keys]
    below = f'<p class="note">{text(note)}</p>' if note else ""
    return Markup(  # noqa: S704 - every foreign string is escaped above
        f"<figure><figcaption>{''.join(head)}</figcaption>{drawing}{below}</figure>"
    )


def rows(cells: Iterable[Sequence[str]], columns: Sequence[str], around: str = "tr") -> Markup:
    """Write rows of a table, or of another list.

    Args:
        cells: Any texts, as many in each row as there are columns.
        columns: Element of each with its attributes, such as ``td class="num"``.
        around: Element of a row.
    """
    row = "".join(f"<{column}>%s</{column.partition(' ')[0]}>" for column in columns)
    row = f"<{around}>{row}</{around}>\n"
    return Markup(  # noqa: S704 - every foreign string is escaped here
        "".join([row % tuple([text(cell) for cell in one]) for one in cells])
    )
