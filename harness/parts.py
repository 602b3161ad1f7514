"""What variants and tricks are made of: one set of hooks, each of which does nothing by default.

All tensors carry a leading *runs* axis: a batch is ``(runs, batch, …)``, a loss ``(runs,)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, Protocol, Self

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from harness.networks.base import Judgement
from harness.networks.blueprint import Blueprint
from harness.registry import Registry

if TYPE_CHECKING:
    from harness.datasets.base import Dataset
    from harness.spec import RunSpec


class PerRun:
    """Marks an option that may differ between the runs of a cohort."""


Scalar = Annotated[float, PerRun()]
"""A number that does not change the graph: declared as a float, a ``(runs,)`` tensor in a step."""


class Targets(NamedTuple):
    """What the discriminator is taught to answer; broadcastable to ``(runs, batch)``."""

    real: Tensor
    fake: Tensor


@dataclass(frozen=True)
class Schedule:
    """How many updates one step makes.

    Attributes:
        d: Discriminator updates per step, each on fresh data and latents.
        g: Generator updates per step, each on fresh latents.
        boost: Discriminator updates in a boosted step; 0 never boosts.
        boost_first: Steps at the start of training that are boosted.
        boost_every: Every so many steps one is boosted; 0 for none after the start.
    """

    d: int = 1
    g: int = 1
    boost: int = 0
    boost_first: int = 0
    boost_every: int = 0

    def updates(self, step: int) -> tuple[int, int]:
        """Return the discriminator and generator updates of a step, counted from 0."""
        boosted = step < self.boost_first or (self.boost_every > 0 and step % self.boost_every == 0)
        return (self.boost if self.boost and boosted else self.d), self.g

    def totals(self, steps: int) -> tuple[int, int]:
        """Return the discriminator and generator updates of the first so many steps."""
        boosted = 0
        if self.boost:
            boosted = first = min(self.boost_first, steps)
            if self.boost_every:
                boosted += -(-steps // self.boost_every) - -(-first // self.boost_every)
        return steps * self.d + boosted * (self.boost - self.d), steps * self.g


class Network(Protocol):
    """One network of every run of the cohort."""

    @property
    def theta(self) -> Tensor:
        """All parameters, ``(runs, parameters)``."""
        ...


class Game(Protocol):
    """What a part may use of the training in progress."""

    @property
    def G(self) -> Network:
        """The generators."""
        ...

    @property
    def D(self) -> Network:
        """The discriminators."""
        ...

    @property
    def runs(self) -> int:
        """How many runs train together."""
        ...

    def judge(self, x: Tensor, batch: Batch, /) -> Judgement:
        """Show a batch ``(runs, batch, …)`` to D as the parts let it be seen."""
        ...

    def judge_raw(self, x: Tensor, /) -> Judgement:
        """Show a batch to D as it is."""
        ...

    def targets(self, batch: Batch, /) -> Targets:
        """Return the targets after every part has had its say."""
        ...


class Batch(Protocol):
    """What one update sees. Each thing is made when first asked for, and once."""

    @property
    def phase(self) -> Literal["discriminator", "generator"]:
        """Whose update it is."""
        ...

    @property
    def real(self) -> Tensor:
        """Real data, ``(runs, batch, …)``, images in [−1, 1]; fresh for every update."""
        ...

    @property
    def fake(self) -> Tensor:
        """Generated data; carries gradient to G in a generator update only."""
        ...

    @property
    def judged_real(self) -> Judgement:
        """D's answer to the real data; without gradient to D's weights in a generator update."""
        ...

    @property
    def judged_fake(self) -> Judgement:
        """D's answer to the generated data."""
        ...

    def uniform(self, stream: str, /, *shape: int) -> Tensor:
        """Draw U[0, 1) of ``(runs, *shape)`` from the run's own stream of that name."""
        ...

    def normal(self, stream: str, /, *shape: int) -> Tensor:
        """Draw N(0, 1) of ``(runs, *shape)`` from the run's own stream of that name."""
        ...


@dataclass(frozen=True)
class Context:
    """What a part may look at to decide whether it applies to a cell."""

    dataset: Dataset
    variant: Variant
    tricks: tuple[Trick, ...]
    network: str
    """Id of the network family that the settings name."""


