"""A complete plugin: one of each kind of part, used as ``--plugin swirl.py``."""

from __future__ import annotations

import hashlib
import math
from itertools import pairwise
from pathlib import Path
from typing import Annotated, ClassVar, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, relu

from harness.datasets.base import Dataset, Examples, Kind, datasets
from harness.metrics.base import Conditions, Metric, Observation, Statistics, metrics
from harness.metrics.extractors.base import Extractor, extractors
from harness.networks.base import Family, Judgement, networks
from harness.networks.blueprint import DiscriminatorPlan, GeneratorPlan
from harness.networks.layers import Head
from harness.parts import Batch, Game, PerRun, Trick, Variant, run_mean, tricks, variants
from harness.spec import Split
from harness.store.records import MetricInfo


@variants.register("geometric", source="Lim and Ye 2017, arXiv:1705.02894, eq. 12–13")
class Geometric(Variant):
    """Hinge loss without any normalisation of D.

    D minimises E max(0, 1 − D(x)) + E max(0, 1 + D(G(z))), G minimises −E D(G(z)).
    """

    def real_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Ask for a margin of 1 above zero."""
        return relu(1 - logits)

    def fake_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Ask for a margin of 1 below zero."""
        return relu(1 + logits)

    def fooling_loss(self, logits: Tensor) -> Tensor:
        """Raise D's value of generated data."""
        return -logits


@tricks.register("drift", source="Karras et al. 2018, arXiv:1710.10196, appendix A.1")
class Drift(Trick):
    """Keep D's answers to real data near zero: D's loss gains ε E D(x)²."""

    weight: Annotated[float, PerRun()] = Field(default=0.001, gt=0, description="ε")

    def discriminator_objective(self, game: Game, batch: Batch, loss: Tensor) -> Tensor:
        """Add the term."""
        return loss + self.weight * run_mean(batch.judged_real.logits.square())


class Layers(nn.Module):
    """Three hidden layers of tanh."""

    def __init__(self, units: list[int]) -> None:
        super().__init__()
        self.hidden = nn.ModuleDict(
            {
                f"hidden{i}": nn.Sequential(nn.Linear(before, after), nn.Tanh())
                for i, (before, after) in enumerate(pairwise(units), start=1)
            }
        )

    def features(self, h: Tensor) -> dict[str, Tensor]:
        """Return every layer's activations."""
        found = {}
        for name, layer in self.hidden.items():
            h = found[name] = layer(h)
        return found


class TanhGenerator(Layers):
    """Latents to points."""

    def __init__(self, units: list[int], dimensions: int) -> None:
        super().__init__(units)
        self.output = nn.Linear(units[-1], dimensions)

    def forward(self, z: Tensor) -> Tensor:
        """Map ``z (batch, latent)`` to points ``(batch, dimensions)``."""
        points: Tensor = self.output([*self.features(z).values()][-1])
        return points


class TanhDiscriminator(Layers):
    """Points to logits."""

    def __init__(self, units: list[int], plan: DiscriminatorPlan) -> None:
        super().__init__(units)
        self.head = Head(units[-1], plan)

    def forward(self, x: Tensor) -> Judgement:
        """Judge points ``(batch, dimensions)``."""
        features = self.features(x.flatten(1))
        return Judgement(*self.head([*features.values()][-1])[:1], features)


@networks.register("tanh2d", source="this file")
class Tanh2D(Family):
    """Three hidden layers of tanh for points."""

    default_width = 64
    default_latent = 8
    supports = frozenset({"minibatch"})

    def misfit(self, shape: tuple[int, ...]) -> str | None:
        """Take points only."""
        return None if len(shape) == 1 else "tanh2d makes points, the data set holds images"

    def hidden_layers(self, shape: tuple[int, ...]) -> tuple[str, ...]:
        """Name the three layers."""
        return ("hidden1", "hidden2", "hidden3")

    def generator(self, plan: GeneratorPlan, latent: int, shape: tuple[int, ...]) -> nn.Module:
        """Build a generator."""
        return TanhGenerator([latent, *[plan.width] * 3], math.prod(shape))

    def discriminator(self, plan: DiscriminatorPlan, shape: tuple[int, ...]) -> nn.Module:
        """Build a discriminator."""
        return TanhDiscriminator([math.prod(shape), *[plan.width] * 3], plan)


@datasets.register("swirl", source="this file")
class Swirl(Dataset):
    """Points along one turn of a spiral, with noise across it."""

    kind: ClassVar[Kind] = "points"
    shape: ClassVar[tuple[int, ...]] = (2,)
    train_size: ClassVar[int | None] = 4000

    def read(self, split: Split, root: Path | None = None) -> Examples:
        """Synthesise one split."""
        count, seed = {"train": (4000, 1), "validation": (1000, 2), "test": (1000, 3)}[split]
        random = np.random.RandomState(seed)
        turn = 2 * np.pi * random.random_sample(count)
        line = np.stack([turn * np.cos(turn), turn * np.sin(turn)], axis=1) / (2 * np.pi)
        points = line + 0.02 * random.standard_normal((count, 2))
        return Examples(torch.from_numpy(points.astype(np.float32)), None)


@metrics.register("spread", source="this file")
class Spread(Metric):
    """Generated standard deviation over the real data's, the mean over dimensions."""

    @classmethod
    def applies(cls, conditions: Conditions) -> bool:
        """Whether the extractor is known; it always is."""
        return True

    def columns(self) -> list[MetricInfo]:
        """Describe the one column."""
        name = self.conditions.name("spread", reference=True)
        return [MetricInfo(name, self.id, self.summary, better="none")]

    def reference(self, real: Observation) -> Statistics:
        """Keep the real data's standard deviation."""
        return {"std": real.features.std(0)}

    def values(self, generated: Observation, reference: Statistics) -> list[float]:
        """Compute the ratio; NaN where the real data has no spread."""
        return [float((generated.features.std(0) / reference["std"]).mean())]


class Edges(nn.Module):
    """Local means of brightness and of its changes across and down."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map uint8 images ``(n, channels, height, width)`` to ``(n, 48 · channels)``."""
        x = images.float() / 255
        changes = [x[..., 1:, :].diff(dim=3).abs(), x[..., 1:].diff(dim=2).abs()]
        features = [adaptive_avg_pool2d(part, 4).flatten(1) for part in (x, *changes)]
        return torch.cat(features, dim=1), images.new_empty(len(images), 0).float()


@extractors.register("edges", source="this file")
class EdgesExtractor(Extractor):
    """Brightness and edges in sixteen fields; needs no weights."""

    has_classes: ClassVar[bool] = False

    @classmethod
    def weights_sha256(cls) -> str:
        """Return the hash of what defines it; change the text with the numbers."""
        return hashlib.sha256(b"edges, version 1").hexdigest()

    @classmethod
    def require(cls, root: Path | None = None) -> None:
        """Need nothing."""

    @classmethod
    def load(cls, device: torch.device, root: Path | None = None) -> Self:
        """Build it."""
        return cls(Edges().eval(), device, cls.weights_sha256())
