"""Proves that what happens in a process of its own ends no command, and that none is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest

from harness.planning import children
from harness.planning.children import EachInChild, Ended, in_child
from tests.processes import still_serving


def test_in_a_process_of_its_own() -> None:
    assert in_child(os.getpid) not in (None, os.getpid())


def test_a_process_that_dies_has_no_answer() -> None:
    assert in_child(os._exit, 3) is None


def test_a_process_that_takes_too_long_has_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "PATIENCE_SECONDS", 0.2)
    start = time.monotonic()
    assert in_child(time.sleep, 60) is None
    assert time.monotonic() - start < 30


LEAVES_A_CHILD = """
import os, time
if os.fork() == 0:
    time.sleep(20)
os._exit(5)
"""


def test_each_is_answered_whatever_became_of_the_one_before() -> None:
    texts = [
        "pass",
        "import os; os._exit(4)",
        "import os; os.abort()",
        LEAVES_A_CHILD,
        "raise BaseException",
        "pass",
    ]
    with EachInChild(exec, texts, ()) as process:
        found = list(process.answers())
    assert found == [None, Ended(4), Ended(-signal.SIGABRT), Ended(5), Ended(1), None]
    assert [str(found[1]), str(found[2])] == [
        "ended with status 4",
        "was killed by signal 6 (SIGABRT)",
    ]


def test_nothing_to_ask_starts_nothing() -> None:
    with EachInChild(exec, [], ()) as process:
        assert list(process.answers()) == []


def test_a_plugin_speaks_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plugin = tmp_path / "speaks_at_import.py"
    plugin.write_text("print('hello')\n")
    with EachInChild(len, ["abc", "de"], [str(plugin)]) as process:
        assert list(process.answers()) == [3, 2]
    assert capfd.readouterr().out == ""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_none_outlives_the_command(ending: signal.Signals, tmp_path: Path) -> None:
    program = """
        import sys
        from harness.planning.children import EachInChild
        if __name__ == "__main__":
            waiting = "import sys, time; open(sys.argv[1], 'w').close(); time.sleep(60)"
            with EachInChild(exec, [waiting.replace("sys.argv[1]", repr(sys.argv[1]))], ()) as one:
                list(one.answers())
    """
    begun = tmp_path / "begun"
    environment = {**os.environ, "SERVED": f"{tmp_path}/", "PYTHONPATH": str(Path.cwd())}
    command = subprocess.Popen(
        [sys.executable, "-c", dedent(program), str(begun)],
        env=environment,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not begun.exists():
        assert command.poll() is None
    command.send_signal(ending)
    command.wait()
    assert still_serving(tmp_path) == []
