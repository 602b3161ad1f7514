"""Reads files that anybody may have changed: plain ones, of bounded size, as JSON of a type."""

from __future__ import annotations

import json
import math
import os
import re
import stat
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from harness.errors import CorruptRecordError, StoreError

T = TypeVar("T")
HALF = re.compile(rb"\\u[dD]")
"""Perhaps half of a surrogate pair, which a text may hold, and which pydantic refuses."""
HUGE = re.compile(rb"(?:[\s:,\[]|^)-?[\d.]+[eE]\+?\d{3}|\d{300}")
"""Perhaps a number that no float can hold, of which pydantic makes an infinite one."""
LARGEST = 2**28
"""Bytes of a file of JSON; a plan of a hundred thousand runs has a tenth of them."""
DEEPEST = 200
"""Lists and mappings in each other."""


def read_file(path: Path, remedy: str, *, largest: int = LARGEST) -> bytes:
    """Read a file whole.

    Args:
        path: The file.
        remedy: What to do about one that cannot be read.
        largest: Bytes that it may have.

    Raises:
        FileNotFoundError: if there is none.
        CorruptRecordError: naming it, if it is no plain file, too large, or cannot be read.
    """
    try:
        # Opening a pipe must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode):
                raise CorruptRecordError(f"{path} is not a file; {remedy}")
            if about.st_size > largest:
                raise CorruptRecordError(f"{path} has over {largest >> 20} MiB; {remedy}")
            return file.read()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(error.errno, error.strerror, str(path)) from None
    except OSError as error:
        raise CorruptRecordError(f"{path} cannot be read ({error.strerror}); {remedy}") from error


def parse(text: bytes) -> Any:
    """Read JSON: finite numbers only, and nothing nested deeper than :data:`DEEPEST`.

    Raises:
        ValueError: if it is none.
    """
    try:
        if not HUGE.search(text):
            return from_json(text, allow_inf_nan=False, cache_strings="keys")
    except ValueError:
        if not HALF.search(text):
            raise
    try:
        value = json.loads(text.decode(), parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    level = [value]
    for _ in range(DEEPEST):
        level = [item for each in level for item in _items(each)]
    if level:
        raise ValueError("nested too deeply")
    return value


def _finite(written: str) -> float:
    if math.isinf(value := float(written)):
        raise ValueError("a number is too large")
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _items(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value.values()]
    return value if isinstance(value, list) else []


def check_schema(record: Any, current: int, older: str = "", key: str = "schema") -> None:
    """Check which version wrote a record.

    Args:
        record: A mapping.
        current: The newest schema that can be read.
        older: What to do about older ones; empty where they can be read.
        key: Where the record says its schema.

    Raises:
        ValueError: if it does not say.
        StoreError: if it cannot be read.
    """
    schema = record.get(key) if isinstance(record, dict) else None
    if type(schema) is not int or schema < 1:
        raise ValueError(f"{key}: is no whole number from 1")
    if schema > current:
        raise StoreError("was written by a newer ganbench; update to read it")
    if schema < current and older:
        raise StoreError(f"was written by an older ganbench; {older}")


@cache
def _reader(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _validated(kind: Any, data: bytes, value: Any) -> Any:
    try:
        # Strictly, lists are tuples, and texts paths, only where JSON is read.
        return _reader(kind).validate_json(data, strict=True)
    except ValidationError:
        if not HALF.search(data):
            raise
        return _reader(kind).validate_python(value)


def read_json(
    path: Path,
    kind: type[T],
    remedy: str,
    *,
    schema: int | None = None,
    older: str = "",
    key: str = "schema",
) -> T:
    """Read a file of JSON as a type.

    Args:
        path: The file.
        kind: What it must hold, such as a dataclass; other keys are ignored.
        remedy: What to do about one that cannot be read.
        schema: Of the file, where it has one.
        older: What to do about files of older schemas; empty where they can be read.
        key: Where the file says its schema.

    Raises:
        FileNotFoundError: if there is none.
        StoreError: naming it, if another version wrote it.
        CorruptRecordError: naming it, and what is wrong with it.
    """
    data = read_file(path, remedy)
    try:
        value = parse(data)
        if schema is not None:
            check_schema(value, schema, older, key)
        read: T = _validated(kind, data, value)
    except StoreError as error:
        raise StoreError(f"{path} {error}") from error
    except (ValueError, RecursionError) as error:
        raise CorruptRecordError(f"{path} is damaged ({what(error)}); {remedy}") from error
    return read


def what(error: Exception) -> str:
    """Say in few words what is wrong with a value."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        return f"{place}: {first['msg']}" if place else first["msg"]
    return str(error)
