"""Proofs about training: a run knows neither its cohort, nor its interruptions, nor its device.

Each takes a cell and raises :class:`AssertionError` with what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from harness.networks.blueprint import GeneratorPlan
from harness.parts.blueprint import blueprint_of
from harness.testing.cells import (
    CPU,
    SHORT,
    STEPS,
    KitCell,
    assert_near,
    make_trainer,
    train,
    training_data,
)
from harness.testing.trajectories import as_trained, in_double_precision, states, three_runs
from harness.training.batch import Batch
from harness.training.programs import Programs
from harness.training.streams import DataOrder
from harness.training.trainer import Trainer

EXACT = 0.0
ROUNDING = 1e-9
"""Double precision keeps 50 steps of any cell within this of each other."""
POISONED = 1
COHORTS = (1, 2, 3)
"""Runs of the cohorts whose updates are replayed."""
AWAITING = {"_local_scalar_dense", "nonzero", "equal", "is_nonzero", "_unique2", "masked_select"}
"""Operations whose result has to be read, or measured, by the host."""


def require(holds: bool, otherwise: str) -> None:
    """Raise unless a condition holds."""
    if not holds:
        raise AssertionError(otherwise)


def trains(cell: KitCell) -> None:
    """Both networks move, and everything that is logged is a finite number."""
    trainer = make_trainer([cell.spec()])
    before = trainer.state(0)
    for _ in range(2):
        trainer.train_step()
    after = trainer.state(0)
    for player in ("generator", "discriminator"):
        moved = [
            name
            for name in after
            if name.startswith(f"{player}/") and not torch.equal(after[name], before[name])
        ]
        require(bool(moved), f"two steps change nothing in the {player}")
    rows, divergences = trainer.read()
    require(divergences == [None], f"diverged within two steps: {divergences[0]}")
    strange = [name for name, value in rows[0].items() if value != value]
    require(not strange, f"logs NaN as {', '.join(strange)}")


def alone_equals_cohort(cell: KitCell, steps: int = SHORT) -> None:
    """A run trains alone as it trains beside others of other seeds and scalars, within 1e-9."""
    cohort = three_runs(cell)
    alone = in_double_precision(cohort.specs[2:])
    start = {player: getattr(alone.trainer.game, player).theta.clone() for player in ("G", "D")}
    for mark in (SHORT, STEPS):
        if mark <= steps:
            assert_near(cohort.at(mark).states[2], alone.at(mark).states[0], ROUNDING)
    pair = [each.trainer.game.sample(20, "evaluation") for each in (cohort, alone)]
    torch.testing.assert_close(pair[0][2], pair[1][0], rtol=ROUNDING, atol=ROUNDING)
    for player, before in start.items():
        moved = not torch.equal(getattr(alone.trainer.game, player).theta, before)
        require(moved, f"{player} has not moved in {steps} steps")


def resumes(cell: KitCell) -> None:
    """A run that was saved and loaded goes on bit for bit as if it had never stopped."""
    uninterrupted = as_trained(cell)
    saved = uninterrupted.at(3)
    kept = [{name: value.clone() for name, value in state.items()} for state in saved.states]
    resumed = uninterrupted.resumed(3)
    require(resumed.counters() == saved.counters, "the counters are not what was loaded")
    for _ in range(3):
        resumed.train_step()
    expected = uninterrupted.at(6)
    for state, copy in zip(saved.states, kept, strict=True):
        assert_near(state, copy, EXACT)  # what was saved is a copy
    for actual, wanted in zip(states(resumed), expected.states, strict=True):
        assert_near(actual, wanted, EXACT)
    require(resumed.counters() == expected.counters, "the counters went apart")
    require(resumed.kimg == expected.kimg, "the count of images went apart")
    require(resumed.read() == expected.reading, "the diagnostics went apart")


def failure_stays_alone(cell: KitCell, player: str = "G") -> None:
    """NaN in one run is told of it and reaches no other; the others go on without it."""
    healthy = three_runs(cell)
    sick = healthy.resumed(2)
    poison(sick, player)
    for _ in range(2):
        sick.train_step()
    expected = healthy.at(4)
    for run in (0, 2):
        assert_near(sick.state(run), expected.states[run], EXACT)
    rows, divergences = sick.read()
    told = [divergence is not None for divergence in divergences]
    require(told == [False, True, False], f"divergence is told of runs {told}, not of the second")
    require(divergences[POISONED].step == 3, "divergence is not told of the step it began in")  # type: ignore[union-attr]
    for run in (0, 2):
        same = rows[run] == expected.reading[0][run]  # type: ignore[index]
        require(same, "the diagnostics of a healthy run changed")
    # The two healthy runs go on, beside them the same two that never knew the third, and all three.
    pair = healthy.resumed(4, (0, 2))
    pair.read()
    sick.keep([0, 2])
    for trainer in (sick, pair):
        trainer.train_step()
        trainer.train_step()
    unreduced = healthy.at(6)
    for position, run in enumerate((0, 2)):
        require(sick.specs[position] == healthy.specs[run], "the wrong run was kept")
        assert_near(sick.state(position), pair.state(position), EXACT)
        assert_near(sick.state(position), unreduced.states[run], ROUNDING)
    require(sick.read()[1] == [None, None], "a run that was kept is told to have diverged")


def poison(trainer: Trainer, player: str) -> None:
    """Make one run of a player NaN, buffers included."""
    stack = getattr(trainer.game, player)
    with torch.no_grad():
        stack.theta[POISONED] = torch.nan
        for buffer in stack.buffers.values():
            if buffer.is_floating_point():
                buffer[POISONED] = torch.nan


def precision(cell: KitCell) -> None:
    """Three steps in single precision follow those in double precision."""
    # Gradient descent, because Adam turns a gradient of rounding errors into a whole step.
    rates: dict[str, Any] = {"optimizer": "sgd", "lr_g": 1e-3, "lr_d": 1e-3, "beta1": 0.5}
    single = train([cell.spec(precision="float32", **rates)], 3)
    double = train([cell.spec(precision="float64", **rates)], 3)
    for player in ("G", "D"):
        theta = getattr(single.game, player).theta
        require(theta.dtype == torch.float32, f"{player} is not kept in single precision")
        torch.testing.assert_close(
            theta.double(), getattr(double.game, player).theta, rtol=1e-5, atol=1e-6
        )


class Waits(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Collects the operations that make the host wait for the device."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.name.removeprefix("aten::") in AWAITING:
            self.operations.append(func._schema.name)
        return func(*args, **(kwargs or {}))


def never_waits(cell: KitCell) -> None:
    """No operation of a step needs its result read by the host."""
    trainer = make_trainer([cell.spec(position) for position in range(2)])
    with Waits() as waits:
        trainer.train_step()
    require(not waits.operations, f"a step waits for the device in {', '.join(waits.operations)}")


def replays(cell: KitCell) -> None:
    """Updates that are recorded once and replayed do, bit for bit, what each would have done.

    In cohorts of one, two and three runs: a tensor of one element is not like others.
    """
    for runs in COHORTS:
        trajectory = as_trained(cell, runs)
        plain, recorder = trajectory.at(6), Programs()
        data = training_data(cell.dataset)
        replayed = Trainer(trajectory.specs, data, CPU, recorder)
        for _ in range(6):
            replayed.train_step()
        require(recorder.recorded > 0, "nothing was recorded")
        require(replayed.replays.recorder is recorder, f"replays of {runs} runs were given up")
        for actual, expected in zip(states(replayed), plain.states, strict=True):
            assert_near(actual, expected, EXACT)
        require(replayed.counters() == plain.counters, "the counters went apart")
        require(replayed.read() == plain.reading, "the diagnostics went apart")


class Recorder:
    """Stands for a stacked generator and keeps the latents of the first call of each update."""

    def __init__(self, stack: Any) -> None:
        self.stack = stack
        self.latents: list[Tensor] = []

    def __call__(self, z: Tensor, *condition: Any, **options: Any) -> Any:
        """Keep the latents and answer."""
        self.latents.append(z.clone())
        return self.stack(z, *condition, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stack, name)


@lru_cache(maxsize=8)
def record(cell: KitCell, steps: int) -> tuple[Tensor, dict[str, list[Tensor]]]:
    """Train, and return G's first weights with the latents and the data of each player."""
    trainer = make_trainer([cell.spec()])
    game = trainer.game
    first = game.G.theta.detach().clone()
    recorder = Recorder(game.G)
    game.G = recorder  # type: ignore[assignment]
    seen: dict[str, list[Tensor]] = {}
    for phase, order in game.orders.items():
        order.indices = recording(order, seen.setdefault(f"{phase} data", []))  # type: ignore[method-assign]
    for player in ("discriminator", "generator"):
        update = getattr(trainer, f"_update_{player}")
        # An auto-encoder's G starts from codes that it has learnt, not from draws.
        latents = [] if game.variant.joint else seen.setdefault(f"{player} latents", [])
        setattr(trainer, f"_update_{player}", counted(update, recorder, latents))
    for _ in range(steps):
        trainer.train_step()
    return first, seen


