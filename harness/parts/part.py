"""What variants and tricks are made of: one set of hooks, each of which does nothing by default.

All tensors carry a leading *runs* axis: a batch is ``(runs, batch, …)``, a loss ``(runs,)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, TypeVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from harness.datasets.base import Dataset
from harness.errors import PartError
from harness.networks.base import Judgement, structure, unsupported
from harness.networks.blueprint import Blueprint
from harness.parts.conditions import Condition
from harness.parts.protocols import Batch, Draws, Game, Targets
from harness.registry import Registry
from harness.spec import DatasetSpec, PerRun, RunSpec, Settings, per_run_fields

Plan = TypeVar("Plan", Blueprint, "Schedule")

Scalar = Annotated[float, PerRun()]
"""A number that does not change the graph: declared as a float, a ``(runs,)`` tensor in a step."""


@dataclass(frozen=True)
class Schedule:
    """How many updates one step makes.

    Attributes:
        d: Discriminator updates per step, each on fresh data and latents.
        g: Generator updates per step, each on fresh latents; with d = 0, the only ones.
        boost: Discriminator updates in a boosted step; 0 never boosts.
        boost_first: Steps at the start of training that are boosted.
        boost_every: Every so many steps one is boosted; 0 for none after the start.
        g_batch: A generator update's batch, as a multiple of the batch.
    """

    d: int = 1
    g: int = 1
    boost: int = 0
    boost_first: int = 0
    boost_every: int = 0
    g_batch: int = 1

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


class Rates(NamedTuple):
    """What the optimisers go by in one step: ``(runs, 1)`` each."""

    lr_g: Tensor
    lr_d: Tensor
    beta1: Tensor
    beta2: Tensor


@dataclass(frozen=True)
class Context:
    """What a part may look at to decide whether it applies to a cell."""

    dataset: Dataset
    variant: Variant
    tricks: tuple[Trick, ...]
    settings: Settings
    """All of the cell's settings, ``network`` by its full id."""

    @property
    def network(self) -> str:
        """Id of the network family."""
        return self.settings.network

    @property
    def plain(self) -> Blueprint:
        """The plan of both networks before any part has had its say."""
        return plain_blueprint(self.settings, self.dataset)

    def planned(self, *, without: Part | None = None) -> Blueprint:
        """Return how the networks will be built, but for what one part changes."""
        parts = (self.variant, *self.tricks)
        return laid_over(self.plain, [part for part in parts if part is not without])

    def rebuilds(self, part: Part) -> bool:
        """Whether the networks have another layer than they would have without a part."""
        before, after = self.planned(without=part), self.planned()
        if unsupported(before) or unsupported(after):
            return True  # for which such a cell is refused anyway
        return structure(before) != structure(after)

    def overwritten(self, part: Part) -> bool:
        """Whether other parts put something else in the place of all that one builds in a network.

        Then a trick would be named in the results of networks that do not have it.
        """
        below = self.plain if part is self.variant else laid_over(self.plain, [self.variant])
        alone = laid_over(below, [part])
        with_it, without = self.planned(), self.planned(without=part)
        return any(
            getattr(alone, player) != getattr(below, player)
            and getattr(with_it, player) == getattr(without, player)
            for player in ("generator", "discriminator")
        )


