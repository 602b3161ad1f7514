"""Recorded updates: what they are fed, when they are recorded, and what if they cannot be."""

import weakref
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.datasets.base import Examples
from harness.parts import Batch, Game, Trick
from harness.store.garbage import uncollected
from harness.testing.cells import CPU, KitCell, assert_near, make_trainer, training_data
from harness.testing.specs import make_spec
from harness.testing.trajectories import states
from harness.training import data
from harness.training.data import HostData
from harness.training.programs import Programs, Tape, alike, binding_of, needed
from harness.training.replay import Work
from harness.training.trainer import Trainer


def recorded(specs: Sequence[Any], recorder: Any = None, held: Examples | None = None) -> Trainer:
    examples = held or training_data(specs[0].dataset.id)
    return Trainer(specs, examples, CPU, recorder or Programs())


def assert_same(one: Trainer, other: Trainer) -> None:
    for found, expected in zip(states(one), states(other), strict=True):
        assert_near(found, expected, 0)
    assert one.counters() == other.counters()


def test_a_tape_does_what_was_done_without_doing_it_when_recorded() -> None:
    source, target = torch.tensor([1.0, 2.0]), torch.zeros(2)

    def work() -> None:
        target.add_(source * 2)
        target[0].mul_(3)

    tape = Tape()
    with tape:
        work()
    tape.undo()
    assert target.tolist() == [0, 0]
    program = tape.program()
    program()
    assert target.tolist() == [6, 4]
    source.copy_(torch.tensor([0.0, 10.0]))
    program()
    assert target.tolist() == [18, 24]


def test_each_kind_of_update_is_recorded_once() -> None:
    recorder = Programs()
    trainer = recorded([make_spec("ring8", "gan", [("r1", {"lazy": 3})])], recorder)
    counts = []
    for _ in range(20):
        trainer.train_step()
        counts.append(recorder.recorded)
    # G and D without the penalty, then D with it, which comes every third time.
    assert counts[0] == 0
    assert counts[2:] == [2] + 17 * [3]


class Fault(Trick):
    """Depends on the step behind the feed's back."""

    id = "fault"
    summary = source = "a fault"

    weight: Callable[[Game], float]

    def discriminator_objective(self, game: Game, batch: Batch, loss: Tensor) -> Tensor:
        """Weigh the loss by a number that is not fed."""
        return loss * self.weight(game)


def faulty(weight: Callable[[Game], float], told: str) -> Trainer:
    """Train with such a part, and expect to be warned."""
    trainer = recorded([make_spec("ring8", "gan")])
    trainer.game.parts.append(Fault(weight=weight))
    with pytest.warns(RuntimeWarning, match=told):
        for _ in range(9):
            trainer.train_step()
    assert trainer.replays.recorder is None
    return trainer


def test_progress_that_is_not_fed_is_found_and_nothing_is_replayed() -> None:
    def weight(game: Game) -> float:
        return 1 + game.progress

    plain = make_trainer([make_spec("ring8", "gan")])
    plain.game.parts.append(Fault(weight=weight))
    for _ in range(9):
        plain.train_step()
    assert_same(faulty(weight, "game.progress other than through batch.number"), plain)


def test_a_count_of_a_part_s_own_is_found() -> None:
    calls = count(1)
    faulty(lambda game: 1 / next(calls), "does not come through its batch")


def test_what_a_program_does_not_need_is_left_out() -> None:
    x, y = torch.ones(3), torch.zeros(3)
    tape = Tape()
    with tape:
        view = x.view(3, 1)
        _ = x.exp() + view.sum()
        y.add_(view.flatten())
    assert len(needed(tape._lines)) == 1
    tape.undo()
    tape.program()()
    assert y.tolist() == [1, 1, 1]


def test_views_of_the_whole_are_left_out() -> None:
    x, y = torch.rand(4, 3), torch.zeros(4)
    tape = Tape()
    with tape:
        doubled = (x * 2).view(4, 3).expand(4, 3)[:]
        y.add_(doubled.view(4, 3).select(1, 0))
    operations = [tape._given[line.operation].__name__ for line in needed(tape._lines)]
    assert len(operations) == 3, operations  # mul, select, add_
    tape.undo()
    tape.program()()
    assert torch.equal(y, 2 * x[:, 0])


ATEN = torch.ops.aten
X = torch.arange(6.0).view(2, 3)


