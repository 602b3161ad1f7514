"""Says what is wrong with a value of a suite file, in plain English."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from typing import Any

from harness.registry import nearest
from harness.spec import NAME_PATTERN
from harness.suite.strict_yaml import shorten

COMPARISONS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
TYPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    **dict.fromkeys(("list", "tuple", "set"), "a list"),
    "dict": "a mapping",
}


def show(value: Any) -> str:
    """Write a value of a document for a message."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return shorten(value) if isinstance(value, str) else str(value)


def is_name(value: Any) -> bool:
    """Whether a value can be an id, and a folder's name."""
    return isinstance(value, str) and re.fullmatch(NAME_PATTERN, value) is not None


def refuse_name(value: Any, known: Collection[str] = ()) -> str:
    """Say why a value is no name."""
    if not isinstance(value, str):
        return f"must be a name, not {show(value)}"
    hint = nearest(value[:64].lower(), list(known)) or strange_characters(value)
    return (
        f"{shorten(value)} is no name: up to 64 of a-z, 0-9, '_', '.', '-', "
        f"a letter or digit first{hint}"
    )


def sentence(kind: str, value: Any, context: Mapping[str, Any], message: str) -> str:
    """Put a validation error in plain words.

    Args:
        kind: Pydantic's type of the error.
        value: What was found.
        context: Pydantic's details.
        message: Pydantic's words, for kinds that have no others here.
    """
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return str(context["error"])
    if kind in COMPARISONS:
        key, words = COMPARISONS[kind]
        return f"must be {words} {context[key]:g}, not {show(value)}"
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", context["expected"])
        hint = nearest(value[:64], choices) if isinstance(value, str) else ""
        return f"must be {context['expected']}, not {show(value)}{hint}"
    if kind == "string_pattern_mismatch":
        return refuse_name(value) if context["pattern"] == NAME_PATTERN else message
    stem, _, rest = kind.partition("_")
    if stem in TYPES and rest in ("type", "parsing", "from_float"):
        hint = " (remove the quotes)" if stem in ("int", "float") and is_number(value) else ""
        return f"must be {TYPES[stem]}, not {show(value)}{hint}"
    return message[:1].lower() + message[1:]


def is_number(value: Any) -> bool:
    """Whether a text would be a number without its quotes."""
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return isinstance(value, str)


def listing(names: Collection[str]) -> str:
    """Write names as ``a, b or c``."""
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def unknown_key(noun: str, key: str, known: Collection[str]) -> str:
    """Say that a key is unknown, and which was meant or which there are."""
    hint = nearest(key[:64].lower(), list(known)) + strange_characters(key)
    hint = hint or (f"; there is {listing(known)}" if known else "; there are none")
    return f"unknown {noun} {shorten(key)}{hint}"


def strange_characters(text: str) -> str:
    """Name the characters that are not ASCII, such as letters that look like others, or nothing."""
    characters = sorted({c for c in text if not c.isascii()})[:3]
    named = [f"{c!r} is {unicodedata.name(c, f'U+{ord(c):04X}')}" for c in characters]
    return f" ({', '.join(named)})" if named else ""
