"""Writes all tables of a report as one JSON document, for programs: every number in full."""

from __future__ import annotations

import json
from typing import Any

from harness.store.fields import as_json
from reports.document import Document
from reports.tables import Table, TableCell

SCHEMA = 1


def entry(cell: TableCell) -> dict[str, Any]:
    """Describe one entry by what it has."""
    described = {
        "value": cell.value,
        "interval": list(cell.interval) if cell.interval else None,
        "n": cell.n,
        "runs": list(cell.runs) or None,
        "better": cell.better if cell.better != "none" else None,
        "protocol": cell.protocol or None,
    }
    return {k: v for k, v in described.items() if v is not None or k == "value"}


def describe(table: Table) -> dict[str, Any]:
    """Describe a table: its columns once, its rows as lists of entries."""
    return {
        "name": table.name,
        "title": table.title,
        "note": table.note,
        "columns": [
            {"title": column.title, "kind": column.kind, "meaning": column.meaning}
            for column in table.columns
        ],
        "rows": [[entry(cell) for cell in row] for row in table.rows],
    }


def render(document: Document) -> str:
    """Return the document's facts and tables as JSON.

    Numbers that are not finite are typed as in the store: ``{"nonfinite": "inf"}`` stands where
    the run in question failed.
    """
    content = {
        "schema": SCHEMA,
        "suite": document.title,
        "summary": document.summary,
        "facts": dict(document.facts),
        **({"warnings": list(document.warnings)} if document.warnings else {}),
        "tables": [describe(table) for table in document.tables()],
    }
    # Indented, it would take the standard library eight times as long.
    return json.dumps(as_json(content), ensure_ascii=True) + "\n"
