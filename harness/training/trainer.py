"""Trains the runs of a cohort together, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from harness.datasets.base import Examples
from harness.errors import DataError, PartError
from harness.networks.base import build_discriminator, build_generator
from harness.parts import Part, Rates, Trick, Variant, all_parts, parts_of, schedule_of
from harness.parts.blueprint import blueprint_of
from harness.parts.precision import DTYPES, training
from harness.parts.protocols import Inputs
from harness.spec import RunSpec
from harness.training.batch import Batch
from harness.training.checkpoint import TRAINING_ONLY
from harness.training.data import hold
from harness.training.game import Game, Phase
from harness.training.monitor import (
    Divergence,
    Monitor,
    columns_of,
    discriminator_row,
    generator_columns_of,
    generator_row,
)
from harness.training.optimizers import make_optimizer
from harness.training.replay import Recorder, Replays
from harness.training.stack import Stack
from harness.training.state import StackedState
from harness.training.streams import Streams, seeded


class Trainer:
    """The training of one cohort.

    Args:
        specs: The runs; alike but for their seeds and scalars.
        data: Training examples.
        device: Where to compute.
        recorder: How updates are recorded, to be replayed; None to make each as it is.
        networks: G and D to train, which it takes over; None to build them.

    Attributes:
        networks: The state of the networks and of what parts remember: enough to draw samples.
        tree: All state, which is all that an update changes on the device.

    Raises:
        DataError: if there are fewer examples than a batch takes.
    """

    def __init__(
        self,
        specs: Sequence[RunSpec],
        data: Examples,
        device: torch.device,
        recorder: Recorder | None = None,
        networks: tuple[Stack, Stack] | None = None,
    ) -> None:
        self.specs = list(specs)
        settings = specs[0].settings
        blueprint = blueprint_of(specs[0])
        largest = settings.batch * schedule_of(all_parts(specs[0])).g_batch
        if largest > len(data):
            raise DataError(
                f"data set {specs[0].dataset.id!r} has {len(data)} training examples, fewer than "
                f"a batch of {largest}; choose a smaller batch"
            )
        self.precision = settings.precision
        self.dtype = DTYPES[self.precision]
        self.device = device
        self.step = 0
        G, D = networks or networks_of(specs, device)
        variant, laid_over = self._stacked_parts()
        held = hold(data.values, self.device)
        self.game = Game(
            variant,
            laid_over,
            G,
            D,
            blueprint=blueprint,
            data=held,
            labels=None if data.labels is None else data.labels.to(held.home),
            streams=self._streams(),
        )
        all_settings = [spec.settings for spec in specs]
        self.optimizer_g = make_optimizer(G.theta, all_settings, [s.lr_g for s in all_settings])
        self.optimizer_d = make_optimizer(D.theta, all_settings, [s.lr_d for s in all_settings])
        self.game.optimizer_d = self.optimizer_d
        self.monitor = Monitor(
            len(specs), self.device, columns_of(self.game), generator_columns_of(self.game)
        )
        self._each = torch.ones(len(specs), device=self.device, dtype=self.dtype)
        self._base = self._base_rates()
        memory = {part: StackedState(held) for part, held in self.game.memory.items()}
        self.networks = StackedState(
            nodes={"generator": G, "discriminator": D, "memory": StackedState(nodes=memory)}
        )
        others = (self.optimizer_g, self.optimizer_d, self.monitor)
        self.tree = StackedState(
            nodes=self.networks.nodes | dict(zip(TRAINING_ONLY, others, strict=True))
        )
        self.replays = Replays(self.tree, self.game, recorder)

    def _streams(self) -> Streams:
        return Streams([spec.random_seed for spec in self.specs], self.device, self.dtype)

    def _base_rates(self) -> Rates | None:
        """Return the settings' rates, or None where no part changes them."""
        if all(type(part).rates is Part.rates for part in self.game.parts):
            return None
        G, D = self.optimizer_g, self.optimizer_d
        return Rates(G.lr.clone(), D.lr.clone(), G.beta1.clone(), G.beta2.clone())

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
        return self.optimizer_d.updates * self.game.blueprint.batch / 1000

    def train_step(self) -> None:
        """Make one round of the update schedule, without waiting for the device."""
        self.begin_step()
        d_updates, g_updates = self.game.schedule.updates(self.step)
        for _ in range(d_updates):
            self.update("discriminator")
        for _ in range(g_updates):
            self.update("generator")
        self.step += 1

    def begin_step(self) -> None:
        """Say how far training is, and let the parts change the rates of the step.

        Raises:
            PartError: naming a part whose rates are not one number for each run.
        """
        self.game.progress = self.step / self.specs[0].settings.steps
        if self._base is None:
            return
        rates = self._base
        for part in self.game.parts:
            rates = part.rates(rates, self.game.progress)
            if not isinstance(rates, Rates) or any(
                r.shape != self._each[:, None].shape for r in rates
            ):
                raise PartError(
                    f"{part.id!r} must return Rates from `rates`, each of the shape "
                    f"({len(self._each)}, 1); column() lines up an option of each run"
                )
        self.optimizer_g.follow(rates, rates.lr_g)
        self.optimizer_d.follow(rates, rates.lr_d)

    def updates(self, phase: Phase) -> int:
        """Return how many updates a player has made."""
        optimizer = self.optimizer_d if phase == "discriminator" else self.optimizer_g
        return optimizer.updates

    def update(self, phase: Phase, inputs: Inputs | None = None) -> None:
        """Make one update of a player.

        Args:
            phase: Whose.
            inputs: What differs from one update to the next; by default made from its number.
        """
        make = partial(self._make, phase)
        if inputs is None:
            self.replays.update(phase, self.updates(phase), make, partial(self._count, phase))
        else:
            make(inputs)

    def _make(self, phase: Phase, inputs: Inputs) -> None:
        batch = Batch(self.game, phase, inputs)
        with training(self.precision):
            if phase == "discriminator":
                self._update_discriminator(batch)
            else:
                self._update_generator(batch)

    def _update_discriminator(self, batch: Batch) -> None:
        game, theta = self.game, self.game.D.theta
        loss = game.discriminator_loss(batch)
        (gradient,) = self._gradients(loss, [theta])
        self.monitor.discriminator(discriminator_row(loss, gradient, batch), self._now(batch))
        self.optimizer_d.step(theta, game.gradient(batch, gradient), batch)
        if not game.recording:
            self._count(batch.phase)
        with torch.no_grad():
            for part in sorted(game.parts, key=lambda part: part.only_remembers):
                part.after_discriminator_update(game, batch)

    def _update_generator(self, batch: Batch) -> None:
        game = self.game
        loss = game.generator_loss(batch)
        players = [(game.G.theta, self.optimizer_g)]
        if game.variant.joint:
            players.append((game.D.theta, self.optimizer_d))
        gradients = self._gradients(loss, [theta for theta, _ in players])
        self.monitor.generator(generator_row(loss, gradients[0], batch), self._now(batch))
        for (theta, optimizer), gradient in zip(players, gradients, strict=True):
            optimizer.step(theta, game.gradient(batch, gradient), batch)
        if not game.recording:
            self._count(batch.phase)
        with torch.no_grad():
            for part in game.parts:
                part.after_generator_update(game, batch)

    def _count(self, phase: Phase) -> None:
        """Count an update of a player, and the row that it gave the monitor."""
        self.monitor.counts[phase == "generator"] += 1
        if phase == "generator":
            self.optimizer_g.updates += 1
        if phase == "discriminator" or self.game.variant.joint:
            self.optimizer_d.updates += 1

    def _gradients(self, loss: Tensor, thetas: list[Tensor]) -> tuple[Tensor, ...]:
        """Differentiate losses ``(runs,)``, each by its own run's weights.

        It is the gradient of their sum, which need not be added up for that.
        """
        return torch.autograd.grad(loss, thetas, self._each.to(loss.dtype))

    def _now(self, batch: Batch) -> Tensor:
        return batch.input("step", lambda _: torch.full((), self.step, device=self.device))

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
        self.tree.keep(runs)
        self.game.replace_parts(*self._stacked_parts())
        self.game.streams = self._streams()
        self._each = self._each[runs]
        self._base = self._base and Rates(*(rate[runs] for rate in self._base))
        self.replays.forget()

    def state(self, run: int) -> dict[str, Tensor]:
        """Return everything that one run needs to go on, by name, on the CPU."""
        return self.tree.state(run)

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

    def load(self, run: int, state: Mapping[str, Tensor], counters: Mapping[str, int]) -> None:
        """Put one run back to where :meth:`state` and :meth:`counters` were taken.

        Raises:
            KeyError: if the state is of another network.
        """
        self.tree.load(run, state)
        self.step = counters["step"]
        self.optimizer_d.updates = counters["d_updates"]
        self.optimizer_g.updates = counters["g_updates"]
        self.monitor.counts = [counters["d_rows"], counters["g_rows"]]


def networks_of(specs: Sequence[RunSpec], device: torch.device) -> tuple[Stack, Stack]:
    """Build the generators and discriminators of a cohort, each from its run's own seed."""
    blueprint, precision = blueprint_of(specs[0]), specs[0].settings.precision
    generators, discriminators = [], []
    for spec in specs:
        with seeded(spec.random_seed, "init/generator"):
            generators.append(build_generator(blueprint))
        with seeded(spec.random_seed, "init/discriminator"):
            discriminators.append(build_discriminator(blueprint))
    G, D = (
        Stack(
            modules,
            torch.zeros(2, *shape),
            torch.zeros(2, plan.condition) if plan.condition else None,
            device=device,
            dtype=DTYPES[precision],
            precision=precision,
        )
        for modules, shape, plan in (
            (generators, (blueprint.latent,), blueprint.generator),
            (discriminators, blueprint.judged_shape, blueprint.discriminator),
        )
    )
    return G, D
