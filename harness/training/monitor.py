"""Watches a cohort without asking the device: sums on the device, read every few steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.training.game import Batch

SATURATED = 4.6
"""A logit beyond ± this has a sigmoid within 0.01 of 0 or 1."""

DISCRIMINATOR = (
    "d_loss",
    "d_grad_norm",
    "d_accuracy_real",
    "d_accuracy_fake",
    "d_real",
    "d_fake",
    "logit_gap",
    "saturation",
    "d_loss_square",
)
GENERATOR = ("g_loss", "g_grad_norm")
CHECKED = {
    "d_loss": "discriminator loss",
    "d_grad_norm": "discriminator gradient",
    "g_loss": "generator loss",
    "g_grad_norm": "generator gradient",
}


@dataclass(frozen=True)
class Divergence:
    """Where a run stopped being finite.

    Attributes:
        step: Step in which it was first seen, counted from 1 like all stored steps.
        what: Which tensor.
    """

    step: int
    what: str


def discriminator_row(loss: Tensor, gradient: Tensor, batch: Batch, boundary: float) -> Tensor:
    """Measure one discriminator update, ``(runs, len(DISCRIMINATOR))``.

    Args:
        loss: D's loss, ``(runs,)``.
        gradient: Its gradient, ``(runs, parameters)``.
        batch: What D was shown.
        boundary: The logit above which D takes an example for real.
    """
    with torch.no_grad():
        real = batch.judged_real.logits.flatten(1)
        fake = batch.judged_fake.logits.flatten(1)
        both = torch.cat([real, fake], dim=1)
        return torch.stack(
            [
                loss,
                gradient.norm(dim=1),
                (real > boundary).to(loss.dtype).mean(1),
                (fake < boundary).to(loss.dtype).mean(1),
                real.sigmoid().mean(1),
                fake.sigmoid().mean(1),
                real.mean(1) - fake.mean(1),
                (both.abs() > SATURATED).to(loss.dtype).mean(1),
                loss.square(),
            ],
            dim=1,
        ).detach()


def generator_row(loss: Tensor, gradient: Tensor) -> Tensor:
    """Measure one generator update, ``(runs, len(GENERATOR))``."""
    return torch.stack([loss, gradient.norm(dim=1)], dim=1).detach()


class Monitor:
    """Sums of rows since the last reading, and the first step with a non-finite loss or gradient.

    Args:
        runs: Runs in the cohort.
        device: Where the rows come from.
        dtype: Their precision.
    """

    def __init__(self, runs: int, device: torch.device, dtype: torch.dtype) -> None:
        self._d = torch.zeros(runs, len(DISCRIMINATOR), device=device, dtype=dtype)
        self._g = torch.zeros(runs, len(GENERATOR), device=device, dtype=dtype)
        self._first = torch.full((runs, len(CHECKED)), -1, device=device)
        self.counts = [0, 0]

    def discriminator(self, row: Tensor, step: int) -> None:
        """Take in a discriminator update of a step, counted from 0."""
        self._d += row
        self.counts[0] += 1
        self._check(row[:, :2], 0, step)

    def generator(self, row: Tensor, step: int) -> None:
        """Take in a generator update of a step, counted from 0."""
        self._g += row
        self.counts[1] += 1
        self._check(row[:, :2], 2, step)

    def _check(self, values: Tensor, column: int, step: int) -> None:
        first = self._first[:, column : column + 2]
        first.copy_(torch.where(~values.isfinite() & (first < 0), step, first))

    def read(self) -> tuple[list[dict[str, float]], list[Divergence | None]]:
        """Return each run's means and its divergence, if any, and start over.

        This is the one place where training waits for the device.
        """
        d = (self._d / max(1, self.counts[0])).double()
        g = (self._g / max(1, self.counts[1])).double()
        table = torch.cat([d, g, self._first.double()], dim=1).tolist()
        names = [*DISCRIMINATOR, *GENERATOR]
        rows, divergences = [], []
        for line in table:
            row = dict(zip(names, line[: len(names)], strict=True))
            spread = row.pop("d_loss_square") - row["d_loss"] ** 2
            row["d_loss_std"] = max(spread, 0.0) ** 0.5 if spread == spread else float("nan")
            rows.append(row)
            found = [
                Divergence(int(step) + 1, what)
                for step, what in zip(line[len(names) :], CHECKED.values(), strict=True)
                if step >= 0
            ]
            divergences.append(min(found, key=lambda item: item.step) if found else None)
        self._d.zero_()
        self._g.zero_()
        self._first.fill_(-1)
        self.counts = [0, 0]
        return rows, divergences

    def state(self, run: int) -> dict[str, Tensor]:
        """Return one run's sums since the last reading, as copies."""
        held = {"d": self._d, "g": self._g, "first": self._first}
        return {name: tensor[run].clone() for name, tensor in held.items()}

    def load(self, run: int, state: dict[str, Tensor], counts: Sequence[int]) -> None:
        """Put one run's sums back."""
        for name, tensor in (("d", self._d), ("g", self._g), ("first", self._first)):
            tensor[run].copy_(state[name])
        self.counts = list(counts)

    def keep(self, runs: list[int]) -> None:
        """Go on with some of the runs, by position."""
        self._d, self._g, self._first = self._d[runs], self._g[runs], self._first[runs]
