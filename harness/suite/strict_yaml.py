"""Reads YAML without its surprises: plain data, a line for every value, all problems at once.

Only mappings, lists, text, numbers, true, false and null are data. What YAML 1.1 would guess about
(``no``, ``010``, ``10:30``, dates) is refused with what to write instead, and so is everything
that is more than data: tags, anchors, aliases.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import ChainMap
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import yaml

from harness.errors import Problem

MAX_BYTES = 128 * 1024
MAX_DEPTH = 12
MAX_DIGITS = 18
MAX_NUMBER = 64
"""Characters of a number."""

Place = tuple[str | int, ...]
"""Where in a document: keys and positions from the top."""

WHOLE = re.compile(r"[-+]?(0|[1-9]\d*)", re.ASCII)
DECIMAL = re.compile(r"[-+]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][-+]?\d+)?", re.ASCII)
CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
AMBIGUOUS = (
    (
        r"(yes|no|on|off)",
        "some readers take it for true or false; write true or false, or quote it",
    ),
    (r"[-+]?\.?(inf|infinity|nan)", "it is not a finite number"),
    (r"[-+]?0\d[\d_.eE+-]*", "some readers take a leading zero for octal; remove it, or quote it"),
    (r"[-+]?0[xob][\da-f_]+", "only decimal numbers are understood; quote it if it is a name"),
    (r"[-+]?\d[\d_]*_[\d_.]*", "write the number without '_', or quote it"),
    (r"[-+]?\d+(:\d+)+(\.\d*)?", "some readers take it for a number to base 60; quote it"),
    (r"\d{4}-\d\d?-\d\d?([Tt\s].*)?", "some readers take it for a date; quote it"),
)
"""Patterns of unquoted text whose meaning depends on the reader, and the remedy."""


@dataclass(frozen=True)
class Document:
    """A file's content, as far as it could be read.

    Attributes:
        value: Nested dictionaries, lists and scalars; None for an empty or unreadable file.
        lines: Line of each value by its path, counted from 1; of a mapping's entry, its key's.
        problems: What is wrong with the YAML itself.
        rejected: Paths of the values that a problem is about already.
        readable: Whether there is a value to look at.
    """

    value: Any
    lines: Mapping[Place, int]
    problems: tuple[Problem, ...]
    rejected: frozenset[Place]
    readable: bool = True

    def line(self, place: Place) -> int | None:
        """Return the line of a value, or of what it would be in."""
        while place not in self.lines and place:
            place = place[:-1]
        return self.lines.get(place)

    def is_rejected(self, place: Place) -> bool:
        """Whether a value, or what it is in, was refused already."""
        return any(place[:length] in self.rejected for length in range(len(place) + 1))


def place_text(place: Place) -> str:
    """Write a place as people do: ``tricks[2].d``."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[\w-]{1,64}", part, re.ASCII):
            text += f".{part}" if text else part
        else:
            text += f"[{shorten(part)}]"
    return text


def shorten(text: str) -> str:
    """Quote a text for a message, cut to 60 characters."""
    return repr(text if len(text) <= 60 else text[:59] + "…")


