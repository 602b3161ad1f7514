"""The example plugin passes the kit, and a suite runs with it, as its author would do both."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[1] / "example_plugin"
SUITE = """
suite: swirl
summary: Does the example plugin work?
seeds: 2
datasets: [swirl, digits]
variants: [geometric]
tricks: [none, drift]
settings: {network: tanh2d, width: 8, steps: 30, batch: 16, evaluate_every: 10}
overrides:
  - when: {dataset: digits}
    settings: {network: dcgan16, width: 4, evaluation_samples: 64, extractor: edges}
exclude: [{dataset: digits, trick: drift}]
"""


def command(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, capture_output=True, text=True, timeout=280
    )


@pytest.mark.slow
def test_it_passes_the_kit() -> None:
    done = command("pytest", "-q", "-p", "no:cacheprovider", "conformance.py", folder=PLUGIN)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.slow
def test_a_suite_runs_with_it(tmp_path: Path) -> None:
    (tmp_path / "swirl.yaml").write_text(SUITE)
    words = ["harness.cli", "run", "swirl.yaml", "--plugin", str(PLUGIN / "swirl.py")]
    done = command(*words, "--wandb", "disabled", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    runs = tmp_path / "results" / "swirl" / "runs"
    found = list(runs.glob("swirl-*/events.jsonl"))
    assert len(found) == 4
    events = [json.loads(line) for line in found[0].read_text().splitlines()]
    (spread,) = (
        value
        for event in events
        if event["type"] == "evaluation" and event["step"] == 30
        for name, value in event["values"].items()
        if name.startswith("spread[data]")
    )
    assert 0 < spread < 10
    for log in runs.glob("digits-*/events.jsonl"):
        events = [json.loads(line) for line in log.read_text().splitlines()]
        (provenance,) = (e["provenance"] for e in events if e["type"] == "protocol")
        assert provenance["extractor"].startswith("edges@")
        last = next(e["values"] for e in events if e["type"] == "evaluation" and e["step"] == 30)
        assert last[f"fd[{provenance['extractor']}]@64/train"] > 0


def test_without_it_nothing_of_it_is_there() -> None:
    kinds = ["variants", "tricks", "networks", "datasets", "metrics", "extractors"]
    program = (
        "from harness.cli import app\n"
        f"for kind in {kinds}: app(['list', kind, '--json'], standalone_mode=False); print('--')"
    )
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, cwd=PLUGIN, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    *lists, rest = done.stdout.split("--\n")
    found = [{entry["id"] for entry in json.loads(text)} for text in lists]
    assert len(found) == len(kinds) and all(found) and not rest
    assert not {"geometric", "drift", "tanh2d", "swirl", "spread", "edges"} & set().union(*found)
