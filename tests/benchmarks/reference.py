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
from harness.parts.precision import DTYPES
from harness.spec import RunSpec
from harness.training.game import Phase
from harness.training.trainer import Trainer
from tests.plain_loop import Drawn, Paired, PlainLoop


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


class Script:
    """Draws as a training script does: batches of a loader, noise of PyTorch's generator.

    Args:
        spec: The run.
        examples: Its training data.
        device: Where to compute.
        workers: Processes that the loader reads with; 0 for none.
    """

    def __init__(
        self, spec: RunSpec, examples: Examples, device: torch.device, workers: int = 0
    ) -> None:
        self.device, self.dtype = device, DTYPES[spec.settings.precision]
        self.size = (spec.settings.batch, spec.settings.latent)
        self.batches = endless(loader_of(examples, spec.settings.batch, workers, device))

    def __call__(self, phase: Phase) -> Drawn:
        """Draw latents; for D also read a batch."""
        latents = torch.randn(self.size, device=self.device, dtype=self.dtype)
        if phase == "generator":
            return Drawn(latents)
        real = next(self.batches).to(self.device, self.dtype)
        return Drawn(latents, real, torch.rand(len(real), device=self.device, dtype=self.dtype))


def reference_loop(
    spec: RunSpec, examples: Examples, device: torch.device, workers: int = 0
) -> PlainLoop:
    """Make the opponent of a run."""
    return PlainLoop(spec, Script(spec, examples, device, workers), device=device)


def gap(trainer: Trainer, loop: PlainLoop, steps: int) -> float:
    """Train both with the data and the noise of the trainer's first run; compare their losses.

    Args:
        trainer: A cohort whose first run is the loop's, both untrained.
        loop: Trains the same run; goes on with its own draws afterwards.
        steps: Rounds of the update schedule.

    Returns:
        The largest difference of a loss, as a share of the loss where that is above 1.
    """
    own, loop.source = loop.source, Paired(trainer.game)
    largest = 0.0
    for _ in range(steps):
        found = dict(zip(("d_loss", "g_loss"), loop.train_step(), strict=True))
        trainer.train_step()
        rows, _ = trainer.read()
        for name, losses in found.items():
            ours, theirs = rows[0][name], statistics.fmean(losses)
            largest = max(largest, abs(ours - theirs) / max(1.0, abs(theirs)))
    loop.source = own
    return largest
