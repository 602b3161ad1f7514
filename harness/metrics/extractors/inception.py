"""The Inception network of 2015 that FID and the Inception Score are defined by."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from harness.errors import DataError
from harness.metrics.extractors.base import Extractor, extractors, read_verified

FILE = "weights-inception-2015-12-05-6726825d.pth"
FID_LABEL = "inception-v3-compat@6726825d"
"""Only features with this label make a Fréchet distance an FID."""


class Pool3(nn.Module):
    """Gives torch-fidelity's network images of one channel or three.

    Args:
        network: Returns pool3 features and logits without bias.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map uint8 images ``(n, 1 or 3, height, width)`` to ``(n, 2048)`` and ``(n, 1008)``."""
        features, logits = self.network(images.expand(-1, 3, -1, -1))
        return features, logits


@extractors.register("inception-v3-compat", source="Szegedy et al. 2015; torch-fidelity's port")
class InceptionV3(Extractor):
    """Inception of 2015-12-05 with TensorFlow 1's resizing, as torch-fidelity has it.

    Its weights are never fetched: they are looked for in the data root and in torch hub's cache.
    """

    batch: ClassVar[int] = 50
    most_compared: ClassVar[int] = 10_000
    sha256_expected: ClassVar[str] = (
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
    )

    @classmethod
    def weights_sha256(cls) -> str:
        """Return the hash that the published weights have."""
        return cls.sha256_expected

    @classmethod
    def places(cls, root: Path | None) -> list[Path]:
        """List where the weights are looked for, first choice first."""
        hub = Path(torch.hub.get_dir()) / "checkpoints" / FILE
        return [root / FILE, hub] if root is not None else [hub]

    @classmethod
    def weights_file(cls, root: Path | None = None) -> Path:
        """Find the weights.

        Raises:
            DataError: saying which file belongs where.
        """
        places = cls.places(root)
        for path in places:
            if path.is_file():
                return path
        raise DataError(
            f"extractor {cls.id!r} needs the weights {FILE} (sha256 {cls.sha256_expected}), a file "
            f"of torch-fidelity's release v0.2.0; put it at {' or '.join(map(str, places))}, or "
            "set `extractor: thumbnail`, which needs no weights and sees little"
        )

    @classmethod
    def require(cls, root: Path | None = None) -> None:
        """Check that the weights are there."""
        cls.weights_file(root)

    @classmethod
    def load(cls, device: torch.device, root: Path | None = None) -> Self:
        """Build the network by torch-fidelity, after checking the weights' hash."""
        from torch_fidelity.utils import create_feature_extractor

        path = cls.weights_file(root)
        # torch-fidelity unpickles the file without restraint; only the right hash makes that safe.
        read_verified(path, cls.sha256_expected, "replace it with the file of the release v0.2.0")
        network = create_feature_extractor(
            "inception-v3-compat",
            ["2048", "logits_unbiased"],
            cuda=False,
            feature_extractor_weights_path=str(path),
            verbose=False,
        )
        return cls(Pool3(network).eval().to(device), device, cls.sha256_expected)
