"""Proves on a GPU what the other files here prove on a CPU, and that a step never waits for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.jobs.job import Job
from harness.store.folders import Store
from harness.store.reading import read_run
from harness.testing.cells import CPU, KitCell, assert_near, make_trainer, train, training_data
from harness.testing.specs import make_spec
from harness.training import data
from harness.training.data import Data, HostData
from harness.training.replay import CUDAGraphs
from harness.training.streams import Streams
from harness.training.trainer import Trainer
from tests.conformance.matrix import CELLS

CUDA = torch.device("cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
every_cell = pytest.mark.parametrize("cell", CELLS, ids=str)


@every_cell
def test_a_run_does_not_know_its_cohort(cell: KitCell) -> None:
    specs = [cell.spec(position, precision="float64") for position in range(3)]
    cohort, alone = train(specs, 10, CUDA), train([specs[2]], 10, CUDA)
    assert_near(cohort.state(2), alone.state(0), 1e-9)
    torch.testing.assert_close(
        cohort.game.sample(20, "evaluation")[2],
        alone.game.sample(20, "evaluation")[0],
        rtol=1e-9,
        atol=1e-9,
    )


@every_cell
def test_with_the_same_draws_it_computes_what_the_cpu_does(
    cell: KitCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU draws other numbers from the same seed; given a CPU's, it makes the same steps."""
    inner = Streams._draw

    def drawn_on_the_cpu(self: Streams, *arguments: Any) -> Tensor:
        if not hasattr(self, "on_cpu"):
            self.on_cpu = Streams(self.seeds, CPU, self.dtype)  # type: ignore[attr-defined]
        return inner(self.on_cpu, *arguments).to(self.device)  # type: ignore[attr-defined]

    monkeypatch.setattr(Streams, "_draw", drawn_on_the_cpu)
    specs = [cell.spec(position, precision="float64") for position in range(2)]
    on_cpu, on_gpu = train(specs, 3), train(specs, 3, CUDA)
    assert on_gpu.game.G.theta.device.type == CUDA.type
    for run in range(2):
        assert_near(on_gpu.state(run), on_cpu.state(run), 1e-8)


@every_cell
def test_replayed_graphs_do_what_the_updates_would_have_done(cell: KitCell) -> None:
    specs = [cell.spec(position, precision="float64") for position in range(2)]
    plain = make_trainer(specs, CUDA)
    replayed = Trainer(specs, training_data(specs[0].dataset.id), CUDA, CUDAGraphs(CUDA))
    for _ in range(12):
        plain.train_step()
        replayed.train_step()
    assert replayed.replays.recorder is not None
    for run in range(2):
        assert_near(replayed.state(run), plain.state(run), 1e-9)
    assert replayed.counters() == plain.counters()


@every_cell
def test_resuming_is_exact_to_rounding(cell: KitCell) -> None:
    specs = [cell.spec(position, precision="float64") for position in range(2)]
    uninterrupted = train(specs, 3, CUDA)
    saved = [uninterrupted.state(run) for run in range(2)]
    counters = uninterrupted.counters()
    resumed = make_trainer(specs, CUDA)
    for run, state in enumerate(saved):
        assert all(tensor.device.type == "cpu" for tensor in state.values())
        resumed.load(run, state, counters)
    for trainer in (uninterrupted, resumed):
        for _ in range(3):
            trainer.train_step()
    for run in range(2):
        assert_near(resumed.state(run), uninterrupted.state(run), 1e-9)


@every_cell
def test_a_step_never_waits_for_the_device(cell: KitCell) -> None:
    trainer = train([cell.spec(position) for position in range(2)], 2, CUDA)
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer.train_step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("dataset", ["ring8", "digits"])
def test_a_job_trains_and_measures(dataset: str, tmp_path: Path) -> None:
    specs = [make_spec(dataset, seed=seed, steps=30) for seed in range(2)]
    store = Store(tmp_path)
    assert Job(store, CUDA).train(specs) == 0
    for spec in specs:
        record = read_run(store.folder(spec))
        assert record.is_final
        assert record.environment()["device"].startswith("cuda")
        assert record.outcome is not None and record.outcome.peak_memory > 0
        assert all(torch.isfinite(torch.tensor(record.curve(record.primary.name)[1])))  # type: ignore[union-attr]


def test_examples_on_the_host_give_the_same_bits_without_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    specs = [make_spec("digits", "lsgan", seed=seed) for seed in (1, 2)]
    states = []
    for kind, share in ((Data, 1.0), (HostData, 0.0)):
        monkeypatch.setattr(data, "RESIDENT_SHARE", share)
        trainer = make_trainer(specs, CUDA)
        assert type(trainer.game.data) is kind
        trainer.train_step()
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(12):
                trainer.train_step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        states.append([trainer.state(run) for run in range(2)])
    for resident, host in zip(*states, strict=True):
        assert_near(host, resident, 0)
