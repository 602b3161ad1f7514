"""Types of what records hold: strict, bounded, and as they are written in JSON."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, GetPydanticSchema, PlainValidator
from typing_extensions import TypedDict

from harness.spec import decode_numbers, encode_number

MOST = 2**53
"""Integers beyond this are not exact as floats."""
LARGEST = 1e100
"""Numbers beyond this are infinite: their squares and ratios could not be held."""


Count = Annotated[int, Field(strict=True, ge=0, le=MOST)]
"""How many of something; also a step."""


class NonFinite(TypedDict):
    """How JSON holds a number that is not finite."""

    nonfinite: Literal["nan", "inf", "-inf"]


class Players(TypedDict):
    """How many of something each network has, or has had."""

    d: Count
    g: Count


def beyond(value: float) -> float:
    """Make a number infinite that is too large to compute with."""
    return math.copysign(math.inf, value) if abs(value) > LARGEST else value


def as_text(value: Any) -> str:
    """Accept a text with halves of surrogate pairs, as names of files may have them.

    Raises:
        ValueError: if it is none.
    """
    if not isinstance(value, str):
        raise ValueError("is no text")
    return value


Flag = Annotated[bool, Field(strict=True)]
Finite = Annotated[float, Field(strict=True, ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
Amount = Annotated[float, Field(strict=True, ge=0, le=MOST, allow_inf_nan=False)]
"""How much of something, such as seconds."""
Written = Annotated[
    Finite
    | Annotated[float, Field(strict=True, allow_inf_nan=False), AfterValidator(beyond)]
    | Annotated[NonFinite, AfterValidator(decode_numbers)],
    Field(union_mode="left_to_right"),
]
# Numbers are mostly finite, which is read faster.
WrittenByName = Annotated[dict[str, Finite] | dict[str, Written], Field(union_mode="left_to_right")]
Number = Annotated[float, GetPydanticSchema(lambda _, read: read.generate_schema(Written))]
"""A float, which may be non-finite only where it is written so."""
Named = Annotated[
    dict[str, float], GetPydanticSchema(lambda _, read: read.generate_schema(WrittenByName))
]
"""Numbers by name."""
Text = Annotated[str | Annotated[str, PlainValidator(as_text)], Field(union_mode="left_to_right")]
"""A text that anybody may have written."""
Facts = Annotated[dict[str, Any], AfterValidator(decode_numbers)]
"""What a part says of itself."""


OPTIONAL = {"optional": True}
"""Marks a field that is not written while it has its default: it need not apply."""


def as_json(value: Any) -> Any:
    """Write numbers, records, and what holds them, as values that JSON keeps."""
    if isinstance(value, float):
        return encode_number(beyond(value))
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if is_dataclass(value):
        items = ((each, getattr(value, each.name)) for each in fields(value))
        return {
            each.name: as_json(item)
            for each, item in items
            if not ("optional" in each.metadata and item == each.default)
        }
    return value
