"""The monitor: means over updates, and the first step and tensor that is not finite."""

import math
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from typing_extensions import override

from harness.networks.base import Judgement
from harness.parts import variants
from harness.training.monitor import (
    DISCRIMINATOR,
    GENERATOR,
    Divergence,
    Monitor,
    columns_of,
    discriminator_row,
    generator_row,
)

CPU = torch.device("cpu")


class Counting(Monitor):
    """Counts its rows, as a trainer does."""

    @override
    def discriminator(self, row: Tensor, step: int | Tensor) -> None:
        super().discriminator(row, step)
        self.counts[0] += 1

    @override
    def generator(self, row: Tensor, step: int | Tensor) -> None:
        super().generator(row, step)
        self.counts[1] += 1


def monitor(runs: int = 2) -> Monitor:
    return Counting(runs, CPU)


def row_by_name(real: Tensor, fake: Tensor, variant: str) -> dict[str, float]:
    """Measure the first run of a batch with a loss and a gradient of 0."""
    batch = judged(real, fake, variant)
    row = discriminator_row(torch.zeros(len(real)), torch.zeros(len(real), 2), batch)
    return dict(zip(columns_of(batch.game), row[0].tolist(), strict=True))


def judged(real: Tensor, fake: Tensor, variant: str) -> SimpleNamespace:
    """Make a batch of a variant's game of which only D's logits matter."""
    made = variants.get(variant)()
    game = SimpleNamespace(variant=made, parts=[made])
    return SimpleNamespace(
        game=game, judged_real=Judgement(real, {}), judged_fake=Judgement(fake, {})
    )


def d_row(*losses: float, gradient: Sequence[float] | None = None) -> Tensor:
    """Make a discriminator's row whose other columns are 0."""
    row = torch.zeros(len(losses), len(DISCRIMINATOR), dtype=torch.float64)
    row[:, 0] = torch.tensor(losses)
    row[:, 1] = torch.tensor(gradient or [1.0] * len(losses))
    return row


def g_row(*losses: float, gradient: Sequence[float] | None = None) -> Tensor:
    columns = [torch.tensor(losses), torch.tensor(gradient or [1.0] * len(losses))]
    return torch.stack(columns, dim=1).double()


def test_a_discriminators_row_by_hand() -> None:
    real = torch.tensor([[2.0, -1.0, 5.0, 0.5], [-1.0, -2.0, -3.0, -4.0]], dtype=torch.float64)
    fake = torch.tensor([[-6.0, 1.0, -1.0, -2.0], [1.0, 2.0, 3.0, 4.0]], dtype=torch.float64)
    batch = judged(real, fake, "gan")
    loss = torch.tensor([0.5, -2.0], dtype=torch.float64)
    gradient = torch.tensor([[3.0, 4.0], [0.0, 1.0]], dtype=torch.float64)
    assert columns_of(batch.game) == DISCRIMINATOR
    row = discriminator_row(loss, gradient, batch)
    found = dict(zip(DISCRIMINATOR, row[0].tolist(), strict=True))
    assert found == pytest.approx(
        {
            "d_loss": 0.5,
            "d_grad_norm": 5.0,
            "d_accuracy_real": 0.75,
            "d_accuracy_fake": 0.75,
            "d_real": sum(1 / (1 + math.exp(-t)) for t in (2.0, -1.0, 5.0, 0.5)) / 4,
            "d_fake": sum(1 / (1 + math.exp(-t)) for t in (-6.0, 1.0, -1.0, -2.0)) / 4,
            "logit_gap": 6.5 / 4 + 8.0 / 4,
            "saturation": 2 / 8,
            "d_off_half": sum(
                abs(1 / (1 + math.exp(-t)) - 0.5)
                for t in (2.0, -1.0, 5.0, 0.5, -6.0, 1.0, -1.0, -2.0)
            )
            / 8,
        }
    )
    second = dict(zip(DISCRIMINATOR, row[1].tolist(), strict=True))
    assert (second["d_accuracy_real"], second["d_accuracy_fake"]) == (0.0, 0.0)
    assert second["logit_gap"] == -5.0


