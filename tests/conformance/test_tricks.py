"""Proves that every trick has its proof: a file of its name beside this one."""

from pathlib import Path

import pytest

from harness.parts import tricks


@pytest.mark.parametrize("name", tricks.names())
def test_every_trick_has_its_file(name: str) -> None:
    file = Path(__file__).with_name(f"test_{name.replace('-', '_')}.py")
    assert file.exists(), f"write {file.name}: the formula, and that its hook really runs"
    assert "def test_" in file.read_text()
