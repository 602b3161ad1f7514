"""Loads the generator of a stored run, as the run's own evaluations use it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from harness.datasets.base import Examples
from harness.errors import CodeWarning, StoreError
from harness.networks.base import build_generator
from harness.networks.dropout import StreamDropout
from harness.parts import Condition, Draws, Part, all_parts, parts_of, schedule_of
from harness.parts.blueprint import blueprint_of
from harness.parts.conditions import in_proportion
from harness.parts.precision import DTYPES
from harness.registry import KINDS
from harness.spec import RunSpec
from harness.store.code import PartCode, still_accepted
from harness.store.plan import read_plan
from harness.store.reading import RunRecord, read_run
from harness.store.wording import printable
from harness.training.checkpoint import Checkpoint, last_state
from harness.training.game import Game
from harness.training.stack import inner_batch
from harness.training.streams import Stream, Streams
from harness.training.trainer import Trainer

CHUNK = 512
"""Numbers are drawn for so many examples at once, as evaluations do: none depends on the count."""
STREAM = "evaluation"
"""The stream of a run's own evaluations: with its seed, its sample grids come out again."""
CPU = torch.device("cpu")
SAMPLED = ("variant", "trick", "dataset", "network")
"""Kinds of parts that a generator is made of."""


class Conditions(Protocol):
    """What draws y, such as a :class:`harness.training.game.Game`."""

    def condition(self, draws: Draws, labels: Tensor | None, count: int, /) -> Tensor | None:
        """Draw what is joined to the latents, ``(runs, count, size)``; None for nothing."""


