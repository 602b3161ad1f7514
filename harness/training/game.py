"""The two players, their data and their noise: what one update of a cohort sees."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from harness import parts
from harness.datasets.base import to_unit_range
from harness.networks.base import Judgement
from harness.parts import Part, Targets, Trick, Variant, schedule_of
from harness.training.data import Data
from harness.training.stack import Noise, Stack
from harness.training.streams import DataOrder, Streams

Phase = Literal["discriminator", "generator"]


class Game:
    """The players of a cohort, as variants and tricks see them.

    Args:
        variant: The stacked variant.
        tricks: The stacked tricks, in the order in which they act.
        G: Stacked generators.
        D: Stacked discriminators.
        data: Training examples: uint8 images or points.
        streams: The runs' random streams.
        batch: Examples per update.
        latent: Dimensions of z.
    """

    def __init__(
        self,
        variant: Variant,
        tricks: Sequence[Trick],
        G: Stack,
        D: Stack,
        *,
        data: Data,
        streams: Streams,
        batch: int,
        latent: int,
    ) -> None:
        self.variant = variant
        self.parts: list[Part] = [variant, *tricks]
        self.G = G
        self.D = D
        self.data = data
        self.streams = streams
        self.batch_size = batch
        self.latent = latent
        self.orders = {
            phase: DataOrder(len(data), batch, phase) for phase in ("discriminator", "generator")
        }
        self.schedule = schedule_of(self.parts)

    @property
    def runs(self) -> int:
        """How many runs train together."""
        return self.G.runs

    def judge(self, x: Tensor, batch: parts.Batch) -> Judgement:
        """Show a batch to D as the parts let it be seen."""
        for part in self.parts:
            x = part.show(self, x, batch)
        return self.judge_raw(x)

    def judge_raw(self, x: Tensor) -> Judgement:
        """Show a batch to D as it is."""
        judgement: Judgement = self.D(x)
        return judgement

    def targets(self, batch: parts.Batch) -> Targets:
        """Return 1 for real and 0 for generated data, as the parts change them."""
        ones = self.streams.dtype
        targets = Targets(
            real=torch.ones(1, 1, dtype=ones, device=self.data.device),
            fake=torch.zeros(1, 1, dtype=ones, device=self.data.device),
        )
        for part in self.parts:
            targets = part.targets(self, batch, targets)
        return targets

    def discriminator_loss(self, batch: parts.Batch) -> Tensor:
        """Return D's loss with the terms of all parts, ``(runs,)``."""
        loss = self.variant.discriminator_loss(self, batch)
        for part in self.parts:
            term = part.discriminator_term(self, batch)
            if term is not None:
                loss = loss + term
        return loss

    def generator_loss(self, batch: parts.Batch) -> Tensor:
        """Return G's loss as the parts change it, ``(runs,)``."""
        loss = self.variant.generator_loss(self, batch)
        for part in self.parts:
            loss = part.generator_objective(self, batch, loss)
        return loss

    def sample(self, count: int, stream: str, chunk: int = 512) -> Tensor:
        """Draw examples from every generator in evaluation mode.

        The stream's name fixes latents and dropout, so two calls with the same name show the
        same latents, and cells with the same seed share them.

        Args:
            count: Examples per run.
            stream: Name of the stream of latents.
            chunk: Examples per forward pass.

        Returns:
            ``(runs, count, *shape)``; images in [−1, 1].
        """
        shape = (self.runs, count, *self.data.shape[1:])
        made = torch.empty(shape, dtype=self.streams.dtype, device=self.data.device)
        with torch.no_grad():
            for number, start in enumerate(range(0, count, chunk)):
                z = self.streams.normal(f"{stream}/latent", number, (chunk, self.latent))
                noise = self._noise(stream, number)
                # A whole chunk is always made, so that no draw depends on the count.
                piece = self.G(z, training=False, noise=noise)
                made[:, start : start + chunk] = piece[:, : count - start]
        return made

    def _noise(self, stream: str, counter: int) -> Noise:
        return lambda name, shape: self.streams.uniform(f"{stream}/{name}", counter, shape)

    def keep(self, runs: list[int]) -> None:
        """Go on with some of the runs, by position; the parts are replaced by the caller."""
        self.G.keep(runs)
        self.D.keep(runs)
        self.streams.keep(runs)

    def replace_parts(self, variant: Variant, tricks: Sequence[Trick]) -> None:
        """Take stacked parts of another number of runs; the schedule stays."""
        self.variant = variant
        self.parts = [variant, *tricks]


class Batch:
    """What one update sees; each thing is made when first asked for, and once.

    Args:
        game: The players.
        phase: Whose update it is.
        counter: Which update of that player, counted from 0 since the start of training.
    """

    def __init__(self, game: Game, phase: Phase, counter: int) -> None:
        self.game = game
        self.phase: Phase = phase
        self.counter = counter

    def uniform(self, stream: str, *shape: int) -> Tensor:
        """Draw U[0, 1) of ``(runs, *shape)``."""
        return self.game.streams.uniform(f"{self.phase}/{stream}", self.counter, shape)

    def normal(self, stream: str, *shape: int) -> Tensor:
        """Draw N(0, 1) of ``(runs, *shape)``."""
        return self.game.streams.normal(f"{self.phase}/{stream}", self.counter, shape)

    @cached_property
    def real(self) -> Tensor:
        """Fresh real data, ``(runs, batch, …)``."""
        game = self.game
        examples = game.data.batch(game.orders[self.phase], game.streams.seeds, self.counter)
        dtype = game.streams.dtype
        if examples.dtype == torch.uint8:
            return to_unit_range(examples, dtype)
        return examples.to(dtype)

    @cached_property
    def fake(self) -> Tensor:
        """Generated data from fresh latents; carries gradient in a generator update only."""
        z = self.normal("latent", self.game.batch_size, self.game.latent)
        with torch.set_grad_enabled(self.phase == "generator"):
            fake: Tensor = self.game.G(z, noise=lambda name, shape: self.uniform(name, *shape))
        return fake

    @cached_property
    def judged_real(self) -> Judgement:
        """D's answer to the real data."""
        with torch.set_grad_enabled(self.phase == "discriminator"):
            return self.game.judge(self.real, self)

    @cached_property
    def judged_fake(self) -> Judgement:
        """D's answer to the generated data."""
        return self.game.judge(self.fake, self)
