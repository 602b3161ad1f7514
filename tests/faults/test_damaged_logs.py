"""A record in the middle of a log is damaged: never skipped in silence, always named."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import CorruptRecordError, StoreError
from harness.store import log
from harness.store.events import LossRow
from harness.store.log import encode, read_events, split_lines
from harness.store.reading import read_suite
from reports.build import is_current
from tests.stores import build_store

LINES = b"".join(
    encode(LossRow(step=step, kimg=0.1 * step, values={"d_loss": 1.0 / step}))
    for step in range(1, 6)
)
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "a digit": lambda line: line.replace(b"1", b"2", 1),
    "its checksum": lambda line: line[:-3] + b'0"}' if line[-3:-2] != b"0" else line[:-3] + b'1"}',
    "cut": lambda line: line[: len(line) // 2],
    "emptied": lambda line: b"",
    "zeros": lambda line: bytes(len(line)),
    "no text": lambda line: b"\xff\xfe" + line,
    "not ours": lambda line: b'{"type": "losses", "step": 1, "values": {"d_loss": 0.0}}',
    "twice": lambda line: line + line,
}
ROW = {"schema": 1, "type": "losses", "step": 1, "kimg": 0.1, "values": {"d_loss": 1.0}}
DEEP = "[" * 100_000 + "]" * 100_000
SHAPES = {
    "no record": "[1]",
    "no schema": json.dumps({"type": "losses", "step": 1}),
    "true as schema": json.dumps(ROW | {"schema": True}),
    "a zeroth schema": json.dumps(ROW | {"schema": 0}),
    "a schema below zero": json.dumps(ROW | {"schema": -1}),
    "no amount": json.dumps(ROW | {"kimg": {"nonfinite": "nan"}}),
    "too large an amount": json.dumps(ROW | {"kimg": 1e308}),
    "less than nothing": json.dumps(ROW | {"kimg": -0.5}),
    "updates of nobody": json.dumps(
        {"schema": 1, "type": "outcome", "outcome": "ok", "step": 1, "updates": {}}
    ),
    "a number that is a text": json.dumps(ROW | {"kimg": "1"}),
    "no type": json.dumps({"schema": 1, "step": 1}),
    "a list as type": json.dumps(ROW | {"type": ["losses"]}),
    "no step": json.dumps({key: value for key, value in ROW.items() if key != "step"}),
    "a text as step": json.dumps(ROW | {"step": "1"}),
    "half a step": json.dumps(ROW | {"step": 0.5}),
    "less than no step": json.dumps(ROW | {"step": -1}),
    "true as step": json.dumps(ROW | {"step": True}),
    "a bare NaN as step": json.dumps(ROW | {"step": math.nan}),
    "NaN as step": json.dumps(ROW | {"step": {"nonfinite": "nan"}}),
    "a huge step": json.dumps(ROW | {"step": 10**400}),
    "a huge number": json.dumps(ROW).replace("0.1", "1e400"),
    "a bare NaN": json.dumps(ROW | {"kimg": math.nan}),
    "values in a list": json.dumps(ROW | {"values": [1.0]}),
    "a text among values": json.dumps(ROW | {"values": {"d_loss": "1.0"}}),
    "an unheard-of outcome": json.dumps(
        {"schema": 1, "type": "outcome", "outcome": "x", "step": 1}
    ),
    "deep nesting": json.dumps(ROW)[:-1] + f', "more": {DEEP}}}',
    "not so deep nesting and half a character": json.dumps(ROW)[:-1]
    + f', "more": ["\\ud800", {"[" * 300 + "]" * 300}]}}',
    "deep nesting and half a character": json.dumps(ROW)[:-1] + f', "more": ["\\ud800", {DEEP}]}}',
}
"""Records of the wrong shape, under the right checksum."""


def sealed(body: str) -> bytes:
    """Write a line with its checksum, whatever it says."""
    return f'{body[:-1]}, "crc": "{crc32(body.encode()):08x}"}}'.encode()


@given(st.integers(0, LINES.rindex(b"\n", 0, -1) - 1), st.integers(1, 255))
def test_no_byte_can_change_unnoticed(tmp_path_factory: object, place: int, flip: int) -> None:
    folder = tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    data = bytearray(LINES)
    data[place] ^= flip
    file = folder / "flipped.jsonl"
    file.write_bytes(data)
    line = LINES.count(b"\n", 0, place) + 1
    with pytest.raises(CorruptRecordError, match=rf"flipped\.jsonl:{line}: .*restore the file"):
        read_events(file)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "results"
    return build_store(folder, datasets=("ring8",), variants=("gan",), tricks=("none",), seeds=2)


def damaged(whole: Path, root: Path, how: Callable[[bytes], bytes]) -> Path:
    """Copy a folder and damage the fifth record of its first run; return that run's log."""
    shutil.copytree(whole, root)
    log = sorted((root / "runs").glob("*/events.jsonl"))[0]
    lines, _ = split_lines(log.read_bytes())
    lines[4] = how(lines[4])
    log.write_bytes(b"\n".join([*lines, b""]))
    return log


