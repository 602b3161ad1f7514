"""Checks a document part by part, and says in plain English what is wrong where."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from harness.errors import Problem, SuiteError
from harness.registry import nearest
from harness.spec import NAME_PATTERN
from harness.suite.strict_yaml import Document, Place, place_text, shorten, strange_characters

MAX_LISTED = 100
"""Problems of one file that are listed; more would bury the first."""

COMPARISONS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "text"}
COLLECTIONS = {"list": "a list", "tuple": "a list", "set": "a list", "dict": "a mapping"}

M = TypeVar("M", bound=BaseModel)


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
    if stem in KINDS and rest in ("type", "parsing", "from_float"):
        hint = " (remove the quotes)" if stem in ("int", "float") and is_number(value) else ""
        return f"must be {KINDS[stem]}, not {show(value)}{hint}"
    if stem in COLLECTIONS and rest == "type":
        return f"must be {COLLECTIONS[stem]}, not {show(value)}"
    return message[:1].lower() + message[1:]


def is_number(value: Any) -> bool:
    """Whether a text would be a number without its quotes."""
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return isinstance(value, str)


class Reader:
    """One document being checked; collects problems instead of raising.

    Attributes:
        source: What messages call the file.
        document: The file's content.
    """

    def __init__(self, source: str, document: Document) -> None:
        self.source = source
        self.document = document
        self._problems = dict.fromkeys(document.problems)

    @property
    def problems(self) -> list[Problem]:
        """What was found so far, the YAML's own problems first."""
        return list(self._problems)

    def problem(self, place: Place, message: str) -> None:
        """Note a problem once, unless the value was refused for its YAML already."""
        if not self.document.is_rejected(place):
            line = self.document.line(place)
            self._problems.setdefault(Problem(message, place_text(place), line))

    def touches(self, *keys: str) -> bool:
        """Whether there is a problem in the entries of some of the file's keys."""
        return any(problem.path.startswith(keys) for problem in self._problems)

    def raise_problems(self) -> None:
        """Raise everything that was found, if anything was.

        Raises:
            SuiteError: with the first 100 problems in the order of their lines.
        """
        if not self._problems:
            return
        ordered = sorted(self._problems, key=lambda p: (p.line or 0, p.path))
        if len(ordered) > MAX_LISTED:
            more = Problem(f"has {len(ordered):,} problems; these are the first {MAX_LISTED}")
            ordered = [more, *ordered[:MAX_LISTED]]
        raise SuiteError(self.source, ordered)

    def fields(
        self, value: Any, place: Place, known: Collection[str], required: Collection[str] = ()
    ) -> dict[str, Any]:
        """Return the known entries of a mapping; note unknown and missing ones."""
        if not isinstance(value, dict):
            self.problem(place, f"must be a mapping with {listing(known)}, not {show(value)}")
            return {}
        for key in value:
            if key not in known:
                self.problem((*place, key), unknown_key("key", key, known))
        for key in required:
            if key not in value:
                self.problem((*place, key), "is missing")
        return {key: item for key, item in value.items() if key in known}

    def mapping(self, value: Any, place: Place) -> dict[str, Any]:
        """Return a mapping."""
        if isinstance(value, dict):
            return value
        self.problem(place, f"must be a mapping, not {show(value)}")
        return {}

    def items(self, value: Any, place: Place) -> list[tuple[Any, Place]]:
        """Return the items of a list that is not empty, each with its place."""
        if not isinstance(value, list):
            self.problem(place, f"must be a list, not {show(value)}")
            return []
        if not value:
            self.problem(place, "must not be empty")
        return [(item, (*place, i)) for i, item in enumerate(value)]

    def text(self, value: Any, place: Place) -> str | None:
        """Return a text."""
        if isinstance(value, str):
            return value
        self.problem(place, f"must be text, not {show(value)}")
        return None

    def model(self, cls: type[M], value: dict[str, Any], place: Place, noun: str) -> M | None:
        """Validate a mapping strictly: no number is made of a text, no flag of a word.

        Args:
            cls: What it should become.
            value: The mapping.
            place: Where it stands.
            noun: What messages call its keys.
        """
        try:
            return cls.model_validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            for details in error.errors(include_url=False):
                where = self._locate(place, details["loc"], details["type"])
                if details["type"] == "extra_forbidden":
                    message = unknown_key(noun, str(details["loc"][-1]), cls.model_fields)
                elif details["type"] == "missing":
                    message = "is missing"
                else:
                    context = details.get("ctx", {})
                    message = sentence(details["type"], details["input"], context, details["msg"])
                self.problem(where, message)
            return None

    def _locate(self, place: Place, location: Place, kind: str) -> Place:
        """Find what an error is about; names of union members in its location are passed over."""
        for part in location:
            if (*place, part) in self.document.lines:
                place = (*place, part)
        return (*place, location[-1]) if kind == "missing" else place


def listing(names: Collection[str]) -> str:
    """Write names as ``a, b or c``."""
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def unknown_key(noun: str, key: str, known: Collection[str]) -> str:
    """Say that a key is unknown, and which was meant or which there are."""
    hint = nearest(key[:64].lower(), list(known)) + strange_characters(key)
    hint = hint or (f"; there is {listing(known)}" if known else "; there are none")
    return f"unknown {noun} {shorten(key)}{hint}"
