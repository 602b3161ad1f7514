"""Augmentations against torch's own, pixel by pixel, and their derivatives."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from harness.parts.augmentations import (
    brightened,
    contrasted,
    cut_out,
    flipped,
    reflected,
    saturated,
    translated,
    translated_reflecting,
    turned,
    whole,
)

SHAPES = [(2, 3, 1, 8, 8), (1, 2, 3, 6, 6)]


def images(shape: tuple[int, ...] = (2, 3, 3, 8, 8)) -> Tensor:
    generator = torch.Generator().manual_seed(6)
    return torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1


def draws(low: float, high: float, shape: tuple[int, ...] = (2, 3)) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)


def each(x: Tensor, function: Callable[[Tensor, int, int], Tensor]) -> Tensor:
    """Apply a function to image ``(channels, height, width)`` after image."""
    return torch.stack(
        [
            torch.stack([function(image, i, j) for j, image in enumerate(run)])
            for i, run in enumerate(x)
        ]
    )


def test_whole_numbers_are_equally_frequent() -> None:
    found = whole(torch.arange(1000) / 1000, 5)
    assert [int((found == k).sum()) for k in range(5)] == [200] * 5
    assert whole(torch.tensor(1 - 2**-24), 17) == 16


def test_brightness() -> None:
    x, amount = images(), draws(-0.5, 0.5)
    expected = each(x, lambda image, i, j: image + amount[i, j])
    torch.testing.assert_close(brightened(x, amount), expected)


def test_contrast() -> None:
    x, factor = images(), draws(0.5, 1.5)

    def one(image: Tensor, i: int, j: int) -> Tensor:
        mean = image.sum() / image.numel()
        return (image - mean) * factor[i, j] + mean

    torch.testing.assert_close(contrasted(x, factor), each(x, one))


def test_saturation() -> None:
    x, factor = images(), draws(0, 2)

    def one(image: Tensor, i: int, j: int) -> Tensor:
        grey = (image[0] + image[1] + image[2]) / 3
        return torch.stack([(c - grey) * factor[i, j] + grey for c in image])

    torch.testing.assert_close(saturated(x, factor), each(x, one))
    grey = images((2, 3, 1, 8, 8))
    torch.testing.assert_close(saturated(grey, factor), grey)


@pytest.mark.parametrize("down", [-3, -1, 0, 2])
@pytest.mark.parametrize("right", [-2, 0, 1, 3])
def test_translation(down: int, right: int) -> None:
    x = images()
    shifts = torch.zeros(2, 3, dtype=torch.float64)
    shifts[1, 2] = 1
    found = translated(x, shifts * down, shifts * right)
    expected = x.clone()
    expected[1, 2] = 0
    for i in range(8):
        for j in range(8):
            if 0 <= i - down < 8 and 0 <= j - right < 8:
                expected[1, 2, :, i, j] = x[1, 2, :, i - down, j - right]
    assert torch.equal(found, expected)
    found = translated_reflecting(x, shifts * down, shifts * right)
    padded = torch.nn.functional.pad(x[1, 2], (3, 3, 3, 3), mode="reflect")
    expected[1, 2] = padded[:, 3 - down : 11 - down, 3 - right : 11 - right]
    assert torch.equal(found, expected)


def test_reflection_folds_about_the_first_and_the_last() -> None:
    places = torch.arange(-3, 8)
    assert reflected(places, 5).tolist() == [3, 2, 1, 0, 1, 2, 3, 4, 3, 2, 1]


@pytest.mark.parametrize("shape", SHAPES)
def test_flips(shape: tuple[int, ...]) -> None:
    x = images(shape)
    flags = draws(0, 1, shape[:2]) < 0.5
    expected = each(x, lambda image, i, j: image.flip(2) if flags[i, j] else image)
    assert torch.equal(flipped(x, flags), expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_turns(shape: tuple[int, ...]) -> None:
    x = images(shape)
    for first in range(4):
        quarters = (torch.arange(shape[0] * shape[1]) + first).view(shape[:2]) % 4
        expected = each(x, lambda image, i, j: torch.rot90(image, int(quarters[i, j]), (1, 2)))  # noqa: B023
        assert torch.equal(turned(x, quarters.double()), expected)


@pytest.mark.parametrize("side", [3, 4])
@pytest.mark.parametrize("centre", [(0, 0), (3, 5), (8, 7)])
def test_cutout(side: int, centre: tuple[int, int]) -> None:
    x = images()
    rows, columns = (torch.full((2, 3), c, dtype=torch.float64) for c in centre)
    found = cut_out(x, rows, columns, side)
    inside = [
        [
            all(
                c - side // 2 <= place < c - side // 2 + side
                for c, place in zip(centre, at, strict=True)
            )
            for at in ((i, j) for j in range(8))
        ]
        for i in range(8)
    ]
    expected = torch.where(torch.tensor(inside), 0.0, x)
    assert torch.equal(found, expected)
    assert 0 < (found == 0).sum() <= 2 * 3 * 3 * side**2


@pytest.mark.parametrize(
    "augment",
    [
        lambda x: contrasted(x, draws(0.5, 1.5, x.shape[:2])),
        lambda x: saturated(x, draws(0, 2, x.shape[:2])),
        lambda x: translated(x, draws(1, 1, x.shape[:2]), draws(-1, -1, x.shape[:2])),
        lambda x: translated_reflecting(x, draws(1, 1, x.shape[:2]), draws(2, 2, x.shape[:2])),
        lambda x: flipped(x, draws(0, 1, x.shape[:2]) < 0.5),
        lambda x: turned(x, whole(draws(0, 1, x.shape[:2]), 4)),
        lambda x: cut_out(x, draws(1, 1, x.shape[:2]), draws(2, 2, x.shape[:2]), 2),
    ],
)  # fmt: skip
def test_derivatives_of_every_order(augment: Callable[[Tensor], Tensor]) -> None:
    x = images((1, 2, 3, 4, 4)).requires_grad_()
    assert torch.autograd.gradcheck(augment, x)
    assert torch.autograd.gradgradcheck(lambda v: augment(v).pow(3), x)
