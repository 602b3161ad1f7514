"""A record in the middle of a log is damaged: never skipped in silence, always named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import CorruptRecordError
from harness.store.events import encode, read_events, split_lines
from harness.store.reading import read_suite
from reports.build import is_current
from tests.stores import build_store

LINES = b"".join(
    encode({"type": "losses", "step": step, "kimg": 0.1 * step, "values": {"d_loss": 1.0 / step}})
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