class Unreadable(Exception):
    """Raised where reading on makes no sense; says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def parse(data: bytes) -> Document:
    """Read one YAML document; never raises, whatever the bytes are."""
    builder = Builder()
    try:
        if len(data) > MAX_BYTES:
            raise Unreadable(Problem(f"is larger than {MAX_BYTES // 1024} KiB"))
        value = builder.document(yaml.parse(data.decode("utf-8-sig"), Loader=yaml.SafeLoader))
    except (Unreadable, yaml.YAMLError, ValueError, OverflowError) as error:
        problems = (*builder.problems, why_unreadable(error, data))
        return Document(None, {}, problems, frozenset(), readable=False)
    problems, rejected = tuple(builder.problems), frozenset(builder.rejected)
    return Document(value, builder.lines, problems, rejected, builder.begun)


def why_unreadable(error: Exception, data: bytes) -> Problem:
    """Say why nothing of a file can be used."""
    match error:
        case Unreadable():
            return error.problem
        case UnicodeDecodeError():
            line = data.count(b"\n", 0, error.start) + 1
            return Problem(f"is not UTF-8: {error.reason}", line=line)
        case yaml.reader.ReaderError():
            line = data.decode("utf-8-sig").count("\n", 0, error.position) + 1
            return Problem(f"holds the control character U+{error.character:04X}", line=line)
        case yaml.MarkedYAMLError():
            mark = error.problem_mark or error.context_mark
            what = ", ".join(part for part in (error.context, error.problem) if part)
            return Problem(f"is not valid YAML: {what}", line=mark.line + 1 if mark else None)
        case yaml.YAMLError():
            return Problem(f"is not valid YAML: {error}")
    # PyYAML lets Python's own errors through for an escape such as "\UFFFFFFFF".
    return Problem("is not valid YAML: it holds an escape that stands for no character")


class Builder:
    """Builds a value from YAML events, and notes lines and problems on the way."""

    def __init__(self) -> None:
        self.lines: MutableMapping[Place, int] = {}
        self.problems: list[Problem] = []
        self.rejected: set[Place] = set()
        self.begun = False

    def document(self, events: Iterator[yaml.Event]) -> Any:
        """Build the one document of a stream."""
        value = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if self.begun:
                    self._problem((), event, "a file holds one suite, here a second one begins")
                    break
                self.begun = True
                value = self._node(next(events), events, ())
        if not self.begun:
            self.problems.append(Problem("is empty"))
        return value

    def _node(self, event: Any, events: Iterator[yaml.Event], place: Place) -> Any:
        self.lines.setdefault(place, line_of(event))
        if len(place) > MAX_DEPTH:
            raise Unreadable(Problem(f"is nested more than {MAX_DEPTH} deep", line=line_of(event)))
        if isinstance(event, yaml.AliasEvent):
            return self._reject(
                place, event, f"alias {shorten(str(event.anchor))}: write the value out"
            )
        self._check_plain(event, place)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(events, place)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(events, place)
        return self._scalar(event, place)

    def _list(self, events: Iterator[yaml.Event], place: Place) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            values.append(self._node(event, events, (*place, len(values))))
        return values

    def _mapping(self, events: Iterator[yaml.Event], place: Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._problem(place, event, "a key must be a plain name")
                self._node(event, events, (*place, "?"))
                self._node(next(events), events, (*place, "?"))
                continue
            # A key is its text: that YAML 1.1 reads `on` as true is of no consequence.
            key = event.value
            inside = (*place, key)
            self._check_plain(event, inside)
            self._check_characters(event, inside)
            if key in values:
                self._problem(inside, event, f"is given twice, first in line {self.lines[inside]}")
                lines, self.lines = self.lines, ChainMap({}, self.lines)
                self._node(next(events), events, inside)
                self.lines = lines  # of what counts, the first
                continue
            self.lines[inside] = line_of(event)
            values[key] = self._node(next(events), events, inside)
        return values

    def _scalar(self, event: Any, place: Place) -> Any:
        text: str = event.value
        self._check_characters(event, place)
        if event.style is not None:
            return text
        if len(text) > MAX_NUMBER:
            number = DECIMAL.fullmatch(text)
            return self._reject(place, event, "too long a number") if number else text
        if text in CONSTANTS:
            return CONSTANTS[text]
        for pattern, remedy in AMBIGUOUS:
            if re.fullmatch(pattern, text, re.IGNORECASE | re.ASCII | re.DOTALL):
                return self._reject(place, event, f"{shorten(text)}: {remedy}")
        if WHOLE.fullmatch(text):
            if len(text.lstrip("+-")) > MAX_DIGITS:
                return self._reject(place, event, f"{shorten(text)}: too large a number")
            return int(text)
        if DECIMAL.fullmatch(text):
            # Adding zero turns -0.0 into 0.0, so that equal numbers are written alike.
            value = float(text) + 0.0
            if math.isinf(value):
                return self._reject(place, event, f"{shorten(text)}: too large a number")
            return value
        return text

    def _check_plain(self, event: Any, place: Place) -> None:
        if event.anchor is not None:
            self._problem(
                place, event, f"anchor {shorten(event.anchor)}: write values where they belong"
            )
        if event.tag is not None:
            self._problem(place, event, f"tag {shorten(event.tag)}: only plain values are allowed")
            if isinstance(event, yaml.ScalarEvent):
                self.rejected.add(place)

    def _check_characters(self, event: Any, place: Place) -> None:
        for character in event.value:
            if unicodedata.category(character) in ("Cc", "Cf", "Cs") and character not in "\n\t":
                name = unicodedata.name(character, "not a printable character")
                self._reject(place, event, f"holds U+{ord(character):04X} ({name}); remove it")
                return

    def _problem(self, place: Place, event: Any, message: str) -> None:
        self.problems.append(Problem(message, place_text(place), line_of(event)))

    def _reject(self, place: Place, event: Any, message: str) -> None:
        self._problem(place, event, message)
        self.rejected.add(place)


def line_of(event: Any) -> int:
    """Return the line an event begins in, counted from 1."""
    return int(event.start_mark.line) + 1
