"""Augmentations of images, as pure functions of what was drawn; differentiable to any order.

Images are ``(runs, batch, channels, height, width)`` in [−1, 1], draws ``(runs, batch)`` and one
per example. Pixels are moved by products with 0/1 matrices: exact, of a fixed shape, and with
derivatives that are such products again.
"""

from __future__ import annotations

import torch
from torch import Tensor


def whole(u: Tensor, count: int) -> Tensor:
    """Turn draws from U[0, 1) into whole numbers from 0 to count − 1."""
    return (u * count).floor()


def per_image(values: Tensor) -> Tensor:
    """Line draws ``(runs, batch)`` up with images."""
    return values[:, :, None, None, None]


def brightened(x: Tensor, amount: Tensor) -> Tensor:
    """Add an amount to all pixels."""
    return x + per_image(amount)


def contrasted(x: Tensor, factor: Tensor) -> Tensor:
    """Multiply the distance to the image's mean over pixels and channels."""
    mean = x.mean((2, 3, 4), keepdim=True)
    return mean + per_image(factor) * (x - mean)


def saturated(x: Tensor, factor: Tensor) -> Tensor:
    """Multiply each pixel's distance to its grey, the mean over channels; grey images stay."""
    grey = x.mean(2, keepdim=True)
    return grey + per_image(factor) * (x - grey)


def moved(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Take each pixel from another place.

    Args:
        x: Images.
        rows: From which row each row comes, ``(runs, batch, height)``; outside the image it
            becomes 0.
        columns: From which column each column comes, ``(runs, batch, width)``.
    """
    down, across = selection(rows, x.shape[3]), selection(columns, x.shape[4])
    return down.to(x.dtype)[:, :, None] @ x @ across.to(x.dtype)[:, :, None].mT


def selection(places: Tensor, count: int) -> Tensor:
    """Return ``(…, places, count)``, true where a place is that number."""
    return places[..., None] == torch.arange(count, device=places.device)


def lines(count: int, like: Tensor) -> Tensor:
    """Number the rows or columns of an image, on a device."""
    return torch.arange(count, device=like.device)


def shifted_from(count: int, shift: Tensor) -> Tensor:
    """Say from where lines come that are shifted by whole pixels: ``(runs, batch, count)``."""
    return lines(count, shift) - shift[:, :, None]


def reflected(places: Tensor, count: int) -> Tensor:
    """Fold places less than a side outside the image back into it, about its first and last."""
    return (count - 1) - ((count - 1) - places.abs()).abs()


def mirrored_from(count: int, flags: Tensor) -> Tensor:
    """Say from where lines come that are in reverse order where flagged."""
    order = lines(count, flags)
    return torch.where(flags[:, :, None], count - 1 - order, order)


def translated(x: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Shift by whole pixels; what comes in is 0."""
    height, width = x.shape[3:]
    return moved(x, shifted_from(height, down), shifted_from(width, right))


def translated_reflecting(x: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Shift by whole pixels; what comes in is the image's reflection."""
    height, width = x.shape[3:]
    return moved(
        x,
        reflected(shifted_from(height, down), height),
        reflected(shifted_from(width, right), width),
    )


def flipped(x: Tensor, flags: Tensor) -> Tensor:
    """Mirror left and right where flagged (boolean)."""
    height, width = x.shape[3:]
    return moved(x, lines(height, x).expand(*flags.shape, height), mirrored_from(width, flags))


def turned(x: Tensor, quarters: Tensor) -> Tensor:
    """Turn square images counter-clockwise by 0 to 3 quarters."""
    size = x.shape[3]
    upright = torch.where(per_image(quarters % 2 == 1), x.mT, x)
    return moved(
        upright,
        mirrored_from(size, (quarters == 1) | (quarters == 2)),
        mirrored_from(size, quarters >= 2),
    )


def cut_out(x: Tensor, rows: Tensor, columns: Tensor, side: int) -> Tensor:
    """Set a square to 0.

    Args:
        x: Images.
        rows: Row of the square's centre, rounded up; the square may overlap the border.
        columns: Column of its centre.
        side: Of the square, in pixels.
    """
    height, width = x.shape[3:]

    def inside(count: int, centre: Tensor) -> Tensor:
        place = shifted_from(count, centre - side // 2)
        return (place >= 0) & (place < side)

    hole = inside(height, rows)[:, :, :, None] & inside(width, columns)[:, :, None, :]
    return x * ~hole[:, :, None]