@pytest.mark.parametrize(
    ("operation", "arguments", "function"),
    [
        (ATEN.add.Tensor, (X, X), torch.add),
        (ATEN.view.default, (X, [3, 2]), Tensor.view),
        (ATEN.mean.dim, (X, [1], True), torch.mean),
        (ATEN.cat.default, ([X, X], 1), torch.cat),
        # With a number of Python's, torch.mul leads to another operation.
        (ATEN.mul.Scalar, (X, 2.0), None),
        (ATEN.sum.dim_IntList, (X, [0]), torch.sum),
        # Written in Python, or not there.
        (ATEN.split.Tensor, (X, 1), None),
        (ATEN.leaky_relu.default, (X, 0.2), None),
    ],
)
def test_a_program_calls_what_leads_to_the_same_operation(
    operation: Any, arguments: tuple[Any, ...], function: Any
) -> None:
    found = binding_of(operation, arguments, {})
    assert found is (operation._op if function is None else function)
    expected, made = operation(*arguments), found(*arguments)
    for one, other in zip(
        *([x] if isinstance(x, Tensor) else x for x in (made, expected)), strict=True
    ):
        assert torch.equal(one, other)


def test_arguments_are_alike_only_if_types_are_too() -> None:
    assert alike(([X, 1], {"dim": (0, 1)}), ((X, 1), {"dim": [0, 1]}))
    for one, other in ((1, 1.0), (1, True), (X, X.clone()), ([1], [1, 1]), ({"a": 1}, {}), (X, 0)):
        assert not alike(one, other) and not alike(other, one)


def test_what_is_asked_for_a_binding_runs_nothing() -> None:
    target = torch.zeros(3)
    assert binding_of(ATEN.add_.Tensor, (target, torch.ones(3)), {}) is Tensor.add_
    assert target.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (lambda x: torch.rand(3), "draws random numbers"),
        (lambda x: x.sum().item(), "Python reads a number"),
    ],
)
def test_what_cannot_be_replayed_is_refused(work: Callable[[Tensor], Any], told: str) -> None:
    x = torch.ones(3)

    def whole() -> None:
        x.mul_(2)
        work(x)

    with pytest.raises(RuntimeError, match=told):
        Programs().record(whole)
    assert x.tolist() == [1, 1, 1]


def test_runs_that_leave_are_forgotten_and_the_others_recorded_again() -> None:
    cell = KitCell("digits", "dcgan")
    specs = [cell.spec(position) for position in range(3)]
    recorder = Programs()
    plain, replayed = make_trainer(specs), recorded(specs, recorder)
    for _ in range(2):
        for _ in range(6):
            plain.train_step()
            replayed.train_step()
        assert_same(replayed, plain)
        plain.keep([0, 2] if len(plain.specs) == 3 else [1])
        replayed.keep([0, 2] if len(replayed.specs) == 3 else [1])
    assert recorder.recorded == 4


def test_a_run_that_is_put_back_is_replayed_from_there() -> None:
    specs = [make_spec("ring8", "gan", ["ema"])]
    plain, replayed = make_trainer(specs), recorded(specs)
    for trainer in (plain, replayed):
        for _ in range(5):
            trainer.train_step()
        saved, counters = trainer.state(0), trainer.counters()
        for _ in range(5):
            trainer.train_step()
        trainer.load(0, saved, counters)
        for _ in range(3):
            trainer.train_step()
    assert_same(replayed, plain)


@pytest.mark.parametrize("variant", ["gan", "cgan"])
def test_examples_on_the_host_are_fed_whole(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [make_spec("digits", variant, seed=seed) for seed in range(2)]
    plain = make_trainer(specs)
    monkeypatch.setattr(data, "RESIDENT_BYTES", 0)
    replayed = recorded(specs)
    assert isinstance(replayed.game.data, HostData)
    for _ in range(8):
        plain.train_step()
        replayed.train_step()
    assert_same(replayed, plain)


class Unable(Programs):
    """Runs the work, then finds that it cannot be recorded."""

    def record(self, work: Work) -> Work:
        """Leave nothing but Python's counts changed, as a failed capture does."""
        super().record(work)
        raise RuntimeError("operation not permitted when stream is capturing")


def test_what_cannot_be_recorded_is_run_as_it_is_and_told_of() -> None:
    specs = [make_spec("digits", "dcgan")]
    plain, replayed = make_trainer(specs), recorded(specs, Unable())
    with pytest.warns(RuntimeWarning, match="not replayed: operation not permitted"):
        for _ in range(6):
            replayed.train_step()
    for _ in range(6):
        plain.train_step()
    assert_same(replayed, plain)


def test_a_trainer_that_records_nothing_is_let_go_at_once() -> None:
    """Rehearsals make one after the other, and look for garbage seldom."""
    trainer = make_trainer([make_spec("digits", "dcgan")])
    trainer.train_step()
    gone = weakref.ref(trainer), weakref.ref(trainer.game.G)
    with uncollected():
        del trainer
        assert [each() for each in gone] == [None, None]


def test_too_little_memory_is_not_a_reason_to_go_on() -> None:
    class Small(Programs):
        def record(self, work: Work) -> Work:
            raise torch.OutOfMemoryError("CUDA out of memory")

    trainer = recorded([make_spec("ring8", "gan")], Small())
    with pytest.raises(torch.OutOfMemoryError):
        for _ in range(6):
            trainer.train_step()
