"""Every number is traced to what it rests on, by ``ganbench show`` and by the report."""

from __future__ import annotations

import csv
import io
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from harness.commands.show import describe_run, print_run
from harness.datasets.digits import Digits
from harness.jobs.job import Job
from harness.metrics.base import metrics
from harness.metrics.evaluation import Evaluator
from harness.metrics.extractors.classifiers import DigitsClassifier
from harness.networks.layers import evaluation_statistics, normalization
from harness.store.events import EvaluationRow
from harness.store.folders import Store
from harness.store.packed import Packed
from harness.store.reading import RunRecord, read_run
from harness.store.records import MetricInfo, PlannedRun, SuitePlan
from harness.testing.cells import CPU, make_trainer
from harness.testing.specs import make_spec
from reports.build import write_report
from tests.stores import planned_cell

STEPS, EVERY, SAMPLES = 6, 2, 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train one cell with averaged weights and one without, and report them."""
    root = tmp_path_factory.mktemp("store")
    store = Store(root)
    runs = []
    for tricks in ([], [("ema", {"decay": 0.5, "warm_up": False})]):
        label = "ema" if tricks else "none"
        spec = make_spec(
            "digits", "dcgan", tricks, steps=STEPS, evaluate_every=EVERY, lr_g=0.01,
            evaluation_samples=SAMPLES, collapse_diversity=0.0, collapse_coverage=0.0,
        )  # fmt: skip
        cell = planned_cell("digits", "dcgan", label)
        runs.append(PlannedRun(spec.id, spec.slug, cell, spec.seed))
        assert Job(store, CPU).train([spec]) == 0
    store.write_plan(SuitePlan("traced", "", "f00d", tuple(runs), source="traced"))
    write_report(root)
    return root


def run_of(folder: Path, label: str) -> Path:
    (found,) = (folder / "runs").glob(f"digits-dcgan-{label}-*")
    return found


def table(folder: Path, name: str) -> list[dict[str, str]]:
    text = (folder / "report" / "tables" / f"{name}.csv").read_text()
    return list(csv.DictReader(io.StringIO(text)))


def test_show_says_what_every_number_rests_on(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    found = describe_run(str(run_of(folder, "ema")))
    json.dumps(found, allow_nan=False)
    assert found["provenance"] == {
        "extractor": DigitsClassifier.label(),
        "weights_sha256": DigitsClassifier.weights_sha256(),
        "samples": SAMPLES,
        "reference": "train",
        "reference_count": 1197,
        "floor": "test",
        "dtype": "float32 features, float64 statistics",
        "preprocessing": 1,
        "device": "cpu",
        "libraries": {name: version(name) for name in ("torch", "torch-fidelity", "numpy")},
        "weights": "ema",
        "normalization": "running statistics of training batches",
        "classes": "",
    }
    names = [metric["name"] for metric in found["protocol"]]
    assert names == [name for name in found["metrics"] if name not in ("step", "kimg")]
    assert list(found["untrained"]) == list(found["raw"]) == names
    for metric in found["protocol"]:
        assert metric["version"] == metrics.get(metric["metric"]).version
        best = found["best"].get(metric["name"])
        assert (best is None) == (metric["better"] == "none")
        assert best is None or (best["searched"] == 3 and best["step"] in (2, 4, 6))
    print_run(found)
    shown = " ".join(capsys.readouterr().out.split())
    for text in (
        *names, DigitsClassifier.weights_sha256(), "64 samples against train (1197 examples)",
        "real data from test", "float32 features, float64 statistics", version("torch-fidelity"),
        "the average of its weights (ema), the raw ones beside it",
        "normalization in evaluation: running statistics of training batches",
        "raw weights", "untrained", "at step, of",
    ):  # fmt: skip
        assert text in shown
    plain = describe_run(str(run_of(folder, "none")))
    assert plain["raw"] == {}
    assert plain["provenance"]["weights"] == "raw"


def test_averaged_and_raw_weights_are_both_measured(folder: Path) -> None:
    record = read_run(run_of(folder, "ema"))
    trainer = make_trainer([record.spec])
    evaluator = Evaluator(
        Digits(), extractor="digits-cnn", samples=SAMPLES, reference="train", root=None, device=CPU
    )
    for event in record.of_type(EvaluationRow):
        while trainer.step < event.step:
            trainer.train_step()
        game = trainer.game
        (average,) = evaluator(game.sample(SAMPLES, "evaluation"))
        (raw,) = evaluator(game.sample(SAMPLES, "evaluation", theta=game.G.theta))
        assert event.values == pytest.approx(average.values, rel=1e-4, nan_ok=True)
        assert event.raw == pytest.approx(raw.values, rel=1e-4, nan_ok=True)
        same = average.values == raw.values
        assert same == (event.step == 0)
    assert all(e.raw is None for e in read_run(run_of(folder, "none")).of_type(EvaluationRow))


def test_the_report_names_it_once_and_has_a_row_for_each(folder: Path) -> None:
    plain, averaged = table(folder, "measurement")
    assert plain["Its weights (sha256)"] == DigitsClassifier.weights_sha256()
    assert (plain["Weights of G"], averaged["Weights of G"]) == ("raw", "averaged by ema")
    assert averaged["Normalization in evaluation"] == "running statistics of training batches"
    assert {row["Floor from"] for row in (plain, averaged)} == {"test"}
    record = read_run(run_of(folder, "ema"))
    primary = record.primary
    assert primary is not None
    (file,) = (folder / "report" / "tables").glob("metric-digits-fd-*.csv")
    rows = table(folder, file.stem)
    assert [(row["Tricks"], row["Weights"]) for row in rows] == [
        ("none", "raw"), ("ema", "averaged"), ("ema", "raw"),
    ]  # fmt: skip
    assert float(rows[1]["Last ↓"]) == pytest.approx(record.last(primary.name))
    assert float(rows[2]["Last ↓"]) == pytest.approx(record.last(primary.name, "raw"))
    for row, weights in zip(rows[1:], ("values", "raw"), strict=True):
        best = record.best(primary, weights)  # type: ignore[arg-type]
        assert best is not None
        assert float(row["Best"]) == pytest.approx(best.value)
        assert row["Searched"] == "3"
        assert float(row["Untrained"]) == pytest.approx(record.curve(primary.name)[1][0])
    for name in ("index.html", "report.md"):
        text = (folder / "report" / name).read_text()
        assert "averaged by ema" in text
        assert DigitsClassifier.weights_sha256() in text


def test_every_metric_of_a_report_has_a_run_that_says_what_it_rests_on(folder: Path) -> None:
    protocols = {row["Metric"]: row for row in table(folder, "protocols")}
    records = [read_run(path) for path in (folder / "runs").iterdir()]
    for name, row in protocols.items():
        versions = {
            str(info.version)
            for record in records
            if record.provenance is not None
            for info in record.metrics
            if info.name == name
        }
        assert versions == {row["Version"]}


def evaluations(*values: float) -> RunRecord:
    events = [
        EvaluationRow(step=step, kimg=0.1 * step, values={"fd": value})
        for step, value in enumerate(values)
    ]
    return RunRecord(Path(), make_spec("ring8"), Packed(events))


def test_the_best_is_never_the_untrained_generator() -> None:
    lower = MetricInfo("fd", "frechet", "", "lower")
    higher = MetricInfo("fd", "frechet", "", "higher")
    record = evaluations(0.1, 5.0, float("nan"), 3.0, 4.0)
    best, largest = record.best(lower), record.best(higher)
    assert best is not None and largest is not None
    assert (best.value, best.step, best.searched) == (3.0, 3, 3)
    assert (largest.value, largest.step) == (5.0, 1)
    assert record.best(MetricInfo("fd", "frechet", "", "none")) is None
    assert evaluations(0.1, float("nan")).best(lower) is None


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("batch", "running statistics of training batches"),
        ("layer", "each example's own statistics"),
        ("instance", "each example's own statistics"),
        ("virtual", "a fixed reference batch"),
        ("none", "no normalization layers"),
    ],
)
def test_statistics_in_evaluation_are_said_as_they_are(kind: Any, text: str) -> None:
    layer = normalization(kind, 4, dimensions=2, reference=3)
    assert evaluation_statistics(nn.Sequential(nn.Conv2d(1, 4, 1), layer).modules()) == text


def test_batch_statistics_are_no_running_ones() -> None:
    layer = nn.BatchNorm1d(4, track_running_stats=False).eval()
    x = torch.randn(8, 4)
    assert layer(x).mean().abs() < 1e-6
    assert evaluation_statistics([layer]) == "its own batch"
