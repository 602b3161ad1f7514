"""Proofs about extractors: what is done to images shows in the Fréchet distance, and grows.

Sets of images are drawn from the embedded digits, enlarged to the size that the extractor is made
for; images of several channels have a digit in each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from harness.datasets.base import datasets
from harness.metrics.extractors.base import Extractor, extractors
from harness.metrics.frechet import distance_to, reference_moments
from harness.testing.training import require

CPU = torch.device("cpu")
COUNT = 900
"""Images of a set."""
SIDE = 32
"""Of images for an extractor that is made for no data set in particular."""
FEW = 40
"""Images where what is asked is not statistical."""
BATCHES = (1, 7, 37)
ROUNDING = 1e-4
"""Largest difference between batch sizes, relative to the largest feature; float32 rounds
differently."""
PROJECTED = 16
"""Features that the law of 1/N is tried on: a random projection, so that N is far above it."""
SIZES = (1000, 2000, 4000, 8000)
REPEATS = 20
SLOPE = 0.15
"""Largest departure of the measured power of N from −1."""
ACCURATE = 0.95
SEEN = 1.15
"""A change shows if it raises the distance of the same images by this factor."""


class Subject:
    """An extractor with images for it.

    Args:
        name: Its id.
        root: The data root, where weights may lie.
    """

    def __init__(self, name: str, root: Path | None) -> None:
        self.cls = extractors.get(name)
        self.root = root
        made_for = [datasets.get(other)().shape for other in self.cls.classifies]
        self.side = made_for[0][-1] if made_for else SIDE
        digits = datasets.get("digits")()
        splits = [digits.load(split) for split in ("train", "validation", "test")]
        values = torch.cat([examples.values[:] for examples in splits])
        larger = interpolate(values.float(), self.side, mode="bilinear", antialias=True)
        self.pool = larger.round().to(torch.uint8)
        self.labels = torch.cat([e.labels for e in splits if e.labels is not None])

    @cached_property
    def extractor(self) -> Extractor:
        """The extractor, loaded."""
        return self.cls.load(CPU, self.root)

    def indices(self, half: int, classes: int = 10) -> Tensor:
        """List the images of one half of the pool, 0 or 1, that show the first classes."""
        mine = torch.arange(len(self.labels)) % 2 == half
        return torch.nonzero(mine & (self.labels < classes)).flatten()

    def draw(
        self,
        half: int,
        *,
        channels: int | None = None,
        count: int = COUNT,
        classes: int = 10,
        distinct: int | None = None,
    ) -> Tensor:
        """Draw images ``(count, channels, side, side)`` of one half of the pool.

        Args:
            half: 0 or 1; the halves have no image in common.
            channels: The first that the extractor declares unless given.
            count: How many.
            classes: Only the first so many.
            distinct: So many different images, each of them repeated; all of them unless given.
        """
        random = np.random.RandomState(half)
        own = self.indices(half, classes)
        shape = (distinct or count, channels or self.cls.channels[0])
        chosen = own[torch.from_numpy(random.randint(len(own), size=shape))]
        images = self.pool[chosen].flatten(1, 2)
        return images[torch.arange(count) % len(images)]

    def features(self, images: Tensor) -> Tensor:
        """Look at images."""
        return self.extractor.features(images)[0]

    @cached_property
    def reference(self) -> Tensor:
        """Features of real images."""
        return self.features(self.draw(0))

    def distance(self, images: Tensor) -> float:
        """Measure images against the reference."""
        return distance(self.features(images), self.reference)

    @cached_property
    def floor(self) -> float:
        """The distance of real images that are not the reference's."""
        return self.distance(self.draw(1))


@lru_cache(maxsize=4)
def subject(name: str, root: Path | None) -> Subject:
    """Return an extractor with its images; made once."""
    return Subject(name, root)


def distance(features: Tensor, reference: Tensor) -> float:
    """Return the squared Fréchet distance of two sets of features ``(n, dimensions)``."""
    return distance_to(features, reference_moments(reference))


