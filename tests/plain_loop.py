"""The same training written the ordinary way: one run, plain modules, torch.optim, a loop.

It shares with the program the networks' definitions, the first weights and the order of updates.
Given the program's own data and noise (:class:`Paired`) it must reach the same weights, which tests
compare; given those of a training script, benchmarks race it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.nn.functional import one_hot

from harness.networks.base import Judgement, build_discriminator, build_generator
from harness.networks.dropout import StreamDropout
from harness.parts import all_parts, schedule_of
from harness.parts.blueprint import blueprint_of
from harness.parts.precision import DTYPES
from harness.spec import RunSpec
from harness.training.batch import Batch
from harness.training.game import Game, Phase
from harness.training.streams import seeded

Loss = Callable[[Tensor, Tensor], Tensor]
"""Maps logits of a real and of a generated batch, ``(batch,)`` or maps, to a scalar loss."""


@dataclass(frozen=True)
class Recipe:
    """A variant as its paper states it.

    Attributes:
        critic: D's loss.
        generator: G's loss on D's logits for generated data.
        relative: G's loss on D's logits for real and generated data, in place of ``generator``.
        penalty: Weight of the gradient penalty; 0 for none.
        clip: Bound of D's weights after each update; 0 for none.
        join: Whether both networks get the class as one-hot.
        regularizer: What else is added to D's loss.
        retune: Changes an optimiser's rates, given the share of training that is done and what
            they were at the start.
        answer: What of D's judgement the losses are about.
    """

    critic: Loss
    generator: Callable[[Tensor], Tensor] | None = None
    relative: Loss | None = None
    penalty: float = 0.0
    clip: float = 0.0
    join: bool = False
    regularizer: Callable[[Update], Tensor] | None = None
    retune: Callable[[dict[str, Any], dict[str, Any], float], None] | None = None
    answer: Callable[[Judgement], Tensor] = lambda judgement: judgement.logits


def softplus(t: Tensor) -> Tensor:
    """Return log(1 + eᵗ), for logits that are not large."""
    return torch.log1p(torch.exp(t))


BY_CROSS_ENTROPY = Recipe(
    lambda r, f: softplus(-r).mean() + softplus(f).mean(), lambda f: softplus(-f).mean()
)
BY_DISTANCE = Recipe(lambda r, f: f.mean() - r.mean(), lambda f: -f.mean())
PLAIN_RECIPES = {
    "gan": BY_CROSS_ENTROPY,
    "dcgan": BY_CROSS_ENTROPY,
    "lsgan": Recipe(
        lambda r, f: 0.5 * ((r - 1) ** 2).mean() + 0.5 * (f**2).mean(),
        lambda f: 0.5 * ((f - 1) ** 2).mean(),
    ),
    "wgan": replace(BY_DISTANCE, clip=0.01),
    "wgan-gp": replace(BY_DISTANCE, penalty=10.0),
    "sngan": Recipe(
        lambda r, f: (1 - r).clip(min=0).mean() + (1 + f).clip(min=0).mean(), lambda f: -f.mean()
    ),
}
"""By variant, those that need no more than a loss for each player, a penalty or a bound."""


@dataclass(frozen=True)
class Drawn:
    """What an update draws.

    Attributes:
        latents: ``(batch, latent)``.
        real: Real data, ``(batch, …)``; None where a generator's update needs none.
        between: A number in [0, 1) per example, for a penalty's point between.
        classes: What both networks are told beside their input: one-hot classes, or nothing.
        batch: Where the program draws more for this update; None where nobody draws like it.
    """

    latents: Tensor
    real: Tensor | None = None
    between: Tensor | None = None
    classes: tuple[Tensor, ...] = ()
    batch: Batch | None = None


Source = Callable[[Phase], Drawn]
"""Draws for one update of a player after the other."""


class Paired:
    """Draws what the first run of a cohort draws.

    Args:
        game: The cohort's.
        join: Whether both networks are told the class.
    """

    def __init__(self, game: Game, *, join: bool = False) -> None:
        self.game, self.join = game, join
        self.updates: Counter[Phase] = Counter()

    def __call__(self, phase: Phase) -> Drawn:
        batch = Batch(self.game, phase, self.updates[phase])
        self.updates[phase] += 1
        latents, real = batch.normal("latent", *batch.latents.shape[1:])[0], batch.real[0]
        classes: tuple[Tensor, ...] = ()
        if self.join:
            assert batch.labels is not None and self.game.classes is not None
            classes = (one_hot(batch.labels[0], self.game.classes).to(latents.dtype),)
        between = batch.uniform("penalty", len(real))[0]
        return Drawn(latents, real, between, classes, batch)


@dataclass(frozen=True)
class Update:
    """What a regulariser may use of an update of D.

    Attributes:
        judge: Gives D's logits for a batch; the label names the draws of its dropout.
        real: Real data, ``(batch, …)``.
        fake: Generated data.
        batch: Where to draw noise from.
        progress: The share of training that is done.
    """

    judge: Callable[[Tensor, str], Tensor]
    real: Tensor
    fake: Tensor
    batch: Batch
    progress: float


def make_optimizer(spec: RunSpec, module: nn.Module, lr: float) -> optim.Optimizer:
    """Make torch's own optimiser for a spec's settings."""
    settings = spec.settings
    if settings.optimizer == "adam":
        return optim.Adam(module.parameters(), lr, betas=(settings.beta1, settings.beta2))
    if settings.optimizer == "rmsprop":
        return optim.RMSprop(module.parameters(), lr, alpha=settings.beta2)
    return optim.SGD(module.parameters(), lr, momentum=settings.beta1)


def slopes_by_example(judge: Callable[[Tensor], Tensor], points: Tensor) -> list[Tensor]:
    """Differentiate the logit of each example by the example, one at a time."""
    slopes = []
    for x in points:
        example = x.unsqueeze(0).clone().requires_grad_()
        (slope,) = torch.autograd.grad(judge(example).mean(), example, create_graph=True)
        slopes.append(slope)
    return slopes


class PlainLoop:
    """Trains one run of a variant without tricks.

    Args:
        spec: The run.
        source: Draws data and noise.
        recipe: The losses to train with; by default the variant's plain ones.
        device: Where to compute.
    """

    def __init__(
        self,
        spec: RunSpec,
        source: Source,
        recipe: Recipe | None = None,
        device: torch.device = torch.device("cpu"),  # noqa: B008 - it is not changed
    ) -> None:
        if spec.tricks:
            raise ValueError("the plain loop knows no tricks")
        self.recipe = PLAIN_RECIPES[spec.variant.id] if recipe is None else recipe
        self.source = source
        blueprint, dtype = blueprint_of(spec), DTYPES[spec.settings.precision]
        with seeded(spec.random_seed, "init/generator"):
            self.G = build_generator(blueprint).to(device, dtype)
        with seeded(spec.random_seed, "init/discriminator"):
            self.D = build_discriminator(blueprint).to(device, dtype)
        self.optimizer_g = make_optimizer(spec, self.G, spec.settings.lr_g)
        self.optimizer_d = make_optimizer(spec, self.D, spec.settings.lr_d)
        self.rates = [dict(o.param_groups[0]) for o in (self.optimizer_g, self.optimizer_d)]
        self.penalty_weight = spec.variant.options.get("penalty_weight", self.recipe.penalty)
        self.clip = spec.variant.options.get("clip", self.recipe.clip)
        self.schedule = schedule_of(all_parts(spec))
        self._dropouts = {
            layer: name
            for name, layer in self.D.named_modules()
            if isinstance(layer, StreamDropout)
        }
        self.steps, self.step = spec.settings.steps, 0

    def train_step(self) -> tuple[list[float], list[float]]:
        """Make one round of the update schedule; return the losses of D and of G."""
        if self.recipe.retune is not None:
            for optimizer, first in zip(
                (self.optimizer_g, self.optimizer_d), self.rates, strict=True
            ):
                self.recipe.retune(optimizer.param_groups[0], first, self.step / self.steps)
        d_updates, g_updates = self.schedule.updates(self.step)
        d_losses = [self.update_discriminator() for _ in range(d_updates)]
        g_losses = [self.update_generator() for _ in range(g_updates)]
        self.step += 1
        return d_losses, g_losses

    def _judge(self, drawn: Drawn, x: Tensor, label: str) -> Tensor:
        """Ask D, with the masks that its dropout has under a label."""
        with ExitStack() as hooks:
            for layer, name in self._dropouts.items() if drawn.batch is not None else ():
                draw = partial(drawn.batch.uniform, f"{label}/{name}.noise")

                def hook(
                    layer: StreamDropout, inputs: tuple[Tensor, ...], draw: Any = draw
                ) -> None:
                    layer.noise = draw(*inputs[0].shape)[0]

                hooks.callback(layer.register_forward_pre_hook(hook).remove)
            return self.recipe.answer(self.D(x, *drawn.classes))

    def update_discriminator(self) -> float:
        """Make one update of D and return its loss."""
        drawn, recipe = self.source("discriminator"), self.recipe
        assert drawn.real is not None
        self.optimizer_d.zero_grad()
        fake = self.G(drawn.latents, *drawn.classes).detach()
        judge = partial(self._judge, drawn)
        loss = recipe.critic(judge(drawn.real, "real"), judge(fake, "fake"))
        if recipe.penalty:
            loss = loss + self.penalty_weight * self.penalty(drawn, fake)
        if recipe.regularizer is not None:
            assert drawn.batch is not None
            update = Update(judge, drawn.real, fake, drawn.batch, self.step / self.steps)
            loss = loss + recipe.regularizer(update)
        loss.backward()
        self.optimizer_d.step()
        if recipe.clip:
            with torch.no_grad():
                for weight in self.D.parameters():
                    weight.clamp_(-self.clip, self.clip)
        return loss.item()

    def penalty(self, drawn: Drawn, fake: Tensor) -> Tensor:
        """Return the mean of (‖∇D(x̂)‖₂ − 1)² between real and generated data."""
        real, between = drawn.real, drawn.between
        assert real is not None and between is not None
        share = between.view(-1, *[1] * (real.ndim - 1))
        x = (real + share * (fake - real)).requires_grad_()
        (slope,) = torch.autograd.grad(self.D(x).logits.sum(), x, create_graph=True)
        return ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()

    def update_generator(self) -> float:
        """Make one update of G and return its loss."""
        drawn, recipe = self.source("generator"), self.recipe
        self.optimizer_g.zero_grad()
        judge = partial(self._judge, drawn)
        if recipe.relative is not None:
            assert drawn.real is not None
            real = judge(drawn.real, "real")
            loss = recipe.relative(real, judge(self.G(drawn.latents, *drawn.classes), "fake"))
        else:
            assert recipe.generator is not None
            loss = recipe.generator(judge(self.G(drawn.latents, *drawn.classes), "fake"))
        loss.backward()
        self.optimizer_g.step()
        return loss.item()

    def state(self) -> dict[str, Tensor]:
        """Return weights and buffers of both networks by the trainer's names."""
        return {
            f"{player}/{name}": value
            for player, module in (("generator", self.G), ("discriminator", self.D))
            for name, value in module.state_dict().items()
        }
