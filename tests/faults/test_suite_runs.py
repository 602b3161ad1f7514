"""The command itself under fire: interrupted, started twice, finished and started again."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from harness.cli import main
from harness.store.events import LossRow
from harness.store.log import read_events
from harness.store.reading import read_suite
from tests.faults.jobs import digest

SUITE = """
suite: tiny
summary: Three cohorts.
seeds: 2
datasets: [ring8]
variants: [gan, lsgan]
tricks: [none, dropout-g]
settings: {steps: STEPS, batch: 8, width: 8, latent: 4, evaluate_every: 25, evaluation_samples: 64}
"""


def command(tmp_path: Path, *arguments: str, steps: int = 100) -> list[str]:
    suite = tmp_path / "tiny.yaml"
    suite.write_text(SUITE.replace("STEPS", str(steps)))
    program = [sys.executable, "-m", "harness.cli", "run", str(suite), "--device", "cpu"]
    return [*program, "--out", str(tmp_path / "results"), "--wandb", "disabled", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "COLUMNS": "200"}


def session_members(session: int) -> list[int]:
    """List the live processes of a session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(folder.name))
    return found


def wait_for_training(results: Path, count: int) -> None:
    """Wait until so many runs have written losses."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        logs = list(results.glob("runs/*/events.jsonl"))
        training = [f for f in logs if any(isinstance(e, LossRow) for e in read_events(f))]
        if len(training) >= count:
            return
        time.sleep(0.02)
    raise AssertionError(f"fewer than {count} runs began to train")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for orphans in /proc")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_interrupting_leaves_no_orphan_and_the_same_command_goes_on(
    number: signal.Signals, status: int, tmp_path: Path
) -> None:
    arguments = command(tmp_path, "--jobs", "3", steps=400)
    process = subprocess.Popen(
        arguments,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(),
        text=True,
    )
    wait_for_training(tmp_path / "results", 6)
    os.killpg(process.pid, number)  # as the terminal does: to the command and all it started
    output, _ = process.communicate(timeout=60)
    assert process.returncode == status, output
    deadline = time.monotonic() + 10
    while session_members(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert session_members(process.pid) == []
    outcomes = [run.outcome for run in read_suite(tmp_path / "results").runs.values()]
    assert {o.outcome for o in outcomes if o is not None} <= {
        "preempted",
        "ok",
        "collapsed",
        "unlearned",
    }
    assert any(o is not None and o.outcome == "preempted" for o in outcomes)
    again = subprocess.run(
        arguments, env=environment(), capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stdout + again.stderr
    suite = read_suite(tmp_path / "results")
    assert len(suite.runs) == 8
    assert all(run.is_final for run in suite.runs.values())


@pytest.mark.slow
def test_interrupting_at_once_is_no_crash(tmp_path: Path) -> None:
    """The process that forks jobs is still importing, and the terminal's signal reaches it too."""
    arguments = command(tmp_path)
    process = subprocess.Popen(
        arguments,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(),
        text=True,
    )
    while not list((tmp_path / "results").glob("cohorts/*.json")):
        time.sleep(0.01)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for orphans in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_jobs_end_with_the_command_and_save(number: signal.Signals, tmp_path: Path) -> None:
    arguments = command(tmp_path, "--only", "tricks=none", steps=4000)
    process = subprocess.Popen(
        arguments,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    wait_for_training(tmp_path / "results", 4)
    process.send_signal(number)
    process.wait(60)
    assert process.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 75)
    deadline = time.monotonic() + 30
    while session_members(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert session_members(process.pid) == []
    outcomes = [run.outcome for run in read_suite(tmp_path / "results").runs.values()]
    assert [o and o.outcome for o in outcomes] == ["preempted"] * 4


@pytest.mark.slow
def test_a_job_that_ends_without_a_word_is_told_of(tmp_path: Path) -> None:
    plugin = tmp_path / "quitter.py"
    plugin.write_text(
        "import os\nfrom harness.parts import Trick, tricks\n\n"
        '@tricks.register("quit", source="nowhere")\nclass Quit(Trick):\n'
        '    """Leave."""\n\n    def after_discriminator_update(self, game, batch):\n'
        "        if game.optimizer_d.updates > 1:\n            os._exit(0)\n"
    )
    arguments = command(tmp_path, "--plugin", str(plugin), "--only", "tricks=quit")
    suite = tmp_path / "tiny.yaml"
    suite.write_text(suite.read_text().replace("dropout-g", "quit"))
    done = subprocess.run(arguments, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "crashed: " in done.stdout and "its process ended with status 0" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "shell",
    ["{} | head -1", "{} >&- 2>&- <&-", "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 {}"],
)
def test_odd_streams_change_nothing_on_the_disk(shell: str, tmp_path: Path) -> None:
    words = shlex.join(command(tmp_path, "--only", "tricks=none"))
    done = subprocess.run(
        ["bash", "-c", shell.format(words)], env=environment(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert all(run.is_final for run in read_suite(tmp_path / "results").runs.values())
    assert (tmp_path / "results" / "report" / "index.html").exists()


@pytest.mark.slow
def test_a_refused_command_leaves_the_plan_alone(tmp_path: Path) -> None:
    arguments = command(tmp_path, "--only", "variant=gan")
    assert subprocess.run(arguments, env=environment(), check=False).returncode == 0
    plan = (tmp_path / "results" / "suite.json").read_bytes()
    suite = tmp_path / "tiny.yaml"
    for old, new, words, lines in (
        ("suite: tiny", "suite: other", "holds results of suite 'tiny', not 'other'", 1),
        ("[ring8]", "[mnist]", "needs the files", 3),  # a line for each split, under their number
    ):
        suite.write_text(SUITE.replace("STEPS", "100").replace(old, new))
        done = subprocess.run(
            arguments, env=environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert words in done.stderr and len(done.stderr.splitlines()) == lines
        assert (tmp_path / "results" / "suite.json").read_bytes() == plan


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "smoke", "--device", "gpu"], "unknown device 'gpu'"),
        (["report", "/etc/passwd"], "holds no results"),
        (["show", "a" * 300], "neither a run's folder"),
        (["list", "fishes"], "; there is variants, tricks"),
    ],
)
def test_bad_arguments_are_one_line(
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["ganbench", *arguments])
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    with pytest.raises(SystemExit) as end:
        main()
    written = capsys.readouterr().err
    assert end.value.code == 2
    assert words in written and len(written.splitlines()) == 1


