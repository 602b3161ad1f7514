"""A finished suite that is run again says so without loading PyTorch, and only then."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.commands import finished
from harness.commands.expansion import expanded
from harness.commands.finished import MARK, RerunShortcut
from harness.commands.options import RunOptions
from harness.errors import GanbenchError
from harness.suite.load import load_suite
from harness.suite.matrix import expand
from tests.benchmarks.starting import finished_suite

TOLD = "all 10 runs of finished are done"


@pytest.fixture
def command(tmp_path: Path) -> RerunShortcut:
    """Make a command that has been carried out."""
    file = finished_suite(tmp_path, 10)
    asked = RerunShortcut(RunOptions(str(file), tmp_path / "finished", wandb="disabled"))
    (tmp_path / "finished" / "suite.json").write_text("{}", encoding="utf-8")
    asked.remember(tmp_path / "finished", expand(load_suite(str(file))))
    return asked


def changed(command: RerunShortcut, **options: Any) -> RerunShortcut:
    return RerunShortcut(replace(command.options, **options))


def runs(command: RerunShortcut) -> list[Path]:
    assert command.options.out is not None
    return sorted((command.options.out / "runs").iterdir())


def test_the_same_command_is_answered(command: RerunShortcut) -> None:
    assert command.result() == TOLD
    assert changed(command, device="cpu", wandb=None).result() == TOLD


@pytest.mark.parametrize(
    "other",
    [
        {"seeds": 1},
        {"only": ("variant=gan",)},
        {"profile": "quick"},
        {"device": "cuda"},
        {"device": "tpu"},
        {"plugins": ("my_plugin",)},
        {"extractors": ("mine=net.pt2",)},
        {"suite": "smoke"},
        {"suite": "no-such-suite"},
        {"suite": "no/such/suite.yaml"},
    ],
    ids=str,
)
def test_another_one_is_not(command: RerunShortcut, other: dict[str, object]) -> None:
    assert changed(command, **other).result() is None  # type: ignore[arg-type]


def append_to_log(command: RerunShortcut) -> None:
    with (runs(command)[3] / "events.jsonl").open("a") as log:
        log.write("torn")


def touch_spec(command: RerunShortcut) -> None:
    os.utime(runs(command)[3] / "spec.json", (1, 1))


def lose_a_log(command: RerunShortcut) -> None:
    (runs(command)[3] / "events.jsonl").unlink()


def gain_a_run(command: RerunShortcut) -> None:
    (runs(command)[3].parent / "another").mkdir()


def change_the_plan(command: RerunShortcut) -> None:
    assert command.options.out is not None
    (command.options.out / "suite.json").write_text("{ }", encoding="utf-8")


def change_the_suite(command: RerunShortcut) -> None:
    with Path(command.options.suite).open("a") as file:
        file.write("# another remark\n")


def damage_the_mark(command: RerunShortcut) -> None:
    assert command.options.out is not None
    (command.options.out / MARK).write_text("[", encoding="utf-8")


def empty_the_mark(command: RerunShortcut) -> None:
    assert command.options.out is not None
    (command.options.out / MARK).write_text("{}", encoding="utf-8")


@pytest.mark.parametrize(
    "change",
    [
        append_to_log,
        touch_spec,
        lose_a_log,
        gain_a_run,
        change_the_plan,
        change_the_suite,
        damage_the_mark,
        empty_the_mark,
    ],
)
def test_after_any_change_the_long_way_is_gone(
    command: RerunShortcut, change: Callable[[RerunShortcut], None]
) -> None:
    change(command)
    assert replace(command).result() is None


def test_another_program_is_asked_anew(
    command: RerunShortcut, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = finished.stamps

    def edited(files: list[Path], root: Path) -> list[bytes]:
        lines = list(inner(files, root))
        return [b"edited", *lines[1:]] if files and files[0].suffix == ".py" else lines

    monkeypatch.setattr(finished, "stamps", edited)
    assert command.result() is None


def test_a_suite_that_has_been_read_is_not_read_again(command: RerunShortcut) -> None:
    matrix = expanded(replace(command.options, suite="gone.yaml"), command.content)
    assert matrix.specs == expanded(command.options).specs


def test_what_lies_elsewhere_is_never_remembered(command: RerunShortcut) -> None:
    assert command.options.out is not None
    (command.options.out / MARK).unlink()
    matrix = expand(load_suite(command.options.suite))
    first = matrix.specs[0]
    dataset = first.dataset.model_copy(update={"id": "mnist"})
    moved = replace(matrix, specs=[first.model_copy(update={"dataset": dataset})])
    command.remember(command.options.out, moved)
    changed(command, plugins=("plugin.py",)).remember(command.options.out, matrix)
    assert not (command.options.out / MARK).exists()


def test_a_mirror_that_there_is_not_is_refused_all_the_same(command: RerunShortcut) -> None:
    with pytest.raises(GanbenchError, match="upside-down"):
        changed(command, wandb="upside-down").result()


def test_it_loads_no_pytorch(command: RerunShortcut) -> None:
    program = (
        "import sys; from harness import cli; import reports.build\n"
        "reports.build.is_current = lambda *places: True\n"
        "try: cli.main()\n"
        "finally: print('torch' in sys.modules)"
    )
    arguments = [
        "run",
        command.options.suite,
        "--out",
        str(command.options.out),
        "--wandb",
        "disabled",
    ]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[0] == TOLD
    assert done.stdout.splitlines()[-1] == "False"


def test_the_mark_says_what_it_says(command: RerunShortcut) -> None:
    assert command.options.out is not None
    mark = json.loads((command.options.out / MARK).read_bytes())
    assert mark.keys() == {"key", "records", "told"}
