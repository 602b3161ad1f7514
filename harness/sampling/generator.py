"""Loads the generator of a stored run, as the run's own evaluations use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from harness.errors import StoreError
from harness.networks.base import build_generator
from harness.networks.dropout import StreamDropout
from harness.parts import parts_of
from harness.sampling.condition import Condition, condition_of
from harness.spec import RunSpec
from harness.store.records import read_run
from harness.training.checkpoint import last_state
from harness.training.streams import Streams, seeded
from harness.training.trainer import PRECISIONS, blueprint_of

CHUNK = 512
"""Numbers are drawn for so many examples at once, as evaluations do: none depends on the count."""
STREAM = "evaluation"
"""The stream of a run's own evaluations: with its seed, its sample grids come out again."""
CPU = torch.device("cpu")


@dataclass(frozen=True)
class TrainedGenerator:
    """A generator in evaluation mode, on the CPU.

    Attributes:
        spec: Of its run.
        step: After which its weights were saved.
        module: Maps ``z (batch, latent)``, and ``y (batch, condition.width)`` where it has a
            condition, to ``(batch, *shape)``; images in [−1, 1].
        latent: Dimensions of z.
        shape: Shape of one example.
        condition: What it takes beside z.
    """

    spec: RunSpec
    step: int
    module: nn.Module
    latent: int
    shape: tuple[int, ...]
    condition: Condition

    @property
    def dtype(self) -> torch.dtype:
        """Precision of weights, latents and samples."""
        return PRECISIONS[self.spec.settings.precision]

    def latents(self, seed: int, count: int) -> Tensor:
        """Draw z as evaluations do, ``(count, latent)``: the beginning of any longer draw."""
        return draw(
            seed,
            count,
            self.dtype,
            lambda streams, number: streams.normal(
                f"{STREAM}/latent", number, (CHUNK, self.latent)
            ),
        )

    def conditions(self, seed: int, count: int) -> Tensor | None:
        """Draw y, ``(count, condition.width)``; None where the generator takes z alone."""
        if not self.condition.width:
            return None
        return draw(
            seed,
            count,
            self.dtype,
            lambda streams, number: self.condition.draw(
                streams, f"{STREAM}/condition", number, CHUNK
            ),
        )

    def __call__(self, z: Tensor, y: Tensor | None, *, seed: int, stream: str = STREAM) -> Tensor:
        """Generate examples.

        Args:
            z: ``(batch, latent)``.
            y: ``(batch, condition.width)``; None where the generator takes z alone.
            seed: Of the noise of dropout that is on in evaluation mode.
            stream: Of that noise; its n-th noise goes to the n-th example.

        Returns:
            ``(batch, *shape)``.
        """
        streams = Streams([seed], CPU, self.dtype)
        made = torch.empty(len(z), *self.shape, dtype=self.dtype)
        for number, start in enumerate(range(0, len(z), CHUNK)):
            part = slice(start, start + CHUNK)
            inputs = (z[part],) if y is None else (z[part], y[part])
            with torch.no_grad(), noise(self.module, streams, stream, number):
                made[part] = self.module(*inputs)
        return made


def draw(
    seed: int, count: int, dtype: torch.dtype, chunk: Callable[[Streams, int], Tensor]
) -> Tensor:
    """Put chunks ``(1, CHUNK, …)`` of a run's streams together as ``(count, …)``."""
    streams = Streams([seed], CPU, dtype)
    chunks = [chunk(streams, number)[0] for number in range(-(-count // CHUNK))]
    return torch.cat(chunks)[:count]


@contextmanager
def noise(module: nn.Module, streams: Streams, stream: str, number: int) -> Iterator[None]:
    """Let dropout layers that are on draw their noise as they do in an evaluation."""

    def supply(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            count, *shape = inputs[0].shape
            drawn = streams.uniform(f"{stream}/{name}.noise", number, (CHUNK, *shape))
            layer.noise = drawn[0, :count]

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


def load_generator(path: Path) -> TrainedGenerator:
    """Load the newest saved generator of a run, finished, in progress or broken off.

    Args:
        path: The run's folder.

    Raises:
        StoreError: if none is saved, or what is saved does not fit the spec.
    """
    record = read_run(path)
    spec = record.spec
    saved = last_state(path, spec.id)
    if saved is None:
        outcome = (record.outcome or {}).get("outcome", "in progress")
        raise StoreError(
            f"{path} has no saved generator: the run is {outcome}, and no checkpoint was written "
            "or none is undamaged; a job writes one every 30 seconds, when it is stopped, and at "
            "the end of training"
        )
    blueprint = blueprint_of(spec)
    condition = condition_of(parts_of(spec)[0])
    if getattr(blueprint.generator, "condition", 0) != condition.width:
        raise StoreError(
            f"variant {spec.variant.id!r} does not describe what its generator takes beside z"
        )
    with seeded(spec.seed, "init/generator"):
        module = build_generator(blueprint).to(PRECISIONS[spec.settings.precision])
    state = evaluated(saved.tensors())
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise StoreError(
            f"{saved.path} holds another generator than its spec describes; was it trained by "
            f"another version of ganbench or of a plugin? ({' '.join(str(error).split())[:300]})"
        ) from error
    module.eval().requires_grad_(False)
    return TrainedGenerator(
        spec,
        saved.step,
        module,
        blueprint.latent,
        blueprint.shape,
        condition,
    )


def evaluated(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Pick what evaluations sample from out of a saved state, by the generator's own names.

    This is the place where weights that are averaged for evaluation go before the trained ones.
    """
    prefix = "generator/"
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
