"""What the templates of all pages share: escaping, and the policy of what a page may load."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports.tables import printable

ROOT = Path(__file__).parent


def finalize(value: Any) -> Any:
    """Keep foreign text on one line and free of control characters."""
    return printable(value) if type(value) is str else value


def environment() -> Environment:
    """Make what renders templates: every expression is escaped, and none may be undefined."""
    return Environment(
        loader=FileSystemLoader(ROOT / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def source_hash(text: str) -> str:
    """Return what a Content-Security-Policy calls an inline style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def policy(css: str, script: str) -> str:
    """Allow images inside the page, this style and this script, and nothing else."""
    return (
        f"default-src 'none'; img-src data:; style-src {source_hash(css)}; "
        f"script-src {source_hash(script)}; base-uri 'none'; form-action 'none'"
    )


def inlined(styles: Sequence[str], scripts: Sequence[str]) -> dict[str, str]:
    """Read a page's style and script from our assets, with the policy that allows them."""
    css, script = (
        "".join((ROOT / "assets" / name).read_text(encoding="utf-8") for name in names)
        for names in (styles, scripts)
    )
    return {
        "policy": policy(css, script),
        "css": Markup(css),  # noqa: S704 - our own file
        "script": Markup(script),  # noqa: S704 - our own file
    }
