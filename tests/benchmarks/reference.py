"""The opponent: how public repositories train a GAN, in the plainest words of PyTorch.

One run, eager modules, a ``DataLoader`` on the CPU whose transform turns bytes into numbers,
``zero_grad``, ``backward`` and ``step`` of ``torch.optim``, and ``.item()`` of both losses in every
step. Networks, first weights, batch, optimiser, hyper-parameters and the order of updates are those
of our own run, so that nothing but the way of computing them differs.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils import data
from torchvision.transforms import Compose, Normalize, ToTensor

from harness.datasets.base import Examples
from harness.networks.base import build_discriminator, build_generator
from harness.parts import all_parts, schedule_of
from harness.parts.blueprint import blueprint_of
from harness.parts.precision import DTYPES
from harness.spec import RunSpec
from harness.training.batch import Batch
from harness.training.streams import seeded
from harness.training.trainer import Trainer
from tests.conformance.plain_loop import PLAIN_RECIPES, Recipe, make_optimizer

Drawn = tuple[Tensor, Tensor, Tensor]
"""Real data, latents, and a number in [0, 1) per example, for a penalty's point between."""


class Pictures(data.Dataset[Tensor]):
    """Images as they are read from files, each turned into numbers when it is asked for."""

    def __init__(self, values: Tensor) -> None:
        self.values = values.permute(0, 2, 3, 1).contiguous().numpy()
        half = [0.5] * values.shape[1]
        self.transform = Compose([ToTensor(), Normalize(half, half)])

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> Tensor:
        image: Tensor = self.transform(self.values[index])
        return image


class Points(data.Dataset[Tensor]):
    """Points, which are numbers already."""

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> Tensor:
        return self.values[index]


def loader_of(
    examples: Examples, batch: int, workers: int, device: torch.device
) -> data.DataLoader[Tensor]:
    """Make the loader that a training script has."""
    values = examples.values[:]
    source = Pictures(values) if values.dtype == torch.uint8 else Points(values)
    return data.DataLoader(
        source,
        batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        persistent_workers=workers > 0,
    )


def endless(loader: data.DataLoader[Tensor]) -> Iterator[Tensor]:
    """Go through a loader again and again."""
    while True:
        yield from loader


class ReferenceLoop:
    """Trains one run of a variant whose recipe is among the plain ones, without tricks.

    Args:
        spec: The run.
        examples: Its training data.
        device: Where to compute.
        workers: Processes that the loader reads with; 0 for none.
    """

    def __init__(
        self, spec: RunSpec, examples: Examples, device: torch.device, workers: int = 0
    ) -> None:
        if spec.tricks:
            raise ValueError("the reference loop knows no tricks")
        self.recipe: Recipe = PLAIN_RECIPES[spec.variant.id]
        blueprint = blueprint_of(spec)
        self.dtype = DTYPES[spec.settings.precision]
        self.device = device
        with seeded(spec.random_seed, "init/generator"):
            self.G = build_generator(blueprint).to(device, self.dtype)
        with seeded(spec.random_seed, "init/discriminator"):
            self.D = build_discriminator(blueprint).to(device, self.dtype)
        self.optimizer_g = make_optimizer(spec, self.G, spec.settings.lr_g)
        self.optimizer_d = make_optimizer(spec, self.D, spec.settings.lr_d)
        self.penalty_weight = spec.variant.options.get("penalty_weight", self.recipe.penalty)
        self.clip = spec.variant.options.get("clip", self.recipe.clip)
        self.size = (spec.settings.batch, spec.settings.latent)
        self.schedule = schedule_of(all_parts(spec))
        self.batches = endless(loader_of(examples, spec.settings.batch, workers, device))
        self.step = 0

    def draw(self) -> Drawn:
        """Read a batch, and draw the noise of an update."""
        real = next(self.batches).to(self.device, self.dtype)
        return real, self.noise(), torch.rand(len(real), device=self.device, dtype=self.dtype)

    def train_step(self) -> tuple[float, float]:
        """Make one round of the update schedule; return the last losses of D and G."""
        d_updates, g_updates = self.schedule.updates(self.step)
        d_loss = g_loss = float("nan")
        for _ in range(d_updates):
            d_loss = self.update_discriminator(*self.draw())
        for _ in range(g_updates):
            g_loss = self.update_generator(self.noise())
        self.step += 1
        return d_loss, g_loss

    def noise(self) -> Tensor:
        """Draw latents."""
        return torch.randn(self.size, device=self.device, dtype=self.dtype)

    def update_discriminator(self, real: Tensor, noise: Tensor, between: Tensor) -> float:
        """Make one update of D and return its loss."""
        self.optimizer_d.zero_grad()
        fake = self.G(noise).detach()
        answer = self.recipe.answer
        loss = self.recipe.critic(answer(self.D(real)), answer(self.D(fake)))
        if self.recipe.penalty:
            loss = loss + self.penalty_weight * self.penalty(real, fake, between)
        loss.backward()
        self.optimizer_d.step()
        if self.recipe.clip:
            with torch.no_grad():
                for weight in self.D.parameters():
                    weight.clamp_(-self.clip, self.clip)
        return loss.item()

    def penalty(self, real: Tensor, fake: Tensor, between: Tensor) -> Tensor:
        """Return the mean of (‖∇D(x̂)‖₂ − 1)² between real and generated data."""
        share = between.view(-1, *[1] * (real.ndim - 1))
        x = (real + share * (fake - real)).requires_grad_()
        (slope,) = torch.autograd.grad(self.D(x).logits.sum(), x, create_graph=True)
        return ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()

    def update_generator(self, noise: Tensor) -> float:
        """Make one update of G and return its loss."""
        assert self.recipe.generator is not None
        self.optimizer_g.zero_grad()
        loss = self.recipe.generator(self.recipe.answer(self.D(self.G(noise))))
        loss.backward()
        self.optimizer_g.step()
        return loss.item()


def gap(trainer: Trainer, loop: ReferenceLoop, steps: int) -> float:
    """Train both with the data and the noise of the trainer's first run; compare their losses.

    Args:
        trainer: A cohort whose first run is the loop's, both untrained.
        loop: Trains the same run.
        steps: Rounds of the update schedule.

    Returns:
        The largest difference of a loss, as a share of the loss where that is above 1.
    """
    game = trainer.game
    largest = 0.0
    for _ in range(steps):
        d_updates, g_updates = loop.schedule.updates(loop.step)
        first_d, first_g = trainer.optimizer_d.updates, trainer.optimizer_g.updates
        d_losses = []
        for counter in range(first_d, first_d + d_updates):
            batch = Batch(game, "discriminator", counter)
            real = batch.real[0]
            between = batch.uniform("penalty", len(real))[0]
            d_losses.append(loop.update_discriminator(real, batch.latents[0], between))
        g_losses = [
            loop.update_generator(Batch(game, "generator", counter).latents[0])
            for counter in range(first_g, first_g + g_updates)
        ]
        loop.step += 1
        trainer.train_step()
        rows, _ = trainer.read()
        for name, losses in (("d_loss", d_losses), ("g_loss", g_losses)):
            ours, theirs = rows[0][name], statistics.fmean(losses)
            largest = max(largest, abs(ours - theirs) / max(1.0, abs(theirs)))
    return largest
