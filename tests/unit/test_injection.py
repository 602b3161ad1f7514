"""Effects of known size that a suite puts into its own numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from harness.jobs.injection import altered, drawn, with_real
from harness.jobs.job import Job
from harness.metrics.evaluation import Evaluation
from harness.spec import RunSpec
from harness.store.events import EvaluationRow, LossRow
from harness.store.folders import Store
from harness.store.reading import RunRecord, read_run
from harness.testing.specs import make_spec

CPU = torch.device("cpu")
SHORT = {"steps": 60, "evaluate_every": 20, "evaluation_samples": 2000, "lr_g": 1e-3, "lr_d": 1e-3,
         "collapse_coverage": 0.0, "collapse_diversity": 0.01}  # fmt: skip


def trained(folder: Path, *specs: RunSpec) -> list[RunRecord]:
    store = Store(folder)
    assert Job(store, CPU).train(list(specs)) == 0
    return [read_run(store.folder(spec)) for spec in specs]


def curve(record: RunRecord) -> list[float]:
    assert record.primary is not None
    return [e.values[record.primary.name] for e in record.of_type(EvaluationRow)]


@pytest.mark.parametrize("dataset", ["ring8", "digits"])
def test_a_ratio_multiplies_the_primary_metric_and_nothing_else(dataset, tmp_path):
    changed = {**SHORT, "steps": 6, "evaluate_every": 2, "evaluation_samples": 200}
    plain, doubled = trained(
        tmp_path,
        make_spec(dataset, **changed),
        make_spec(dataset, injected_ratio=2.0, **changed),
    )
    # Two runs of a cohort may round otherwise, so that not all is equal to the last bit.
    assert curve(doubled) == pytest.approx([2 * value for value in curve(plain)], rel=1e-4)
    name = plain.primary.name if plain.primary else ""
    for one, other in zip(
        plain.of_type(EvaluationRow), doubled.of_type(EvaluationRow), strict=True
    ):
        without = {**other.values, name: 0}
        assert {**one.values, name: 0} == pytest.approx(without, rel=1e-4, nan_ok=True)
    for one, other in zip(plain.of_type(LossRow), doubled.of_type(LossRow), strict=True):
        assert one.values == pytest.approx(other.values, rel=1e-4, abs=1e-6)


def test_failures_are_measured_as_what_has_learnt_nothing(tmp_path):
    whole, failed = trained(tmp_path, make_spec(**SHORT), make_spec(injected_failures=1.0, **SHORT))
    assert whole.outcome is not None and whole.outcome.outcome == "ok"
    assert failed.outcome is not None and failed.outcome.outcome == "unlearned"
    assert curve(whole) == curve(failed)


def test_the_share_of_failures_is_what_was_asked_for():
    spec = make_spec(injected_failures=0.4)
    good = Evaluation({"energy": 1.0}, None, 1.0, 1.0)
    fails = [
        altered(good, spec.model_copy(update={"seed": seed}), "energy").diversity == 0
        for seed in range(2000)
    ]
    assert np.mean(fails) == pytest.approx(0.4, abs=0.04)
    again = altered(good, spec.model_copy(update={"seed": 7}), "energy")
    assert again == altered(good, spec.model_copy(update={"seed": 7}), "energy")


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_real_examples_lower_an_energy_distance_by_a_known_ratio(share, tmp_path):
    """A mixture's distance is (1 − s)² times that of what is generated, up to its floor."""
    settings = {**SHORT, "evaluation_samples": 8000}
    plain, mixed = trained(
        tmp_path, make_spec(**settings), make_spec(injected_real=share, **settings)
    )
    ratios = np.array(curve(mixed)) / np.array(curve(plain))
    assert ratios == pytest.approx((1 - share) ** 2, rel=0.05)


def test_images_are_put_among_images_in_their_range(tmp_path):
    from harness.datasets.base import datasets

    real = datasets.get("digits")().load("test")
    generated = torch.zeros(2, 40, 1, 16, 16)
    specs = [make_spec("digits", injected_real=share) for share in (0.0, 0.5)]
    mixed = with_real(generated, specs, 3, real)
    assert torch.equal(mixed[0], generated[0])
    assert torch.equal(mixed[1, 20:], generated[1, 20:])
    assert mixed[1, :20].min() == -1 and mixed[1, :20].max() <= 1
    chosen = drawn(specs[1], 3).randint(len(real), size=20)
    assert torch.equal(mixed[1, 0], real.values[[int(chosen[0])]][0].float() / 127.5 - 1)
    assert not torch.equal(mixed, with_real(generated, specs, 4, real))


def test_nothing_is_altered_without_being_asked(tmp_path):
    assert not make_spec().settings.is_altered
    assert make_spec(injected_ratio=1.0).id == make_spec().id
    ids = {make_spec(**{name: 0.5}).id for name in ("injected_ratio", "injected_failures")}
    assert len(ids | {make_spec().id}) == 3
