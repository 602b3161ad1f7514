"""Classifiers of stacked digits: one shipped classifier looks at each channel in turn."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from harness.metrics.extractors.base import Extractor, extractors
from harness.metrics.extractors.classifiers import (
    DigitsClassifier,
    MNISTClassifier,
    ShippedClassifier,
)


class PerChannel(nn.Module):
    """Applies a network of one channel to each of three.

    Args:
        network: Maps images ``(n, 1, height, width)`` to features and ten logits.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images ``(n, 3, height, width)`` to the channels' features, and to 1,000 logits.

        The logits are joint log-probabilities: digits a, b, c are class 100a + 10b + c.
        """
        count = len(images)
        features, logits = self.network(images.flatten(0, 1).unsqueeze(1))
        a, b, c = log_softmax(logits, 1).view(count, 3, logits.shape[1]).unbind(1)
        joint = a[:, :, None, None] + b[:, None, :, None] + c[:, None, None, :]
        return features.view(count, 3 * features.shape[1]), joint.flatten(1)


class StackedClassifier(Extractor):
    """A shipped classifier, channel by channel."""

    single: ClassVar[type[ShippedClassifier]]
    channels: ClassVar[tuple[int, ...]] = (3,)

    @classmethod
    def weights_sha256(cls) -> str:
        """Return the recorded hash of the single classifier's weights."""
        return cls.single.weights_sha256()

    @classmethod
    def require(cls, root: Path | None = None) -> None:
        """Check that the single classifier's weights are there."""
        cls.single.require(root)

    @classmethod
    def load(cls, device: torch.device, root: Path | None = None) -> Self:
        """Build it from the shipped weights, after checking their hash."""
        single = cls.single.load(device, root)
        return cls(PerChannel(single.network).eval(), device, single.sha256)


@extractors.register("stacked-digits-cnn", source="digits-cnn on each channel")
class StackedDigitsClassifier(StackedClassifier):
    """Classifier of stacked digits at 16×16: 3 × 64 features, 1,000 classes."""

    single: ClassVar[type[ShippedClassifier]] = DigitsClassifier
    overlooks: ClassVar[tuple[str, ...]] = DigitsClassifier.overlooks
    classifies: ClassVar[tuple[str, ...]] = ("stacked-digits",)


@extractors.register("stacked-mnist-cnn", source="mnist-cnn on each channel")
class StackedMNISTClassifier(StackedClassifier):
    """Classifier of stacked MNIST at 32×32: 3 × 128 features, 1,000 classes."""

    single: ClassVar[type[ShippedClassifier]] = MNISTClassifier
    classifies: ClassVar[tuple[str, ...]] = ("stacked-mnist",)
