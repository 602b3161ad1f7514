"""Small classifiers of digits, shipped with their weights and the script that trained them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from harness.errors import DataError
from harness.metrics.extractors.base import Extractor, extractors, read_verified

WEIGHTS = Path(__file__).parent / "weights"
REMEDY = "install ganbench again"


class SmallClassifier(nn.Module):
    """A few convolutions with BatchNorm and ReLU, global average pooling, one linear layer.

    Args:
        widths: Channels of each convolution.
        strides: Of each convolution; the first is 5×5, the others 3×3.
        classes: Number of logits.
    """

    def __init__(
        self, widths: tuple[int, ...], strides: tuple[int, ...], classes: int = 10
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 1
        for index, (width, stride) in enumerate(zip(widths, strides, strict=True)):
            kernel = 3 if index else 5
            layers += [
                nn.Conv2d(before, width, kernel, stride, kernel // 2, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            before = width
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(before, classes)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images ``(n, 1, height, width)``, levels 0…255, to features and logits."""
        x = (images.to(self.head.weight.dtype) / 255).contiguous(memory_format=torch.channels_last)
        features = self.layers(x).mean((2, 3))
        return features, self.head(features)


class ShippedClassifier(Extractor):
    """A :class:`SmallClassifier` whose weights and record lie beside this file."""

    channels: ClassVar[tuple[int, ...]] = (1,)
    widths: ClassVar[tuple[int, ...]]
    strides: ClassVar[tuple[int, ...]]

    @classmethod
    def untrained(cls) -> SmallClassifier:
        """Build the network with fresh weights."""
        return SmallClassifier(cls.widths, cls.strides)

    @classmethod
    def record(cls) -> dict[str, Any]:
        """Read how the weights were trained, how well they do and what they hash to.

        Raises:
            DataError: if the record is absent or damaged.
        """
        path = WEIGHTS / f"{cls.id}.json"
        try:
            record: dict[str, Any] = json.loads(path.read_bytes())
        except OSError as error:
            raise DataError(f"cannot read {path} ({error.strerror}); {REMEDY}") from error
        except ValueError as error:
            raise DataError(f"{path} is damaged ({error}); {REMEDY}") from error
        return record

    @classmethod
    def weights_sha256(cls) -> str:
        """Return the recorded hash of the weights."""
        return str(cls.record()["sha256"])

    @classmethod
    def weights_file(cls) -> Path:
        """Say where the weights are."""
        return WEIGHTS / f"{cls.id}.safetensors"

    @classmethod
    def require(cls, root: Path | None = None) -> None:
        """Check that weights and record are there."""
        cls.record()
        if not cls.weights_file().is_file():
            raise DataError(f"{cls.weights_file()} is missing; {REMEDY}")

    @classmethod
    def load(cls, device: torch.device, root: Path | None = None) -> Self:
        """Build the network from the shipped weights, after checking their hash."""
        path = cls.weights_file()
        expected = cls.weights_sha256()
        network = cls.untrained()
        try:
            network.load_state_dict(load_safetensors(read_verified(path, expected, REMEDY)))
        except (SafetensorError, RuntimeError) as error:
            raise DataError(f"{path} does not fit {cls.id!r} ({error}); {REMEDY}") from error
        network.requires_grad_(False).eval().to(device)
        return cls(network, device, expected)


@extractors.register("digits-cnn", source="trained by harness.metrics.extractors.train")
class DigitsClassifier(ShippedClassifier):
    """Classifier of scikit-learn's digits at 16×16; 64 features.

    The images are 8×8 enlarged, and noise between the pixels hardly matters to it: 10 levels of
    255 raise the distance by 12 %.
    """

    classifies: ClassVar[tuple[str, ...]] = ("digits",)
    overlooks: ClassVar[tuple[str, ...]] = ("noise",)
    widths: ClassVar[tuple[int, ...]] = (24, 24, 48, 64)
    strides: ClassVar[tuple[int, ...]] = (2, 1, 2, 1)


@extractors.register("mnist-cnn", source="trained by harness.metrics.extractors.train")
class MNISTClassifier(ShippedClassifier):
    """Classifier of MNIST at 32×32; 128 features."""

    classifies: ClassVar[tuple[str, ...]] = ("mnist",)
    widths: ClassVar[tuple[int, ...]] = (24, 32, 64, 128)
    strides: ClassVar[tuple[int, ...]] = (2, 1, 2, 2)
