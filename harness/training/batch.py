"""What one update of a cohort sees: real and generated data, and D's answers to them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable
from functools import cached_property

import torch
from torch import Tensor

from harness.datasets.base import to_unit_range
from harness.errors import PartError
from harness.networks.base import Judgement
from harness.parts import protocols
from harness.training.game import Game, Phase, described
from harness.training.inputs import EagerInputs
from harness.training.stack import Noise


class Batch:
    """What one update sees; each thing is made when first asked for, and once.

    What each is stands in :class:`harness.parts.protocols.Batch`.

    Args:
        game: The players.
        phase: Whose update it is.
        inputs: What differs from one update to the next; a number makes everything when it is
            asked for, counted from 0 since the start of training for each player.
    """

    def __init__(self, game: Game, phase: Phase, inputs: protocols.Inputs | int) -> None:
        self.game = game
        self.phase: Phase = phase
        self._drawn_for: Phase = phase
        self._ahead = 0
        self.size = game.sizes[phase]
        self._inputs = EagerInputs(inputs) if isinstance(inputs, int) else inputs

    def input(self, key: Hashable, produce: Callable[[int], Tensor]) -> Tensor:
        return self._inputs.input(key, produce)

    def every(self, count: int, offset: int = 0) -> bool:
        if self._ahead and count > 1:
            raise PartError(
                f"what is done in one of {count} updates of D cannot be foreseen: leave out "
                "unrolled, or do it in every update"
            )
        return self._inputs.every(count, offset)

    def number(self, name: str, of: Callable[[int], float]) -> Tensor:
        game, ahead = self.game, self._ahead
        dtype, device = game.streams.dtype, game.data.device

        def produce(counter: int) -> Tensor:
            if ahead:
                counter = game.optimizer_d.updates + ahead - 1
            return torch.full((), of(counter), dtype=dtype, device=device)

        return self.input(("number", name, ahead), produce)

    def uniform(self, stream: str, *shape: int) -> Tensor:
        streams, name = self.game.streams, f"{self._drawn_for}/{stream}"
        return self.input(
            ("uniform", name, shape), lambda counter: streams.uniform(name, counter, shape)
        )

    def normal(self, stream: str, *shape: int) -> Tensor:
        streams, name = self.game.streams, f"{self._drawn_for}/{stream}"
        return self.input(
            ("normal", name, shape), lambda counter: streams.normal(name, counter, shape)
        )

    def noise(self, layer: str, shape: tuple[int, ...]) -> Tensor:
        """Draw the noise of a dropout layer."""
        return self.uniform(layer, *shape)

    @cached_property
    def real(self) -> Tensor:
        game = self.game
        examples = game.data.batch(game.orders[self._drawn_for], game.streams, self)
        dtype = game.streams.dtype
        if examples.dtype == torch.uint8:
            return to_unit_range(examples, dtype)
        return examples.to(dtype)

    @cached_property
    def labels(self) -> Tensor | None:
        game = self.game
        if game.labels is None:
            return None
        order = game.orders[self._drawn_for]
        return game.data.labels(game.labels, order, game.streams, self)

    @cached_property
    def latents(self) -> Tensor:
        return self.game.latents(self, self.size)

    @cached_property
    def condition(self) -> Tensor | None:
        return self.game.condition(self, self.labels, self.size)

    @cached_property
    def fake(self) -> Tensor:
        return self._generate(self.latents, self.noise)

    def generate(self, z: Tensor, label: str) -> Tensor:
        return self._generate(z, self._labelled(label))

    def _generate(self, z: Tensor, noise: Noise) -> Tensor:
        with torch.set_grad_enabled(self._drawn_for == "generator"):
            made: Tensor = self.game.G(z, self.condition, noise=noise)
        return made

    def _labelled(self, label: str) -> Noise:
        return lambda layer, shape: self.noise(f"{label}/{layer}", shape)

    def show(self, x: Tensor, label: str) -> Tensor:
        for part in self.game.parts:
            x = part.show(self.game, x, self, label)
            if not isinstance(x, Tensor) or len(x) != self.game.runs:
                raise PartError(
                    f"what {part.id!r} returns from `show` {described(x)}, not a batch of "
                    f"{self.game.runs} runs"
                )
        return x

    @cached_property
    def shown_real(self) -> Tensor:
        return self.show(self.real, "real")

    @cached_property
    def shown_fake(self) -> Tensor:
        return self.show(self.fake, "fake")

    @cached_property
    def opponent(self) -> Tensor | None:
        theta = own = self.game.D.theta
        if self._drawn_for == "generator":
            for part in self.game.parts:
                theta = part.opponent(self.game, self, theta)
        return None if theta is own else theta

    def against(self, theta: Tensor, ahead: int) -> Batch:
        _ = self.shown_real, self.shown_fake  # made once, for all of them
        other = copy.copy(self)
        other.phase = "discriminator"
        other._ahead = ahead
        for judged in ("judged_real", "judged_fake", "_together"):
            other.__dict__.pop(judged, None)
        other.__dict__["opponent"] = theta
        return other

    def judge(self, x: Tensor, label: str) -> Judgement:
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
        if self._together is not None:
            return self._together[0]
        # In a generator update D's answer to real data depends on nothing that is trained,
        # unless G trains against weights that follow from its own, or trains D too.
        depends = self.opponent is not None or self.game.variant.joint
        with torch.set_grad_enabled(self.phase == "discriminator" or depends):
            return self.judge(self.shown_real, "real")

    @cached_property
    def judged_fake(self) -> Judgement:
        if self._together is not None:
            return self._together[1]
        return self.judge(self.shown_fake, "fake")
