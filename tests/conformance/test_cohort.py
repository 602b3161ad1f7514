"""Proves contracts 1 to 5 for every cell: a run knows neither its cohort nor its interruptions."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from harness.parts import tricks, variants
from harness.testing.training import recording
from harness.training.trainer import Trainer
from tests.conformance.cells import (
    CELLS,
    COMBINATION,
    OTHER_WEIGHTS,
    REFUSED,
    Cell,
    assert_near,
    make_trainer,
    train,
)

State = dict[str, Tensor]
every_cell = pytest.mark.parametrize("cell", CELLS, ids=str)
AWAITING = {"_local_scalar_dense", "nonzero", "equal", "is_nonzero", "_unique2", "masked_select"}
"""Operations whose result has to be read, or measured, by the host."""


def weights(state: State) -> State:
    """Leave out the diagnostics."""
    return {name: value for name, value in state.items() if not name.startswith("monitor/")}


def assert_bitwise(found: State, expected: State) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, rtol=0, atol=0, equal_nan=True, msg=lambda m, n=name: f"{n}: {m}"
        )


def states(trainer: Trainer) -> list[State]:
    return [trainer.state(run) for run in range(trainer.game.runs)]


def lengths() -> list[Any]:
    """Choose 50 steps for every cell; stacked convolutions get 10 where time is short."""
    chosen = []
    for cell in CELLS:
        short = 10 if cell.convolutional else 50
        chosen.append(pytest.param(cell, short, id=f"{cell}-{short}"))
        if short < 50:
            chosen.append(pytest.param(cell, 50, id=f"{cell}-50", marks=pytest.mark.slow))
    return chosen


@pytest.mark.parametrize(("cell", "steps"), lengths())
def test_a_run_does_not_know_its_cohort(cell: Cell, steps: int) -> None:
    specs = [cell.spec(position, precision="float64") for position in range(3)]
    assert len({spec.model_dump_json(exclude={"seed"}) for spec in specs}) == 3
    cohort = train(specs, steps)
    alone = train([specs[2]], steps)
    assert_near(cohort.state(2), alone.state(0), 1e-9)
    torch.testing.assert_close(
        cohort.game.sample(20, "evaluation")[2],
        alone.game.sample(20, "evaluation")[0],
        rtol=1e-9,
        atol=1e-9,
    )
    start = make_trainer([specs[2]])
    assert not torch.equal(alone.game.G.theta, start.game.G.theta)
    assert not torch.equal(alone.game.D.theta, start.game.D.theta)


@every_cell
def test_resuming_is_exact(cell: Cell) -> None:
    specs = [cell.spec(position) for position in range(2)]
    uninterrupted = make_trainer(specs)
    for _ in range(3):
        uninterrupted.train_step()
    saved, counters = states(uninterrupted), uninterrupted.counters()
    kept = [{name: value.clone() for name, value in state.items()} for state in saved]
    for _ in range(3):
        uninterrupted.train_step()
    for state, copy in zip(saved, kept, strict=True):
        assert_bitwise(state, copy)

    resumed = make_trainer(specs)
    for run, state in enumerate(saved):
        resumed.load(run, state, counters)
    assert resumed.counters() == counters
    for _ in range(3):
        resumed.train_step()
    for found, expected in zip(states(resumed), states(uninterrupted), strict=True):
        assert_bitwise(found, expected)
    assert resumed.counters() == uninterrupted.counters()
    assert resumed.kimg == uninterrupted.kimg
    assert resumed.read() == uninterrupted.read()


POISONED = 1
poisonings = [(cell, "G") for cell in CELLS] + [(cell, "D") for cell in CELLS if not cell.tricks]


@pytest.mark.parametrize(
    ("cell", "player"), poisonings, ids=[f"{cell}-{player}" for cell, player in poisonings]
)
def test_a_failed_run_harms_no_other(cell: Cell, player: str) -> None:
    specs = [cell.spec(position, precision="float64") for position in range(3)]
    healthy, sick = train(specs, 2), train(specs, 2)
    with torch.no_grad():
        getattr(sick.game, player).theta[POISONED] = torch.nan
        for buffer in getattr(sick.game, player).buffers.values():
            if buffer.is_floating_point():
                buffer[POISONED] = torch.nan
    for _ in range(2):
        healthy.train_step()
        sick.train_step()
    rows, divergences = sick.read()
    expected_rows, _ = healthy.read()
    assert [found is not None for found in divergences] == [False, True, False]
    assert divergences[POISONED].step == 3
    for run in (0, 2):
        assert_bitwise(sick.state(run), healthy.state(run))
        assert rows[run] == expected_rows[run]
    assert sick.state(POISONED)["generator/" + sick.game.G.names[0]].isnan().any()

    # Both go on with the same two runs; the third trains on beside them in a cohort of its own.
    unreduced = make_trainer(specs)
    for run, state in enumerate(states(healthy)):
        unreduced.load(run, state, healthy.counters())
    for trainer in (sick, healthy):
        trainer.keep([0, 2])
    for trainer in (sick, healthy, unreduced):
        trainer.train_step()
        trainer.train_step()
    for position, run in enumerate((0, 2)):
        assert sick.specs[position] == specs[run]
        assert_bitwise(sick.state(position), healthy.state(position))
        assert_near(sick.state(position), unreduced.state(run), 1e-9)
    assert sick.read()[1] == [None, None]


class Recorder:
    """Stands for a stacked generator and keeps the latents that training gives it."""

    def __init__(self, stack: Any) -> None:
        self.stack = stack
        self.latents: list[Tensor] = []

    def __call__(self, z: Tensor, *condition: Any, **options: Any) -> Any:
        self.latents.append(z.clone())
        return self.stack(z, *condition, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stack, name)


def record(cell: Cell, steps: int) -> tuple[State, dict[str, list[Tensor]]]:
    """Train, and return G's first weights with the latents and the data of each player.

    An auto-encoder's latents are what its encoder makes of the data, so they are left out.
    """
    trainer = make_trainer([cell.spec()])
    game = trainer.game
    first = {
        name.removeprefix("module."): value.detach().clone()
        for name, value in game.G.parameters().items()
    }
    recorder = Recorder(game.G)
    game.G = recorder
    seen: dict[str, list[Tensor]] = {"discriminator data": [], "generator data": []}
    for phase, order in game.orders.items():
        order.indices = recording(order, seen[f"{phase} data"])
    for player, update in (
        ("discriminator", trainer._update_discriminator),
        ("generator", trainer._update_generator),
    ):

        def updated(update: Any = update, player: str = player) -> None:
            recorder.latents.clear()
            update()
            # The update's own; consistency generates from their neighbours too.
            if not game.variant.joint:
                seen.setdefault(f"{player} latents", []).append(recorder.latents[0])

        setattr(trainer, f"_update_{player}", updated)
    for _ in range(steps):
        trainer.train_step()
    return first, seen


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.tricks], ids=str)
def test_cells_are_paired_by_their_seed(cell: Cell) -> None:
    plain_weights, plain = record(cell.without_tricks(), 3)
    weights, tricked = record(cell, 3)
    if OTHER_WEIGHTS.keys().isdisjoint(cell.tricks):
        # A layer that a trick adds has weights of its own; those that both have are the same.
        assert weights.keys() >= plain_weights.keys()
        for name, value in plain_weights.items():
            assert torch.equal(weights[name], value), name
    # Another law of the latents maps the same numbers.
    for part in make_trainer([cell.spec()]).game.parts:
        for name in plain.keys() & {"discriminator latents", "generator latents"}:
            plain[name] = [part.latents(z) for z in plain[name]]
    for name, expected in plain.items():
        shared = min(len(expected), len(tricked[name]))
        assert shared == len(expected) or name == "generator data"
        for found, wanted in zip(tricked[name][:shared], expected[:shared], strict=True):
            assert torch.equal(found, wanted), name
    everything = tricked.get("discriminator latents", []) + tricked.get("generator latents", [])
    assert len({tuple(z.flatten().tolist()) for z in everything}) == len(everything)
    batches = tricked["discriminator data"] + tricked["generator data"]
    assert len({tuple(indices.flatten().tolist()) for indices in batches}) == len(batches)


@every_cell
def test_single_precision_follows_double_precision(cell: Cell) -> None:
    # Gradient descent, because Adam turns a gradient of rounding errors into a whole step.
    rates = {"optimizer": "sgd", "lr_g": 1e-3, "lr_d": 1e-3, "beta1": 0.5}
    single = train([cell.spec(precision="float32", **rates)], 3)
    double = train([cell.spec(precision="float64", **rates)], 3)
    assert single.game.G.theta.dtype == torch.float32
    assert double.game.G.theta.dtype == torch.float64
    start = make_trainer([cell.spec(**rates)])
    for network in ("G", "D"):
        found = getattr(single.game, network).theta.double()
        expected = getattr(double.game, network).theta
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
        if network == "D":  # A clipped critic moves G by less than a float32 can resolve.
            moved = (start.game.D.theta.double() - expected).abs().max()
            assert moved > 30 * (found - expected).abs().max()


class Waits(TorchDispatchMode):
    """Counts operations that make the host wait for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.name.removeprefix("aten::") in AWAITING:
            self.found.append(func._schema.name)
        return func(*args, **(kwargs or {}))


