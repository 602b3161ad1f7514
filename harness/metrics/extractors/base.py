"""What an extractor is: a frozen network, named by its weights, that metrics look through."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from harness.datasets.base import Values
from harness.errors import DataError
from harness.metrics.base import COMPARED
from harness.registry import Registry


class Extractor:
    """Turns images into features and class logits.

    A subclass builds its network, in evaluation mode, from a file of weights whose hash it has
    checked; its constructor takes the device.

    Args:
        network: Takes uint8 images, gives (features, logits); frozen and in evaluation mode.
        device: Where the network lives.
        sha256: Hash of the weights file.
    """

    id: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    classifies: ClassVar[tuple[str, ...]] = ()
    """Data sets whose classes the logits stand for; it is their default extractor."""
    has_classes: ClassVar[bool] = True
    """Whether it gives logits of classes, whatever classes they are."""
    channels: ClassVar[tuple[int, ...]] = (1, 3)
    """Numbers of channels that images may have."""
    overlooks: ClassVar[tuple[str, ...]] = ()
    """Kinds of change of which a little hardly shows, as the kit calls them, such as ``noise``."""
    batch: ClassVar[int] = 250
    """Images per pass through the network, fixed but where memory is short."""
    most_compared: ClassVar[int] = COMPARED
    """Generated images that metrics of pairs look at: more where looking is dear anyway."""

    def __init__(self, network: nn.Module, device: torch.device, sha256: str) -> None:
        self.network = network
        self.device = device
        self.sha256 = sha256
        self.most: int | None = None
        """Images that a pass may hold where memory was found to be short."""

    @classmethod
    def weights_sha256(cls) -> str:
        """Return the hash that the weights must have, without loading them."""
        raise NotImplementedError

    @classmethod
    def label(cls) -> str:
        """Name the extractor in metrics: its id and the first 8 digits of its weights' hash."""
        return f"{cls.id}@{cls.weights_sha256()[:8]}"

    @classmethod
    def require(cls, root: Path | None = None) -> None:
        """Check that the weights are there, without reading them.

        Raises:
            DataError: if they are absent; the message says which file belongs where.
        """
        raise NotImplementedError

    @classmethod
    def try_on(cls, shape: tuple[int, ...]) -> None:
        """Check that it can look at images of a shape, where only trying tells.

        Raises:
            DataError: saying what is wrong with it, and how to put it right.
        """

    @classmethod
    def load(cls, device: torch.device, root: Path | None = None) -> Self:
        """Build the extractor.

        Args:
            device: Where it computes.
            root: The data root, where weights that are not shipped may lie.

        Raises:
            DataError: if its weights are absent or not what they should be.
        """
        raise NotImplementedError

    @torch.inference_mode()
    def features(self, images: Values, batch: int | None = None) -> tuple[Tensor, Tensor]:
        """Look at images; where memory is short, at fewer in a pass, from then on.

        Args:
            images: uint8 ``(n, channels, height, width)``, on any device.
            batch: Images per pass; the extractor's own choice unless given.

        Returns:
            Features ``(n, dimensions)`` and logits ``(n, classes)``, float64 on the extractor's
            device.
        """
        if self.network.training:
            raise RuntimeError(f"extractor {self.id!r} is in training mode")
        made: tuple[Tensor, Tensor] | None = None
        start = 0
        while made is None or start < len(images):
            size = batch or self.batch
            size = min(size, self.most or size)
            try:
                features, logits = self.network(images[start : start + size].to(self.device))
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
                self.most = size // 2
                continue
            if made is None:
                rows = len(images)
                made = (
                    features.new_empty(rows, features.shape[1], dtype=torch.float64),
                    logits.new_empty(rows, logits.shape[1], dtype=torch.float64),
                )
            made[0][start : start + size] = features
            made[1][start : start + size] = logits
            start += size
        return made


def read_verified(path: Path, expected: str, remedy: str) -> bytes:
    """Read a file and check its SHA-256.

    Raises:
        DataError: if it is absent or has another hash; the message ends with the remedy.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}); {remedy}") from error
    actual = hashlib.sha256(data).hexdigest()
    if actual != expected:
        raise DataError(f"{path} has sha256 {actual}, expected {expected}; {remedy}")
    return data


extractors: Registry[Extractor] = Registry("extractor")
