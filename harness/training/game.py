"""The two players of a cohort, their data and their streams, as variants and tricks see them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.datasets.base import to_unit_range
from harness.errors import PartError
from harness.networks.base import Judgement
from harness.networks.blueprint import Blueprint
from harness.parts import Part, Targets, Trick, Variant, protocols, schedule_of
from harness.parts.conditions import in_proportion
from harness.training.data import Data
from harness.training.stack import Stack
from harness.training.streams import DataOrder, Stream, Streams

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
        class_counts: How often each class occurs in the data whose shares samples have; at first
            the training data. None without labels.
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
        self.class_counts: tuple[int, ...] | None = None
        if labels is not None and blueprint.classes is not None:
            counted = torch.bincount(labels, minlength=blueprint.classes)
            self.class_counts = tuple(counted.tolist())
        self._progress = 0.0
        self.sizes: dict[Phase, int] = {
            "discriminator": blueprint.batch,
            "generator": blueprint.batch * self.schedule.g_batch,
        }
        self.orders = {
            phase: DataOrder(len(data), size, phase) for phase, size in self.sizes.items()
        }
        for name in G.latent_buffers:
            G.buffers[name] = self._by_law(G.buffers[name])
        self.memory: dict[str, dict[str, Tensor]] = {}
        for part in self.parts:
            remembered = part.remember(self)
            for name, value in remembered.items():
                if len(value) != self.runs:
                    raise PartError(
                        f"{part.id!r} remembers {name!r} of the shape {tuple(value.shape)}, whose "
                        f"first axis is not the runs, ({self.runs}, …)"
                    )
            if remembered:
                # Copies that lie densely, whatever they were made like.
                self.memory[part.id] = {
                    name: value.detach().clone(memory_format=torch.contiguous_format)
                    for name, value in remembered.items()
                }

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
            if type(part).targets is Part.targets:
                continue
            judged = batch.judged_real.logits.shape[1]
            for target in targets:
                fits = target.ndim == 2 and len(target) in (1, self.runs)
                if not (fits and target.shape[1] in (1, judged)):
                    raise PartError(
                        f"{part.id!r} gives a target of the shape {tuple(target.shape)} in "
                        f"`targets`, not ({self.runs}, batch) or 1 in place of either; column() "
                        "lines up an option of each run"
                    )
        return targets

    def discriminator_loss(self, batch: protocols.Batch) -> Tensor:
        """Return D's loss as the parts change it, ``(runs,)``."""
        loss = self.variant.discriminator_loss(self, batch)
        loss = self._scaled(batch, self._of_runs(loss, self.variant))
        for part in self.parts:
            loss = self._of_runs(part.discriminator_objective(self, batch, loss), part)
        return loss

    def generator_loss(self, batch: protocols.Batch) -> Tensor:
        """Return G's loss as the parts change it, ``(runs,)``.

        Raises:
            PartError: if two parts replace it.
        """
        loss, replacing = None, None
        for part in self.parts:
            other = part.replaced_generator_loss(self, batch)
            if other is not None:
                if replacing is not None:
                    raise PartError(f"both {replacing} and {part.id} replace G's loss; leave one")
                loss, replacing = self._of_runs(other, part), part.id
        if loss is None:
            loss = self._of_runs(self.variant.generator_loss(self, batch), self.variant)
        loss = self._scaled(batch, loss)
        for part in self.parts:
            loss = self._of_runs(part.generator_objective(self, batch, loss), part)
        return loss

    def _of_runs(self, loss: Tensor, part: Part) -> Tensor:
        """Make sure that a loss is one number for each run.

        Raises:
            PartError: naming the part that it comes from.
        """
        if not isinstance(loss, Tensor) or loss.shape != (self.runs,):
            raise PartError(
                f"a loss of {part.id!r} {described(loss)}, not the shape ({self.runs},), one "
                "number for each run; run_mean averages over all but the runs"
            )
        return loss

    def _scaled(self, batch: protocols.Batch, loss: Tensor) -> Tensor:
        for part in self.parts:
            if type(part).loss_factor is not Part.loss_factor:
                loss = loss * part.loss_factor(self, batch)
        return loss

    def gradient(self, batch: protocols.Batch, gradient: Tensor) -> Tensor:
        """Return a player's gradient as the parts change it, ``(runs, parameters)``."""
        for part in self.parts:
            gradient = alike(part, "gradient", part.gradient(self, batch, gradient), gradient)
        return gradient

    def latents(self, draws: protocols.Draws, count: int, stream: str = "latent") -> Tensor:
        """Draw latents ``(runs, count, latent)`` by the law that the parts ask for."""
        return self._by_law(draws.normal(stream, count, self.blueprint.latent))

    def _by_law(self, z: Tensor) -> Tensor:
        for part in self.parts:
            z = alike(part, "latents", part.latents(z), z)
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
            theta = alike(part, "evaluated", part.evaluated(self, theta), theta)
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
        same latents, and cells with the same seed share them. Where a class is joined to the
        latents, samples have the classes of :func:`harness.parts.conditions.in_proportion`.

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
            labels = self._labels_of_samples(count + chunk)
            for number, start in enumerate(range(0, count, chunk)):
                # A whole chunk is always made, so that no draw depends on the count.
                draws = Stream(self.streams, stream, number)
                z = self.latents(draws, chunk)
                own = None if labels is None else labels[:, start : start + chunk]
                y = self.condition(draws, own, chunk)
                piece = self.G(z, y, theta=theta, training=False, noise=draws.noise)
                made[:, start : start + chunk] = piece[:, : count - start]
        return made

    def _labels_of_samples(self, count: int) -> Tensor | None:
        if self.class_counts is None or not self.blueprint.generator.condition:
            return None
        line = in_proportion(self.class_counts, count).to(self.data.device)
        return line.expand(self.runs, -1)

    def hidden(self, run: int) -> Callable[[Tensor], dict[str, Tensor]]:
        """Return what shows images to one run's D, as it is now and as if it were alone.

        Args:
            run: By position.

        Returns:
            Maps uint8 images ``(n, channels, height, width)`` to hidden activations by layer,
            ``(n, …)`` each, in evaluation mode and without gradient.
        """
        D = self.D.of([run])

        def show(images: Tensor) -> dict[str, Tensor]:
            with torch.no_grad():
                x = to_unit_range(images.to(self.data.device), self.streams.dtype)
                judgement: Judgement = D(x[None], training=False)
            return {name: layer[0] for name, layer in judgement.features.items()}

        return show

    def answers(self, places: NDArray[np.float64]) -> Tensor | None:
        """Ask every run's D, in evaluation mode, about places as they are.

        Args:
            places: ``(n, dimensions)``.

        Returns:
            What the objective calls D(x), ``(runs, n)``: a probability where it is logistic, else
            the logit. None where D does not judge, or not one example alone.
        """
        plan, D = self.blueprint.discriminator, self.D
        alone = plan.pack == 1 and plan.condition == 0 and plan.minibatch is None
        if self.variant.joint or not alone:
            return None
        x = torch.as_tensor(places, dtype=D.theta.dtype, device=D.theta.device)
        with torch.no_grad():
            logits: Tensor = D(x.expand(self.runs, -1, -1), training=False).logits
        return logits.sigmoid() if self.variant.logistic else logits

    @property
    def estimates_share(self) -> bool:
        """Whether the best answer of D is p / (p + q), the data's share of the density at x.

        So for the logistic objective (Goodfellow et al. 2014, arXiv:1406.2661, proposition 1),
        and for squares with targets 0 and 1, whose boundary is ½ (Mao et al. 2017,
        arXiv:1611.04076, eq. 5). A softmax over several generators counts each of them in full,
        so that its best answer is another.
        """
        single = self.blueprint.discriminator.classes <= 2
        return single and (self.variant.logistic or self.variant.boundary == 0.5)

    def replace_parts(self, variant: Variant, tricks: Sequence[Trick]) -> None:
        """Take stacked parts of another number of runs; the schedule stays."""
        self.variant = variant
        self.parts = [variant, *tricks]


def described(value: object) -> str:
    """Say what something is that should have been another tensor."""
    if isinstance(value, Tensor):
        return f"has the shape {tuple(value.shape)}"
    return f"is {value!r}" if value is None else f"is a {type(value).__name__}"


def alike(part: Part, hook: str, value: Tensor, given: Tensor) -> Tensor:
    """Make sure that a hook returns a tensor of the shape that it was given.

    Raises:
        PartError: naming part and hook.
    """
    if not isinstance(value, Tensor) or value.shape != given.shape:
        raise PartError(
            f"what {part.id!r} returns from `{hook}` {described(value)}, not the shape "
            f"{tuple(given.shape)} of what it is given; column() lines up an option of each run"
        )
    return value
