"""What the README shows works as it stands."""

import os
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from harness.commands.tune import cells_of
from harness.suite.load import built_in_suites, load_suite, read_suite
from harness.suite.matrix import expand
from harness.tuning.numbers import Range, extremes

README = (Path(__file__).parents[2] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_suite_is_one(tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    assert len(expand(read_suite(text.encode(), "mine.yaml")).specs) == 20


@pytest.mark.slow
def test_the_trick_passes_the_kit(tmp_path: Path) -> None:
    (trick,) = (block for block in blocks("python") if "drift" in block)
    (tmp_path / "drift.py").write_text(trick)
    assert "    ganbench check drift.py\n" in README
    words = [sys.executable, "-m", "harness.cli", "check", "drift.py"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.findall(r"(\d+) checks passed", done.stdout)[0]) > 10


@pytest.mark.parametrize("suite", [entry["id"] for entry in built_in_suites()])
def test_every_suite_is_named(suite: str) -> None:
    assert f"`{suite}`" in README


def test_what_tune_is_shown_with_can_be_searched() -> None:
    shown = [
        shlex.split(line, comments=True)
        for block in blocks("sh")
        for line in block.splitlines()
        if line.startswith("ganbench tune")
    ]
    params = [[w for flag, w in pairwise(words) if flag == "--param"] for words in shown]
    assert sum(map(len, params)) == 4
    for words, asked in zip(shown, params, strict=True):
        cells = cells_of(expand(load_suite(words[2])), asked)
        for text in asked:
            named = Range.parse(text).name
            searched = [cell for cell in cells if named in cell.searched]
            assert searched
            for cell in searched:
                extremes(cell.specs[0], cell.space)
