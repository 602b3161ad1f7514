"""Walks and sums in the latent space: slerp, and arithmetic on the numbered cells of a grid."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.errors import GanbenchError

MOST_CELLS = 10_000


def slerp(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Interpolate on the great arc between two latents, ends included.

    ``sin((1−t)Ω)/sin Ω · a + sin(tΩ)/sin Ω · b`` with Ω the angle between a and b: unlike a
    straight line it does not pass close to the origin, where no latent is ever drawn. Where a and
    b are parallel, and the arc is none or any, it is the straight line.

    Args:
        a: ``(rows, latent)``.
        b: ``(rows, latent)``.
        steps: Points on each arc, at t = 0 … 1.

    Returns:
        ``(rows, steps, latent)``.

    Source: Shoemake 1985, §3.3; on GAN latents: White 2016, arXiv:1609.04468, §2.1.
    """
    t = torch.linspace(0, 1, steps, dtype=a.dtype)[:, None]
    a, b = a[:, None], b[:, None]
    unit_a, unit_b = (
        torch.nn.functional.normalize(a, dim=-1),
        torch.nn.functional.normalize(b, dim=-1),
    )
    omega = (unit_a * unit_b).sum(-1, keepdim=True).clamp(-1, 1).acos()
    sine = omega.sin()
    parallel = sine < 1e-4
    safe = torch.where(parallel, torch.ones_like(sine), sine)
    arc = ((1 - t) * omega).sin() / safe * a + (t * omega).sin() / safe * b
    return torch.where(parallel, (1 - t) * a + t * b, arc)


@dataclass(frozen=True)
class Term:
    """One operand.

    Attributes:
        sign: 1 or −1.
        cells: Numbers in the grid, from 1; several stand for their mean.
    """

    sign: int
    cells: tuple[int, ...]

    def value(self, cells: Tensor) -> Tensor:
        """Average the operand's rows of ``cells (n, …)``."""
        return cells[[number - 1 for number in self.cells]].mean(0)


class _Reader:
    """A cursor over an expression."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0

    def peek(self) -> str:
        while self.text[self.place : self.place + 1].isspace():
            self.place += 1
        return self.text[self.place : self.place + 1]

    def take(self, *wanted: str) -> str | None:
        self.peek()
        for word in wanted:
            if self.text.startswith(word, self.place):
                self.place += len(word)
                return word
        return None

    def number(self) -> int:
        self.peek()
        start = self.place
        while self.text[self.place : self.place + 1] in set("0123456789"):
            self.place += 1
        if start == self.place:
            raise self.error("expected a cell's number, counted from 1")
        digits = self.text[start : self.place]
        if len(digits) > len(str(MOST_CELLS)) or not 1 <= int(digits) <= MOST_CELLS:
            self.place = start
            raise self.error(f"cells are numbered 1 … {MOST_CELLS}")
        return int(digits)

    def error(self, what: str) -> GanbenchError:
        token = repr(self.text[self.place]) if self.place < len(self.text) else "the end"
        return GanbenchError(
            f"--arithmetic: {what}, found {token} at position {self.place + 1}\n"
            f"  {self.text}\n  {' ' * self.place}^"
        )


def parse_arithmetic(text: str) -> list[Term]:
    """Read sums and differences of cells and means, such as ``mean(1,4,9) - mean(2,3) + 5``.

    Averages, because a concept is more than one example of it: Radford et al. 2016,
    arXiv:1511.06434, §6.3.2, average three latents per operand.

    Raises:
        GanbenchError: saying what was expected, and where.
    """
    reader = _Reader(text)
    terms = []
    sign = reader.take("+", "-", "−") or "+"
    while True:
        if reader.peek().isalpha():
            if not reader.take("mean"):
                raise reader.error("expected a cell's number or mean(…)")
            if not reader.take("("):
                raise reader.error("expected ( after mean")
            cells = [reader.number()]
            while reader.take(","):
                cells.append(reader.number())
            if not reader.take(")"):
                raise reader.error("expected , or )")
        else:
            cells = [reader.number()]
        terms.append(Term(1 if sign == "+" else -1, tuple(cells)))
        if not reader.peek():
            break
        following = reader.take("+", "-", "−")
        if following is None:
            raise reader.error("expected + or −")
        sign = following
    return terms


def total(terms: list[Term], cells: Tensor) -> Tensor:
    """Add the operands up, ``(…)`` from ``cells (n, …)``."""
    return torch.stack([term.sign * term.value(cells) for term in terms]).sum(0)
