"""Metrics on request: asked for in a suite, checked early, part of the protocol, measured."""

import math
from pathlib import Path

import pytest
import torch

from harness.datasets.base import datasets
from harness.errors import SuiteError
from harness.jobs.job import Job
from harness.metrics import applicable
from harness.metrics.frechet_infinity import FrechetInfinity
from harness.spec import RunSpec
from harness.store.events import EvaluationRow
from harness.store.folders import Store
from harness.store.reading import read_run
from harness.suite.load import read_suite
from harness.suite.matrix import Matrix, expand
from harness.testing.specs import make_spec

SUITE = """
suite: asking
datasets: [digits]
variants: [dcgan]
seeds: 1
settings: {steps: 10, metrics: [frechet-infinity]}
"""


def plan(text: str) -> Matrix:
    return expand(read_suite(text.encode(), "mine.yaml"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "[frechet-infinit]",
            "unknown metric 'frechet-infinit' (did you mean 'frechet-infinity'?)",
        ),
        ("[frechet-infinity, frechet-infinity]", "a metric is there twice"),
        ("frechet-infinity", "list"),
        ("[kernel]", "metric 'kernel' is measured without being asked for"),
        ("[frechet-infinity], evaluation_samples: 200", "cannot be measured of 200 images"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(value: str, message: str) -> None:
    with pytest.raises(SuiteError) as caught:
        plan(SUITE.replace("[frechet-infinity]", value))
    assert caught.value.problems[0].line == 6
    assert message in caught.value.problems[0].message


def test_points_have_none_and_an_override_can_tell() -> None:
    both = SUITE.replace("[digits]", "[digits, ring8]").replace("[dcgan]", "[gan]")
    with pytest.raises(SuiteError, match=r"cannot be measured of 10000 points .* by an override"):
        plan(both)
    wanted = "overrides: [{when: {dataset: digits}, settings: {metrics: [frechet-infinity]}}]\n"
    specs = plan(both.replace(", metrics: [frechet-infinity]", "") + wanted).specs
    asked = {spec.dataset.id: spec.settings.metrics for spec in specs}
    assert asked == {"digits": ("frechet-infinity",), "ring8": ()}


def test_asking_is_part_of_the_protocol_and_of_the_id() -> None:
    (asked,) = plan(SUITE).specs
    (empty,) = plan(SUITE.replace("[frechet-infinity]", "[]")).specs
    (plain,) = plan(SUITE.replace(", metrics: [frechet-infinity]", "")).specs
    assert asked.settings.metrics == ("frechet-infinity",)
    assert (plain.id, plain.metrics) == (empty.id, empty.metrics)
    assert asked.metrics != plain.metrics
    assert asked.id != plain.id
    assert "metrics" not in plain.model_dump(mode="json")["settings"]
    for one in (asked, plain):
        assert RunSpec.model_validate_json(one.model_dump_json()) == one


def test_a_new_version_is_another_protocol_to_those_who_ask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fingerprint(*requested: str) -> str:
        return applicable.protocol(
            datasets.get("digits")(),
            extractor="digits-cnn",
            samples=1000,
            reference="train",
            requested=requested,
        )

    before = fingerprint("frechet-infinity"), fingerprint()
    monkeypatch.setattr(FrechetInfinity, "version", 99)
    assert fingerprint("frechet-infinity") != before[0]
    assert fingerprint() == before[1]


def test_a_job_measures_what_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    asked = {"metrics": ("frechet-infinity",), "evaluation_samples": 400, "evaluate_every": 20}
    specs = [make_spec("digits", "dcgan", seed=seed, **asked) for seed in range(2)]
    store = Store(tmp_path / "results")
    assert Job(store, torch.device("cpu")).train(specs) == 0
    found = set()
    for spec in specs:
        record = read_run(store.folder(spec))
        (column,) = [m for m in record.metrics if m.metric == "frechet-infinity"]
        assert column.floor is not None
        values = [event.values[column.name] for event in record.of_type(EvaluationRow)]
        plain = [event.values[record.primary.name] for event in record.of_type(EvaluationRow)]
        assert all(map(math.isfinite, values))
        assert all(v != p for v, p in zip(values, plain, strict=True))
        found |= set(values)
    assert len(found) == 4
