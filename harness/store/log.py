"""The event log of a run: append-only lines of JSON, each with its own checksum.

One record is one ``os.write`` on an ``O_APPEND`` descriptor, so a kill tears at most the last
line. Such a torn tail is ignored by readers and cut off by the next writer; a bad line anywhere
else is an error, never skipped in silence.

Versions of ganbench that agree on :data:`SCHEMA` may add keys and types of records, which others
of them ignore; a larger number is of records that must not be read by what does not know it.

Records of an attempt that was cut off stay in the file. An attempt that resumes from step ``s``
supersedes what earlier attempts said about later steps; :func:`harness.store.events.effective`
applies that rule.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self
from zlib import crc32

from pydantic import Field, TypeAdapter, ValidationError

from harness.errors import CorruptRecordError, StoreError
from harness.store.events import Event
from harness.store.failpoints import failpoint
from harness.store.fields import as_json
from harness.store.files import check_schema, parse, read_file, what

SCHEMA = 1
HEAD = b'{"schema": %d, ' % SCHEMA
TAIL = len(', "crc": "01234567"}')
"""Bytes of a line that are not under its checksum."""
LONGEST = 2**24
"""Bytes of a record."""
LARGEST = 2**31
"""Bytes of a log."""
REMEDY = "restore the file, or delete the run's folder to train it again"
"""What to do about a damaged log."""
Tagged = Annotated[Event, Field(discriminator="type")]


@cache
def one() -> TypeAdapter[Event]:
    """Return what makes a record of a value."""
    return TypeAdapter(Tagged)


@cache
def many() -> TypeAdapter[list[Event]]:
    """Return what makes records of a list."""
    return TypeAdapter(list[Tagged])


def encode(event: Event) -> bytes:
    """Write a record as one line that ends with the CRC-32 of all before it."""
    body = json.dumps({"schema": SCHEMA, **as_json(event)}, allow_nan=False)
    return f'{body[:-1]}, "crc": "{crc32(body.encode()):08x}"}}\n'.encode()


def decode(line: bytes) -> Event | None:
    """Read a line back; None if it is of a type that later versions have added.

    Raises:
        ValueError: if it is not a whole record with the right checksum, of the right shape.
        StoreError: if it is of a newer schema.
    """
    body, separator, crc = line.rpartition(b', "crc": "')
    if not separator or not crc.endswith(b'"}'):
        raise ValueError("not a whole record")
    body += b"}"
    if crc[:-2] != b"%08x" % crc32(body):
        raise ValueError("checksum differs")
    if len(body) > LONGEST:
        raise ValueError("too long for a record")
    try:
        record = parse(body)
        check_schema(record, SCHEMA)
        return one().validate_python(record)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValidationError as error:
        kind = error.errors(include_url=False)[0]["type"]
        if kind == "union_tag_invalid" and isinstance(record.get("type"), str):
            return None
        raise ValueError(what(error)) from error


def decode_all(lines: list[bytes]) -> list[Event] | None:
    """Read the lines of a log at once, faster than one by one; None if that needs a closer look."""
    if not lines:
        return []
    bodies = [line[:-TAIL] for line in lines]
    sums = [b', "crc": "%08x"}' % crc32(b"}", crc32(body)) for body in bodies]
    text = b"[" + b"},\n".join(bodies) + b"}]"
    heads = text.count(b"},\n" + HEAD) + text.startswith(b"[" + HEAD)
    if [line[-TAIL:] for line in lines] != sums or heads < len(lines):
        return None
    if max(map(len, lines)) > LONGEST:
        return None
    try:
        events = many().validate_json(text)
    except ValidationError:
        return None
    return events if len(events) == len(lines) else None


def split_lines(data: bytes) -> tuple[list[bytes], int]:
    """Split a log into whole lines and the length of what they take; the rest is a torn tail."""
    end = data.rfind(b"\n") + 1
    return data[:end].split(b"\n")[:-1], end


def read_log(path: Path) -> bytes:
    """Read a log whole; absent counts as empty.

    Raises:
        CorruptRecordError: if it is no file, larger than a log can be, or cannot be read.
    """
    try:
        return read_file(path, REMEDY, largest=LARGEST)
    except FileNotFoundError:
        return b""


def read_events(path: Path, *, skip_corrupt: bool = False) -> list[Event]:
    """Read all whole records of a log, in the order of writing.

    Args:
        path: The ``events.jsonl``; absent counts as empty.
        skip_corrupt: Leave out bad lines instead of raising.

    Raises:
        StoreError: naming file and line, if a newer version wrote it.
        CorruptRecordError: naming file and line, if a line before the torn tail is bad.
    """
    lines = split_lines(read_log(path))[0]
    events = decode_all(lines)
    if events is not None:
        return events
    events = []
    for number, line in enumerate(lines, start=1):
        try:
            event = decode(line)
        except StoreError as error:
            raise StoreError(f"{path}:{number} {error}") from error
        except ValueError as error:
            if not skip_corrupt:
                raise CorruptRecordError(f"{path}:{number}: {error}; {REMEDY}") from error
        else:
            events += [event] if event is not None else []
    return events


class EventLog:
    """Appends records to a run's log.

    Args:
        path: The ``events.jsonl``; created if absent, its torn tail cut off if there is one.
        events: What it holds; ``events`` then has what is written too.

    Raises:
        StoreError: if the file cannot be opened for writing.
    """

    def __init__(self, path: Path, events: Iterable[Event] = ()) -> None:
        self.path = path
        self.events = list(events)
        try:
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}") from error
        size = os.fstat(self._file).st_size
        end = split_lines(read_log(path))[1]
        if end < size:
            os.ftruncate(self._file, end)

    def append(self, event: Event, *, durable: bool = False) -> None:
        """Write one record.

        Args:
            event: What to tell; floats may be non-finite.
            durable: Wait until it is on the disk (evaluations, checkpoints, outcomes).
        """
        line = encode(event)
        failpoint("event")
        before = os.fstat(self._file).st_size
        written = os.write(self._file, line)
        if written != len(line):
            os.ftruncate(self._file, before)
            raise OSError(28, "no space left for an event", str(self.path))
        self.events.append(event)
        if durable:
            os.fsync(self._file)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
