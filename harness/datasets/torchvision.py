"""Data sets that torchvision reads from files the user has put in place."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from torch.nn.functional import pad

from harness.datasets.base import Dataset, Examples, Kind, datasets
from harness.errors import DataError
from harness.spec import Split


@datasets.register("mnist", source="LeCun et al. 1998, Gradient-based learning")
class MNIST(Dataset):
    """Handwritten digits, 28×28 padded with black to 32×32, 60,000 to train with.

    Of the 10,000 test images those at even positions are the validation split and those at odd
    positions the test split: the first 5,000 come from tidier writers than the last.
    """

    kind: ClassVar[Kind] = "images"
    shape: ClassVar[tuple[int, ...]] = (1, 32, 32)
    classes: ClassVar[int | None] = 10
    train_size: ClassVar[int | None] = 60_000
    needs_root: ClassVar[bool] = True
    sha256: ClassVar[dict[Split, str]] = {
        "train": "09444b9f1de3892f1f02b0d4eb23d02434f1f7216519875d94ddc044f4d69909",
        "validation": "69d76831ca9397ae8837d10aa875745753f5c3577c0bee90f6f8931b148f7262",
        "test": "06875484dc71343071419baa3ed1fa561e4b9c61748ccd83b7ab669d79893fd1",
    }

    def read(self, split: Split, root: Path | None = None) -> Examples:
        """Read one split from ``<root>/MNIST/raw``; nothing is ever fetched.

        Raises:
            DataError: naming the files that are absent or damaged, and where they belong.
        """
        part = "train" if split == "train" else "t10k"
        names = [f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"]
        wanted = f"files {', '.join(names)} (unpacked) in <data root>/MNIST/raw"
        remedy = "give the data root with --data-root or GANBENCH_DATA"
        if root is None:
            raise DataError(f"data set {self.id!r} needs the {wanted}; {remedy}")
        folder = root / "MNIST" / "raw"
        absent = [name for name in names if not (folder / name).is_file()]
        if absent:
            raise DataError(
                f"data set {self.id!r}: {', '.join(absent)} not found in {folder}; put the "
                f"unpacked files there, or {remedy}"
            )
        # The class MNIST would also unpickle a "processed" folder, should the root have one.
        from torchvision.datasets.mnist import read_image_file, read_label_file

        try:
            images = read_image_file(str(folder / names[0]))
            labels = read_label_file(str(folder / names[1]))
        except (OSError, RuntimeError, ValueError, TypeError, KeyError, AssertionError) as error:
            raise DataError(
                f"data set {self.id!r}: {' or '.join(names)} in {folder} is damaged "
                f"({error or type(error).__name__}); replace both"
            ) from error
        if split != "train":
            first = 0 if split == "validation" else 1
            images, labels = images[first::2], labels[first::2]
        return Examples(pad(images.unsqueeze(1), (2, 2, 2, 2)).contiguous(), labels.contiguous())