@pytest.mark.parametrize("how", DAMAGES)
def test_the_error_names_file_and_line(how: str, whole: Path, tmp_path: Path) -> None:
    log = damaged(whole, tmp_path / "r", DAMAGES[how])
    with pytest.raises(CorruptRecordError) as error:
        read_suite(tmp_path / "r")
    assert str(error.value).startswith(f"{log}:5: ")
    (told,) = read_suite(tmp_path / "r", skip_corrupt=True).corrupt.values()
    assert told == str(error.value)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_record_of_the_wrong_shape_is_damaged(shape: str, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(LINES + sealed(SHAPES[shape]) + b"\n" + LINES)
    with pytest.raises(CorruptRecordError, match=r"events\.jsonl:6: .*; restore the file"):
        read_events(file)
    assert len(read_events(file, skip_corrupt=True)) == 10


def test_a_record_may_not_be_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(LINES)
    monkeypatch.setattr(log, "LONGEST", 20)
    with pytest.raises(CorruptRecordError, match=r"events\.jsonl:1: too long"):
        read_events(file)


@pytest.mark.parametrize(
    "line",
    [json.dumps({"schema": 1, "type": "afterthought", "more": [1]}), json.dumps(ROW | {"more": 1})],
)
def test_what_a_minor_version_adds_is_ignored(line: str, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(LINES + sealed(line) + b"\n")
    plain = [event for event in read_events(file) if event.step == 1]  # type: ignore[union-attr]
    assert len(plain) == (2 if "losses" in line else 1)


def test_a_newer_log_is_refused_and_nobody_told_to_delete_it(whole: Path, tmp_path: Path) -> None:
    file = damaged(whole, tmp_path / "r", lambda line: sealed(json.dumps(ROW | {"schema": 2})))
    for skip in (False, True):
        with pytest.raises(StoreError) as error:
            read_suite(tmp_path / "r", skip_corrupt=skip)
        assert str(error.value) == (f"{file}:5 was written by a newer ganbench; update to read it")


def test_a_pipe_is_no_log(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "events.jsonl")
    with pytest.raises(CorruptRecordError, match="is not a file"):
        read_events(tmp_path / "events.jsonl")


NO_FILES: dict[str, Callable[[Path], None]] = {
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
}


@pytest.mark.parametrize("name", ["events.jsonl", "spec.json"])
@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_named_and_can_be_skipped(
    name: str, kind: str, whole: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole, tmp_path / "r")
    file = sorted((tmp_path / "r" / "runs").glob(f"*/{name}"))[0]
    file.unlink()
    NO_FILES[kind](file)
    with pytest.raises(CorruptRecordError) as error:
        read_suite(tmp_path / "r")
    assert str(error.value).startswith(f"{file} ") and "; " in str(error.value)
    (told,) = read_suite(tmp_path / "r", skip_corrupt=True).corrupt.values()
    assert told == str(error.value)


def test_the_report_refuses_or_lists_it(whole: Path, tmp_path: Path) -> None:
    root = tmp_path / "r"
    log = damaged(whole, root, DAMAGES["a digit"])
    run = CliRunner()
    refused = run.invoke(app, ["report", str(root)])
    assert isinstance(refused.exception, CorruptRecordError)
    assert f"{log}:5: checksum differs" in str(refused.exception)
    assert not (root / "report").exists()

    listed = run.invoke(app, ["report", str(root), "--skip-corrupt"])
    assert listed.exit_code == 0, listed.output
    assert f"{log}:5: checksum differs" in (root / "report" / "tables" / "gaps.csv").read_text()
    assert "1 of 2 planned runs have a result" in (root / "report" / "report.md").read_text()
    assert not is_current(root)
    again = run.invoke(app, ["report", str(root)])
    assert isinstance(again.exception, CorruptRecordError)