@pytest.mark.slow
def test_more_seeds_do_not_make_begun_runs_start_over(tmp_path: Path) -> None:
    cell = ("--only", "variant=gan", "--only", "tricks=none")
    process = subprocess.Popen(
        command(tmp_path, *cell, steps=2000),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(),
        text=True,
    )
    wait_for_training(tmp_path / "results", 2)
    process.terminate()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 75, output
    again = subprocess.run(
        command(tmp_path, *cell, "--seeds", "4", steps=2000),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stdout + again.stderr
    for run in read_suite(tmp_path / "results").runs.values():
        starts = [attempt.resumed_from for attempt in run.attempts]
        assert len(starts) == (2 if run.spec.seed < 2 else 1)
        assert run.spec.seed >= 2 or starts[1] > 0
        assert len(run.attempts[-1].cohort) == 2


@pytest.mark.slow
def test_a_finished_suite_trains_nothing_and_changes_nothing(tmp_path: Path) -> None:
    arguments = command(tmp_path)
    first = subprocess.run(
        arguments, env=environment(), capture_output=True, text=True, check=False
    )
    assert first.returncode == 0, first.stdout + first.stderr
    results = tmp_path / "results"
    assert (results / "report" / "index.html").exists()
    assert (results / "report" / "report.md").exists()
    assert list((results / "report" / "tables").glob("*.csv"))
    before = digest(results)
    again = subprocess.run(
        arguments, env=environment(), capture_output=True, text=True, check=False
    )
    assert again.returncode == 0
    assert "all 8 runs of tiny are done" in again.stdout
    assert digest(results) == {**before, ".lock": digest(results)[".lock"]}
    # A run that is thrown away is the only one that is trained again.
    victim = next((results / "runs").iterdir())
    shutil.rmtree(victim)
    third = subprocess.run(
        arguments, env=environment(), capture_output=True, text=True, check=False
    )
    assert third.returncode == 0
    assert "1 runs to train, 7 done before" in third.stdout
    for run in read_suite(results).runs.values():
        assert len(run.attempts) == 1


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["disabled", "offline"])
def test_wandb_has_all_runs_when_the_command_ends(mode: str, tmp_path: Path) -> None:
    arguments = command(tmp_path, "--only", "variant=gan", "--wandb", mode)
    done = subprocess.run(arguments, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    results = tmp_path / "results"
    folders = list((results / "wandb").glob("offline-run-*"))
    assert len(folders) == (4 if mode == "offline" else 0)
    assert (results / "wandb").exists() == (mode == "offline")
    words = [sys.executable, "-m", "harness.cli", "push", str(results), "--wandb", "offline"]
    pushed = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False)
    assert pushed.stdout == ("pushed 0 runs\n" if mode == "offline" else "pushed 4 runs\n")


