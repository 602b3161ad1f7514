"""The commands as functions: their options, what they return, and what they raise."""

from __future__ import annotations

import inspect
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import typer

import ganbench
from harness import cli
from harness.calls import Command
from harness.cli import Ended, app
from harness.errors import CorruptRecordError, ExitStatus, GanbenchError
from harness.tracking.console import standard_console
from tests.stores import build_store

ROOT = Path(__file__).parents[2]
NAMES = ("run", "tune", "report", "check")
TINY = """suite: tiny
summary: As little as there is.
seeds: 2
datasets: [ring8]
variants: [gan]
tricks: [none, label-smoothing]
settings: {steps: 20, batch: 16, width: 8, log_every: 10, evaluate_every: 5,
           evaluation_samples: 100}
"""


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    return file


@pytest.mark.parametrize("name", NAMES)
def test_functions_have_the_options_of_their_commands(name: str) -> None:
    function = getattr(ganbench, name)
    keywords = {
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind == inspect.Parameter.KEYWORD_ONLY
    }
    command: Any = typer.main.get_command(app)
    flags = {flag for o in command.commands[name].params for flag in o.opts if flag[0] == "-"}
    assert keywords == {flag.removeprefix("--").replace("-", "_") for flag in flags}
    assert all(f"    {keyword}: " in (function.__doc__ or "") for keyword in keywords)


def test_what_an_option_cannot_be_is_said_as_on_the_command_line(suite: Path) -> None:
    with pytest.raises(GanbenchError, match=r"run: .*--seeds"):
        ganbench.run(suite, seeds=0)
    with pytest.raises(TypeError, match=r"no option 'seed' \(did you mean 'seeds'\?\)"):
        ganbench.run(suite, seed=3)
    with pytest.raises(TypeError, match="give True or False"):
        ganbench.run(suite, dry_run="yes")
    with pytest.raises(GanbenchError, match="exclude each other"):
        ganbench.run(suite, retrain=True, accept_code=True)
    suite.write_text(TINY.replace("gan]", "gam]"))
    with pytest.raises(ganbench.SuiteError, match="did you mean 'gan'"):
        ganbench.run(suite)


def test_words_are_those_of_the_command_line() -> None:
    command = Command("run")
    assert command._words("only", "variant=gan") == ["--only=variant=gan"]
    assert command._words("only", ("variant=gan", "seed=-1")) == [
        "--only=variant=gan",
        "--only=seed=-1",
    ]
    assert command._words("data_root", Path("-x")) == ["--data-root=-x"]
    assert command._words("seeds", None) == command._words("retrain", False) == []
    assert Command("report")._words("skip_corrupt", False) == ["--no-skip-corrupt"]
    assert Command("check")._words("all", True) == ["--all"]


@pytest.mark.slow
def test_run_trains_and_returns_results_and_so_does_a_thread(
    suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert ganbench.run(suite, out=out, dry_run=True) is None
    assert "2 cells" in capsys.readouterr().out and not out.exists()
    main = sys.modules["__main__"]
    found: list[ganbench.Results] = []
    thread = threading.Thread(target=lambda: found.append(ganbench.run(suite, out=out)))
    thread.start()
    thread.join()
    (results,) = found
    assert list(results.runs.outcome) == ["unlearned"] * 4
    assert (out / "report" / "index.html").is_file()
    assert ganbench.run(str(suite), out=str(out)).runs.equals(results.runs)
    assert "all 4 runs of tiny are done" in capsys.readouterr().out
    assert sys.modules["__main__"] is main


@pytest.mark.parametrize(
    ("code", "raised"),
    [
        (ExitStatus.INCOMPLETE, ganbench.Incomplete),
        (ExitStatus.PREEMPTED, ganbench.Preempted),
        (ExitStatus.INTERRUPTED, KeyboardInterrupt),
    ],
)
def test_how_a_command_ended_is_an_exception(
    code: ExitStatus,
    raised: type[BaseException],
    suite: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = build_store(tmp_path / "results")

    def end(*given: Any) -> None:
        raise Ended(code, root)

    monkeypatch.setattr(cli, "_conclude", end)
    monkeypatch.setattr("harness.commands.run.run_suite", lambda *given: code)
    with pytest.raises(raised) as caught:
        ganbench.run(suite, out=root)
    if isinstance(caught.value, ganbench.Incomplete):
        assert len(caught.value.results.runs) == 40


def test_report_writes_and_returns_results(
    tmp_path: Path, unrendered: None, capsys: pytest.CaptureFixture[str]
) -> None:
    root = build_store(tmp_path / "results", datasets=("ring8",), seeds=2)
    results = ganbench.report(root, out=tmp_path / "there")
    assert (tmp_path / "there" / "index.html").is_file() and len(results.runs) == 8
    log = next((root / "runs").iterdir()) / "events.jsonl"
    log.write_bytes(b"{}\n" + log.read_bytes())
    with pytest.raises(CorruptRecordError):
        ganbench.report(root)
    assert (ganbench.report(root, skip_corrupt=True).runs.outcome == "corrupt").sum() == 1


def test_check_returns_its_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plugin = tmp_path / "ours_to_call.py"
    plugin.write_text(
        "import numpy as np\nfrom harness.datasets.base import Dataset, Examples, datasets\n"
        '@datasets.register("ours-to-call", source="this test")\nclass Ours(Dataset):\n'
        '    """Some points."""\n    kind = "points"\n    shape = (3,)\n    train_size = 300\n'
        "    def load(self, split):\n"
        "        return Examples(np.zeros((300, 2), np.float32))\n"
    )
    with pytest.raises(ganbench.Incomplete, match="failed in") as caught:
        ganbench.check(plugin)
    lines = caught.value.results
    assert lines[0] == "dataset ours-to-call" and any(line.startswith("✘") for line in lines)
    assert capsys.readouterr().out.splitlines() == lines
    plugin.write_text(plugin.read_text() + "# changed\n")
    with pytest.raises(GanbenchError, match="has changed since it was imported; restart Python"):
        ganbench.check(plugin)


@pytest.mark.slow
def test_a_script_needs_no_guard(suite: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"import ganbench\nprint(len(ganbench.run({str(suite)!r}).runs), 'runs')\n")
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0 and done.stdout.endswith("4 runs\n"), done.stderr[-3000:]


def test_a_notebook_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    console = standard_console()
    assert not console.is_jupyter and not console.is_terminal
