"""Plugins: found by name or by path, and named when they fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import GanbenchError
from harness.registry import load_plugin


def test_a_file_is_loaded_once(tmp_path: Path) -> None:
    file = tmp_path / "plugin_by_path.py"
    file.write_text("value = object()\n")
    assert load_plugin(str(file)).value is load_plugin(str(file)).value


def test_a_module_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plugin_by_name.py").write_text("value = 7\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    assert load_plugin("plugin_by_name").value == 7


@pytest.mark.parametrize("code", ["1/0", "raise SystemExit(0)", "def f(:", "import nothing_there"])
def test_a_plugin_that_fails_is_named(code: str, tmp_path: Path) -> None:
    file = tmp_path / "plugin_that_fails.py"
    file.write_text(code)
    with pytest.raises(GanbenchError, match=r"plugin '.*plugin_that_fails.py' failed on import"):
        load_plugin(str(file))
    assert "plugin_that_fails" not in sys.modules


def test_a_plugin_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(GanbenchError, match="no such file"):
        load_plugin(str(tmp_path / "absent.py"))


def test_a_plugin_written_for_0_1_0_finds_what_it_imports(tmp_path: Path) -> None:
    file = tmp_path / "plugin_of_before.py"
    file.write_text(
        "from harness.augmentations import flipped\n"
        "from harness.conditions import Condition\n"
        "from harness.parts import Batch as Same, Trick\n"
        "from harness.penalties import input_gradient\n"
        "from harness.precision import full_precision\n"
        "from harness.protocols import Batch, Game\n"
        "assert Batch is Same\n"
    )
    code = "import sys; from harness.registry import load_plugin; load_plugin(sys.argv[1])"
    command = [sys.executable, "-c", code, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_network_family_written_for_0_1_0_says_what_it_can_be_built_with() -> None:
    from harness.networks.base import Family

    class Before(Family):
        honours = frozenset({"pack"})

    class Below(Before):
        supports = frozenset({"classes"})

    assert Before.supports == {"pack"}
    assert Below.supports == {"classes"}
