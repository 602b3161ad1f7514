"""Optimisers against torch.optim, run by run."""

from typing import Any

import pytest
import torch
from torch import Tensor, optim

from harness.parts import Rates
from harness.spec import Settings
from harness.testing.specs import make_spec
from harness.training.optimizers import (
    BLOCK_UPDATES,
    EPSILON,
    KINDS,
    SGD,
    Adam,
    Optimizer,
    RMSprop,
    make_optimizer,
)

RATES = [0.1, 0.01, 0.003]
BETA1 = [0.5, 0.0, 0.9]
BETA2 = [0.999, 0.9, 0.95]


def reference(kind: str, theta: Tensor, run: int) -> optim.Optimizer:
    if kind == "adam":
        return optim.Adam([theta], RATES[run], betas=(BETA1[run], BETA2[run]))
    if kind == "rmsprop":
        return optim.RMSprop([theta], RATES[run], alpha=BETA2[run])
    return optim.SGD([theta], RATES[run], momentum=BETA1[run])


def start() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 20, generator=generator, dtype=torch.float64).requires_grad_()


def gradients(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    scales = 10.0 ** torch.arange(-6, 4, 0.5, dtype=torch.float64)
    return [
        torch.randn(3, 20, generator=generator, dtype=torch.float64) * scales for _ in range(count)
    ]


def make(kind: str, theta: Tensor) -> Optimizer:
    return KINDS[kind](theta, RATES, BETA1, BETA2)


def step(optimizer: Optimizer, theta: Tensor, gradient: Tensor) -> None:
    optimizer.step(theta, gradient)
    optimizer.updates += 1


@pytest.mark.parametrize("kind", KINDS)
def test_every_run_steps_as_torch_would(kind: str) -> None:
    theta = start()
    optimizer = make(kind, theta)
    alone = [theta[run].detach().clone().requires_grad_() for run in range(3)]
    theirs = [reference(kind, alone[run], run) for run in range(3)]
    for gradient in gradients(200):
        step(optimizer, theta, gradient)
        for run in range(3):
            alone[run].grad = gradient[run].clone()
            theirs[run].step()
    assert optimizer.updates == 200
    for run in range(3):
        torch.testing.assert_close(theta[run], alone[run], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_zero_gradient_from_the_start_moves_nothing(kind: str) -> None:
    theta = start()
    before = theta.detach().clone()
    step(make(kind, theta), theta, torch.zeros_like(before))
    assert torch.equal(theta, before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_is_in_place_and_leaves_the_gradient_alone(kind: str) -> None:
    theta = start()
    place = theta.data_ptr()
    (gradient,) = gradients(1)
    kept = gradient.clone()
    step(make(kind, theta), theta, gradient)
    assert theta.data_ptr() == place
    assert theta.requires_grad
    assert theta.grad_fn is None
    assert torch.equal(gradient, kept)


@pytest.mark.parametrize("kind", KINDS)
def test_saving_and_loading_goes_on_bit_for_bit(kind: str) -> None:
    first, rest = gradients(10)[:5], gradients(10)[5:]
    theta = start()
    optimizer = make(kind, theta)
    for gradient in first:
        step(optimizer, theta, gradient)
    saved = [optimizer.state(run) for run in range(3)]
    copy = theta.detach().clone().requires_grad_()
    other = make(kind, copy)
    for run, state in enumerate(saved):
        other.load(run, state)
    other.updates = optimizer.updates
    for gradient in rest:
        step(optimizer, theta, gradient)
        step(other, copy, gradient)
    assert torch.equal(copy, theta)
    assert other.updates == 10


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_state_is_a_copy(kind: str) -> None:
    theta = start()
    optimizer = make(kind, theta)
    state = optimizer.state(0)
    assert set(state) == set(optimizer.slots)
    step(optimizer, theta, gradients(1)[0])
    assert all((value == 0).all() for value in state.values())


@pytest.mark.parametrize("kind", KINDS)
def test_kept_runs_go_on_as_before(kind: str) -> None:
    theta = start()
    whole = make(kind, theta)
    part = make(kind, theta)
    (first, second) = gradients(2)
    copy = theta.detach().clone().requires_grad_()
    step(whole, theta, first)
    step(part, copy, first)
    part.keep([2, 0])
    kept = copy.detach()[[2, 0]].clone().requires_grad_()
    step(whole, theta, second)
    step(part, kept, second[[2, 0]])
    assert torch.equal(kept, theta[[2, 0]])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_run_that_is_not_finite_stays_by_itself(kind: str, value: float) -> None:
    theta, healthy = start(), start()
    sick, well = make(kind, theta), make(kind, healthy)
    for gradient in gradients(3):
        broken = gradient.clone()
        broken[1] = value
        step(sick, theta, broken)
        step(well, healthy, gradient)
    assert torch.equal(theta[[0, 2]], healthy[[0, 2]])
    assert not theta[1].isfinite().any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("before", [0, 3])
def test_updates_ahead_are_the_steps_that_would_be_made(kind: str, before: int) -> None:
    theta = start()
    optimizer = make(kind, theta)
    for gradient in gradients(before):
        step(optimizer, theta, gradient)
    kept = {name: value.clone() for name, value in optimizer.slot.items()}
    weights, slot = theta.detach().clone(), optimizer.slot
    ahead = []
    for count, gradient in enumerate(gradients(before + 4)[before:], start=1):
        weights, slot = optimizer.updated(weights, gradient, slot, count)
        ahead.append((weights, slot))
    assert optimizer.updates == before
    for name, value in kept.items():
        assert torch.equal(optimizer.slot[name], value)
    for (weights, slot), gradient in zip(ahead, gradients(before + 4)[before:], strict=True):
        step(optimizer, theta, gradient)
        torch.testing.assert_close(weights, theta.detach(), rtol=1e-12, atol=1e-14)
        assert slot.keys() == optimizer.slot.keys()
        for name, value in slot.items():
            torch.testing.assert_close(value, optimizer.slot[name], rtol=1e-12, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_an_update_ahead_can_be_differentiated(kind: str) -> None:
    """By weights and gradient alike, as finite differences do; through two updates."""
    theta = start()
    optimizer = make(kind, theta)
    for gradient in gradients(2):
        step(optimizer, theta, gradient)
    generator = torch.Generator().manual_seed(5)
    weight = torch.randn(3, 20, generator=generator, dtype=torch.float64)

    def value(x: Tensor) -> Tensor:
        after, slot = x, optimizer.slot
        for ahead in (1, 2):
            after, slot = optimizer.updated(after, after.sin() * 0.3, slot, ahead)
        return (after * weight).sum()

    x = theta.detach().clone().requires_grad_()
    (found,) = torch.autograd.grad(value(x), x)
    for place in ((0, 3), (1, 7), (2, 19)):
        moved = torch.zeros_like(weight)
        moved[place] = 1e-6
        slope = (value(x.detach() + moved) - value(x.detach() - moved)) / 2e-6
        assert found[place].item() == pytest.approx(slope.item(), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_without_any_gradient_stay_and_have_a_finite_derivative(kind: str) -> None:
    theta = start()
    optimizer = make(kind, theta)
    x = theta.detach().clone().requires_grad_()
    scale = torch.zeros((), dtype=torch.float64, requires_grad=True)
    after, slot = optimizer.updated(x, x * scale, optimizer.slot, 1)
    after, _ = optimizer.updated(after, after * scale, slot, 2)
    torch.testing.assert_close(after, x, rtol=0, atol=0)
    by_x, by_scale = torch.autograd.grad(after.sum(), (x, scale))
    assert by_x.isfinite().all()
    assert by_scale.isfinite()


def settings_of(**changes: Any) -> Settings:
    return make_spec(**changes).settings


def test_settings_choose_the_optimiser_and_its_rates() -> None:
    theta = torch.zeros(2, 4)
    for kind, cls in (("adam", Adam), ("rmsprop", RMSprop), ("sgd", SGD)):
        runs = [
            settings_of(optimizer=kind, beta1=0.1, beta2=0.2),
            settings_of(optimizer=kind, beta1=0.3, beta2=0.4),
        ]
        made = make_optimizer(theta, runs, [1.0, 2.0])
        assert type(made) is cls
        assert made.lr.flatten().tolist() == [1.0, 2.0]
        assert made.beta1.flatten().tolist() == pytest.approx([0.1, 0.3])
        assert made.beta2.flatten().tolist() == pytest.approx([0.2, 0.4])


def test_bias_corrections_are_of_each_update_whichever_was_asked_before() -> None:
    theta = torch.zeros(3, 5, dtype=torch.float64)
    adam = Adam(theta, [1e-3] * 3, [0.0, 0.5, 0.9], [0.9, 0.99, 0.999])
    for count in (1, 2, BLOCK_UPDATES - 1, BLOCK_UPDATES, 5, 10_000):
        scale, epsilon = adam._correction(count)
        root = (1 - adam.beta2**count).sqrt()
        torch.testing.assert_close(scale, root / (1 - adam.beta1**count))
        torch.testing.assert_close(epsilon, EPSILON * root)


def test_bias_corrections_follow_rates_and_runs() -> None:
    theta = torch.zeros(2, 5)
    adam, other = (Adam(theta, [1e-3] * 2, [0.5, 0.9], betas) for betas in ([0.9] * 2, [0.99] * 2))
    before = adam._correction(3)
    rates = Rates(adam.lr, adam.lr, adam.beta1, other.beta2)
    adam.follow(rates, adam.lr)
    assert not torch.equal(adam._correction(3), before)
    assert torch.equal(adam._correction(3), other._correction(3))
    adam.keep([1])
    assert torch.equal(adam._correction(3), other._correction(3)[:, 1:])
