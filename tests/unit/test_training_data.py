"""Training examples on the device or on the host: the same batches, the same results."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from harness.datasets.base import Examples
from harness.datasets.stacked import StackedDigits
from harness.testing.specs import make_spec
from harness.training import data as data_module
from harness.training.data import Data, HostData, hold
from harness.training.inputs import EagerInputs
from harness.training.streams import DataOrder, Streams
from harness.training.trainer import Trainer

CPU = torch.device("cpu")


def points(count: int = 23) -> torch.Tensor:
    return torch.arange(2.0 * count).reshape(count, 2)


def batch_of(data: Data, order: DataOrder, seeds: Sequence[int], counter: int) -> torch.Tensor:
    streams = Streams(seeds, CPU, torch.float32)
    return data.batch(order, streams, EagerInputs(counter))


def test_where_examples_are_held_follows_from_their_size(monkeypatch):
    values = points(10)
    assert type(hold(values, CPU)) is Data
    monkeypatch.setattr(data_module, "RESIDENT_BYTES", values.nbytes)
    assert type(hold(values, CPU)) is Data
    monkeypatch.setattr(data_module, "RESIDENT_BYTES", values.nbytes - 1)
    assert type(hold(values, CPU)) is HostData


@pytest.mark.parametrize("kind", [Data, HostData])
def test_taking_is_indexing(kind):
    data = kind(points(), CPU)
    index = torch.tensor([[3, 1], [22, 0]])
    assert torch.equal(data.take(index), points()[index])
    assert (len(data), data.shape, data.device) == (23, (23, 2), CPU)


def test_host_batches_are_the_resident_ones_whatever_is_asked_for():
    seeds = (3, 5)
    resident, host = Data(points(), CPU), HostData(points(), CPU)
    orders = {kind: [DataOrder(23, 4, s) for s in ("d", "g")] for kind in (Data, HostData)}
    rng = np.random.RandomState(0)
    counters = [0, 0]
    for _ in range(60):
        player = int(rng.randint(2))
        if rng.rand() < 0.1:  # as when a run is resumed, or put back
            counters[player] = int(rng.randint(30))
        if rng.rand() < 0.1:  # as when a run diverges
            seeds = tuple(rng.randint(100, size=rng.randint(1, 3)).tolist())
        batches = [
            batch_of(data, orders[type(data)][player], seeds, counters[player])
            for data in (resident, host)
        ]
        assert torch.equal(*batches)
        assert batches[0].shape == (len(seeds), 4, 2)
        counters[player] += 1


def test_the_next_batch_is_gathered_ahead():
    class Counted:
        """Counts how often it is indexed."""

        def __init__(self):
            self.values, self.gathered = points(), 0
            self.shape, self.dtype, self.nbytes = self.values.shape, torch.float32, 1

        def __len__(self):
            return len(self.values)

        def __getitem__(self, index):
            self.gathered += 1
            return self.values[index]

        def to(self, device):
            return self

    values = Counted()
    host, order = HostData(values, CPU), DataOrder(23, 4, "d")
    for counter in range(12):
        host.gathered(order, (1,), counter)
    host._worker.shutdown(wait=True)
    assert values.gathered == 13  # each once, and the one after the last


def test_a_failure_to_gather_is_raised_where_the_batch_is_wanted():
    class Torn:
        """Cannot be read, like a file on a disk that has gone."""

        shape, dtype, nbytes = torch.Size((8, 2)), torch.float32, 1

        def __len__(self):
            return 8

        def __getitem__(self, index):
            raise OSError("input/output error")

        def to(self, device):
            return self

    with pytest.raises(OSError, match="input/output"):
        HostData(Torn(), CPU).gathered(DataOrder(8, 4, "d"), (1,), 0)


@pytest.mark.parametrize("case", ["points", "images", "labels", "stacks", "mapped"])
def test_a_run_is_the_same_bit_for_bit(case, monkeypatch, tmp_path):
    chosen = {"points": ("ring8", "gan", ["feature-matching"]), "labels": ("digits", "cgan")}
    specs = [
        make_spec(*chosen.get(case, ("digits", "lsgan", ["feature-matching"])), seed=s)
        for s in (1, 2)
    ]
    generator = torch.Generator().manual_seed(0)
    if case == "points":
        values = torch.randn(50, 2, generator=generator)
    elif case == "stacks":
        specs = [make_spec("stacked-digits", "lsgan", ["feature-matching"], seed=s) for s in (1, 2)]
        values = StackedDigits().load("validation").values
    else:
        values = torch.randint(256, (50, 1, 16, 16), generator=generator, dtype=torch.uint8)
    labels = torch.arange(len(values)) % 10 if case == "labels" else None
    host_values = values
    if case == "mapped":
        np.save(tmp_path / "images.npy", values.numpy())
        host_values = torch.from_numpy(np.load(tmp_path / "images.npy", mmap_mode="c"))
    trainers = []
    for kind, held in ((Data, values), (HostData, host_values)):
        monkeypatch.setattr(data_module, "RESIDENT_BYTES", 2**40 if kind is Data else 0)
        trainer = Trainer(specs, Examples(held, labels), CPU)
        assert type(trainer.game.data) is kind
        for step in range(20):
            trainer.train_step()
            if step == 12:
                trainer.keep([1])
        trainers.append(trainer)
    for player in ("G", "D"):
        states = [getattr(trainer.game, player).state(0) for trainer in trainers]
        assert states[0].keys() == states[1].keys()
        for name, value in states[0].items():
            assert torch.equal(value, states[1][name]), name
    rows = [trainer.read()[0] for trainer in trainers]
    assert rows[0] == rows[1]