def test_accuracy_is_counted_by_the_boundary() -> None:
    real = torch.tensor([[0.9, 1.1, 0.4, 1.0]], dtype=torch.float64)
    fake = torch.tensor([[0.1, -0.1, 0.2, 0.6]], dtype=torch.float64)
    found = []
    for variant in ("gan", "lsgan"):
        row = row_by_name(real, fake, variant)
        found.append((row["d_accuracy_real"], row["d_accuracy_fake"]))
    assert found == [(1.0, 0.25), (0.75, 0.75)]


def test_a_critic_is_neither_right_nor_wrong() -> None:
    """Its zero lies anywhere, so only what does not depend on it is measured."""
    real, fake = torch.tensor([[-3.0, -5.0]]), torch.tensor([[-7.0, -9.0]])
    row = row_by_name(real, fake, "wgan-gp")
    assert row == {
        "d_loss": 0.0,
        "d_grad_norm": 0.0,
        "d_real": -4.0,
        "d_fake": -8.0,
        "logit_gap": 4.0,
    }


def test_answers_are_probabilities_only_where_the_objective_is_logistic() -> None:
    real, fake = torch.tensor([[1.2, 1.0]]), torch.tensor([[0.2, 0.0]])
    for variant in ("lsgan", "sngan"):
        row = row_by_name(real, fake, variant)
        assert (row["d_real"], row["d_fake"]) == pytest.approx((1.1, 0.1))
        assert not {"saturation", "d_off_half"} & set(row)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("size", [8, 16, 64, 100])
def test_how_far_off_a_half_does_not_know_its_cohort(size: int, transposed: bool) -> None:
    """To the last bit of float32, in any layout, as going on in a smaller cohort needs."""

    def laid_out(logits: Tensor) -> Tensor:
        return logits.t().contiguous().t() if transposed else logits.contiguous()

    place = DISCRIMINATOR.index("d_off_half")
    for seed in range(40):
        real, fake = torch.randn(2, 3, size, generator=torch.Generator().manual_seed(seed))
        together = judged(laid_out(real), laid_out(fake), "gan")
        rows = discriminator_row(torch.zeros(3), torch.zeros(3, 2), together)
        for k in range(3):
            alone = judged(laid_out(real[k : k + 1]), laid_out(fake[k : k + 1]), "gan")
            (row,) = discriminator_row(torch.zeros(1), torch.zeros(1, 2), alone)
            assert torch.equal(row[place], rows[k, place])


def test_a_discriminator_that_cannot_tell_is_not_off_a_half() -> None:
    nothing, sure = torch.zeros(1, 4), torch.full((1, 4), 50.0)
    assert row_by_name(nothing, nothing, "gan")["d_off_half"] == 0
    assert row_by_name(sure, -sure, "gan")["d_off_half"] == pytest.approx(0.5)


def test_the_spread_of_a_large_steady_loss_is_not_rounded_away() -> None:
    """In float32 sums, 1e4 ± 0.1 would have a spread of 0 or of 30."""
    watched = monitor(1)
    for step, loss in enumerate([9999.9, 10000.1] * 500):
        watched.discriminator(d_row(loss).float(), step)
    rows, _ = watched.read()
    assert rows[0]["d_loss_std"] == pytest.approx(0.1, rel=0.02)


def test_a_row_carries_no_gradient() -> None:
    logits = torch.ones(1, 3, requires_grad=True)
    batch = judged(logits, logits, "gan")
    loss = logits.sum(1)
    assert not discriminator_row(loss, logits, batch).requires_grad
    assert not generator_row(loss, logits, batch).requires_grad


def test_a_map_of_logits_is_measured_whole() -> None:
    real, fake = torch.ones(1, 2, 3, 3), -torch.ones(1, 2, 3, 3)
    fake[0, 0, 0, 0] = 1.0
    found = row_by_name(real, fake, "gan")
    assert found["d_accuracy_real"] == 1.0
    assert found["d_accuracy_fake"] == pytest.approx(17 / 18)


@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=1, max_size=12))
def test_means_and_spread(losses: list[tuple[float, float]]) -> None:
    watched = monitor()
    for step, (a, b) in enumerate(losses):
        watched.discriminator(d_row(a, b), step)
    watched.generator(g_row(7.0, 8.0), len(losses) - 1)
    rows, divergences = watched.read()
    assert divergences == [None, None]
    for run in range(2):
        values = [pair[run] for pair in losses]
        mean = sum(values) / len(values)
        spread = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values))
        assert rows[run]["d_loss"] == pytest.approx(mean, abs=1e-5)
        assert rows[run]["d_loss_std"] == pytest.approx(spread, abs=1e-5)
        assert rows[run]["g_loss"] == 7.0 + run
    assert set(rows[0]) == {*DISCRIMINATOR, *GENERATOR, "d_loss_std"}


