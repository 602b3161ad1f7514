"""The two players, their data and their noise: what one update of a cohort sees."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from harness.datasets.base import to_unit_range
from harness.networks.base import Judgement
from harness.networks.blueprint import Blueprint
from harness.parts import Part, Targets, Trick, Variant, protocols, schedule_of
from harness.training.data import Data
from harness.training.inputs import EagerInputs
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
        blueprint: What they were built from.
        data: Training examples: uint8 images or points.
        labels: Their classes, int64, where the examples lie; None without labels.
        streams: The runs' random streams.

    Attributes:
        recording: Whether the update in progress is recorded, to be replayed later.
        memory: What each part remembers, by its id and by name, ``(runs, …)`` each.
    """

    optimizer_d: protocols.Optimizer

    def __init__(
        self,
        variant: Variant,
        tricks: Sequence[Trick],
        G: Stack,
        D: Stack,
        *,
        blueprint: Blueprint,
        data: Data,
        labels: Tensor | None = None,
        streams: Streams,
    ) -> None:
        self.variant = variant
        self.parts: list[Part] = [variant, *tricks]
        self.G = G
        self.D = D
        self.blueprint = blueprint
        self.data = data
        self.labels = labels
        self.streams = streams
        self.schedule = schedule_of(self.parts)
        self.recording = False
        self._progress = 0.0
        self.sizes: dict[Phase, int] = {
            "discriminator": blueprint.batch,
            "generator": blueprint.batch * self.schedule.g_batch,
        }
        self.orders = {
            phase: DataOrder(len(data), size, phase) for phase, size in self.sizes.items()
        }
        self.memory: dict[str, dict[str, Tensor]] = {}
        for part in self.parts:
            remembered = part.remember(self)
            if remembered:
                self.memory[part.id] = remembered

    @property
    def runs(self) -> int:
        """How many runs train together."""
        return self.G.runs

    @property
    def progress(self) -> float:
        """The share of training that is done, from 0 to 1.

        Raises:
            RuntimeError: while an update is recorded, which would keep it as it is now.
        """
        if self.recording:
            raise RuntimeError("a part reads game.progress other than through batch.number")
        return self._progress

    @progress.setter
    def progress(self, share: float) -> None:
        self._progress = share

    @property
    def classes(self) -> int | None:
        """Labelled classes of the data set."""
        return self.blueprint.classes

    def targets(self, batch: protocols.Batch) -> Targets:
        """Return 1 for real and 0 for generated data, as the parts change them."""
        dtype = self.streams.dtype
        targets = Targets(
            real=torch.ones(1, 1, dtype=dtype, device=self.data.device),
            fake=torch.zeros(1, 1, dtype=dtype, device=self.data.device),
        )
        for part in self.parts:
            targets = part.targets(self, batch, targets)
        return targets

    def discriminator_loss(self, batch: protocols.Batch) -> Tensor:
        """Return D's loss as the parts change it, ``(runs,)``."""
        loss = self.variant.discriminator_loss(self, batch)
        for part in self.parts:
            loss = part.discriminator_objective(self, batch, loss)
        return loss

    def generator_loss(self, batch: protocols.Batch) -> Tensor:
        """Return G's loss as the parts change it, ``(runs,)``."""
        loss = self.variant.generator_loss(self, batch)
        for part in self.parts:
            loss = part.generator_objective(self, batch, loss)
        return loss

    def gradient(self, batch: protocols.Batch, gradient: Tensor) -> Tensor:
        """Return a player's gradient as the parts change it, ``(runs, parameters)``."""
        for part in self.parts:
            gradient = part.gradient(self, batch, gradient)
        return gradient

    def latents(self, draws: protocols.Draws, count: int) -> Tensor:
        """Draw latents ``(runs, count, latent)`` by the law that the parts ask for."""
        z = draws.normal("latent", count, self.blueprint.latent)
        for part in self.parts:
            z = part.latents(z)
        return z

    def condition(self, draws: protocols.Draws, labels: Tensor | None, count: int) -> Tensor | None:
        """Draw what is joined to the latents, ``(runs, count, condition)``; None for nothing."""
        for part in self.parts:
            drawn: Tensor | None = part.condition(self, draws, labels, count)
            if drawn is not None:
                return drawn
        return None

    def evaluated(self) -> Tensor:
        """Return the weights of G that samples are measured by, ``(runs, parameters)``."""
        theta = self.G.theta
        for part in self.parts:
            theta = part.evaluated(self, theta)
        return theta

    @property
    def averaging(self) -> str | None:
        """The parts whose weights are measured in place of G's own; None where G's own are."""
        names = [part.id for part in self.parts if type(part).evaluated is not Part.evaluated]
        return " + ".join(names) or None

    def sample(
        self, count: int, stream: str, chunk: int = 512, theta: Tensor | None = None
    ) -> Tensor:
        """Draw examples from every generator in evaluation mode.

        The stream's name fixes latents and dropout, so two calls with the same name show the
        same latents, and cells with the same seed share them.

        Args:
            count: Examples per run.
            stream: Name of the stream of latents.
            chunk: Examples per forward pass.
            theta: Weights of G, ``(runs, parameters)``; those that are measured unless given.

        Returns:
            ``(runs, count, *shape)``; images in [−1, 1].
        """
        shape = (self.runs, count, *self.data.shape[1:])
        made = torch.empty(shape, dtype=self.streams.dtype, device=self.data.device)
        with torch.no_grad():
            theta = self.evaluated() if theta is None else theta
            for number, start in enumerate(range(0, count, chunk)):
                # A whole chunk is always made, so that no draw depends on the count.
                draws = Stream(self.streams, stream, number)
                z = self.latents(draws, chunk)
                y = self.condition(draws, None, chunk)
                piece = self.G(z, y, theta=theta, training=False, noise=draws.noise)
                made[:, start : start + chunk] = piece[:, : count - start]
        return made

    def hidden(self, run: int) -> Callable[[Tensor], dict[str, Tensor]]:
        """Return what shows images to one run's D, as it is now and as if it were alone.

        Args:
            run: By position.

        Returns:
            Maps uint8 images ``(n, channels, height, width)`` to hidden activations by layer,
            ``(n, …)`` each, in evaluation mode and without gradient.
        """
        D = self.D.alone(run)

        def show(images: Tensor) -> dict[str, Tensor]:
            with torch.no_grad():
                x = to_unit_range(images.to(self.data.device), self.streams.dtype)
                judgement: Judgement = D(x[None], training=False)
            return {name: layer[0] for name, layer in judgement.features.items()}

        return show

    def keep(self, runs: list[int]) -> None:
        """Go on with some of the runs, by position; the parts are replaced by the caller."""
        self.G.keep(runs)
        self.D.keep(runs)
        self.streams.keep(runs)
        self.memory = {
            part: {name: value[runs].clone() for name, value in held.items()}
            for part, held in self.memory.items()
        }

    def replace_parts(self, variant: Variant, tricks: Sequence[Trick]) -> None:
        """Take stacked parts of another number of runs; the schedule stays."""
        self.variant = variant
        self.parts = [variant, *tricks]


