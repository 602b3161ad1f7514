"""The handwritten digits that come with scikit-learn: real images, with nothing to fetch."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from harness.datasets.base import Dataset, Examples, Kind, datasets
from harness.errors import DataError
from harness.spec import Split

HELD_OUT_PER_CLASS = 30
"""Images of each class in the validation split, and as many in the test split."""
SPLIT_SEED = 1797


def digits_file() -> Path:
    """Find scikit-learn's file without importing scikit-learn, which takes seconds.

    Raises:
        DataError: if scikit-learn is not installed, or comes without the file.
    """
    spec = find_spec("sklearn")
    folders = list(spec.submodule_search_locations or []) if spec else []
    files = [Path(folder) / "datasets" / "data" / "digits.csv.gz" for folder in folders]
    for file in files:
        if file.is_file():
            return file
    where = files[0] if files else "sklearn/datasets/data/digits.csv.gz"
    raise DataError(f"{where} is missing; install scikit-learn again (pip install scikit-learn)")


def enlarge(images: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Double height and width bilinearly, and map levels 0…16 to 0…255.

    Each new pixel is (9a + 3b + 3c + d) / 16 of its four nearest, so whole numbers suffice and
    the bytes are the same on every machine.

    Args:
        images: ``(n, height, width)``, levels 0…16.
    """
    for axis in (1, 2):
        padding = [(0, 0)] * 3
        padding[axis] = (1, 1)
        padded = np.pad(images, padding, mode="edge")
        size = images.shape[axis]
        before, here, after = (padded.take(range(k, k + size), axis) for k in range(3))
        pairs = np.stack([before + 3 * here, 3 * here + after], axis=axis + 1)
        images = pairs.reshape(*images.shape[:axis], 2 * size, *images.shape[axis + 1 :])
    return ((images * 255 + 128) // 256).astype(np.uint8)


def split_indices(labels: NDArray[np.int64]) -> dict[Split, NDArray[np.int64]]:
    """Cut the data in three: 30 images of each class to validation, 30 to test, the rest to train.

    The indices of a split are in ascending order.
    """
    random = np.random.RandomState(SPLIT_SEED)
    parts: dict[Split, list[NDArray[np.int64]]] = {"train": [], "validation": [], "test": []}
    for digit in range(10):
        order = random.permutation(np.flatnonzero(labels == digit))
        parts["validation"].append(order[:HELD_OUT_PER_CLASS])
        parts["test"].append(order[HELD_OUT_PER_CLASS : 2 * HELD_OUT_PER_CLASS])
        parts["train"].append(order[2 * HELD_OUT_PER_CLASS :])
    return {split: np.sort(np.concatenate(indices)) for split, indices in parts.items()}


@datasets.register("digits", source="Alpaydin and Kaynak 1998, UCI optical digits; scikit-learn")
class Digits(Dataset):
    """Handwritten digits of scikit-learn, 16×16 in grey, 1,197 to train with."""

    kind: ClassVar[Kind] = "images"
    shape: ClassVar[tuple[int, ...]] = (1, 16, 16)
    classes: ClassVar[int | None] = 10
    class_names: ClassVar[tuple[str, ...] | None] = tuple("0123456789")
    train_size: ClassVar[int | None] = 1_197
    sha256: ClassVar[dict[Split, str]] = {
        "train": "2d6a8b9ed3a731857a6d38e104cbaa8b02800037819448e6e01b498d62ce4680",
        "validation": "309f9a096fa207b91062d775716fe759542421381bc9ba62b955229f65e0b5ee",
        "test": "a8d3d1aab4457f9af675fc22d6234dbc673da98d0fd42391ce08ba49e6fc97a3",
    }

    def read(self, split: Split, root: Path | None = None) -> Examples:
        """Read one split from the installed scikit-learn; the root is not used."""
        file = digits_file()
        try:
            with gzip.open(file, "rt", encoding="ascii") as lines:
                table = np.loadtxt(lines, delimiter=",", dtype=np.int64)
            images, labels = table[:, :64].reshape(-1, 8, 8), table[:, 64]
        except (OSError, EOFError, ValueError, IndexError) as error:
            raise DataError(f"{file} is damaged ({error}); install scikit-learn again") from error
        chosen = split_indices(labels)[split]
        values = torch.from_numpy(enlarge(images[chosen])).unsqueeze(1)
        return Examples(values, torch.from_numpy(labels[chosen]))