@every_cell
def test_a_step_never_waits_for_the_device(cell: Cell) -> None:
    trainer = make_trainer([cell.spec(position) for position in range(2)])
    with Waits() as waits:
        trainer.train_step()
    assert waits.found == []
    with Waits() as control:
        float(trainer.game.G.theta.detach().sum())
    assert control.found == ["aten::_local_scalar_dense"]


@every_cell
def test_a_cell_that_is_not_refused_trains(cell: Cell) -> None:
    trainer = make_trainer([cell.spec()])
    before = {name: value.clone() for name, value in trainer.state(0).items()}
    for _ in range(2):
        trainer.train_step()
    after = trainer.state(0)
    for player in ("generator", "discriminator"):
        names = [name for name in after if name.startswith(f"{player}/")]
        assert any(not torch.equal(after[name], before[name]) for name in names)
    rows, divergences = trainer.read()
    assert divergences == [None]
    assert all(value == value for value in rows[0].values())


@pytest.mark.parametrize("cell", REFUSED, ids=str)
def test_a_refused_cell_has_a_reason(cell: Cell) -> None:
    assert cell.refusal is not None
    assert len(cell.refusal.split()) >= 4
    assert not cell.refusal.endswith(".")


def test_the_matrix_is_what_it_should_be() -> None:
    covered = {cell.variant for cell in CELLS}, {trick for cell in CELLS for trick in cell.tricks}
    assert covered == (set(variants.names()), set(tricks.names()))
    assert any(cell.tricks == COMBINATION for cell in CELLS)
    refused = {str(cell) for cell in REFUSED}
    assert {"ring8-gan-patchgan", "digits-wgan-label-smoothing", "ring8-dcgan-none"} <= refused
    assert {"digits-dcgan-patchgan", "digits-lsgan-label-smoothing"}.isdisjoint(refused)
