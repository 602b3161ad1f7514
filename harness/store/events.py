"""The event log of a run: append-only lines of JSON, each with its own checksum.

One record is one ``os.write`` on an ``O_APPEND`` descriptor, so a kill tears at most the last
line. Such a torn tail is ignored by readers and cut off by the next writer; a bad line anywhere
else is an error, never skipped in silence.

Records of an attempt that was cut off stay in the file. An attempt that resumes from step ``s``
supersedes what earlier attempts said about later steps; :func:`effective` applies that rule.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from itertools import repeat
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from zlib import crc32

from pydantic_core import from_json

from harness.errors import CorruptRecordError, StoreError
from harness.spec import decode_numbers, encode_numbers
from harness.store.failpoints import failpoint

SCHEMA = 1
TAIL = len(', "crc": "01234567"}')
"""Bytes of a line that are not under its checksum."""
Event = dict[str, Any]


def encode(record: Event) -> bytes:
    """Write a record as one line that ends with the CRC-32 of all before it."""
    body = json.dumps(encode_numbers({"schema": SCHEMA, **record}), allow_nan=False)
    return f'{body[:-1]}, "crc": "{crc32(body.encode()):08x}"}}\n'.encode()


def decode(line: bytes) -> Event:
    """Read a line back.

    Raises:
        ValueError: if it is not a whole record with the right checksum, or of a newer schema.
    """
    body, separator, crc = line.rpartition(b', "crc": "')
    if not separator or not crc.endswith(b'"}'):
        raise ValueError("not a whole record")
    body += b"}"
    if crc[:-2] != b"%08x" % crc32(body):
        raise ValueError("checksum differs")
    record: Event = parse(body)
    if b'"nonfinite"' in body:
        record = decode_numbers(record)
    if record.pop("schema") > SCHEMA:
        raise ValueError("written by a newer ganbench")
    return record


def decode_all(lines: list[bytes]) -> list[Event] | None:
    """Read the lines of a log at once, faster than one by one; None if there is a bad one."""
    if not lines:
        return []
    bodies = []
    for line in lines:
        body = line[:-TAIL]
        if line[-TAIL:] != b', "crc": "%08x"}' % crc32(b"}", crc32(body)):
            return None
        bodies.append(body)
    try:
        text = b"[" + b"},".join(bodies) + b"}]"
        records: list[Event] = parse(text)
        if len(records) != len(lines) or max(map(dict.pop, records, repeat("schema"))) > SCHEMA:
            return None
    except (ValueError, KeyError):
        return None
    if b'"nonfinite"' not in text:
        return records
    return [
        decode_numbers(record) if b'"nonfinite"' in body else record
        for record, body in zip(records, bodies, strict=True)
    ]


def parse(text: bytes) -> Any:
    """Read JSON as the standard library does, three times as fast.

    Raises:
        ValueError: if it is none.
    """
    try:
        return from_json(text, cache_strings="keys")
    except ValueError:
        # It refuses halves of surrogate pairs, which a text may hold.
        return json.loads(text.decode())


def split_lines(data: bytes) -> tuple[list[bytes], int]:
    """Split a log into whole lines and the length of what they take; the rest is a torn tail."""
    end = data.rfind(b"\n") + 1
    return data[:end].split(b"\n")[:-1], end


def read_events(path: Path, *, skip_corrupt: bool = False) -> list[Event]:
    """Read all whole records of a log, in the order of writing.

    Args:
        path: The ``events.jsonl``; absent counts as empty.
        skip_corrupt: Leave out bad lines instead of raising.

    Raises:
        CorruptRecordError: naming file and line, if a line before the torn tail is bad.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    lines = split_lines(data)[0]
    events = decode_all(lines)
    if events is not None:
        return events
    events = []
    for number, line in enumerate(lines, start=1):
        try:
            events.append(decode(line))
        except ValueError as error:
            if not skip_corrupt:
                raise CorruptRecordError(
                    f"{path}:{number}: {error}; restore the file, or delete the run's folder to "
                    f"train it again"
                ) from error
    return events


def effective(events: list[Event]) -> list[Event]:
    """Leave out what a later attempt did again: one record for each thing that happened.

    ``attempt`` records are all kept; of the others, those that tell of a step after the one
    from which a later attempt resumed, and outcomes that were not final, go.
    """
    kept: list[Event] = []
    for event in events:
        if event["type"] == "attempt":
            # An attempt that starts over evaluates the untrained generator again, at step 0.
            resumed = event["resumed_from"] or -1
            kept = [
                e
                for e in kept
                if e["type"] == "attempt"
                or (e["type"] not in ("outcome", "protocol") and e["step"] <= resumed)
            ]
        kept.append(event)
    return kept


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
        end = split_lines(path.read_bytes())[1]
        if end < size:
            os.ftruncate(self._file, end)

    def append(self, record: Event, *, durable: bool = False) -> None:
        """Write one record.

        Args:
            record: Must have a ``type``; floats may be non-finite.
            durable: Wait until it is on the disk (evaluations, checkpoints, outcomes).
        """
        line = encode(record)
        failpoint("event")
        before = os.fstat(self._file).st_size
        written = os.write(self._file, line)
        if written != len(line):
            os.ftruncate(self._file, before)
            raise OSError(28, "no space left for an event", str(self.path))
        self.events.append(decode(line[:-1]))
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
