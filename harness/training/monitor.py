"""Watches a cohort without asking the device: sums on the device, read every few steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.training.batch import Batch
from harness.training.game import Game
from harness.training.state import StackedState

SATURATED = 4.6
"""A logit beyond ± this has a sigmoid within 0.01 of 0 or 1."""

DISCRIMINATOR = (
    "d_loss",
    "d_grad_norm",
    "d_real",
    "d_fake",
    "logit_gap",
    "d_accuracy_real",
    "d_accuracy_fake",
    "saturation",
    "d_off_half",
)
"""Every column of a discriminator's row; which of them a variant has, :func:`columns_of` says."""
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


def columns_of(game: Game) -> tuple[str, ...]:
    """Name the columns of a discriminator's row.

    Those that mean something for the variant's objective, then what the parts watch.
    """
    variant = game.variant
    undefined: set[str] = set()
    if variant.boundary is None:
        undefined |= {"d_accuracy_real", "d_accuracy_fake"}
    if not variant.logistic:
        undefined |= {"saturation", "d_off_half"}
    own = tuple(name for name in DISCRIMINATOR if name not in undefined)
    return own if variant.joint else own + watched_in(game)


def generator_columns_of(game: Game) -> tuple[str, ...]:
    """Name the columns of a generator's row.

    What the parts watch is among them where a generator update is the only one that there is.
    """
    return GENERATOR + watched_in(game) if game.variant.joint else GENERATOR


def watched_in(game: Game) -> tuple[str, ...]:
    """Name what the parts of a game watch."""
    return tuple(name for part in game.parts for name in part.watched)


def discriminator_row(loss: Tensor, gradient: Tensor, batch: Batch) -> Tensor:
    """Measure one discriminator update, ``(runs, len(columns_of(game)))``.

    ``d_real`` and ``d_fake`` are means of what the objective calls D(x): a probability where it
    is logistic, else the logit itself. ``d_off_half`` is the mean of |D(x) − ½| over both, which
    is 0 where D can no longer tell them apart.

    Args:
        loss: D's loss, ``(runs,)``.
        gradient: Its gradient, ``(runs, parameters)``.
        batch: What D was shown.
    """
    variant = batch.game.variant
    with torch.no_grad():
        real = batch.judged_real.logits.flatten(1)
        fake = batch.judged_fake.logits.flatten(1)
        answers = (real.sigmoid(), fake.sigmoid()) if variant.logistic else (real, fake)
        row = [loss, gradient.norm(dim=1), *(answer.mean(1) for answer in answers)]
        row.append(real.mean(1) - fake.mean(1))
        if variant.boundary is not None:
            row.append((real > variant.boundary).to(loss.dtype).mean(1))
            row.append((fake < variant.boundary).to(loss.dtype).mean(1))
        if variant.logistic:
            both = torch.cat([real, fake], dim=1)
            row.append((both.abs() > SATURATED).to(loss.dtype).mean(1))
            # In float64 and rounded once: float32 sums of a run alone and of the same run in a
            # cohort go in different orders, and their last bits differ.
            off_half = (both.double().sigmoid() - 0.5).abs().mean(1)
            row.append(off_half.to(loss.dtype))
        for part in batch.game.parts:
            row += part.watch(batch.game, batch)
        return torch.stack(row, dim=1).detach()


def generator_row(loss: Tensor, gradient: Tensor, batch: Batch) -> Tensor:
    """Measure one generator update, ``(runs, len(generator_columns_of(game)))``."""
    with torch.no_grad():
        row = [loss, gradient.norm(dim=1)]
        if batch.game.variant.joint:
            for part in batch.game.parts:
                row += part.watch(batch.game, batch)
        return torch.stack(row, dim=1).detach()


class Monitor(StackedState):
    """Sums of rows since the last reading, and the first step with a non-finite loss or gradient.

    Sums are float64, whatever the training's precision: the spread of a large, steady loss is a
    small difference of large sums.

    Args:
        runs: Runs in the cohort.
        device: Where the rows come from.
        columns: Of a discriminator's row, from :func:`columns_of`.
        generator_columns: Of a generator's row, from :func:`generator_columns_of`.

    Attributes:
        counts: Rows of either player since the last reading; whoever gives them counts them.
    """

    def __init__(
        self,
        runs: int,
        device: torch.device,
        columns: Sequence[str] = DISCRIMINATOR,
        generator_columns: Sequence[str] = GENERATOR,
    ) -> None:
        def zeros(count: int) -> Tensor:
            return torch.zeros(runs, count, device=device, dtype=torch.float64)

        self.columns = tuple(columns)
        self.generator_columns = tuple(generator_columns)
        self.counts = [0, 0]
        super().__init__(
            {
                "d": zeros(len(columns)),
                "g": zeros(len(generator_columns)),
                "square": zeros(1),
                "first": torch.full((runs, len(CHECKED)), -1, device=device),
            }
        )

    def discriminator(self, row: Tensor, step: int | Tensor) -> None:
        """Take in a discriminator update of a step, counted from 0."""
        self.tensors["d"] += row
        self.tensors["square"] += row[:, :1].double().square()
        self._check(row[:, :2], 0, step)

    def generator(self, row: Tensor, step: int | Tensor) -> None:
        """Take in a generator update of a step, counted from 0."""
        self.tensors["g"] += row
        self._check(row[:, :2], 2, step)

    def _check(self, values: Tensor, column: int, step: int | Tensor) -> None:
        first = self.tensors["first"][:, column : column + 2]
        first.copy_(torch.where(~values.isfinite() & (first < 0), step, first))

    def read(self) -> tuple[list[dict[str, float]], list[Divergence | None]]:
        """Return each run's means and its divergence, if any, and start over.

        This is the one place where training waits for the device.
        """
        held = self.tensors
        d, square = (held[name] / max(1, self.counts[0]) for name in ("d", "square"))
        spread = (square - d[:, :1].square()).clamp(min=0).sqrt()
        g = held["g"] / max(1, self.counts[1])
        table = torch.cat([d, g, spread, held["first"].double()], dim=1).tolist()
        names = [*self.columns, *self.generator_columns, "d_loss_std"]
        # Without updates of D, as for an auto-encoder, there is nothing to say of it.
        absent = set() if self.counts[0] else {*self.columns, "d_loss_std"}
        rows, divergences = [], []
        for line in table:
            row = dict(zip(names, line[: len(names)], strict=True))
            rows.append({name: value for name, value in row.items() if name not in absent})
            onsets = [
                Divergence(int(step) + 1, what)
                for step, what in zip(line[len(names) :], CHECKED.values(), strict=True)
                if step >= 0
            ]
            divergences.append(min(onsets, key=lambda item: item.step) if onsets else None)
        for name, tensor in held.items():
            tensor.fill_(-1 if name == "first" else 0)
        self.counts = [0, 0]
        return rows, divergences
