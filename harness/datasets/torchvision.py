"""Data sets that torchvision knows, read from its files where the user has put them."""

from __future__ import annotations

import gzip
import io
import math
import pickle
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn.functional import pad

from harness.datasets.base import Examples, datasets, from_options
from harness.datasets.images.cache import SPLITS, ArrayCache, Decoded, Kept
from harness.datasets.images.decoding import DECODING
from harness.datasets.images.files import ImageArchive
from harness.datasets.images.reading import notes_of, read_images
from harness.datasets.published import Download, Published, torchvision_class
from harness.errors import DataError
from harness.spec import Split

IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def held_out(split: Split, images: Tensor, labels: Tensor) -> Examples:
    """Cut published test images in two: even positions validate, odd positions test.

    Files are often sorted, or written by some people first and by others last.
    """
    first = 0 if split == "validation" else 1
    return Examples(images[first::2].contiguous(), labels[first::2].contiguous())


def read_idx(data: bytes) -> NDArray[np.uint8]:
    """Read an array of bytes in the IDX format.

    Raises:
        ValueError: if it is none, or not whole.
    """
    if len(data) < 4 or data[:3] != b"\0\0\x08":
        raise ValueError("no IDX file of bytes")
    shape = np.frombuffer(data, ">u4", data[3], offset=4).tolist()
    start = 4 + 4 * data[3]
    if len(data) - start != math.prod(shape):
        raise ValueError(f"{len(data) - start} bytes, its header says {math.prod(shape)}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy()


class IDX(Published):
    """Images of 28×28 in grey, padded with black to 32×32; half of the test images validate."""

    folder: ClassVar[str]
    """Name of torchvision's class, and of the folder."""

    shape: ClassVar[tuple[int, ...]] = (1, 32, 32)
    classes: ClassVar[int | None] = 10
    train_size: ClassVar[int | None] = 60_000

    def read(self, split: Split, root: Path | None = None) -> Examples:
        """Read one split from ``<root>/<folder>/raw``; nothing is ever fetched."""
        names = IDX_FILES[:2] if split == "train" else IDX_FILES[2:]
        self.require_content(names, root)
        images, labels = (
            torch.from_numpy(array) for array in (self.array(name, root) for name in names)
        )
        if len(images) != len(labels):
            raise DataError(f"data set {self.id!r}: {len(images)} images, {len(labels)} labels")
        padded = pad(images.unsqueeze(1), (2, 2, 2, 2))
        if split == "train":
            return Examples(padded.contiguous(), labels.long())
        return held_out(split, padded, labels.long())

    def require_content(self, names: tuple[str, ...], root: Path | None) -> None:
        """Check that the files are there."""
        self.require(tuple(f"{self.folder}/raw/{name}.gz" for name in names), root)

    def array(self, name: str, root: Path | None) -> NDArray[np.uint8]:
        """Read the array of one file."""
        file = self.verified(f"{self.folder}/raw/{name}.gz", root)
        with self.reading(file):
            return read_idx(gzip.decompress(file.read_bytes()))

    def downloads(self) -> list[Download]:
        """List the four files, with torchvision's mirrors."""
        known = torchvision_class(self.folder)
        return [
            Download(
                tuple(f"{mirror}{name}" for mirror in known.mirrors),
                f"{self.folder}/raw/{name}",
                md5,
                unpack=True,
            )
            for name, md5 in known.resources
        ]


def idx_pins(folder: str, *md5: str) -> dict[str, str]:
    """Pin the four files of a folder, in the order of :data:`IDX_FILES`."""
    return {f"{folder}/raw/{name}.gz": h for name, h in zip(IDX_FILES, md5, strict=True)}


@datasets.register("mnist", source="LeCun et al. 1998, Gradient-based learning")
class MNIST(IDX):
    """Handwritten digits, 28×28 padded with black to 32×32, 60,000 to train with.

    Of the 10,000 test images those at even positions are the validation split and those at odd
    positions the test split: the first 5,000 come from tidier writers than the last. What is read
    is pinned, so that the unpacked files alone will do.
    """

    folder: ClassVar[str] = "MNIST"
    class_names: ClassVar[tuple[str, ...] | None] = tuple("0123456789")
    megabytes: ClassVar[int] = 12
    files: ClassVar[dict[str, str]] = idx_pins(
        "MNIST",
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    )
    sha256: ClassVar[Mapping[Split, str]] = {
        "train": "09444b9f1de3892f1f02b0d4eb23d02434f1f7216519875d94ddc044f4d69909",
        "validation": "69d76831ca9397ae8837d10aa875745753f5c3577c0bee90f6f8931b148f7262",
        "test": "06875484dc71343071419baa3ed1fa561e4b9c61748ccd83b7ab669d79893fd1",
    }

    def require_content(self, names: tuple[str, ...], root: Path | None) -> None:
        """Check that the files are there, unpacked or not."""
        packed = [f"{self.folder}/raw/{name}.gz" for name in names]
        if root is None or not all((root / name).is_file() for name in packed):
            self.require(tuple(f"{self.folder}/raw/{name}" for name in names), root)

    def array(self, name: str, root: Path | None) -> NDArray[np.uint8]:
        """Read the unpacked file if there is one; what it becomes is pinned."""
        if root is None or not (root / self.folder / "raw" / name).is_file():
            return super().array(name, root)
        file = root / self.folder / "raw" / name
        with self.reading(file):
            return read_idx(file.read_bytes())

    def check(self, root: Path | None = None) -> None:
        """Check what every split becomes."""
        for split in self.sha256:
            self.load(split, root)


@datasets.register("fashion-mnist", source="Xiao et al. 2017, arXiv:1708.07747")
class FashionMNIST(IDX):
    """Clothes in grey, 28×28 padded with black to 32×32, 60,000 to train with."""

    folder: ClassVar[str] = "FashionMNIST"
    class_names: ClassVar[tuple[str, ...] | None] = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip
    megabytes: ClassVar[int] = 31
    files: ClassVar[dict[str, str]] = idx_pins(
        "FashionMNIST",
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    )


@datasets.register("kmnist", source="Clanuwat et al. 2018, arXiv:1812.01718")
class KMNIST(IDX):
    """Cursive Japanese characters, 28×28 padded with black to 32×32, 60,000 to train with."""

    folder: ClassVar[str] = "KMNIST"
    class_names: ClassVar[tuple[str, ...] | None] = (
        "o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo",
    )  # fmt: skip
    megabytes: ClassVar[int] = 21
    files: ClassVar[dict[str, str]] = idx_pins(
        "KMNIST",
        "bdb82020997e1d708af4cf47b453dcf7",
        "e144d726b3acfaa3e44228e80efcd344",
        "5c965bf0a639b31b8f53240b1b52f4d7",
        "7320c461ea6c1c855c0b718fb2a4b134",
    )


class ArrayUnpickler(pickle.Unpickler):
    """Unpickles dictionaries of numpy arrays, and refuses everything that could run."""

    def find_class(self, module: str, name: str) -> Any:
        """Return one of the few things that an array is made with."""
        allowed = {
            ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return allowed[module, name]


@datasets.register("cifar10", source="Krizhevsky 2009, Learning multiple layers of features")
class CIFAR10(Published):
    """Small photographs of ten kinds, 32×32 in colour, 50,000 to train with.

    Of the 10,000 test images those at even positions are the validation split and those at odd
    positions the test split.
    """

    shape: ClassVar[tuple[int, ...]] = (3, 32, 32)
    classes: ClassVar[int | None] = 10
    class_names: ClassVar[tuple[str, ...] | None] = (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip
    train_size: ClassVar[int | None] = 50_000
    megabytes: ClassVar[int] = 171
    files: ClassVar[dict[str, str]] = {
        "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
        "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
        "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
    }

    def read(self, split: Split, root: Path | None = None) -> Examples:
        """Read one split from ``<root>/cifar-10-batches-py``; nothing is ever fetched."""
        names = tuple(n for n in self.files if n.endswith("test_batch") == (split != "train"))
        self.require(names, root)
        images, labels = [], []
        for name in names:
            file = self.verified(name, root)
            with self.reading(file), file.open("rb") as stream:
                batch = ArrayUnpickler(stream, encoding="latin1").load()
                images.append(torch.from_numpy(batch["data"].reshape(-1, *self.shape)))
                labels.append(torch.tensor(batch["labels"], dtype=torch.int64))
        every = torch.cat(images), torch.cat(labels)
        return Examples(*every) if split == "train" else held_out(split, *every)

    def downloads(self) -> list[Download]:
        """Give the one archive."""
        known = torchvision_class("CIFAR10")
        return [Download((known.url,), known.filename, known.tgz_md5, unpack=True)]


@datasets.register("svhn", source="Netzer et al. 2011, Reading digits in natural images")
class SVHN(Published):
    """House numbers, cropped digits of 32×32 in colour, 73,257 to train with.

    Of the 26,032 test images those at even positions are the validation split and those at odd
    positions the test split. The digit 0, which the file calls 10, is class 0.
    """

    shape: ClassVar[tuple[int, ...]] = (3, 32, 32)
    classes: ClassVar[int | None] = 10
    class_names: ClassVar[tuple[str, ...] | None] = tuple("0123456789")
    train_size: ClassVar[int | None] = 73_257
    megabytes: ClassVar[int] = 247
    files: ClassVar[dict[str, str]] = {
        "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
        "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
    }

    def read(self, split: Split, root: Path | None = None) -> Examples:
        """Read one split from ``<root>/{train,test}_32x32.mat``; nothing is ever fetched."""
        part = "train" if split == "train" else "test"
        file = self.verified(f"{part}_32x32.mat", root)
        with self.reading(file):
            from scipy.io import loadmat

            content = loadmat(io.BytesIO(file.read_bytes()))
            images = torch.from_numpy(np.ascontiguousarray(content["X"].transpose(3, 2, 0, 1)))
            labels = torch.from_numpy(content["y"].astype(np.int64).ravel() % 10)
        return Examples(images, labels) if split == "train" else held_out(split, images, labels)

    def downloads(self) -> list[Download]:
        """List the two files."""
        known = torchvision_class("SVHN").split_list
        return [Download((url,), name, md5) for url, name, md5 in (known["train"], known["test"])]


@datasets.register("celeba", source="Liu et al. 2015, arXiv:1411.7766; aligned and cropped")
class CelebA(Published):
    """Faces of well-known people, the middle 178×178 resized, 162,770 to train with.

    The splits are the published ones. The zip archive itself is read, once; what it becomes is
    kept in the user's cache. It has no classes, only attributes, which are not read.
    """

    size: int = Field(default=64, ge=8, le=178, description="pixels along each side")

    train_size: ClassVar[int | None] = 162_770
    megabytes: ClassVar[int] = 1_443
    files: ClassVar[dict[str, str]] = {
        "celeba/img_align_celeba.zip": "00d2c5bc6d35e252742224ab0c1e8fcb",
        "celeba/list_eval_partition.txt": "d32c9cbf5e040fd4025c592c306e6668",
    }

    @from_options
    def shape(self) -> tuple[int, ...]:
        """Follows from the size."""
        return 3, self.size, self.size

    def read(self, split: Split, root: Path | None = None) -> Examples:
        """Map one split into memory; decodes all three the first time."""
        self.require(tuple(self.files), root)
        cache = ArrayCache()
        key = {
            "files": self.files,
            "options": self.identity,
            "decoding": [DECODING, version("pillow")],
        }
        kept = cache.find(key)
        examples = cache.load(kept.splits[split]) if kept is not None else None
        if examples is None:
            kept = self._decode(cache, root)
            cache.keep(key, kept)
            examples = cache.load(kept.splits[split])
        if examples is None:
            raise DataError(f"data set {self.id!r} cannot be read back from {cache.folder}")
        return examples

    def _decode(self, cache: ArrayCache, root: Path | None) -> Decoded:
        partition = self.verified("celeba/list_eval_partition.txt", root)
        file = self.verified("celeba/img_align_celeba.zip", root)
        with self.reading(partition):
            lines = (line.split() for line in partition.read_text().splitlines())
            sides = {name: int(side) for name, side in lines}
        source = ImageArchive(file)
        listing = source.list()
        entries = [entry for entry in listing.entries if entry.name in sides]
        with read_images(source, entries, cache, size=self.size, crop="center", channels=3) as read:
            if len(read.names) != len(sides):
                notes = "; ".join(notes_of(read, {}, listing.others))
                raise DataError(
                    f"data set {self.id!r}: {len(read.names)} of {len(sides)} images of {file} "
                    f"can be read {notes}"
                )
            side_of = np.array([sides[name] for name in read.names])
            splits: dict[Split, Kept] = {
                split: cache.write(read.images, np.flatnonzero(side_of == side), None)
                for side, split in enumerate(SPLITS)
            }
        return Decoded(self.fingerprint(), None, (), splits)

    def downloads(self) -> list[Download]:
        """List the archive and the partition."""
        known = torchvision_class("CelebA").file_list
        return [
            Download((f"https://drive.google.com/file/d/{where}/view",), f"celeba/{name}", md5)
            for where, md5, name in known
            if f"celeba/{name}" in self.files
        ]
