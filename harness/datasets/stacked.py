"""Three digits on the channels of one image: a thousand modes that a classifier can count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from harness.datasets.base import Dataset, Examples, Kind, datasets
from harness.datasets.digits import Digits
from harness.datasets.torchvision import MNIST
from harness.spec import Split

SPLITS: dict[Split, tuple[int, int]] = {
    "train": (128_000, 1),
    "validation": (26_000, 2),
    "test": (26_000, 3),
}
"""Images and seed of each split, as in Srivastava et al. 2017; 26,000 is also what they sample."""
LIMITED_SEED = 4


@dataclass(frozen=True)
class Stack:
    """Images of one channel, and which three of them make each example.

    It takes the memory of the single images, not that of all stacks.

    Attributes:
        images: uint8 ``(images, 1, height, width)``.
        triples: int64 ``(n, 3)``.
    """

    images: Tensor
    triples: Tensor

    @property
    def shape(self) -> torch.Size:
        """``(n, 3, height, width)``."""
        return torch.Size((len(self.triples), 3, *self.images.shape[2:]))

    @property
    def dtype(self) -> torch.dtype:
        """Of the images."""
        return self.images.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of single images and triples."""
        return self.images.nbytes + self.triples.nbytes

    def __len__(self) -> int:
        return len(self.triples)

    def __getitem__(self, index: Any) -> Tensor:
        """Put examples together, ``(*index.shape, 3, height, width)``."""
        return self.images[self.triples[index]].squeeze(-3)

    def to(self, device: torch.device) -> Stack:
        """Move single images and triples."""
        return Stack(self.images.to(device), self.triples.to(device))


class Stacked(Dataset):
    """Random triples of another data set's images; the label is that of the digits, 100a+10b+c.

    Each split is made of the same split of the single images, by a seed of its own.
    """

    single: ClassVar[type[Dataset]]

    kind: ClassVar[Kind] = "images"
    classes: ClassVar[int | None] = 1000
    train_size: ClassVar[int | None] = SPLITS["train"][0]
    samples: ClassVar[int] = 26_000

    def read(self, split: Split, root: Path | None = None) -> Examples:
        """Draw one split's triples."""
        images, digits = self._single(split, root)
        count, seed = SPLITS[split]
        drawn = np.random.RandomState(seed).randint(len(images), size=(count, 3), dtype=np.int64)
        return stacked(images, digits, torch.from_numpy(drawn))

    def limited(self, modes: int, count: int, split: Split, root: Path | None = None) -> Examples:
        """Stack real images of so many equally likely modes and no others, always the same ones.

        Args:
            modes: Triples of digits that occur.
            count: Examples.
            split: Where the single images are from.
            root: The data root.

        Raises:
            DataError: if the single images are absent or damaged.
        """
        images, digits = self._single(split, root)
        random = np.random.RandomState(LIMITED_SEED)
        chosen = random.permutation(1000)[:modes]
        wanted = chosen[random.randint(modes, size=count)]
        triples = np.empty((count, 3), dtype=np.int64)
        for channel, place in enumerate((100, 10, 1)):
            for digit in range(10):
                rows = np.flatnonzero(wanted // place % 10 == digit)
                among = np.flatnonzero(digits.numpy() == digit)
                triples[rows, channel] = among[random.randint(len(among), size=len(rows))]
        return stacked(images, digits, torch.from_numpy(triples))

    def _single(self, split: Split, root: Path | None) -> tuple[Tensor, Tensor]:
        single = self.single().load(split, root)
        if not isinstance(single.values, Tensor) or single.labels is None:
            raise TypeError(f"{self.single.__name__} holds no labelled images in memory")
        return single.values, single.labels


def stacked(images: Tensor, digits: Tensor, triples: Tensor) -> Examples:
    """Join single images by threes.

    Args:
        images: ``(images, 1, height, width)``.
        digits: Of each image, ``(images,)``.
        triples: Which images make each example, ``(n, 3)``.
    """
    labels = (digits[triples] * torch.tensor([100, 10, 1])).sum(1)
    return Examples(Stack(images, triples), labels)


@datasets.register("stacked-mnist", source="Metz et al. 2017, arXiv:1611.02163, section 3.3.1")
class StackedMNIST(Stacked):
    """Three MNIST digits on the channels of one image, 1,000 classes, 128,000 to train with."""

    single: ClassVar[type[Dataset]] = MNIST
    shape: ClassVar[tuple[int, ...]] = (3, 32, 32)
    needs_root: ClassVar[bool] = True
    sha256: ClassVar[Mapping[Split, str]] = {
        "train": "2b1115662b32eef37a92558b174f9a862237ad4989d9207479ac28b114d22b52",
        "validation": "6516ae754de4ee7ea103cc2bcfd6f2f7f55fc21e61a3d75b3dde7bd1053e5328",
        "test": "ca031967687af8fc8ea89b265300fa982a05497d75bf0ef888332815cdef4ca4",
    }


@datasets.register(
    "stacked-digits", source="after Metz et al. 2017, arXiv:1611.02163, section 3.3.1"
)
class StackedDigits(Stacked):
    """Three of scikit-learn's digits on the channels of one image, 1,000 classes."""

    single: ClassVar[type[Dataset]] = Digits
    shape: ClassVar[tuple[int, ...]] = (3, 16, 16)
    sha256: ClassVar[Mapping[Split, str]] = {
        "train": "92838f9b86970bcaadd797d3d3cb64b51bbab26ddcf12fab1c8a13b5e73558ff",
        "validation": "f00510383751637390c92bb2ad8ab7b5b2ff7fb15d1a88152797652d2d8b0aee",
        "test": "0a1d67157cc68cda0022a6cf0a3f2f97d3c92b4c62fc7752fa93d47e515cf054",
    }