class Part(BaseModel):
    """A variant or a trick: its options are its fields, its effects are the hooks it overrides."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True
    )

    id: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    watched: ClassVar[tuple[str, ...]] = ()
    """Names of the diagnostics that :meth:`watch` gives."""
    penalises_gradient: ClassVar[bool] = False
    """Whether it puts a derivative of D by its input into D's loss."""
    judges_more: ClassVar[bool] = False
    """Whether it lets D judge more than the real and the generated data of a batch."""
    only_remembers: ClassVar[bool] = False
    """Whether :meth:`after_discriminator_update` changes nothing but what the part remembers. It
    then comes after those of other parts, which may change D's weights."""

    def inapplicable(self, context: Context) -> str | None:
        """Say why this part cannot be used in a cell, or None where it can."""
        return None

    def build(self, blueprint: Blueprint) -> Blueprint:
        """Change how the networks are built."""
        return blueprint

    def schedule(self, schedule: Schedule) -> Schedule:
        """Change how many updates a step makes."""
        return schedule

    def rates(self, rates: Rates, progress: float) -> Rates:
        """Change learning rates and decays, before each step; progress goes from 0 to 1."""
        return rates

    def remember(self, game: Game) -> dict[str, Tensor]:
        """Return what the part remembers of each run when training starts, ``(runs, …)`` each.

        It lies in ``game.memory`` under the part's id: state like weights, kept with its run,
        saved, loaded and replayed.
        """
        return {}

    def latents(self, z: Tensor) -> Tensor:
        """Change the law of the latents, which come from N(0, 1)."""
        return z

    def condition(self, game: Game, draws: Draws, labels: Tensor | None, count: int) -> Any:
        """Return what is joined to z, ``(runs, count, condition)``, or None for nothing.

        Args:
            game: The players.
            draws: Where to draw from.
            labels: Classes of the real data in the batch, int64 ``(runs, count)``; of samples,
                classes by the shares of the data that they are compared with. None without labels.
            count: Examples of each run.
        """
        return None

    def show(self, game: Game, x: Tensor, batch: Batch, label: str) -> Tensor:
        """Change what D is shown, real and generated data alike; the label says which."""
        return x

    def judgements(self, game: Game, batch: Batch) -> tuple[Judgement, Judgement] | None:
        """Judge the real and the generated data of a batch together; None to judge them apart."""
        return None

    def targets(self, game: Game, batch: Batch, targets: Targets) -> Targets:
        """Change what D is taught to answer."""
        return targets

    def replaced_generator_loss(self, game: Game, batch: Batch) -> Tensor | None:
        """Return another loss for G in place of the variant's, ``(runs,)``; None to leave it.

        One part of a cell may. What is added to G's loss is added to this one, so that no order
        of parts can lose a term.
        """
        return None

    def loss_factor(self, game: Game, batch: Batch) -> float:
        """Return what a player's own loss is multiplied by, before parts add to it."""
        return 1.0

    def discriminator_objective(self, game: Game, batch: Batch, loss: Tensor) -> Tensor:
        """Add to D's loss ``(runs,)``."""
        return loss

    def opponent(self, game: Game, batch: Batch, theta: Tensor) -> Tensor:
        """Change the weights of D that a generator update plays against."""
        return theta

    def generator_objective(self, game: Game, batch: Batch, loss: Tensor) -> Tensor:
        """Add to G's loss ``(runs,)``; to replace it is for :meth:`replaced_generator_loss`."""
        return loss

    def gradient(self, game: Game, batch: Batch, gradient: Tensor) -> Tensor:
        """Change a player's gradient ``(runs, parameters)`` before its optimiser sees it."""
        return gradient

    def after_discriminator_update(self, game: Game, batch: Batch) -> None:
        """Act after each update of D, without gradient."""

    def after_generator_update(self, game: Game, batch: Batch) -> None:
        """Act after each update of G, without gradient."""

    def watch(self, game: Game, batch: Batch) -> tuple[Tensor, ...]:
        """Measure each update of D, ``(runs,)`` for each name in ``watched``.

        Where both networks learn in the same update, each of those.
        """
        return ()

    def remark(self, shape: tuple[int, ...]) -> str | None:
        """Say in a phrase what follows from the options on examples of a shape, or None."""
        return None

    def evaluated(self, game: Game, theta: Tensor) -> Tensor:
        """Change the weights of G, ``(runs, parameters)``, that samples are measured by."""
        return theta

    @classmethod
    def scalar_fields(cls) -> list[str]:
        """Name the options that may differ between the runs of a cohort."""
        return per_run_fields(cls)

    @classmethod
    def stacked(cls, parts: Sequence[Self], **tensor: Any) -> Self:
        """Merge the same part of several runs: scalar options become ``(runs,)`` tensors.

        Args:
            parts: One per run, equal but for their scalar options; where one is None, all are.
            tensor: ``device`` and ``dtype`` of the tensors.
        """
        values: dict[str, Any] = {name: getattr(parts[0], name) for name in cls.model_fields}
        for name in cls.scalar_fields():
            if values[name] is not None:
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
    networks: ClassVar[dict[str, str]] = {"points": "toy2d-norm", "images": "dcgan"}
    """Network family by kind of data; a suite's ``network`` goes before it."""
    needs: ClassVar[str] = ""
    """What it needs to learn ring8, grid25 and digits beside its defaults; empty: nothing."""
    has_targets: ClassVar[bool] = False
    """Whether D is taught target values, which label smoothing could change."""
    boundary: ClassVar[float | None] = 0.0
    """The logit above which D takes an example for real, by which its accuracy is counted; None
    for a critic, whose zero lies anywhere."""
    logistic: ClassVar[bool] = False
    """Whether D's answer is a probability, the logit's sigmoid."""
    joint: ClassVar[bool] = False
    """Whether a generator update trains both networks on G's loss, as an auto-encoder's does."""
    adversarial: ClassVar[bool] = True
    """Whether D and G play against each other."""

    def joins(self, classes: int | None) -> Condition:
        """Say what is joined to z, of which a user may ask for values when sampling.

        Args:
            classes: Labelled classes of the data set; None without labels.
        """
        return Condition()

    def condition(self, game: Game, draws: Draws, labels: Tensor | None, count: int) -> Any:
        """Draw what :meth:`joins` describes, with the labels where there are any."""
        described = self.joins(game.classes)
        if not described.size:
            return None
        return described.draw(draws, labels, count, game.G.theta.dtype)

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

    needs_adversary: ClassVar[bool] = True
    """Whether it acts on the game of D against G, or on D's answers."""


