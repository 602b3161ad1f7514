"""A network of one's own as an extractor: by the command line only, named by its hash, checked."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.datasets.digits import Digits
from harness.errors import DataError, GanbenchError, SuiteError
from harness.jobs.cohort import JobOptions, JobRequest
from harness.metrics.applicable import require
from harness.metrics.evaluation import Evaluator
from harness.metrics.extractors.base import extractors
from harness.metrics.extractors.exported import NamedFile, register_file
from harness.suite import cell_settings
from harness.suite.load import read_suite
from harness.suite.matrix import Matrix, expand
from harness.testing.specs import make_spec

CPU = torch.device("cpu")
SUITE = """
suite: own
datasets: [digits]
variants: [dcgan]
seeds: 1
settings:
  network: dcgan16
  width: 4
  steps: 6
  evaluate_every: 2
  batch: 8
  evaluation_samples: 64
  extractor: EXTRACTOR
"""


class Small(nn.Module):
    """Two features per quarter of an image, and logits where they are asked for."""

    def __init__(self, classes: int = 0, shift: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.head = nn.Linear(8, classes) if classes else None
        self.shift = shift

    def forward(self, images: Tensor) -> Any:
        x = self.norm(self.convolution(images.float() / 255))
        features = nn.functional.adaptive_avg_pool2d(x, 2).flatten(1) + self.shift
        return features if self.head is None else (features, self.head(features))


class Wrong(Small):
    """Something wrong with what comes out."""

    def __init__(self, change: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.change = change

    def forward(self, images: Tensor) -> Any:
        return self.change(super().forward(images))


def save(network: nn.Module, file: Path) -> Path:
    example = (torch.zeros(2, 1, 16, 16, dtype=torch.uint8),)
    if file.suffix == ".pt2":
        batch: Any = torch.export.Dim.DYNAMIC
        program = torch.export.export(network, example, dynamic_shapes=({0: batch},))
        torch.export.save(program, buffer := io.BytesIO())
        file.write_bytes(buffer.getvalue())
        return file
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        jit: Any = torch.jit
        jit.save(jit.trace(network, example, check_trace=False), str(file))
    return file


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    before = set(extractors.names())
    cell_settings.protocol.cache_clear()
    yield
    for name in set(extractors.names()) - before:
        del extractors._classes[name]


def expanded(extractor: str, *arguments: str) -> Matrix:
    named = [register_file(argument) for argument in arguments]
    text = SUITE.replace("EXTRACTOR", extractor)
    return expand(read_suite(text.encode(), "own.yaml"), extractors=named)


@pytest.mark.parametrize("suffix", [".pt2", ".pt"])
@pytest.mark.parametrize("classes", [0, 5])
def test_its_numbers_are_those_of_the_network(suffix: str, classes: int, tmp_path: Path) -> None:
    network = Small(classes).eval()
    file = save(network, tmp_path / f"net{suffix}")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert register_file(f"mine={file}") == f"mine@{digest}={file}"
    require(Digits(), "mine", None)
    cls = extractors.get("mine")
    assert (cls.label(), cls.has_classes) == (f"mine@{digest[:8]}", classes > 0)
    images = Digits().load("test").values[:20]
    features, logits = cls.load(CPU).features(images, batch=7)
    with torch.no_grad():
        found = network(images)
    expected = found if classes else (found, found.new_empty(20, 0))
    torch.testing.assert_close(features, expected[0].double(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(logits, expected[1].double(), rtol=1e-5, atol=1e-6)
    assert cls.load(CPU).features(images[:0])[0].shape == (0, 8)
    evaluator = Evaluator(
        Digits(), extractor="mine", samples=64, reference="train", root=None, device=CPU,
        cache=tmp_path / "cache",
    )  # fmt: skip
    names = [metric.name for metric in evaluator.metrics]
    assert names[0] == f"fd[mine@{digest[:8]}]@64/train"
    assert any(name.startswith(f"cs[mine@{digest[:8]}]") for name in names) == (classes > 0)
    assert not any("class" in name for name in names)
    assert evaluator.provenance.weights_sha256 == digest
    (black,) = evaluator(torch.zeros(1, 64, 1, 16, 16))
    assert black.values[names[0]] > 0


def test_a_changed_file_is_another_protocol_and_other_runs(tmp_path: Path) -> None:
    file = save(Small().eval(), tmp_path / "net.pt2")
    first = expanded("mine", f"mine={file}")
    cls = extractors.get("mine")
    save(Small(shift=1.0).eval(), file)
    for use in (cls.require, lambda: cls.load(CPU)):
        with pytest.raises(DataError, match=r"net\.pt2 has sha256 .*, expected .*; name the file"):
            use()
    with pytest.raises(DataError, match="has sha256"):
        register_file(first.plan.extractors[0])
    cell_settings.protocol.cache_clear()
    second = expanded("mine", f"mine={file}")
    assert [run.id for run in first.plan.runs] != [run.id for run in second.plan.runs]
    assert first.plan.fingerprint != second.plan.fingerprint
    # Elsewhere, and under the same name, it is the same.
    (tmp_path / "other").mkdir()
    moved = file.rename(tmp_path / "other" / "net2.pt2")
    cell_settings.protocol.cache_clear()
    third = expanded("mine", f"mine={moved}")
    assert [run.id for run in third.plan.runs] == [run.id for run in second.plan.runs]


@pytest.mark.parametrize("path", ["path/to/net.pt2", "net.pt", "./Net.pth"])
def test_a_suite_cannot_load_code(path: str) -> None:
    with pytest.raises(SuiteError) as caught:
        expanded(path)
    message = str(caught.value)
    assert "own.yaml:13: settings.extractor: a suite loads no code" in message
    assert f"--extractor net={path}" in message
    with pytest.raises(SuiteError, match=r"own.yaml:13: settings.extractor: unknown extractor"):
        expanded("mine")


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("net.pt2", "write NAME=FILE"),
        ("=net.pt2", "write NAME=FILE"),
        ("mine=", "write NAME=FILE"),
        ("../mine=net.pt2", "write NAME=FILE"),
        ("mine@123=net.pt2", "8 to 64 digits"),
        ("mine=net.pth", "must end with .pt2 or .pt"),
        ("mine=net.py", "comes by --plugin"),
        ("mine=absent.pt2", r"cannot read .*absent.pt2 \(No such file"),
        ("digits-cnn=net.pt2", "'digits-cnn' is taken"),
    ],
)
def test_arguments_that_are_refused(argument: str, words: str) -> None:
    with pytest.raises(GanbenchError, match=words):
        register_file(argument)


def test_an_argument_may_pin_the_hash(tmp_path: Path) -> None:
    file = save(Small().eval(), tmp_path / "a=b.pt2")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert NamedFile.read(f"mine@{digest[:8]}={file}") == NamedFile("mine", file, digest[:8])
    register_file(f"mine@{digest[:8]}={file}")
    with pytest.raises(DataError, match=f"has sha256 {digest}"):
        register_file(f"mine@{'0' * 8}={file}")


def test_a_script_in_training_mode_is_refused(tmp_path: Path) -> None:
    file = save(Small().train(), tmp_path / "net.pt")
    with pytest.raises(SuiteError, match=r"own.yaml:13: .*net.pt is in training mode; call .eval"):
        expanded("mine", f"mine={file}")


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (lambda: Small().train(), "call .eval"),
        (lambda: Wrong(lambda f: f[:, :, None]).eval(), r"features of the shape \(6, 8, 1\)"),
        (lambda: Wrong(lambda f: f.mean(0, keepdim=True)).eval(), r"of the shape \(1, 8\)"),
        (lambda: Wrong(lambda f: f.half()).eval(), "features in float16"),
        (lambda: Wrong(lambda f: f / 0).eval(), "features that are not finite"),
        (lambda: Wrong(lambda f: (f, f[:, :, None])).eval(), r"logits of the shape"),
        (lambda: Wrong(lambda f: (f, f, f)).eval(), "fails"),
        (lambda: Wrong(lambda f: f[:, :0]).eval(), "gives no features"),
        (lambda: Wrong(lambda f: f + torch.rand_like(f)).eval(), "the second time.*call .eval"),
        (lambda: Wrong(lambda f: f - f.mean(0)).eval(), "other features beside others"),
    ],
)
def test_networks_that_are_refused_before_any_training(
    network: Callable[[], nn.Module], words: str, tmp_path: Path
) -> None:
    file = save(network(), tmp_path / "net.pt2")
    with pytest.raises(SuiteError, match=rf"own.yaml:13: .*net.pt2.*{words}"):
        expanded("mine", f"mine={file}")


@pytest.mark.parametrize("suffix", [".pt2", ".pt"])
def test_files_that_are_no_networks(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"net{suffix}"
    torch.save({"weight": torch.zeros(3)}, tmp_path / "weights")
    for content in (b"", b"not a network", (tmp_path / "weights").read_bytes()):
        file.write_bytes(content)
        with pytest.raises(SuiteError, match=r"is no network that PyTorch .* can load"):
            expanded("mine", f"mine={file}")


def test_a_fixed_batch_or_another_size_is_refused(tmp_path: Path) -> None:
    images = torch.zeros(2, 1, 16, 16, dtype=torch.uint8)
    file = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(Small().eval(), (images,)), buffer := io.BytesIO())
    file.write_bytes(buffer.getvalue())
    with pytest.raises(SuiteError, match=r"tried on 1×16×16 images, fails .*for any n"):
        expanded("mine", f"mine={file}")


def test_jobs_are_told(tmp_path: Path) -> None:
    options = JobOptions(extractors=("mine@aa=net.pt2",))
    request = JobRequest(tmp_path, options, (make_spec(),))
    request.write(tmp_path / "job.json")
    assert JobRequest.read(tmp_path / "job.json") == request


@pytest.mark.slow
def test_a_suite_runs_with_it_and_says_how_to_repeat_it(tmp_path: Path) -> None:
    file = save(Small(3).eval(), tmp_path / "net.pt2")
    (tmp_path / "own.yaml").write_text(SUITE.replace("EXTRACTOR", "mine"))
    words = ["run", "own.yaml", "--extractor", "mine=net.pt2", "--wandb", "disabled"]
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    results = tmp_path / "results" / "own"
    (log,) = results.glob("runs/*/events.jsonl")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    (provenance,) = [e["provenance"] for e in events if e["type"] == "protocol"]
    assert provenance["weights_sha256"] == digest
    last = [e["values"] for e in events if e["type"] == "evaluation"][-1]
    assert last[f"fd[mine@{digest[:8]}]@64/train"] > 0
    report = (results / "report" / "tables" / "commands.csv").read_text()
    assert f"--extractor mine@{digest}={file}" in report