@pytest.mark.slow
def test_the_same_suite_twice_at_once_trains_every_run_once(tmp_path: Path) -> None:
    arguments = command(tmp_path, steps=400)
    first = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment(), text=True
    )
    while not (tmp_path / "results" / "suite.json").exists():
        time.sleep(0.02)
    # It may have ended before the other one has so much as begun.
    first.send_signal(signal.SIGSTOP)
    second = subprocess.run(
        arguments, env=environment(), capture_output=True, text=True, check=False
    )
    first.send_signal(signal.SIGCONT)
    assert second.returncode == 2
    assert f"in use by process {first.pid}" in second.stderr
    output, _ = first.communicate(timeout=120)
    assert first.returncode == 0, output
    assert all(len(r.attempts) == 1 for r in read_suite(tmp_path / "results").runs.values())


PLUGIN = """
from formulas import loss
from harness.parts import Variant, variants

@variants.register("odd", source="nowhere")
class Odd(Variant):
    '''A loss of one's own.'''

    def real_loss(self, logits, target):
        return loss(-logits)

    def fake_loss(self, logits, target):
        return loss(logits)

    def fooling_loss(self, logits):
        return loss(-logits)
"""


@pytest.mark.slow
def test_a_plugin_that_changes_is_refused_until_someone_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(PLUGIN)
    formulas = tmp_path / "formulas.py"
    formulas.write_text("def loss(x):\n    return x.relu()\n")
    arguments = command(tmp_path, "--plugin", str(tmp_path / "odd.py"), steps=75)
    suite = tmp_path / "tiny.yaml"
    suite.write_text(suite.read_text().replace("[gan, lsgan]", "[gan, odd]"))

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        words = [*arguments, "--only", "tricks=none", *more]
        return subprocess.run(words, env=environment(), capture_output=True, text=True, check=False)

    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all 4 runs of tiny are done" in run().stdout
    formulas.write_text("def loss(x):\n    return (1 + x).relu()\n")
    results = tmp_path / "results"
    before = digest(results / "runs")
    refused = run()
    assert refused.returncode == 2
    for words in ("variant 'odd'", "formulas.py (2 runs)", "--retrain", "--accept-code"):
        assert words in refused.stderr
    assert digest(results / "runs") == before
    again = run("--retrain")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "2 runs to train, 2 done before" in again.stdout
    assert len(list((results / "replaced").iterdir())) == 2
    formulas.write_text("# a remark\n" + formulas.read_text())
    assert run().returncode == 2
    accepted = run("--accept-code", "--seeds", "3")
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    assert "2 runs to train, 4 done before" in accepted.stdout
    report = (results / "report" / "report.md").read_text()
    assert "mixes 2 codes of variant 'odd'" in report.partition("\n## ")[0]
    assert "accepted as the plan's code, by --accept-code" in report


def test_an_unwritable_folder_is_refused_before_any_training(tmp_path: Path) -> None:
    (tmp_path / "results").touch()
    done = subprocess.run(
        command(tmp_path), env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot write to")
    assert len(done.stderr.splitlines()) == 1
