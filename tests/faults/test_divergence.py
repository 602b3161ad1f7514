"""Non-finite numbers anywhere end one run within a logging interval; the others go on unharmed."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.jobs import job as job_module
from harness.jobs import training_loop
from harness.jobs.cohort import JobOptions
from harness.jobs.job import Job
from harness.store.events import EvaluationRow, LossRow
from harness.store.folders import Store
from harness.store.reading import RunRecord, read_run
from harness.testing.specs import make_spec
from harness.training.trainer import Trainer
from tests.faults.jobs import assert_equivalent

STEP = 12  # with a row of diagnostics every 5 steps: seen in step 13, recorded at step 15
VICTIM = 1


def poison_weights(player: str) -> Callable[[Trainer], None]:
    def act(trainer: Trainer) -> None:
        getattr(trainer.game, player).theta.data[VICTIM, 0] = math.nan

    return act


def poison_buffer(trainer: Trainer) -> None:
    name = next(n for n, b in trainer.game.G.buffers.items() if b.is_floating_point())
    trainer.game.G.buffers[name][VICTIM] = math.inf


def poison_loss(player: str) -> Callable[[Trainer], None]:
    """Make the loss itself non-finite for one update, not the weights it comes from."""

    def act(trainer: Trainer) -> None:
        trainer.replays.recorder = None  # a program of operations has no loss to replace
        name = f"{player}_loss"
        original = getattr(trainer.game, name)

        def poisoned(batch: object) -> Tensor:
            loss: Tensor = original(batch)
            factor = torch.ones_like(loss)
            factor[VICTIM] = math.nan
            delattr(trainer.game, name)
            return loss * factor

        setattr(trainer.game, name, poisoned)

    return act


def poison_gradient(trainer: Trainer) -> None:
    """Let the loss stay finite while its gradient is not: the root of zero."""
    trainer.replays.recorder = None
    original = trainer.game.generator_loss

    def poisoned(batch: object) -> Tensor:
        loss: Tensor = original(batch)
        mask = torch.zeros_like(loss)
        mask[VICTIM] = 1
        del trainer.game.generator_loss
        return loss + mask * (trainer.game.G.theta[VICTIM, 0] * 0).abs().sqrt()

    trainer.game.generator_loss = poisoned  # type: ignore[method-assign]


def train(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[[Trainer], None] | None,
    dataset: str = "ring8",
    variant: str = "gan",
) -> list[RunRecord]:
    specs = [make_spec(dataset, variant, seed=seed, steps=30) for seed in range(3)]

    class Poisoned(Trainer):
        def train_step(self) -> None:
            if act is not None and self.step == STEP:
                act(self)
            super().train_step()

    monkeypatch.setattr(job_module, "Trainer", Poisoned)
    store = Store(root)
    assert Job(store, torch.device("cpu")).train(specs) == 0
    return [read_run(store.folder(spec)) for spec in specs]


@pytest.mark.parametrize(
    ("act", "what", "variant"),
    [
        pytest.param(poison_loss("discriminator"), "discriminator loss", "gan", id="d-loss"),
        pytest.param(poison_loss("generator"), "generator loss", "gan", id="g-loss"),
        pytest.param(poison_gradient, "generator gradient", "gan", id="gradient"),
        pytest.param(poison_weights("D"), "discriminator loss", "gan", id="weights"),
        pytest.param(poison_buffer, "generator buffer", "dcgan", id="buffer"),
    ],
)
def test_only_the_poisoned_run_diverges(
    act: Callable[[Trainer], None],
    what: str,
    variant: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = "digits" if variant == "dcgan" else "ring8"
    whole = train(tmp_path / "whole", monkeypatch, None, dataset, variant)
    runs = train(tmp_path / "poisoned", monkeypatch, act, dataset, variant)
    victim = runs[VICTIM]
    assert victim.outcome is not None
    assert victim.outcome.outcome == "diverged"
    assert what in victim.outcome.reason
    seen = STEP + 1 if "buffer" not in what else 15  # buffers are looked at with the rows
    assert victim.outcome.onset == seen
    assert victim.outcome.step == 15
    # The curve up to there is kept, and equals that of the run that was left alone.
    rows = [row.values for row in victim.of_type(LossRow)]
    expected = [row.values for row in whole[VICTIM].of_type(LossRow)]
    assert rows[:2] == expected[:2]
    assert len(rows) == 3
    for position in (0, 2):
        outcome = runs[position].outcome
        assert outcome is not None
        assert outcome.outcome != "diverged"
        assert outcome.step == 30
        compare(runs[position], whole[position])


def compare(run: RunRecord, expected: RunRecord) -> None:
    """Compare to rounding: after the victim has left, products of another shape may round so."""
    for a, b in zip(run.of_type(LossRow), expected.of_type(LossRow), strict=True):
        assert a.values == pytest.approx(b.values, rel=1e-4, abs=1e-5)


def test_a_diverged_run_is_never_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(tmp_path, monkeypatch, poison_weights("G"))
    again = train(tmp_path, monkeypatch, poison_weights("G"))
    for a, b in zip(first, again, strict=True):
        assert_equivalent(a, b)
        assert len(b.attempts) == 1


def measured(run: RunRecord) -> list[dict[str, float]]:
    """List what a run logged and measured, with the steps."""
    return [
        {"step": event.step, **event.values}
        for event in run.events
        if isinstance(event, LossRow | EvaluationRow)
    ]


def test_a_run_that_cannot_be_measured_ends_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact: Any = {"precision": "float64"}
    specs = [make_spec("ring8", seed=seed, steps=30, **exact) for seed in range(3)]
    victim = specs[VICTIM].slug
    inner = training_loop.save_samples

    def failing(folder: Path, step: int, *arguments: object) -> str:
        if folder.name == victim and step == 20:
            raise RuntimeError("no ink")
        return inner(folder, step, *arguments)  # type: ignore[arg-type]

    store = Store(tmp_path / "store")
    monkeypatch.setattr(training_loop, "save_samples", failing)
    job = Job(store, torch.device("cpu"), JobOptions(checkpoint_seconds=0))
    assert job.train(specs) == 1
    runs = [read_run(store.folder(spec)) for spec in specs]
    assert [run.is_final for run in runs] == [True, False, True]
    reason = runs[VICTIM].outcome.reason
    assert reason.startswith("evaluation failed: RuntimeError: no ink (test_divergence.py:")
    monkeypatch.setattr(training_loop, "save_samples", inner)
    assert job.train(specs) == 0
    whole = Store(tmp_path / "whole")
    assert Job(whole, torch.device("cpu")).train(specs) == 0
    again = read_run(store.folder(specs[VICTIM]))
    # No checkpoint lies ahead of the evaluation that failed.
    assert [attempt.resumed_from for attempt in again.attempts] == [0, 15]
    # It goes on alone: whether to the last bit as in its cohort, depends on the machine's kernels.
    expected = read_run(whole.folder(specs[VICTIM]))
    for one, other in zip(measured(again), measured(expected), strict=True):
        assert one == pytest.approx(other, rel=1e-6, abs=1e-9, nan_ok=True)


def test_the_time_of_a_run_that_diverged_early_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run in train(tmp_path, monkeypatch, poison_weights("G")):
        assert run.outcome.seconds > 0


def test_a_constant_generator_has_collapsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silence(trainer: Trainer) -> None:
        trainer.game.G.theta.data[VICTIM] = 0.0
        trainer.optimizer_g.lr[VICTIM] = 0.0

    specs = [
        make_spec("digits", seed=seed, steps=40, evaluate_every=5, collapse_diversity=0.01)
        for seed in range(3)
    ]

    class Silenced(Trainer):
        def train_step(self) -> None:
            if self.step == STEP:
                silence(self)
            super().train_step()

    monkeypatch.setattr(job_module, "Trainer", Silenced)
    store = Store(tmp_path)
    assert Job(store, torch.device("cpu")).train(specs) == 0
    record = read_run(store.folder(specs[VICTIM]))
    assert record.outcome is not None
    assert record.outcome.outcome == "collapsed"
    assert record.outcome.onset == 15
    assert "diversity" in record.outcome.reason
    assert record.primary is not None
    assert math.isfinite(record.last(record.primary.name) or math.nan)