def blurred(images: Tensor, pixels: float) -> Tensor:
    """Blur square images by a Gaussian of a standard deviation in pixels; their rims go on."""
    side, reach = images.shape[-1], math.ceil(3 * pixels)
    weights = {
        offset: math.exp(-(offset**2) / (2 * pixels**2)) for offset in range(-reach, reach + 1)
    }
    rows = torch.arange(side)
    mixing = torch.zeros(side, side, dtype=torch.float64)
    for offset, weight in weights.items():
        mixing[rows, (rows + offset).clamp(0, side - 1)] += weight / sum(weights.values())
    return (mixing @ images.double() @ mixing.mT).round().clamp(0, 255).to(torch.uint8)


def noisy(images: Tensor, levels: float) -> Tensor:
    """Add Gaussian noise of a standard deviation in levels of 0…255."""
    draws = torch.Generator().manual_seed(0)
    noise = torch.randn(images.shape, generator=draws, dtype=torch.float64) * levels
    return (images.double() + noise).round().clamp(0, 255).to(torch.uint8)


LEVELS: Mapping[str, tuple[float, ...]] = {
    "blur": (1 / 32, 1 / 16, 1 / 8, 1 / 4),
    "noise": (10, 20, 40, 80),
    "dropped classes": (2, 4, 6, 8, 9),
    "duplicated images": (9, 30, 90, 300, 900),
}
"""What is done to real images, each time a little more of it: Gaussian blur by a share of the side,
Gaussian noise in levels of 0…255, classes of ten that are left out, copies of each image."""


