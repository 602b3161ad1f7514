"""Gradient penalties: closed forms, one example at a time."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harness.parts.penalties import (
    centred_penalty,
    input_gradient,
    interpolate,
    one_sided_penalty,
    zero_centred_penalty,
)


def draw(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(math.prod(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("shape", [(2,), (1, 4, 4), (3, 2, 5)])
def test_the_gradient_of_a_known_function(shape: tuple[int, ...]) -> None:
    x = draw(2, 5, *shape)
    found = input_gradient(lambda value: value.flatten(2).pow(3).sum(2), x)
    assert found.shape == (2, 5, math.prod(shape))
    torch.testing.assert_close(found, 3 * x.flatten(2) ** 2)


def test_the_gradient_of_a_map_is_that_of_its_mean() -> None:
    """As in the losses: with the sum, a 7×7 map would be held to a slope of 1/49."""
    x = torch.randn(2, 3, 1, 4, 4, dtype=torch.float64)
    found = input_gradient(lambda value: 5 * value[:, :, 0], x)
    assert torch.allclose(found, torch.full((2, 3, 16), 5 / 16, dtype=torch.float64))


def test_the_gradient_can_be_differentiated_by_the_weights() -> None:
    w = draw(3).requires_grad_()
    x = draw(1, 4, 3)
    penalty = centred_penalty(input_gradient(lambda value: value @ w, x))
    (slope,) = torch.autograd.grad(penalty.sum(), w)
    norm = w.detach().norm()
    torch.testing.assert_close(slope, 2 * (norm - 1) * w.detach() / norm)


def test_the_examples_themselves_are_not_touched() -> None:
    x = draw(1, 4, 3)
    found = input_gradient(lambda value: value.square().sum(2), x)
    assert not x.requires_grad
    torch.testing.assert_close(found, 2 * x)


def test_examples_that_depend_on_weights_carry_the_gradient_on() -> None:
    """Or an unrolled generator would not see how its examples move a penalty of D's."""
    x = draw(1, 4, 3).requires_grad_()
    found = input_gradient(lambda value: value.pow(3).sum(2), x * 2)
    torch.testing.assert_close(found, 12 * x**2)
    (slope,) = torch.autograd.grad(found.sum(), x)
    torch.testing.assert_close(slope, 24 * x)


def test_weights_that_depend_on_the_examples_are_held_fixed() -> None:
    x = draw(1, 4, 3).requires_grad_()
    w = x.sum()
    found = input_gradient(lambda value: (w * value).sum(2), x)
    torch.testing.assert_close(found, w.expand(1, 4, 3))


def test_the_zero_centred_penalty_by_hand() -> None:
    gradient = draw(3, 4, 5)
    found = zero_centred_penalty(gradient)
    for run in range(3):
        expected = sum(sum(v * v for v in row) for row in gradient[run].tolist()) / 4 / 2
        assert found[run].item() == pytest.approx(expected, rel=1e-12)


@given(
    st.lists(st.floats(-3, 3), min_size=3, max_size=3),
    st.lists(st.floats(-3, 3), min_size=3, max_size=3),
    st.floats(0, 1),
)
def test_interpolation(real: list[float], fake: list[float], alpha: float) -> None:
    tensors = (torch.tensor([[values]], dtype=torch.float64) for values in (real, fake))
    found = interpolate(*tensors, torch.tensor([[alpha]], dtype=torch.float64))[0, 0].tolist()
    assert found == pytest.approx(
        [p + alpha * (q - p) for p, q in zip(real, fake, strict=True)], abs=1e-12
    )


@pytest.mark.parametrize("shape", [(2,), (1, 4, 4)])
def test_each_example_has_its_own_coefficient(shape: tuple[int, ...]) -> None:
    real, fake = torch.zeros(2, 3, *shape), torch.ones(2, 3, *shape)
    alpha = torch.arange(6.0).reshape(2, 3) / 6
    found = interpolate(real, fake, alpha).flatten(2)
    assert torch.equal(found, alpha[:, :, None].expand_as(found))


def test_the_ends_of_the_interpolation() -> None:
    real, fake = draw(1, 3, 2), draw(2, 3, 2)[:1] + 5
    assert torch.equal(interpolate(real, fake, torch.zeros(1, 3, dtype=torch.float64)), real)
    assert torch.equal(interpolate(real, fake, torch.ones(1, 3, dtype=torch.float64)), fake)


@pytest.mark.parametrize("center", [0.0, 1.0, 2.5])
def test_the_penalty_by_hand(center: float) -> None:
    gradient = draw(3, 4, 5)
    found = centred_penalty(gradient, center)
    for run in range(3):
        norms = [math.sqrt(sum(v * v for v in row)) for row in gradient[run].tolist()]
        expected = sum((norm - center) ** 2 for norm in norms) / 4
        assert found[run].item() == pytest.approx(expected, rel=1e-12)


def test_the_default_center_is_one() -> None:
    assert centred_penalty(torch.tensor([[[0.6, 0.8]]])).item() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("center", [0.0, 1.0])
def test_a_gradient_of_zero_is_no_accident(center: float) -> None:
    w = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    penalty = centred_penalty(input_gradient(lambda x: x @ w, draw(2, 4, 3)), center)
    (slope,) = torch.autograd.grad(penalty.sum(), w)
    assert penalty.tolist() == [center**2] * 2
    assert slope.isfinite().all()


def test_runs_are_apart() -> None:
    x = draw(3, 4, 2)
    broken = x.clone()
    broken[1] = torch.nan

    def penalty(value: Tensor) -> Tensor:
        return centred_penalty(input_gradient(lambda v: v.pow(3).sum(2), value))

    assert torch.equal(penalty(broken)[[0, 2]], penalty(x)[[0, 2]])


def test_the_zero_centred_penalty_is_smooth_at_zero() -> None:
    w = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    penalty = zero_centred_penalty(input_gradient(lambda x: x @ w, draw(2, 4, 3)))
    (slope,) = torch.autograd.grad(penalty.sum(), w, create_graph=True)
    assert penalty.tolist() == [0.0, 0.0]
    assert slope.tolist() == [0.0, 0.0, 0.0]
    (curvature,) = torch.autograd.grad(slope.sum(), w)
    assert curvature.tolist() == [2.0, 2.0, 2.0]  # two runs, ½‖w‖² each


def test_the_one_sided_penalty_by_hand() -> None:
    gradient = draw(3, 8, 2)
    found = one_sided_penalty(gradient)
    below = 0
    for run in range(3):
        norms = [math.sqrt(sum(v * v for v in row)) for row in gradient[run].tolist()]
        below += sum(norm < 1 for norm in norms)
        expected = sum(max(0.0, norm - 1) ** 2 for norm in norms) / 8
        assert found[run].item() == pytest.approx(expected, rel=1e-12)
    assert 0 < below < 24


def test_the_one_sided_penalty_leaves_gentle_slopes_alone() -> None:
    w = torch.tensor([0.3, 0.4, 0.0], dtype=torch.float64, requires_grad=True)
    penalty = one_sided_penalty(input_gradient(lambda x: x @ w, draw(2, 4, 3)))
    (slope,) = torch.autograd.grad(penalty.sum(), w)
    assert penalty.tolist() == [0.0, 0.0]
    assert slope.tolist() == [0.0, 0.0, 0.0]
