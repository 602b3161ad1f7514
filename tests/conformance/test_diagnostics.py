"""Proves the diagnostics on runs that fail in each way, and on the same runs repaired."""

from pathlib import Path
from typing import Any

import pytest

from harness.jobs.job import Job
from harness.store.events import EvaluationRow, LossRow
from harness.store.folders import Store
from harness.store.reading import RunRecord, read_run
from harness.testing.cells import CPU
from harness.testing.specs import Named, make_spec


def run(folder: Path, dataset: str, variant: Named, *tricks: Named, **settings: Any) -> RunRecord:
    """Train a small run to its outcome and read its record."""
    options = {
        "batch": 64,
        "latent": 4,
        "width": 32,
        "log_every": 5,
        "evaluation_samples": 500,
        "collapse_diversity": 0.3,
        # Without normalisation in G, so that it fails as it is told to.
        "network": "toy2d",
        **settings,
    }
    spec = make_spec(dataset, variant, tricks, **options)
    store = Store(folder / "results")
    assert Job(store, CPU).train([spec]) == 0
    return read_run(folder / "results" / "runs" / spec.slug)


def ended(record: RunRecord) -> tuple[str, dict[str, dict[str, float]]]:
    """Return a run's outcome and the signs that were seen while it trained."""
    outcome = record.outcome
    assert outcome is not None
    signs = {name: sign for name, sign in outcome.signs.items() if name != "blow_up"}
    return outcome.outcome, signs


def row(record: RunRecord, step: float, name: str) -> float:
    """Return a diagnostic as logged at a step."""
    rows = {event.step: event.values for event in record.of_type(LossRow)}
    value: float = rows[step][name]
    return value


STRONG = {"steps": 150, "evaluate_every": 75, "log_every": 1, "width": 64, "collapse_diversity": 0}
"""For a discriminator that is trained far better than its generator."""


@pytest.mark.slow
def test_a_vanishing_gradient(tmp_path: Path) -> None:
    # Minimising log(1 − D) against a D that knows better: the example of the first paper.
    ratio: Named = ("update-ratio", {"d": 8})
    rates = {"lr_g": 1e-5, "lr_d": 1e-2}
    record = run(tmp_path, "ring8", "gan-saturating", ratio, **STRONG, **rates)
    _, signs = ended(record)
    # D has to be right for the gradient to count as vanished, so it overpowers G as well.
    assert set(signs) == {"vanishing_gradient", "overpowered"}
    step = signs["vanishing_gradient"].step
    assert step > signs["overpowered"].step
    norms = [event.values["g_grad_norm"] for event in record.of_type(LossRow)]
    early = sorted(norms[:5])[2]
    assert norms[int(step) - 1] < 1e-3 * early <= min(norms[: int(step) - 1])


@pytest.mark.slow
def test_it_does_not_vanish_under_the_other_loss(tmp_path: Path) -> None:
    ratio: Named = ("update-ratio", {"d": 8})
    rates = {"lr_g": 1e-5, "lr_d": 1e-2}
    _, signs = ended(run(tmp_path, "ring8", "gan", ratio, **STRONG, **rates))
    assert set(signs) == {"overpowered"}


def test_an_overpowered_generator(tmp_path: Path) -> None:
    settings = {"steps": 60, "evaluate_every": 60, "collapse_diversity": 0, "lr_d": 5e-3}
    record = run(tmp_path, "gauss1d", "gan", lr_g=1e-5, **settings)
    _, signs = ended(record)
    assert set(signs) == {"overpowered"}
    step = signs["overpowered"].step
    for kind in ("real", "fake"):
        assert row(record, step, f"d_accuracy_{kind}") > 0.9
    assert signs["overpowered"].size > 0.9


CIRCLING = {"steps": 300, "evaluate_every": 150, "lr_g": 1e-2, "lr_d": 1e-2, "beta1": 0.9}
"""Momentum, high rates: what circles, circles widely (Mescheder et al. 2018)."""


@pytest.mark.slow
def test_an_oscillation(tmp_path: Path) -> None:
    record = run(tmp_path, "gauss1d", "gan", **CIRCLING)
    _, signs = ended(record)
    assert set(signs) == {"oscillation"}
    step = signs["oscillation"].step
    before = [e.values["d_fake"] for e in record.of_type(LossRow) if e.step <= step]
    assert max(abs(value - before[-1]) for value in before) >= 0.2
    assert signs["oscillation"].size >= 4
    assert step < 150


@pytest.mark.slow
def test_a_penalty_ends_the_oscillation(tmp_path: Path) -> None:
    assert ended(run(tmp_path, "gauss1d", "gan", "r1", **CIRCLING)) == ("ok", {})


@pytest.mark.slow
def test_a_mode_collapse(tmp_path: Path) -> None:
    rates = {"lr_g": 1e-2, "lr_d": 1e-3}
    record = run(tmp_path, "ring8", "gan", steps=300, evaluate_every=30, **rates)
    outcome, signs = ended(record)
    assert (outcome, signs) == ("collapsed", {})
    assert record.outcome is not None
    onset = record.outcome.onset
    diversity = {event.step: event.diversity for event in record.of_type(EvaluationRow)}
    assert diversity[onset - 30] >= 0.3
    assert all(value < 0.3 for step, value in diversity.items() if step >= onset)
    assert f"from step {onset}" in record.outcome.reason


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["gan", "lsgan"])
def test_a_healthy_run_shows_no_sign(tmp_path: Path, variant: str) -> None:
    descent = {"optimizer": "sgd", "beta1": 0.0, "beta2": 0.0, "lr_g": 0.1, "lr_d": 0.1}
    record = run(tmp_path, "gauss1d", variant, steps=300, evaluate_every=50, **descent)
    assert ended(record) == ("ok", {})
    assert record.outcome is not None
    assert record.outcome.signs == {}
    first, *_, last = record.of_type(EvaluationRow)
    (name,) = (metric.name for metric in record.metrics if metric.primary)
    assert last.values[name] < first.values[name] / 20
