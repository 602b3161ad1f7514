"""Code from elsewhere is named by its files: the plugin's, and all that it imports from there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import GanbenchError
from harness.parts import tricks
from harness.registry import load_plugin
from harness.store.code import UNKNOWN, PartCode, code_of, is_foreign, sources_of, still_accepted
from harness.tricks.ttur import TTUR
from tests.plugins import registered_apart


def write(folder: Path, files: dict[str, str]) -> Path:
    """Write modules by their paths without ending; return the first one's."""
    paths = [folder / f"{name}.py" for name in files]
    for path, text in zip(paths, files.values(), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return paths[0]


def name_of(sources: dict[str, str]) -> str:
    return PartCode("variant", "mine", sources).name


PLUGIN = {
    "mine": "import math, numpy, torch\nfrom formulas import loss\n",
    "formulas": "def loss():\n    from deep.down import margin\n    return margin\n",
    "deep/down": "from . import beside\nfrom .beside import margin\n",
    "deep/beside": "margin = 1\n",
    "unrelated": "margin = 1\n",
}
PARTS = {"mine.py", "formulas.py", "deep/down.py", "deep/beside.py"}


def test_a_plugin_is_its_file_and_what_that_imports_from_beside_it(tmp_path: Path) -> None:
    assert sources_of(write(tmp_path, PLUGIN)).keys() == PARTS


@pytest.mark.parametrize("changed", sorted(PARTS))
def test_another_byte_in_any_of_them_is_another_code(changed: str, tmp_path: Path) -> None:
    file = write(tmp_path, PLUGIN)
    before = sources_of(file)
    with (tmp_path / changed).open("a") as written:
        written.write("# a remark\n")
    after = sources_of(file)
    assert {name for name in before if before[name] != after[name]} == {changed}
    assert name_of(before) != name_of(after)


def test_what_it_does_not_import_is_no_part_of_it(tmp_path: Path) -> None:
    file = write(tmp_path, PLUGIN)
    before = sources_of(file)
    (tmp_path / "unrelated.py").write_text("margin = 2\n")
    (tmp_path / "notes.txt").write_text("of no matter")
    assert sources_of(file) == before


def test_a_plugin_that_is_moved_is_the_same(tmp_path: Path) -> None:
    file = write(tmp_path / "here", PLUGIN)
    shutil.copytree(tmp_path / "here", tmp_path / "elsewhere" / "deeper")
    moved = tmp_path / "elsewhere" / "deeper" / "mine.py"
    assert sources_of(moved) == sources_of(file)
    (tmp_path / "link.py").symlink_to(moved)
    assert sources_of(tmp_path / "link.py") == sources_of(file)


def test_the_order_of_files_does_not_matter() -> None:
    one, other = {"a.py": "1", "b.py": "2"}, {"b.py": "2", "a.py": "1"}
    assert name_of(one) == name_of(other)
    assert name_of(one) != name_of({"a.py": "2", "b.py": "1"})


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("import pack", {"pack/__init__.py"}),
        ("import pack.inner as other", {"pack/__init__.py", "pack/inner.py"}),
        ("from pack import inner", {"pack/__init__.py", "pack/inner.py"}),
        ("from pack import *", {"pack/__init__.py"}),
        ("from pack.inner import margin", {"pack/__init__.py", "pack/inner.py"}),
        ("def f():\n    import single", {"single.py"}),
        ("try:\n    import absent\nexcept ImportError:\n    import single", {"single.py"}),
        ("if False:\n    import single", {"single.py"}),
        ("import single.not_there", {"single.py"}),
        ("from harness.parts import Trick", set()),
        ("import os, sys, torch.nn", set()),
        ("from .. import single", set()),
        ("import mine", set()),
        ("import around.single", {"single.py"}),
    ],
)
def test_every_way_to_import(statement: str, found: set[str], tmp_path: Path) -> None:
    modules = {"mine": statement, "single": "", "pack/__init__": "", "pack/inner": "margin = 1"}
    file = write(tmp_path / "around", modules)
    assert sources_of(file).keys() == {"mine.py", *found}


def test_modules_that_import_each_other_end(tmp_path: Path) -> None:
    file = write(tmp_path, {"mine": "import other", "other": "import mine"})
    assert sources_of(file).keys() == {"mine.py", "other.py"}