class Part(BaseModel):
    """A variant or a trick: its options are its fields, its effects are the hooks it overrides."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True
    )

    id: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]

    def inapplicable(self, context: Context) -> str | None:
        """Say why this part cannot be used in a cell, or None where it can."""
        return None

    def build(self, blueprint: Blueprint) -> Blueprint:
        """Change how the networks are built."""
        return blueprint

    def schedule(self, schedule: Schedule) -> Schedule:
        """Change how many updates a step makes."""
        return schedule

    def show(self, game: Game, x: Tensor, batch: Batch) -> Tensor:
        """Change what D is shown, real and generated data alike."""
        return x

    def targets(self, game: Game, batch: Batch, targets: Targets) -> Targets:
        """Change what D is taught to answer."""
        return targets

    def discriminator_term(self, game: Game, batch: Batch) -> Tensor | None:
        """Return a term ``(runs,)`` to add to D's loss, or None."""
        return None

    def generator_objective(self, game: Game, batch: Batch, loss: Tensor) -> Tensor:
        """Replace G's loss ``(runs,)``, or add to it."""
        return loss

    def after_discriminator_update(self, game: Game) -> None:
        """Act on D's weights after each of its updates."""

    @classmethod
    def scalar_fields(cls) -> list[str]:
        """Name the options that may differ between the runs of a cohort."""
        return [
            name
            for name, field in cls.model_fields.items()
            if any(isinstance(mark, PerRun) for mark in field.metadata)
        ]

    @classmethod
    def stacked(cls, parts: Sequence[Self], **tensor: Any) -> Self:
        """Merge the same part of several runs: scalar options become ``(runs,)`` tensors.

        Args:
            parts: One per run, equal but for their scalar options.
            tensor: ``device`` and ``dtype`` of the tensors.
        """
        values: dict[str, Any] = {name: getattr(parts[0], name) for name in cls.model_fields}
        for name in cls.scalar_fields():
            values[name] = torch.tensor([getattr(part, name) for part in parts], **tensor)
        return cls.model_construct(**values)


class Recipe(NamedTuple):
    """A variant's reference settings, used where a suite says nothing."""

    optimizer: Literal["adam", "rmsprop", "sgd"] = "adam"
    lr_g: float = 2e-4
    lr_d: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999


class Variant(Part):
    """A named recipe: objective, networks, optimisers and update schedule.

    Most variants give the two formulas on logits and inherit the rest.
    """

    recipe: ClassVar[Recipe] = Recipe()
    networks: ClassVar[dict[str, str]] = {"points": "toy2d", "images": "dcgan"}
    """Network family by kind of data; a suite's ``network`` goes before it."""
    has_targets: ClassVar[bool] = False
    """Whether D is taught target values, which label smoothing could change."""
    boundary: ClassVar[float | None] = 0.0
    """The logit above which D takes an example for real, by which its accuracy is counted; None
    for a critic, whose zero lies anywhere."""
    logistic: ClassVar[bool] = False
    """Whether D's answer is a probability, the logit's sigmoid."""

    def real_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """D's loss on real data, element by element."""
        raise NotImplementedError

    def fake_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """D's loss on generated data, element by element."""
        raise NotImplementedError

    def fooling_loss(self, logits: Tensor) -> Tensor:
        """G's loss on D's logits for generated data, element by element."""
        raise NotImplementedError

    def discriminator_loss(self, game: Game, batch: Batch) -> Tensor:
        """D's loss ``(runs,)``: the mean over each run's batch, real and generated apart."""
        real, fake = batch.judged_real.logits, batch.judged_fake.logits
        target = game.targets(batch)
        return run_mean(self.real_loss(real, like(target.real, real))) + run_mean(
            self.fake_loss(fake, like(target.fake, fake))
        )

    def generator_loss(self, game: Game, batch: Batch) -> Tensor:
        """G's loss ``(runs,)``."""
        return run_mean(self.fooling_loss(batch.judged_fake.logits))


class Trick(Part):
    """A named modification laid over a variant."""


def column(scalar: float | Tensor) -> float | Tensor:
    """Line a scalar option up with the batch: ``(runs,)`` to ``(runs, 1)``; a float stays one."""
    return scalar[:, None] if isinstance(scalar, Tensor) else scalar


def run_mean(values: Tensor) -> Tensor:
    """Average over everything but the runs axis: ``(runs, …)`` to ``(runs,)``."""
    return values.flatten(1).mean(1)


def like(target: Tensor, logits: Tensor) -> Tensor:
    """Stretch targets ``(runs, batch)`` over a map of logits ``(runs, batch, …)``."""
    return target.reshape(target.shape + (1,) * (logits.ndim - target.ndim)).expand_as(logits)


variants: Registry[Variant] = Registry("variant", "harness.variants")
tricks: Registry[Trick] = Registry("trick", "harness.tricks")


def parts_of(spec: RunSpec) -> tuple[Variant, list[Trick]]:
    """Make the variant and the tricks that a spec describes, the tricks in their order."""
    variant = variants.get(spec.variant.id).model_validate(spec.variant.options)
    return variant, [tricks.get(t.id).model_validate(t.options) for t in spec.tricks]


def schedule_of(parts: Iterable[Part]) -> Schedule:
    """Return the update schedule after every part has had its say."""
    schedule = Schedule()
    for part in parts:
        schedule = part.schedule(schedule)
    return schedule
