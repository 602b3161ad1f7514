"""Too little memory: fewer runs at once, fewer images in a pass, and only then no result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from harness.datasets.digits import Digits
from harness.errors import ExitStatus
from harness.jobs.cohort import JobOptions
from harness.jobs.job import Job
from harness.metrics.evaluation import Evaluator
from harness.metrics.extractors.base import extractors
from harness.store.events import EvaluationRow
from harness.store.folders import Store
from harness.store.reading import RunRecord, read_run
from harness.testing.specs import make_spec
from harness.training.trainer import Trainer

CPU = torch.device("cpu")
SPECS = [make_spec(seed=seed, evaluate_every=5) for seed in range(5)]


def train(root: Path) -> tuple[int, list[RunRecord]]:
    store = Store(root)
    code = Job(store, CPU, JobOptions(checkpoint_seconds=0)).train(SPECS)
    return code, [read_run(store.folder(spec)) for spec in SPECS]


def limit(monkeypatch: pytest.MonkeyPatch, most: int, step: int) -> None:
    """Let a cohort of more runs than there is memory for fail at a step."""
    inner = Trainer.train_step

    def limited(self: Trainer) -> None:
        if len(self.specs) > most and self.step == step:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        inner(self)

    monkeypatch.setattr(Trainer, "train_step", limited)


def cohorts(record: RunRecord) -> list[tuple[int, int]]:
    """List each attempt's runs and the step that it began from."""
    return [(len(event.cohort), event.resumed_from) for event in record.attempts]


def values(record: RunRecord) -> list[Any]:
    return [event.values for event in record.of_type(EvaluationRow)]


def test_a_cohort_that_does_not_fit_is_halved_and_goes_on_from_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, undisturbed = train(tmp_path / "enough")
    limit(monkeypatch, most=2, step=12)
    code, found = train(tmp_path / "short")
    assert code == 0
    # Five, then two and three; the three again, one and two.
    assert [cohorts(record) for record in found] == [
        [(5, 0), (2, 10)],
        [(5, 0), (2, 10)],
        [(5, 0), (3, 10), (1, 10)],
        [(5, 0), (3, 10), (2, 10)],
        [(5, 0), (3, 10), (2, 10)],
    ]
    for record, expected in zip(found, undisturbed, strict=True):
        assert record.outcome is not None and expected.outcome is not None
        assert record.outcome.outcome == expected.outcome.outcome
        assert [e.step for e in record.of_type(EvaluationRow)] == [0, 5, 10, 15, 20]
        for mine, theirs in zip(values(record), values(expected), strict=True):
            assert mine == pytest.approx(theirs, rel=1e-3, nan_ok=True)


def test_a_run_that_does_not_fit_alone_is_tried_again_where_there_is_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, undisturbed = train(tmp_path / "enough")
    limit(monkeypatch, most=0, step=7)
    code, found = train(tmp_path / "short")
    assert code == ExitStatus.INCOMPLETE
    for record in found:
        assert not record.is_final and record.outcome is not None
        assert record.outcome.outcome == "oom"
        assert record.outcome.step == 5
        assert record.outcome.peak_memory > 0
        assert "CUDA out of memory" in record.outcome.reason
    monkeypatch.undo()
    code, again = train(tmp_path / "short")
    assert code == 0
    for record, expected in zip(again, undisturbed, strict=True):
        assert record.is_final and record.attempts[-1].resumed_from == 5
        for mine, theirs in zip(values(record), values(expected), strict=True):
            assert mine == pytest.approx(theirs, rel=1e-3, nan_ok=True)


def test_an_evaluation_looks_at_fewer_images_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Digits()
    evaluator = Evaluator(
        dataset, extractor="digits-cnn", samples=64, reference="train", root=None, device=CPU
    )
    samples = torch.rand(1, 64, *dataset.shape) * 2 - 1
    (expected,) = evaluator(samples)
    extractor = evaluator._observer.extractor
    assert extractor is not None
    passes: list[int] = []

    def limited(module: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        if len(inputs[0]) > 20:
            raise torch.OutOfMemoryError("CUDA out of memory")
        passes.append(len(inputs[0]))

    hook = extractor.network.register_forward_pre_hook(limited)
    try:
        (found,) = evaluator(samples)
    finally:
        hook.remove()
    assert sum(passes) == 64 and max(passes) <= 20
    assert found.values == pytest.approx(expected.values, rel=1e-6)


def test_one_image_that_does_not_fit_is_said() -> None:
    extractor = extractors.get("digits-cnn").load(CPU, None)

    def full(module: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    extractor.network.register_forward_pre_hook(full)
    with pytest.raises(torch.OutOfMemoryError):
        extractor.features(torch.zeros(3, 1, 16, 16, dtype=torch.uint8))