def test_a_part_of_a_package_is_named_from_outside_it(tmp_path: Path) -> None:
    modules = {
        "mygans/losses/hinge": "from ..formulas import margin\nimport neighbour",
        "mygans/__init__": "",
        "mygans/losses/__init__": "import mygans.constants",
        "mygans/formulas": "margin = 1",
        "mygans/constants": "",
        "neighbour": "",
    }
    file = write(tmp_path, modules)
    whole = {
        "mygans/__init__.py", "mygans/losses/__init__.py", "mygans/losses/hinge.py",
        "mygans/formulas.py", "mygans/constants.py",
    }  # fmt: skip
    assert sources_of(file, "mygans.losses.hinge").keys() == {*whole, "neighbour.py"}
    installed = tmp_path / "site-packages"
    installed.mkdir()
    for name in ("mygans", "neighbour.py"):
        (tmp_path / name).rename(installed / name)
    moved = installed / "mygans" / "losses" / "hinge.py"
    assert sources_of(moved, "mygans.losses.hinge").keys() == whole


def test_installed_packages_below_the_folder_are_no_part_of_it(tmp_path: Path) -> None:
    file = write(tmp_path, {"mine": "import site_part, venv.lib"})
    installed = tmp_path / "venv" / "site-packages"
    installed.mkdir(parents=True)
    (installed / "lib.py").touch()
    assert sources_of(file).keys() == {"mine.py"}


@pytest.mark.parametrize("content", [b"def f(:", b"\xff\xfe", b"x = '\0'", b""])
def test_what_does_not_parse_is_bytes_all_the_same(content: bytes, tmp_path: Path) -> None:
    file = write(tmp_path, {"mine": "import broken"})
    (tmp_path / "broken.py").write_bytes(content)
    assert sources_of(file).keys() == {"mine.py", "broken.py"}


def test_compiled_modules_are_hashed_too(tmp_path: Path) -> None:
    file = write(tmp_path, {"mine": "import fast"})
    (tmp_path / "fast.abi3.so").write_bytes(b"\x7fELF")
    assert sources_of(file).keys() == {"mine.py", "fast.abi3.so"}


def test_what_has_no_source_is_unknown(tmp_path: Path) -> None:
    assert sources_of(tmp_path / "absent.py") == {}
    assert sources_of(tmp_path / "archive.zip" / "mine.py") == {}
    scope: dict[str, type] = {}
    exec("class Typed:\n    __module__ = 'nowhere'", scope)
    assert is_foreign(scope["Typed"]) and code_of(scope["Typed"]) == {}
    assert name_of({}) == UNKNOWN


def test_code_is_that_of_before_unless_it_can_be_told_apart() -> None:
    old, new = (PartCode("trick", "mine", {"mine.py": digest}) for digest in "12")
    unknown = PartCode("trick", "mine", {})
    assert old.stands_for(old) and not new.stands_for(old)
    assert unknown.stands_for(old) and new.stands_for(unknown)
    assert PartCode("trick", "mine", new.sources, (old.name,)).stands_for(old)


def test_what_was_accepted_holds_until_the_code_is_yet_another() -> None:
    one, two, three = (PartCode("trick", "mine", {"mine.py": digest}) for digest in "123")
    accepted = PartCode("trick", "mine", two.sources, (one.name,))
    assert still_accepted([two], [accepted]) == (accepted,)
    assert still_accepted([one], [accepted])[0].accepted == (two.name,)
    assert still_accepted([three], [accepted]) == (three,)
    assert still_accepted([two], [PartCode("variant", "mine", two.sources, ("x",))]) == (two,)


def test_parts_of_ganbench_are_named_by_its_version() -> None:
    assert not is_foreign(TTUR)
    assert "ttur" in tricks.names() and "ttur" not in tricks.foreign()


TRICK = """
from harness.parts import Trick, tricks
@tricks.register("{name}", source="nowhere")
class Odd(Trick):
    '''Do nothing.'''
"""


def test_the_registry_hashes_a_plugin_as_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered_apart(monkeypatch)
    file = write(tmp_path, {"plugin_with_code": TRICK.format(name="odd-one")})
    load_plugin(str(file))
    sources = sources_of(file)
    file.write_text("raise SystemExit")
    assert tricks.foreign()["odd-one"] == PartCode("trick", "odd-one", sources)


def test_a_plugin_finds_what_lies_beside_it(tmp_path: Path) -> None:
    file = write(tmp_path, {"plugin_of_two": "import value_of_two as two", "value_of_two": "x = 2"})
    code = "from harness.registry import load_plugin as load; import sys; load(sys.argv[1]).two.x"
    command = [sys.executable, "-c", code, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["twice", "random"])
def test_a_name_that_another_module_has_is_refused(name: str, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write(tmp_path / folder, {name: f"value = {folder!r}"})
    if name == "twice":
        assert load_plugin(str(tmp_path / "a" / "twice.py")).value == "a"
    with pytest.raises(GanbenchError, match=f"another module of the name '{name}' is loaded"):
        load_plugin(str(tmp_path / "b" / f"{name}.py"))
