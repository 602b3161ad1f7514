"""Reads what W&B wrote offline: records of a ``.wandb`` file, and the run that they describe.

The file is a log in LevelDB's manner. A header of 7 bytes (``:W&B``, 0xBEE1, version), then
blocks of 32 KiB, the first of which counts the header. A record is cut into chunks that never
cross a block: crc32 over type and payload (u32), length (u16), type (1 whole, 2 first, 3 middle,
4 last), payload. Less than 7 bytes at the end of a block are padding.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HEADER = struct.Struct("<4sHB")
CHUNK = struct.Struct("<IHB")
BLOCK = 32 * 1024
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def payloads(data: bytes) -> Iterator[bytes]:
    """Yield whole records; a torn tail, as SIGKILL leaves it, is the end.

    Raises:
        ValueError: if it is no such file, or a whole chunk's checksum differs.
    """
    if len(data) < HEADER.size or HEADER.unpack_from(data)[:2] != (b":W&B", 0xBEE1):
        raise ValueError("not a .wandb file")
    position, parts = HEADER.size, []
    while position < len(data):
        if BLOCK - position % BLOCK < CHUNK.size:
            position += BLOCK - position % BLOCK
            continue
        if position + CHUNK.size > len(data):
            return
        crc, length, kind = CHUNK.unpack_from(data, position)
        start = position + CHUNK.size
        payload = data[start : start + length]
        if len(payload) < length or (crc, length, kind) == (0, 0, 0):
            return
        if zlib.crc32(bytes([kind]) + payload) != crc:
            raise ValueError(f"checksum differs at byte {position}")
        position = start + length
        parts.append(payload)
        if kind in (WHOLE, LAST):
            yield b"".join(parts)
            parts = []


@dataclass
class WandbRun:
    """What an offline file says of its run."""

    id: str = ""
    project: str = ""
    name: str = ""
    group: str = ""
    job_type: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    """History, without the columns that W&B adds (they begin with an underscore)."""
    steps: list[int] = field(default_factory=list)
    """W&B's own counter of each row."""
    summary: dict[str, Any] = field(default_factory=dict)
    axes: dict[str, str] = field(default_factory=dict)
    """Metric or pattern → the metric it is drawn against."""
    exit_code: int | None = None


def read_wandb_file(path: Path) -> WandbRun:
    """Read an offline run back, row by row."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    run = WandbRun()
    for payload in payloads(path.read_bytes()):
        record = Record.FromString(payload)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            said = record.run
            run.id, run.project, run.name = said.run_id, said.project, said.display_name
            run.group, run.job_type, run.tags = said.run_group, said.job_type, list(said.tags)
            _merge(run.config, said.config.update)
        elif kind == "config":
            _merge(run.config, record.config.update)
        elif kind == "history":
            values: dict[str, Any] = {}
            _merge(values, record.history.item)
            run.steps.append(record.history.step.num)
            run.rows.append({k: v for k, v in values.items() if not k.startswith("_")})
        elif kind == "summary":
            _merge(run.summary, record.summary.update)
            for item in record.summary.remove:
                run.summary.pop(item.key, None)
        elif kind == "metric":
            run.axes[record.metric.name or record.metric.glob_name] = record.metric.step_metric
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    run.config.pop("_wandb", None)
    return run


def _merge(into: dict[str, Any], items: Any) -> None:
    for item in items:
        key = item.key or ".".join(item.nested_key)
        into[key] = json.loads(item.value_json)


def as_floats(rows: Sequence[dict[str, Any]]) -> list[dict[str, float]]:
    """Make all values floats: W&B writes whole numbers without a point."""
    return [{name: float(value) for name, value in row.items()} for row in rows]
