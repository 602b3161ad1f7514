"""Proves that every trick has its proof: a file of its name beside this one."""

from pathlib import Path

import pytest

from harness.parts import tricks


@pytest.mark.parametrize("name", tricks.names())
def test_every_trick_has_its_file(name: str) -> None:
    shared = {"r1": "r1_r2", "r2": "r1_r2"}
    file = Path(__file__).with_name(f"test_{shared.get(name, name).replace('-', '_')}.py")
    assert file.exists(), f"write {file.name}: the formula, and that its hook really runs"
    assert "def test_" in file.read_text()