def changed(images_of: Subject, kind: str, level: float) -> Tensor:
    """Draw images that are not the reference's, with something done to them."""
    match kind:
        case "blur":
            return blurred(images_of.draw(1), level * images_of.side)
        case "noise":
            return noisy(images_of.draw(1), level)
        case "dropped classes":
            return images_of.draw(1, classes=10 - int(level))
        case _:
            return images_of.draw(1, distinct=COUNT // int(level))


def grows(kind: str, name: str, root: Path | None = None) -> None:
    """The distance grows with every step, and the first step shows, unless that is declared."""
    tried = subject(name, root)
    distances = [tried.distance(changed(tried, kind, level)) for level in LEVELS[kind]]
    steps = ", ".join(f"{value:.4g}" for value in (tried.floor, *distances))
    require(all(math.isfinite(value) for value in distances), f"distances with {kind}: {steps}")
    rising = all(low < high for low, high in pairwise((tried.floor, *distances)))
    require(rising, f"the distance does not grow with {kind}: {steps}")
    shows = distances[0] > SEEN * tried.floor
    if kind in tried.cls.overlooks:
        require(not shows, f"a little {kind} shows, against `overlooks`: {steps}")
        return
    require(
        shows,
        f"a little {kind} ({LEVELS[kind][0]:g}) does not show: {steps}; if that is so, say it by "
        f"`overlooks = ({kind!r},)`",
    )


def real_falls_with_count(name: str, root: Path | None = None) -> None:
    """Between two draws of the same real images the distance falls as 1/N."""
    tried = subject(name, root)
    features = torch.cat([tried.reference, tried.features(tried.draw(1))])
    draws = torch.Generator().manual_seed(0)
    shape = (features.shape[1], min(PROJECTED, features.shape[1]))
    axes = torch.linalg.qr(torch.randn(shape, generator=draws, dtype=torch.float64))[0]
    seen: Tensor = features @ axes
    random = np.random.RandomState(0)

    def some(count: int) -> Tensor:
        return seen[torch.from_numpy(random.randint(len(seen), size=count))]

    means = [
        np.mean([distance(some(count), some(count)) for _ in range(REPEATS)]) for count in SIZES
    ]
    power = float(np.polyfit(np.log(SIZES), np.log(means), 1)[0])
    require(abs(power + 1) <= SLOPE, f"real against real falls as N to the power of {power:.2f}")


def repeats_itself(name: str, root: Path | None = None) -> None:
    """The same images have the same features, bit by bit, also when it is loaded again."""
    tried = subject(name, root)
    images = tried.draw(0, count=FEW)
    first = tried.extractor.features(images)
    for again in (tried.extractor, tried.cls.load(CPU, root)):
        same = map(torch.equal, first, again.features(images))
        require(all(same), "the same images have other features")
    label = tried.cls.label()
    require(label == f"{name}@{tried.extractor.sha256[:8]}", f"the label {label!r} is another's")


def is_frozen(name: str, root: Path | None = None) -> None:
    """The network is in evaluation mode, without gradient, and looking changes nothing in it."""
    tried = subject(name, root)
    network = tried.extractor.network
    learning = [module for module in network.modules() if module.training]
    require(not learning, "the network is not in evaluation mode")
    open_to_change = any(p.requires_grad for p in network.parameters())
    require(not open_to_change, "the network's weights take gradients")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    features, logits = tried.extractor.features(tried.draw(0, count=FEW))
    require(not features.requires_grad and not logits.requires_grad, "features take gradients")
    kept = all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    require(kept, "looking at images changes the network")
    refused = tried.cls.load(CPU, root)
    refused.network.train()
    try:
        refused.features(tried.draw(0, count=1))
    except RuntimeError:
        return
    raise AssertionError("it works in training mode too")


def batches_do_not_matter(name: str, root: Path | None = None) -> None:
    """An image has the same features whatever it is looked at with."""
    tried = subject(name, root)
    images = tried.draw(0, count=FEW)
    for whole, *others in zip(
        tried.extractor.features(images, FEW),
        *(tried.extractor.features(images, batch) for batch in BATCHES),
        strict=True,
    ):
        for batch, other in zip(BATCHES, others, strict=True):
            size = float(whole.abs().max()) if whole.numel() else 0.0
            apart = float((other - whole).abs().max()) if whole.numel() else 0.0
            require(apart <= ROUNDING * size, f"batches of {batch} give other features: {apart:g}")


def takes_what_it_declares(name: str, root: Path | None = None) -> None:
    """Images of every declared number of channels have features, and colour matters to them."""
    tried = subject(name, root)
    for channels in tried.cls.channels:
        images = tried.draw(0, channels=channels, count=FEW)
        features, logits = tried.extractor.features(images)
        require(features.shape[0] == FEW and features.ndim == 2, f"features {features.shape}")
        require(bool(features.isfinite().all()), "features are not finite")
        require(logits.shape[0] == FEW, f"logits {logits.shape}")
        require((logits.shape[1] > 0) == tried.cls.has_classes, f"{logits.shape[1]} logits")
        require(bool(logits.isfinite().all()), "logits are not finite")
        if channels > 1:
            other = tried.extractor.features(images.roll(1, 1))[0]
            require(not torch.allclose(other, features), "colours do not matter")
        nothing = tried.extractor.features(images[:0])[0]
        require(nothing.shape == (0, features.shape[1]), f"no images: {nothing.shape}")


def knows_its_classes(name: str, root: Path | None = None) -> None:
    """The logits are right of the embedded data sets that it says it classifies."""
    cls = extractors.get(name)
    for other in cls.classifies:
        dataset = datasets.get(other)()
        if dataset.needs_root:
            continue
        test = dataset.load("test")
        values, labels = test.values[:1000], test.labels
        require(labels is not None, f"{other} has no labels")
        logits = subject(name, root).extractor.features(values)[1]
        require(logits.shape[1] == dataset.classes, f"{logits.shape[1]} logits for {other}")
        right = float((logits.argmax(1) == labels[:1000]).double().mean())  # type: ignore[index]
        require(right >= ACCURATE, f"{right:.1%} of {other} are classified rightly")
