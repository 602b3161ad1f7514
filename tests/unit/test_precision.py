"""Declared precisions: what is rounded by them, and what never is."""

from typing import Any

import pytest
import torch

from harness.errors import GanbenchError
from harness.parts.penalties import input_gradient
from harness.parts.precision import full_precision, rounded, training
from harness.planning.checks import check_precision
from harness.testing.cells import CPU, KitCell, assert_near, make_trainer, train, training_data
from harness.testing.specs import make_spec
from harness.testing.trajectories import states
from harness.training.batch import Batch
from harness.training.programs import Programs
from harness.training.trainer import Trainer

CELLS = [
    KitCell("ring8", "gan"),
    KitCell("digits", "dcgan"),
    KitCell("digits", "wgan-gp"),
    KitCell("digits", "infogan"),
    KitCell("digits", "sngan", ("ema", "instance-noise")),
]
PLAIN: dict[str, Any] = {"optimizer": "sgd", "lr_g": 1e-3, "lr_d": 1e-3, "beta1": 0.5}
each_cell = pytest.mark.parametrize("cell", CELLS, ids=str)


@each_cell
def test_bfloat16_follows_float32_at_a_distance(cell: KitCell) -> None:
    exact, found = (
        train([cell.spec(precision=precision, **PLAIN)], 3) for precision in ("float32", "bfloat16")
    )
    start = make_trainer([cell.spec(**PLAIN)])
    for player in ("G", "D"):
        first, far, near = (getattr(t.game, player).theta for t in (start, exact, found))
        assert near.dtype == torch.float32
        assert not torch.equal(near, far), "nothing was rounded"
        # 8 bits are 4e-3 of each product; the sums of many are rounded in either direction.
        moved = (far - first).norm()
        assert (near - far).norm() < 0.1 * moved
    assert found.game.G.theta.dtype == torch.float32
    assert all(value.dtype != torch.bfloat16 for value in found.state(0).values())


@each_cell
def test_bfloat16_is_replayed_bit_for_bit(cell: KitCell) -> None:
    specs = [cell.spec(position, precision="bfloat16") for position in range(2)]
    plain = make_trainer(specs)
    replayed = Trainer(specs, training_data(specs[0].dataset.id), CPU, Programs())
    for _ in range(5):
        plain.train_step()
        replayed.train_step()
    for found, expected in zip(states(replayed), states(plain), strict=True):
        assert_near(found, expected, 0)


def test_what_networks_return_and_what_is_measured_is_not_rounded() -> None:
    single, half = (
        make_trainer([make_spec("digits", "dcgan", precision=precision)])
        for precision in ("float32", "bfloat16")
    )
    batches = [Batch(trainer.game, "discriminator", 0) for trainer in (single, half)]
    answers = [batch.judged_fake.logits for batch in batches]
    assert answers[0].dtype == answers[1].dtype == torch.float32
    assert not torch.equal(*answers)
    samples = [trainer.game.sample(30, "look") for trainer in (single, half)]
    assert torch.equal(*samples)


def test_a_gradient_penalty_is_in_full_precision() -> None:
    gradients = []
    for precision in ("float32", "bfloat16"):
        game = make_trainer([make_spec("digits", "wgan-gp", precision=precision)]).game
        batch = Batch(game, "discriminator", 0)
        gradients.append(input_gradient(lambda x, b=batch: b.judge(x, "p").logits, batch.real))
    assert torch.equal(*gradients)


def test_full_precision_ends_where_it_began() -> None:
    assert rounded("bfloat16") and not rounded("float32") and not rounded("tf32")
    with full_precision():
        assert not rounded("bfloat16")
        with full_precision():
            pass
        assert not rounded("bfloat16")
    assert rounded("bfloat16")


def test_tf32_is_on_in_updates_only() -> None:
    def flags() -> tuple[bool, bool]:
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    before = flags()
    with training("tf32"):
        assert flags() == (True, True)
    assert flags() == before
    with pytest.raises(KeyError), training("tf32"):
        raise KeyError
    assert flags() == before
    with training("bfloat16"):
        assert flags() == before


def test_tf32_is_refused_where_there_is_none() -> None:
    specs = [make_spec("ring8", "gan", precision="tf32")]
    with pytest.raises(GanbenchError, match="precision tf32, which only CUDA devices have"):
        check_precision(specs, "cpu")
    check_precision(specs, "cuda")
