"""Trains the runs of a cohort together, step by step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.datasets.base import Values, dataset_of
from harness.errors import DataError
from harness.networks.base import build_discriminator, build_generator
from harness.networks.blueprint import Blueprint
from harness.parts import Trick, Variant, parts_of
from harness.spec import RunSpec
from harness.training.data import hold
from harness.training.game import Batch, Game
from harness.training.monitor import (
    Divergence,
    Monitor,
    columns_of,
    discriminator_row,
    generator_row,
)
from harness.training.optimizers import make_optimizer
from harness.training.stack import Stack
from harness.training.streams import Streams, seeded

PRECISIONS = {"float32": torch.float32, "float64": torch.float64}


def blueprint_of(spec: RunSpec) -> Blueprint:
    """Plan both networks: the settings, then the variant, then each trick in its order."""
    settings = spec.settings
    shape = dataset_of(spec).shape
    blueprint = Blueprint.plain(settings.network, settings.width, settings.latent, shape)
    variant, laid_over = parts_of(spec)
    for part in (variant, *laid_over):
        blueprint = part.build(blueprint)
    return blueprint


class Trainer:
    """The training of one cohort.

    Args:
        specs: The runs; alike but for their seeds and scalars.
        data: Training examples: uint8 images or points.
        device: Where to compute.

    Raises:
        DataError: if there are fewer examples than a batch takes.
    """

    def __init__(self, specs: Sequence[RunSpec], data: Values, device: torch.device) -> None:
        self.specs = list(specs)
        settings = specs[0].settings
        if settings.batch > len(data):
            raise DataError(
                f"data set {specs[0].dataset.id!r} has {len(data)} training examples, fewer than "
                f"a batch of {settings.batch}; choose a smaller batch"
            )
        self.dtype = PRECISIONS[settings.precision]
        self.device = device
        self.step = 0
        blueprint = blueprint_of(specs[0])
        generators, discriminators = [], []
        for spec in specs:
            with seeded(spec.seed, "init/generator"):
                generators.append(build_generator(blueprint))
            with seeded(spec.seed, "init/discriminator"):
                discriminators.append(build_discriminator(blueprint))
        z = torch.zeros(2, blueprint.latent)
        x = torch.zeros(2, *blueprint.shape)
        G, D = (
            Stack(modules, x, device=self.device, dtype=self.dtype)
            for modules, x in ((generators, z), (discriminators, x))
        )
        variant, laid_over = self._stacked_parts()
        self.game = Game(
            variant,
            laid_over,
            G,
            D,
            data=hold(data, self.device),
            streams=Streams([s.seed for s in specs], self.device, self.dtype),
            batch=settings.batch,
            latent=settings.latent,
        )
        all_settings = [spec.settings for spec in specs]
        self.optimizer_g = make_optimizer(G.theta, all_settings, [s.lr_g for s in all_settings])
        self.optimizer_d = make_optimizer(D.theta, all_settings, [s.lr_d for s in all_settings])
        self.monitor = Monitor(len(specs), self.device, columns_of(variant))

    def _stacked_parts(self) -> tuple[Variant, list[Trick]]:
        like = {"device": self.device, "dtype": self.dtype}
        of_runs, laid_over = zip(*(parts_of(spec) for spec in self.specs), strict=True)
        columns = zip(*laid_over, strict=True)
        return (
            type(of_runs[0]).stacked(of_runs, **like),
            [type(column[0]).stacked(column, **like) for column in columns],
        )

    @property
    def kimg(self) -> float:
        """Thousands of real examples that D has been taught with so far."""
        return self.optimizer_d.updates * self.game.batch_size / 1000

    def train_step(self) -> None:
        """Make one round of the update schedule, without waiting for the device."""
        d_updates, g_updates = self.game.schedule.updates(self.step)
        for _ in range(d_updates):
            self._update_discriminator()
        for _ in range(g_updates):
            self._update_generator()
        self.step += 1

    def _update_discriminator(self) -> None:
        game, theta = self.game, self.game.D.theta
        batch = Batch(game, "discriminator", self.optimizer_d.updates)
        loss = game.discriminator_loss(batch)
        (gradient,) = torch.autograd.grad(loss.sum(), theta)
        row = discriminator_row(loss, gradient, batch, game.variant)
        self.monitor.discriminator(row, self.step)
        self.optimizer_d.step(theta, gradient)
        with torch.no_grad():
            for part in game.parts:
                part.after_discriminator_update(game)

    def _update_generator(self) -> None:
        game, theta = self.game, self.game.G.theta
        batch = Batch(game, "generator", self.optimizer_g.updates)
        loss = game.generator_loss(batch)
        (gradient,) = torch.autograd.grad(loss.sum(), theta)
        self.monitor.generator(generator_row(loss, gradient), self.step)
        self.optimizer_g.step(theta, gradient)

    def read(self) -> tuple[list[dict[str, float]], list[Divergence | None]]:
        """Read the diagnostics since the last reading, and which runs are no longer finite."""
        rows, divergences = self.monitor.read()
        checks: list[tuple[str, Tensor]] = []
        for player, stack in (("generator", self.game.G), ("discriminator", self.game.D)):
            checks.append((f"{player} weights", stack.theta.detach()))
            checks += [
                (f"{player} buffer {name}", buffer)
                for name, buffer in stack.buffers.items()
                if buffer.is_floating_point()
            ]
        finite = torch.stack([value.flatten(1).isfinite().all(1) for _, value in checks], dim=1)
        for run, line in enumerate(finite.tolist()):
            if divergences[run] is None and not all(line):
                divergences[run] = Divergence(self.step, checks[line.index(False)][0])
        return rows, divergences

    def keep(self, runs: list[int]) -> None:
        """Go on with some of the runs, by position; the others are left as they are."""
        self.specs = [self.specs[run] for run in runs]
        self.game.keep(runs)
        self.game.replace_parts(*self._stacked_parts())
        self.optimizer_g.keep(runs)
        self.optimizer_d.keep(runs)
        self.monitor.keep(runs)

    def state(self, run: int) -> dict[str, Tensor]:
        """Return everything that one run needs to go on, by name, on the CPU."""
        parts = {
            "generator": self.game.G.state(run),
            "discriminator": self.game.D.state(run),
            "optimizer_g": self.optimizer_g.state(run),
            "optimizer_d": self.optimizer_d.state(run),
            "monitor": self.monitor.state(run),
        }
        return {
            f"{part}/{name}": value.cpu().contiguous()
            for part, state in parts.items()
            for name, value in state.items()
        }

    def counters(self) -> dict[str, int]:
        """Return the step, the updates of both players and the rows since the last reading."""
        d_rows, g_rows = self.monitor.counts
        return {
            "step": self.step,
            "d_updates": self.optimizer_d.updates,
            "g_updates": self.optimizer_g.updates,
            "d_rows": d_rows,
            "g_rows": g_rows,
        }

    def load(self, run: int, state: dict[str, Tensor], counters: dict[str, int]) -> None:
        """Put one run back to where :meth:`state` and :meth:`counters` were taken.

        Raises:
            KeyError: if the state is of another network.
        """

        def part(name: str) -> dict[str, Tensor]:
            prefix = f"{name}/"
            return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

        self.game.G.load(run, part("generator"))
        self.game.D.load(run, part("discriminator"))
        self.optimizer_g.load(run, part("optimizer_g"), counters["g_updates"])
        self.optimizer_d.load(run, part("optimizer_d"), counters["d_updates"])
        self.monitor.load(run, part("monitor"), (counters["d_rows"], counters["g_rows"]))
        self.step = counters["step"]