def recording(order: DataOrder, seen: list[Tensor]) -> Callable[..., Tensor]:
    """Keep what an order gives, once for each update: its labels ask again."""
    inner = order.indices
    updates: set[int] = set()

    def indices(seeds: Sequence[int], counter: int, device: torch.device) -> Tensor:
        drawn = inner(seeds, counter, device)
        if counter not in updates:
            updates.add(counter)
            seen.append(drawn)
        return drawn

    return indices


def counted(
    update: Callable[[Batch], None], recorder: Recorder, latents: list[Tensor]
) -> Callable[[Batch], None]:
    """Keep the latents of each update's own batch: those of its first call of G."""

    def updated(batch: Batch) -> None:
        recorder.latents.clear()
        update(batch)
        latents.extend(recorder.latents[:1])

    return updated


def paired_by_seed(cell: KitCell) -> None:
    """Tricks change neither G's first weights nor the latents and data of a seed.

    Where a trick changes the law of the latents, theirs follow from the same draws: a monotone
    function of them, element by element.
    """
    plain_weights, plain = record(cell.without_tricks(), 3)
    weights, tricked = record(cell, 3)
    if generator_of(cell) == generator_of(cell.without_tricks()):
        require(torch.equal(weights, plain_weights), "G's first weights are others")
    for name, expected in plain.items():
        shared = min(len(expected), len(tricked[name]))
        for actual, wanted in zip(tricked[name][:shared], expected[:shared], strict=True):
            same = actual.shape == wanted.shape and (
                torch.equal(actual, wanted) or same_order(actual, wanted)
            )
            require(same, f"the seed gives another order of {name}")
    for what in ("latents", "data"):
        drawn = [
            tuple(value.flatten().tolist())
            for name, values in tricked.items()
            if name.endswith(what)
            for value in values
        ]
        require(len(set(drawn)) == len(drawn), f"an update sees the {what} of another")


def generator_of(cell: KitCell) -> GeneratorPlan:
    """Return the plan of a cell's generator, without what adds no weights."""
    plan = blueprint_of(cell.spec()).generator
    return replace(plan, dropout=0.0, dropout_layers=None, dropout_at_test=False)


def same_order(actual: Tensor, wanted: Tensor) -> bool:
    """Say whether two tensors sort alike."""
    return torch.equal(actual.flatten().argsort(), wanted.flatten().argsort())
