"""The same training written the ordinary way: one run, plain modules, torch.optim, a loop.

It shares with the program only the networks' definitions, the first weights, the data and the
noise, so that a test can compare every weight after some steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn, optim

from harness.networks.base import Judgement, build_discriminator, build_generator
from harness.networks.dropout import StreamDropout
from harness.parts.blueprint import blueprint_of
from harness.spec import RunSpec
from harness.testing.cells import make_trainer
from harness.training.batch import Batch
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


def penalty_by_example(D: nn.Module, real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    """Compute the mean of (‖∇D(x̂)‖₂ − 1)² one example at a time."""
    total = torch.zeros((), dtype=real.dtype)
    for x, generated, a in zip(real, fake, alpha, strict=True):
        between = (x + a * (generated - x)).unsqueeze(0).requires_grad_()
        (slope,) = torch.autograd.grad(D(between).logits.mean(), between, create_graph=True)
        total = total + ((slope * slope).sum().sqrt() - 1) ** 2
    return total / len(real)


class PlainLoop:
    """Trains one run of a variant without tricks.

    Args:
        spec: The run, in float64.
        recipe: The losses to train with.
    """

    def __init__(self, spec: RunSpec, recipe: Recipe) -> None:
        blueprint = blueprint_of(spec)
        with seeded(spec.seed, "init/generator"):
            self.G = build_generator(blueprint).double()
        with seeded(spec.seed, "init/discriminator"):
            self.D = build_discriminator(blueprint).double()
        self.recipe = recipe
        self.progress = 0.0
        self.optimizer_g = make_optimizer(spec, self.G, spec.settings.lr_g)
        self.optimizer_d = make_optimizer(spec, self.D, spec.settings.lr_d)
        self.rates = [dict(o.param_groups[0]) for o in (self.optimizer_g, self.optimizer_d)]
        self.source = make_trainer([spec]).game
        self.size = (spec.settings.batch, spec.settings.latent)
        self.counters = {"discriminator": 0, "generator": 0}

    def start_step(self, progress: float) -> None:
        """Begin a step of the update schedule."""
        self.progress = progress
        if self.recipe.retune is not None:
            for optimizer, first in zip(
                (self.optimizer_g, self.optimizer_d), self.rates, strict=True
            ):
                self.recipe.retune(optimizer.param_groups[0], first, progress)

    def _judge(self, batch: Batch, y: tuple[Tensor, ...], x: Tensor, label: str) -> Tensor:
        """Ask D, with the masks that its dropout has under a label."""

        def draw(name: str) -> Callable[[StreamDropout, tuple[Tensor, ...]], None]:
            def hook(layer: StreamDropout, inputs: tuple[Tensor, ...]) -> None:
                layer.noise = batch.uniform(f"{label}/{name}.noise", *inputs[0].shape)[0]

            return hook

        hooks = [
            layer.register_forward_pre_hook(draw(name))
            for name, layer in self.D.named_modules()
            if isinstance(layer, StreamDropout)
        ]
        answer = self.recipe.answer(self.D(x, *y))
        for hook in hooks:
            hook.remove()
        return answer

    def _draw(self, phase: Any) -> tuple[Batch, Tensor, tuple[Tensor, ...]]:
        batch = Batch(self.source, phase, self.counters[phase])
        self.counters[phase] += 1
        z = batch.normal("latent", *self.size)[0]
        if not self.recipe.join:
            return batch, z, ()
        assert batch.labels is not None
        assert self.source.classes is not None
        return batch, z, (nn.functional.one_hot(batch.labels[0], self.source.classes).double(),)

    def update_discriminator(self) -> float:
        """Make one update of D and return its loss."""
        batch, z, y = self._draw("discriminator")
        real = batch.real[0]
        fake = self.G(z, *y).detach()
        judge = partial(self._judge, batch, y)
        loss = self.recipe.critic(judge(real, "real"), judge(fake, "fake"))
        if self.recipe.penalty:
            alpha = batch.uniform("penalty", len(real))[0]
            loss = loss + self.recipe.penalty * penalty_by_example(self.D, real, fake, alpha)
        if self.recipe.regularizer is not None:
            update = Update(judge, real, fake, batch, self.progress)
            loss = loss + self.recipe.regularizer(update)
        self.optimizer_d.zero_grad()
        loss.backward()
        self.optimizer_d.step()
        if self.recipe.clip:
            with torch.no_grad():
                for weight in self.D.parameters():
                    weight.copy_(weight.clip(-self.recipe.clip, self.recipe.clip))
        return float(loss.detach())

    def update_generator(self) -> float:
        """Make one update of G and return its loss."""
        batch, z, y = self._draw("generator")
        recipe, judge = self.recipe, partial(self._judge, batch, y)
        if recipe.relative is not None:
            real = judge(batch.real[0], "real")
            loss = recipe.relative(real, judge(self.G(z, *y), "fake"))
        else:
            assert recipe.generator is not None
            loss = recipe.generator(judge(self.G(z, *y), "fake"))
        self.optimizer_g.zero_grad()
        loss.backward()
        self.optimizer_g.step()
        return float(loss.detach())

    def state(self) -> dict[str, Tensor]:
        """Return weights and buffers of both networks by the trainer's names."""
        return {
            f"{player}/{name}": value
            for player, module in (("generator", self.G), ("discriminator", self.D))
            for name, value in module.state_dict().items()
        }
