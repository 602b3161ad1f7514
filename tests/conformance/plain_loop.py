"""The same training written the ordinary way: one run, plain modules, torch.optim, a loop.

It shares with the program only the networks' definitions, the first weights, the data and the
noise, so that a test can compare every weight after some steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn, optim

from harness.networks.base import build_discriminator, build_generator
from harness.spec import RunSpec
from harness.training.game import Batch
from harness.training.streams import seeded
from harness.training.trainer import blueprint_of
from tests.conformance.cells import make_trainer

CriticLoss = Callable[[Tensor, Tensor], Tensor]
"""Maps logits of a real and of a generated batch, ``(batch,)`` or maps, to a scalar loss."""


@dataclass(frozen=True)
class Recipe:
    """A variant as its paper states it.

    Attributes:
        critic: D's loss.
        generator: G's loss on D's logits for generated data.
        penalty: Weight of the gradient penalty; 0 for none.
        clip: Bound of D's weights after each update; 0 for none.
        join: Whether both networks get the class as one-hot.
    """

    critic: CriticLoss
    generator: Callable[[Tensor], Tensor]
    penalty: float = 0.0
    clip: float = 0.0
    join: bool = False


def make_optimizer(spec: RunSpec, module: nn.Module, lr: float) -> optim.Optimizer:
    """Make torch's own optimiser for a spec's settings."""
    settings = spec.settings
    if settings.optimizer == "adam":
        return optim.Adam(module.parameters(), lr, betas=(settings.beta1, settings.beta2))
    if settings.optimizer == "rmsprop":
        return optim.RMSprop(module.parameters(), lr, alpha=settings.beta2)
    return optim.SGD(module.parameters(), lr, momentum=settings.beta1)


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
        self.optimizer_g = make_optimizer(spec, self.G, spec.settings.lr_g)
        self.optimizer_d = make_optimizer(spec, self.D, spec.settings.lr_d)
        self.source = make_trainer([spec]).game
        self.size = (spec.settings.batch, spec.settings.latent)
        self.counters = {"discriminator": 0, "generator": 0}

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
        loss = self.recipe.critic(self.D(real, *y).logits, self.D(fake, *y).logits)
        if self.recipe.penalty:
            alpha = batch.uniform("penalty", len(real))[0]
            loss = loss + self.recipe.penalty * penalty_by_example(self.D, real, fake, alpha)
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
        _, z, y = self._draw("generator")
        loss = self.recipe.generator(self.D(self.G(z, *y), *y).logits)
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
