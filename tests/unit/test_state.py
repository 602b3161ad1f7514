"""The tree of state: what lies in it is kept, saved, loaded, compared and replayed unlisted."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typing_extensions import override

from harness.parts import Batch, Game, Trick, tricks
from harness.spec import RunSpec
from harness.testing.cells import CPU, assert_near, training_data
from harness.testing.specs import make_spec
from harness.testing.trajectories import states
from harness.training import trainer as training
from harness.training.checkpoint import find_checkpoints, keep_networks, save_checkpoint
from harness.training.monitor import Monitor
from harness.training.optimizers import KINDS, Adam
from harness.training.programs import Programs
from harness.training.state import StackedState
from harness.training.trainer import Trainer
from tests.plugins import registered_apart

REMEMBERED = {"memory/drifting/path", "memory/drifting/last"}
NEW = REMEMBERED | {"optimizer_g/largest", "optimizer_d/largest", "monitor/last"}
"""Tensors that the classes below add, each in the one place where it is used."""


class Longer(Adam):
    """Remembers the largest gradient of each weight."""

    slots = (*Adam.slots, "largest")

    @override
    def step(self, theta: Tensor, gradient: Tensor, *inputs: Any) -> None:
        super().step(theta, gradient, *inputs)
        self.slot["largest"].copy_(self.slot["largest"].maximum(gradient.abs()))


class Closer(Monitor):
    """Remembers the last row."""

    def __init__(self, runs: int, *arguments: Any) -> None:
        super().__init__(runs, *arguments)
        self.tensors["last"] = torch.zeros_like(self.tensors["d"])

    @override
    def discriminator(self, row: Tensor, step: int | Tensor) -> None:
        super().discriminator(row, step)
        self.tensors["last"].copy_(row)


Make = Callable[..., Trainer]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make trainers of parts that add tensors, of runs by their seeds."""
    registered_apart(monkeypatch)

    @tricks.register("drifting", source="this test")
    class Drifting(Trick):
        """Adds up how far D has moved, in place, and puts its last weights in place of others."""

        only_remembers = True

        def remember(self, game: Game) -> dict[str, Tensor]:
            return {"path": torch.zeros(game.runs), "last": game.D.theta}

        def after_discriminator_update(self, game: Game, batch: Batch) -> None:
            held = game.memory[self.id]
            held["path"].add_((game.D.theta - held["last"]).norm(dim=1))
            held["last"] = game.D.theta.clone()

    monkeypatch.setitem(KINDS, "adam", Longer)
    monkeypatch.setattr(training, "Monitor", Closer)

    def made(*seeds: int, recorder: Programs | None = None, steps: int = 0) -> Trainer:
        specs = [spec(seed) for seed in seeds]
        trainer = Trainer(specs, training_data("ring8"), CPU, recorder)
        for _ in range(steps):
            trainer.train_step()
        return trainer

    return made


def spec(seed: int) -> RunSpec:
    return make_spec("ring8", "gan", ["drifting"], seed=seed, optimizer="adam", steps=50)


def test_every_new_tensor_is_in_the_state_and_moves(make: Make) -> None:
    before, after = make(0).state(0), make(0, steps=2).state(0)
    assert before.keys() >= NEW
    assert not [name for name in NEW if torch.equal(before[name], after[name])]


def test_it_is_kept_with_its_run(make: Make) -> None:
    trainer = make(0, 1, 2, steps=3)
    expected = [trainer.state(run) for run in (2, 0)]
    trainer.keep([2, 0])
    for found, wanted in zip(states(trainer), expected, strict=True):
        assert found.keys() >= NEW
        assert_near(found, wanted, 0)


def test_it_is_saved_and_loaded(make: Make, tmp_path: Path) -> None:
    trainer, other = make(0, 1, steps=3), make(1)
    run, folder = spec(1).id, tmp_path / "checkpoints"
    folder.mkdir()
    save_checkpoint(
        folder, run, trainer.state(1), trainer.counters(), seconds=0, evaluation_seconds=0
    )
    (saved,) = find_checkpoints(folder, run)
    other.load(0, saved.tensors(), saved.counters)
    assert_near(other.state(0), trainer.state(1), 0)
    assert other.counters() == trainer.counters()
    keep_networks(tmp_path, run)
    kept = find_checkpoints(tmp_path / "checkpoints", run)
    assert not kept
    (networks,) = tmp_path.glob("networks.safetensors")
    assert {name for name in NEW if name.encode() in networks.read_bytes()} == REMEMBERED


@pytest.mark.parametrize("name", sorted(NEW))
def test_a_state_without_it_is_refused(make: Make, name: str) -> None:
    trainer = make(0)
    state = trainer.state(0)
    del state[name]
    with pytest.raises(KeyError, match=name):
        trainer.load(0, state, trainer.counters())


def test_it_is_replayed(make: Make) -> None:
    plain, recorder = make(0, 1, steps=8), Programs()
    replayed = make(0, 1, recorder=recorder, steps=8)
    assert recorder.recorded == 2
    assert replayed.replays.recorder is recorder
    for found, expected in zip(states(replayed), states(plain), strict=True):
        assert_near(found, expected, 0)


@pytest.mark.parametrize("name", sorted(NEW))
def test_its_replay_is_compared_with_the_update(make: Make, name: str) -> None:
    trainer = make(0, 1, recorder=Programs())
    updates, update = count(1), trainer._update_discriminator
    *path, leaf = name.split("/")
    node = trainer.tree
    for step in path:
        node = node.nodes[step]
    held = node.tensors

    def behind_the_feed(batch: Any) -> None:
        update(batch)
        held[leaf].add_(next(updates))

    trainer._update_discriminator = behind_the_feed  # type: ignore[method-assign]
    with pytest.warns(RuntimeWarning, match="does not come through its batch"):
        for _ in range(6):
            trainer.train_step()


class TestTree:
    """The maps."""

    def tree(self) -> StackedState:
        return StackedState(
            {"a": torch.arange(3.0)},
            {"below": StackedState({"b": torch.arange(6).view(3, 2)}), "empty": StackedState()},
        )

    def test_names_are_paths(self) -> None:
        assert self.tree().named().keys() == {"a", "below/b"}
        assert [leaf.shape for leaf in self.tree().leaves()] == [(3,), (3, 2)]

    def test_keeping_replaces_the_tensors_where_they_are_held(self) -> None:
        tree = self.tree()
        below, before = tree.nodes["below"].tensors, tree.tensors["a"].requires_grad_()
        tree.keep([2, 0])
        assert tree.tensors["a"].tolist() == [2, 0]
        assert tree.tensors["a"].requires_grad and tree.tensors["a"].is_leaf
        assert below["b"].tolist() == [[4, 5], [0, 1]]
        assert before.tolist() == [0, 1, 2]

    def test_a_state_is_a_copy_and_loading_is_in_place(self) -> None:
        tree = self.tree()
        state, place = tree.state(1), tree.tensors["a"]
        tree.tensors["a"].fill_(7)
        tree.load(0, state)
        assert place.tolist() == [1, 7, 7]
        assert tree.nodes["below"].tensors["b"].tolist() == [[2, 3], [2, 3], [4, 5]]

    def test_another_shape_is_refused(self) -> None:
        with pytest.raises(RuntimeError):
            self.tree().load(0, {"a": torch.zeros(()), "below/b": torch.zeros(1)})
