"""Proves that imports point one way, from room to room; the order of rooms is in pyproject.toml.

``python tests/unit/test_imports.py`` lists rooms, floors and arrows. A room is a folder of
``harness`` or a module beside it; ``reports`` and ``suites`` are one each.
"""

import tomllib
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import grimp
import pytest
from importlinter import cli

ROOT = Path(__file__).parents[2]
PACKAGES = ("harness", "reports", "suites")
LOOSE = {"__init__", "calls", "cli", "errors", "registry", "spec", "version"}
VAGUE = {"util", "utils", "helper", "helpers", "misc", "common", "stuff", "tools"}


@cache
def graph() -> Any:
    """Read all imports, also those in functions and those that only type checkers read."""
    return grimp.build_graph(*PACKAGES, cache_dir=None)


def room(module: str) -> str:
    """Name the room of a module."""
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] or package if package == "harness" else package


def arrows() -> dict[str, set[str]]:
    """List the rooms that each room imports from."""
    found: dict[str, set[str]] = defaultdict(set)
    for module in graph().modules:
        targets = {room(target) for target in graph().find_modules_directly_imported_by(module)}
        found[room(module)] |= targets - {room(module)}
    return dict(found)


def floors(below: dict[str, set[str]]) -> dict[str, int]:
    """Count floors from the ground: a room is one above the highest that it imports from."""

    @cache
    def floor(name: str) -> int:
        return 1 + max((floor(target) for target in below[name]), default=0)

    return {name: floor(name) for name in sorted(below)}


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.usefixtures("elsewhere")
def test_no_room_imports_from_one_above_it() -> None:
    assert (
        cli.lint_imports(config_filename="pyproject.toml", no_cache=True) == cli.EXIT_STATUS_SUCCESS
    )


def test_the_order_names_every_room_once() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    order = [name.strip() for row in contracts["contracts"][0]["layers"] for name in row.split("|")]
    assert len(order) == len(set(order))
    assert {*order} == {*arrows()} - {"harness", "reports", "suites"}


def test_what_lies_loose_in_the_harness() -> None:
    assert {file.stem for file in (ROOT / "harness").glob("*.py")} == LOOSE


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_knows_only_its_version(package: str) -> None:
    assert graph().find_modules_directly_imported_by(package) <= {"harness.version"}


@pytest.mark.parametrize("package", ["commands", "store"])
def test_what_needs_no_pytorch_is_in_packages_that_load_nothing(package: str) -> None:
    assert not graph().find_modules_directly_imported_by(f"harness.{package}")


def test_no_name_is_vague() -> None:
    for folder in (*PACKAGES, "tests"):
        for file in (ROOT / folder).rglob("*.py"):
            assert not {*file.relative_to(ROOT).with_suffix("").parts} & VAGUE, file


def test_arrows_are_found_wherever_they_stand() -> None:
    """What nothing above would mean anything without: of a function, of a type, of a module."""
    assert "harness.commands.finished" in graph().find_modules_directly_imported_by("harness.cli")
    assert "harness.commands.expansion" in graph().find_modules_directly_imported_by("harness.cli")
    assert {"registry", "networks"} <= arrows()["parts"]
    assert floors({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {"a": 3, "b": 2, "c": 1}


if __name__ == "__main__":
    below = arrows()
    by_floor: dict[int, list[str]] = defaultdict(list)
    for name, number in floors(below).items():
        by_floor[number].append(name)
    for number in sorted(by_floor, reverse=True):
        print(f"{number:3}  {'  '.join(by_floor[number])}")
    count = sum(map(len, below.values()))
    print(f"{len(below)} rooms, {len(by_floor)} floors, {count} arrows")