@dataclass(frozen=True)
class TrainedGenerator:
    """A generator in evaluation mode, on the CPU.

    Attributes:
        spec: Of its run.
        step: After which its weights were saved.
        module: Maps ``z (batch, latent)``, and ``y (batch, condition.size)`` where it has
            a condition, to ``(batch, *shape)``; images in [−1, 1].
        latent: Dimensions of z.
        shape: Shape of one example.
        condition: What it takes beside z.
        conditions: Draws that.
        laws: Parts of the run that give latents another law than N(0, 1), in their order.
        copies: Generators in it that take turns in a batch.
        class_counts: How often each class occurs in the data whose shares samples have; None
            where no class is joined.
        class_names: What the classes of its run's data are called, by label; None if they are
            only numbered.
    """

    spec: RunSpec
    step: int
    module: nn.Module
    latent: int
    shape: tuple[int, ...]
    condition: Condition
    conditions: Conditions
    laws: tuple[Part, ...] = ()
    copies: int = 1
    class_counts: tuple[int, ...] | None = None
    class_names: tuple[str, ...] | None = None

    @property
    def dtype(self) -> torch.dtype:
        """Precision of weights, latents and samples."""
        return DTYPES[self.spec.settings.precision]

    def class_name(self, label: int) -> str:
        """Name a class for a person: by its number where it has no name."""
        return str(label) if self.class_names is None else printable(self.class_names[label])

    def inputs(self, seed: int, count: int) -> tuple[Tensor, Tensor | None]:
        """Draw z and y as evaluations do: the beginning of any longer draw.

        Returns:
            ``(count, latent)`` from N(0, 1), and ``(count, condition.size)`` or None.
        """
        streams = Streams([seed], CPU, self.dtype)
        z, y = [], []
        for number in range(-(-count // CHUNK)):
            draws = Stream(streams, STREAM, number)
            z.append(draws.normal("latent", CHUNK, self.latent)[0])
            labels = None
            if self.class_counts is not None:
                line = in_proportion(self.class_counts, (number + 1) * CHUNK)
                labels = line[None, number * CHUNK :]
            drawn = self.conditions.condition(draws, labels, CHUNK)
            if drawn is not None:
                y.append(drawn[0])
        return torch.cat(z)[:count], torch.cat(y)[:count] if y else None

    def __call__(
        self,
        z: Tensor,
        y: Tensor | None,
        *,
        seed: int,
        places: Tensor | None = None,
        stream: str = STREAM,
    ) -> Tensor:
        """Generate examples.

        Args:
            z: ``(batch, latent)``, normal.
            y: ``(batch, condition.size)``; None where the generator takes z alone.
            seed: Of the noise of dropout that is on in evaluation mode.
            places: The place in a batch, from 0, whose generator makes each example, where
                several take turns; None for its own place.
            stream: Of the noise; its n-th noise goes to the n-th example.

        Returns:
            ``(batch, *shape)``.
        """
        if places is not None and self.copies > 1:
            # Every generator makes every example, and the right one is chosen.
            pieces = []
            for part in slices(len(z), CHUNK // self.copies):
                repeated = z[part].repeat_interleave(self.copies, dim=0)
                y_repeated = None if y is None else y[part].repeat_interleave(self.copies, dim=0)
                made = self(repeated, y_repeated, seed=seed, stream=stream)
                turns = made.reshape(-1, self.copies, *self.shape)
                pieces.append(turns[torch.arange(len(turns)), places[part] % self.copies])
            return torch.cat(pieces)
        streams = Streams([seed], CPU, self.dtype)
        pieces = []
        for number, part in enumerate(slices(len(z), CHUNK)):
            z_part = by_law(self.laws, z[part])
            inputs = (z_part,) if y is None else (z_part, y[part])
            with torch.no_grad(), noise(self.module, Stream(streams, stream, number)):
                pieces.append(self.module(*inputs))
        return torch.cat(pieces)


def slices(length: int, size: int) -> list[slice]:
    """Cut a length into slices of a size and a rest."""
    return [slice(start, start + size) for start in range(0, length, size)]


def by_law(laws: Sequence[Part], z: Tensor) -> Tensor:
    """Turn normal latents ``(batch, latent)`` into what the run's parts draw."""
    z = z[None]
    for part in laws:
        z = part.latents(z)
    return z[0]


@contextmanager
def noise(module: nn.Module, draws: Stream) -> Iterator[None]:
    """Let dropout layers that are on draw their noise as they do in an evaluation."""
    rows = inner_batch(module, CHUNK)

    def supply(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            count, *shape = inputs[0].shape
            layer.noise = draws.noise(f"{name}.noise", (rows, *shape))[0, :count]

        return hook

    layers = [
        (name, layer)
        for name, layer in module.named_modules()
        if isinstance(layer, StreamDropout) and layer.active
    ]
    hooks = [layer.register_forward_pre_hook(supply(name)) for name, layer in layers]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


def warn_of_other_code(record: RunRecord) -> None:
    """Warn if parts of a run's networks and latents are no longer what trained it."""
    accepted: tuple[PartCode, ...] = ()
    with suppress(StoreError):
        accepted = read_plan(record.path.parent.parent).code
    for before in record.code:
        here = KINDS[before.kind].registry.foreign().get(before.id)
        for part in still_accepted([here] if here is not None else [], accepted):
            if not part.stands_for(before) and before.kind in SAMPLED:
                warnings.warn(
                    f"{part.part} is not the code that has trained this run ({before.name} then, "
                    f"{part.name} now): samples may not be what the run has shown; load the "
                    "plugin as it was, or train the run again",
                    CodeWarning,
                    stacklevel=2,
                )


def load_generator(path: Path) -> TrainedGenerator:
    """Load the newest saved generator of a run, finished, in progress or broken off.

    Args:
        path: The run's folder.

    Raises:
        StoreError: if none is saved, or what is saved does not fit the spec.
    """
    record = read_run(path)
    spec = record.spec
    warn_of_other_code(record)
    saved = last_state(path, spec.id)
    if saved is None:
        outcome = record.outcome.outcome if record.outcome else "in progress"
        raise StoreError(
            f"{path} has no saved generator: the run is {outcome}, and no checkpoint was written "
            "or none is undamaged; a job writes one every 30 seconds, when it is stopped, and at "
            "the end of training"
        )
    game = restore(spec, saved)
    plan = game.blueprint.generator
    condition = parts_of(spec)[0].joins(game.classes)
    if plan.condition != condition.size:
        raise StoreError(
            f"variant {spec.variant.id!r} does not say what is joined to its latents (`joins`)"
        )
    module = build_generator(game.blueprint).to(game.streams.dtype)
    state = game.G.parameters(game.evaluated()) | game.G.buffers
    # Not strict: layers that generators share are saved once.
    module.load_state_dict({name: value[0].detach() for name, value in state.items()}, strict=False)
    return TrainedGenerator(
        spec,
        saved.step,
        module.eval().requires_grad_(False),
        game.blueprint.latent,
        game.blueprint.shape,
        condition,
        conditions=game,
        laws=tuple(part for part in game.parts if type(part).latents is not Part.latents),
        copies=plan.copies,
        class_counts=class_counts(record) if condition.classes else None,
        class_names=record.data.class_names,
    )


def class_counts(record: RunRecord) -> tuple[int, ...]:
    """Return how often each class occurs in the data that a run's samples are compared with.

    Raises:
        StoreError: if the run's record does not say.
    """
    counts = record.data.class_counts
    if counts is None:
        raise StoreError(f"{record.path} does not say how often each class occurs in its data")
    return counts


def restore(spec: RunSpec, saved: Checkpoint) -> Game:
    """Make the game of one run, without its data, with the networks as they were saved.

    Raises:
        StoreError: if the spec describes other networks.
    """
    blueprint = blueprint_of(spec)
    examples = spec.settings.batch * schedule_of(all_parts(spec)).g_batch
    nothing = Examples(
        torch.zeros(()).expand(examples, *blueprint.shape),
        None if blueprint.classes is None else torch.zeros(examples, dtype=torch.int64),
    )
    trainer = Trainer([spec], nothing, CPU)
    state = saved.tensors()
    expected = {name: value.shape for name, value in trainer.networks.state(0).items()}
    for name, shape in expected.items():
        if name not in state or state[name].shape != shape:
            misfit = f"has the shape {tuple(state[name].shape)}" if name in state else "is missing"
            raise StoreError(
                f"{saved.path} holds other networks than the run's spec describes: {name} "
                f"{misfit}, not {tuple(shape)}; was it trained by another version of ganbench or "
                "of a plugin?"
            )
    trainer.networks.load(0, state)
    return trainer.game