def test_players_are_averaged_over_their_own_updates() -> None:
    watched = monitor(1)
    for loss in (1.0, 2.0, 6.0):
        watched.discriminator(d_row(loss), 0)
    watched.generator(g_row(4.0), 0)
    rows, _ = watched.read()
    assert (rows[0]["d_loss"], rows[0]["g_loss"]) == (3.0, 4.0)


def test_reading_starts_over() -> None:
    watched = monitor(1)
    watched.discriminator(d_row(math.nan), 0)
    watched.generator(g_row(5.0), 0)
    assert watched.read()[1] == [Divergence(1, "discriminator loss")]
    watched.discriminator(d_row(2.0), 1)
    watched.generator(g_row(3.0), 1)
    rows, divergences = watched.read()
    assert divergences == [None]
    assert (rows[0]["d_loss"], rows[0]["g_loss"], rows[0]["d_loss_std"]) == (2.0, 3.0, 0.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("player", "column", "what"),
    [
        ("d", "loss", "discriminator loss"),
        ("d", "gradient", "discriminator gradient"),
        ("g", "loss", "generator loss"),
        ("g", "gradient", "generator gradient"),
    ],
)
def test_the_first_step_and_tensor_that_is_not_finite(
    value: float, player: str, column: str, what: str
) -> None:
    watched = monitor()
    for step in range(10, 15):
        bad = value if step in (12, 14) else 1.0
        losses = [0.5, bad if column == "loss" else 0.5]
        norms = [0.5, bad if column == "gradient" else 0.5]
        if player == "d":
            watched.discriminator(d_row(*losses, gradient=norms), step)
            watched.generator(g_row(0.5, 0.5), step)
        else:
            watched.discriminator(d_row(0.5, 0.5), step)
            watched.generator(g_row(*losses, gradient=norms), step)
    _, divergences = watched.read()
    assert divergences == [None, Divergence(13, what)]


def test_the_earliest_of_several_is_told() -> None:
    watched = monitor(1)
    watched.discriminator(d_row(1.0, gradient=[math.inf]), 4)
    watched.generator(g_row(math.nan), 4)
    watched.discriminator(d_row(math.nan), 5)
    assert watched.read()[1] == [Divergence(5, "discriminator gradient")]


def test_other_columns_may_be_anything() -> None:
    watched = monitor(1)
    row = d_row(1.0)
    row[:, DISCRIMINATOR.index("d_real")] = torch.nan
    watched.discriminator(row, 0)
    rows, divergences = watched.read()
    assert divergences == [None]
    assert math.isnan(rows[0]["d_real"])


def test_a_non_finite_loss_has_a_spread_that_is_no_number() -> None:
    watched = monitor(1)
    watched.discriminator(d_row(math.inf), 0)
    rows, _ = watched.read()
    assert math.isinf(rows[0]["d_loss"])
    assert math.isnan(rows[0]["d_loss_std"])


def test_state_and_load_continue_in_mid_interval() -> None:
    watched, expected = monitor(), monitor()
    for m in (watched, expected):
        m.discriminator(d_row(1.0, math.nan), 3)
        m.generator(g_row(2.0, 2.0), 3)
    other = monitor()
    for run in range(2):
        other.load(run, watched.state(run))
    other.counts = list(watched.counts)
    for m in (other, expected):
        m.discriminator(d_row(5.0, 5.0), 4)
    found, wanted = other.read(), expected.read()
    assert str(found) == str(wanted)
    assert found[0][0]["d_loss"] == 3.0
    assert found[1] == [None, Divergence(4, "discriminator loss")]


def test_a_state_is_a_copy() -> None:
    watched = monitor(1)
    state = watched.state(0)
    watched.discriminator(d_row(1.0), 0)
    assert (state["d"] == 0).all()


def test_kept_runs_keep_their_sums() -> None:
    watched = monitor(3)
    watched.discriminator(d_row(1.0, 2.0, 3.0), 0)
    watched.keep([2, 0])
    watched.discriminator(d_row(5.0, 3.0), 1)
    rows, _ = watched.read()
    assert [row["d_loss"] for row in rows] == [4.0, 2.0]