class Stream:
    """Draws of one purpose, counted.

    Args:
        streams: The runs' random streams.
        purpose: First part of every stream's name.
        counter: Which draw of each stream this is.
    """

    def __init__(self, streams: Streams, purpose: str, counter: int) -> None:
        self.streams = streams
        self.purpose = purpose
        self.counter = counter

    def uniform(self, stream: str, *shape: int) -> Tensor:
        """Draw U[0, 1) of ``(runs, *shape)``."""
        return self.streams.uniform(f"{self.purpose}/{stream}", self.counter, shape)

    def normal(self, stream: str, *shape: int) -> Tensor:
        """Draw N(0, 1) of ``(runs, *shape)``."""
        return self.streams.normal(f"{self.purpose}/{stream}", self.counter, shape)

    def noise(self, layer: str, shape: tuple[int, ...]) -> Tensor:
        """Draw the noise of a dropout layer."""
        return self.uniform(layer, *shape)


class Batch:
    """What one update sees; each thing is made when first asked for, and once.

    Args:
        game: The players.
        phase: Whose update it is.
        inputs: What differs from one update to the next; a number makes everything when it is
            asked for, counted from 0 since the start of training for each player.
    """

    def __init__(self, game: Game, phase: Phase, inputs: protocols.Inputs | int) -> None:
        self.game = game
        self.phase: Phase = phase
        self.size = game.sizes[phase]
        self._inputs = EagerInputs(inputs) if isinstance(inputs, int) else inputs

    def input(self, key: Hashable, produce: Callable[[int], Tensor]) -> Tensor:
        """Return what a function makes of the update's number."""
        return self._inputs.input(key, produce)

    def every(self, count: int, offset: int = 0) -> bool:
        """Whether updates of that player before this one are a multiple of a count."""
        return self._inputs.every(count, offset)

    def number(self, name: str, of: Callable[[int], float]) -> Tensor:
        """Return a number that depends on the update, a tensor without dimensions."""
        dtype, device = self.game.streams.dtype, self.game.data.device

        def produce(counter: int) -> Tensor:
            return torch.full((), of(counter), dtype=dtype, device=device)

        return self.input(("number", name), produce)

    def uniform(self, stream: str, *shape: int) -> Tensor:
        """Draw U[0, 1) of ``(runs, *shape)``."""
        streams, name = self.game.streams, f"{self.phase}/{stream}"
        return self.input(
            ("uniform", name, shape), lambda counter: streams.uniform(name, counter, shape)
        )

    def normal(self, stream: str, *shape: int) -> Tensor:
        """Draw N(0, 1) of ``(runs, *shape)``."""
        streams, name = self.game.streams, f"{self.phase}/{stream}"
        return self.input(
            ("normal", name, shape), lambda counter: streams.normal(name, counter, shape)
        )

    def noise(self, layer: str, shape: tuple[int, ...]) -> Tensor:
        """Draw the noise of a dropout layer."""
        return self.uniform(layer, *shape)

    @cached_property
    def real(self) -> Tensor:
        """Fresh real data, ``(runs, batch, …)``."""
        game = self.game
        examples = game.data.batch(game.orders[self.phase], game.streams, self.input)
        dtype = game.streams.dtype
        if examples.dtype == torch.uint8:
            return to_unit_range(examples, dtype)
        return examples.to(dtype)

    @cached_property
    def labels(self) -> Tensor | None:
        """Classes of the real data, ``(runs, batch)``."""
        game = self.game
        if game.labels is None:
            return None
        return game.data.labels(game.labels, game.orders[self.phase], game.streams, self.input)

    @cached_property
    def latents(self) -> Tensor:
        """Fresh latents, ``(runs, batch, latent)``."""
        return self.game.latents(self, self.size)

    @cached_property
    def condition(self) -> Tensor | None:
        """What is joined to the latents, ``(runs, batch, condition)``."""
        return self.game.condition(self, self.labels, self.size)

    @cached_property
    def fake(self) -> Tensor:
        """Generated data from fresh latents; carries gradient in a generator update only."""
        return self._generate(self.latents, self.noise)

    def generate(self, z: Tensor, label: str) -> Tensor:
        """Generate from other latents, with the batch's condition."""
        return self._generate(z, self._labelled(label))

    def _generate(self, z: Tensor, noise: Noise) -> Tensor:
        with torch.set_grad_enabled(self.phase == "generator"):
            made: Tensor = self.game.G(z, self.condition, noise=noise)
        return made

    def _labelled(self, label: str) -> Noise:
        return lambda layer, shape: self.noise(f"{label}/{layer}", shape)

    def show(self, x: Tensor, label: str) -> Tensor:
        """Apply every part's ``show``."""
        for part in self.game.parts:
            x = part.show(self.game, x, self, label)
        return x

    @cached_property
    def shown_real(self) -> Tensor:
        """The real data as D sees them."""
        return self.show(self.real, "real")

    @cached_property
    def shown_fake(self) -> Tensor:
        """The generated data as D sees them."""
        return self.show(self.fake, "fake")

    @cached_property
    def opponent(self) -> Tensor | None:
        """D's weights that this batch is judged by; None for those that it has."""
        theta = own = self.game.D.theta
        if self.phase == "generator":
            for part in self.game.parts:
                theta = part.opponent(self.game, self, theta)
        return None if theta is own else theta

    def against(self, theta: Tensor) -> Batch:
        """Return the same batch, judged by a D of other weights."""
        _ = self.shown_real, self.shown_fake  # made once, for all of them
        other = copy.copy(self)
        for judged in ("judged_real", "judged_fake", "_together"):
            other.__dict__.pop(judged, None)
        other.__dict__["opponent"] = theta
        return other

    def judge(self, x: Tensor, label: str) -> Judgement:
        """Ask D about a batch as it is; of several batches in one, each has the condition."""
        plan = self.game.blueprint.discriminator
        y = self.condition if plan.condition else None
        if y is not None:
            if plan.pack > 1:
                y = y.reshape(len(y), -1, plan.pack * y.shape[2])
            y = y.repeat(1, x.shape[1] // y.shape[1], 1)
        judgement: Judgement = self.game.D(x, y, theta=self.opponent, noise=self._labelled(label))
        return judgement

    @cached_property
    def _together(self) -> tuple[Judgement, Judgement] | None:
        for part in self.game.parts:
            judgements = part.judgements(self.game, self)
            if judgements is not None:
                return judgements
        return None

    @cached_property
    def judged_real(self) -> Judgement:
        """D's answer to the real data."""
        if self._together is not None:
            return self._together[0]
        # In a generator update D's answer to real data depends on nothing that is trained,
        # unless G trains against weights that follow from its own, or trains D too.
        depends = self.opponent is not None or self.game.variant.joint
        with torch.set_grad_enabled(self.phase == "discriminator" or depends):
            return self.judge(self.shown_real, "real")

    @cached_property
    def judged_fake(self) -> Judgement:
        """D's answer to the generated data."""
        if self._together is not None:
            return self._together[1]
        return self.judge(self.shown_fake, "fake")