def refused(part: Part, context: Context) -> str | None:
    """Say why a part cannot be used in a cell, or None where it can."""
    variant = context.variant
    if isinstance(part, Trick) and part.needs_adversary and not variant.adversarial:
        return f"{part.id} acts on the game of two players; {variant.id} has no adversary"
    reason = part.inapplicable(context)
    if reason is None and isinstance(part, Trick) and context.overwritten(part):
        return f"what {part.id} builds is built otherwise by another trick; leave one of them out"
    return reason


def column(scalar: float | Tensor) -> float | Tensor:
    """Line a scalar option up with the batch: ``(runs,)`` to ``(runs, 1)``; a float stays one."""
    return scalar[:, None] if isinstance(scalar, Tensor) else scalar


def run_mean(values: Tensor) -> Tensor:
    """Average over everything but the runs axis: ``(runs, …)`` to ``(runs,)``."""
    return values.flatten(1).mean(1)


def like(target: Tensor, logits: Tensor) -> Tensor:
    """Stretch targets ``(runs, batch)`` over a map of logits ``(runs, batch, …)``."""
    return target.reshape(target.shape + (1,) * (logits.ndim - target.ndim)).expand_as(logits)


variants: Registry[Variant] = Registry("variant")
tricks: Registry[Trick] = Registry("trick")


def parts_of(spec: RunSpec) -> tuple[Variant, list[Trick]]:
    """Make the variant and the tricks that a spec describes, the tricks in their order."""
    variant = variants.get(spec.variant.id).model_validate(spec.variant.options)
    return variant, [tricks.get(t.id).model_validate(t.options) for t in spec.tricks]


def all_parts(spec: RunSpec) -> list[Part]:
    """Make the variant and then the tricks that a spec describes."""
    variant, laid_over = parts_of(spec)
    return [variant, *laid_over]


def remarks(spec: RunSpec) -> list[str]:
    """List what follows from a run's data and from the options and the order of its parts."""
    parts = all_parts(spec)
    said = [part.remark(spec.dataset.shape) for part in parts]
    showing = [part.id for part in parts if type(part).show is not Part.show]
    if len(showing) > 1:
        said.append(f"{', then '.join(showing)} change what D sees, in this order")
    asking = [part.id for part in parts[1:] if part.judges_more or part.penalises_gradient]
    if len(asking) > 1 and is_spectral(spec, parts):
        said.append(
            f"{', then '.join(asking)} ask D in this order, and each time the power iteration of "
            "its spectral norms moves on"
        )
    return [remark for remark in said if remark is not None]


def is_spectral(spec: RunSpec, parts: Iterable[Part]) -> bool:
    """Whether a run's D has its weights divided by their largest singular values."""
    plan = laid_over(plain_blueprint(spec.settings, spec.dataset), parts)
    return plan.discriminator.spectral_norm


def schedule_of(parts: Iterable[Part]) -> Schedule:
    """Return the update schedule after every part has had its say.

    Raises:
        PartError: naming the part that fails, or returns something else.
    """
    schedule = Schedule()
    for part in parts:
        schedule = ask(part, "schedule", schedule)
    return schedule


def plain_blueprint(settings: Settings, data: Dataset | DatasetSpec) -> Blueprint:
    """Return the plan of both networks by the settings alone."""
    return Blueprint.plain(
        settings.network, settings.width, settings.latent, data.shape, data.classes, settings.batch
    )


def laid_over(blueprint: Blueprint, parts: Iterable[Part]) -> Blueprint:
    """Return the plan of both networks after every part has had its say, in their order.

    Raises:
        PartError: naming the part that fails, or returns something else.
    """
    for part in parts:
        blueprint = ask(part, "build", blueprint)
    return blueprint


def ask(part: Part, hook: Literal["build", "schedule"], plan: Plan) -> Plan:
    """Let a part change the networks' plan or the schedule.

    Raises:
        PartError: naming the part, if it fails or returns something else.
    """
    try:
        changed: Plan = getattr(part, hook)(plan)
    except (Exception, SystemExit) as error:
        raise PartError(f"{part.id!r} failed when it was laid over: {error!r}") from error
    if not isinstance(changed, type(plan)):
        raise PartError(
            f"{part.id!r} must return a {type(plan).__name__} from `{hook}`, "
            f"not {type(changed).__name__}"
        )
    return changed
