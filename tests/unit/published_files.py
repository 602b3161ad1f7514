"""Writes tiny data sets in the formats of the published ones."""

import gzip
import hashlib
import io
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.datasets.published import Published
from harness.datasets.torchvision import CIFAR10, IDX, SVHN, CelebA


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">4B{array.ndim}i", 0, 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def idx_files(cls: type[IDX], train: int = 6, test: int = 10) -> dict[str, bytes]:
    """Write images whose pixels are their number, from 1."""
    files = {}
    for part, count in (("train", train), ("t10k", test)):
        images = np.broadcast_to(np.arange(1, count + 1)[:, None, None], (count, 28, 28))
        arrays = {"images-idx3": images, "labels-idx1": np.arange(count) % 10}
        for kind, array in arrays.items():
            name = f"{cls.folder}/raw/{part}-{kind}-ubyte.gz"
            files[name] = gzip.compress(idx(array), mtime=0)
    return files


def old_pickle(data: np.ndarray, labels: list[int]) -> bytes:
    """Write a batch as Python 2 pickled those of CIFAR-10, opcode by opcode."""

    def text(value: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(value)) + value

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
        + number(0) + b"\x85" + text(b"b") + b"\x87R("
        + number(1) + number(data.shape[0]) + number(data.shape[1]) + b"\x86"
        + b"cnumpy\ndtype\n" + text(b"u1") + number(0) + number(1) + b"\x87R("
        + number(3) + text(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
        + b"\x89" + text(data.tobytes()) + b"tb"
    )  # fmt: skip
    numbers = b"](" + b"".join(map(number, labels)) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + numbers + b"u."


def cifar_files(count: int = 4) -> dict[str, bytes]:
    """Write batches whose images are their number in red, 100 in green, 200 in blue."""
    files = {}
    for k, name in enumerate(CIFAR10.files):
        numbers = np.arange(k * count, (k + 1) * count, dtype=np.uint8)
        data = np.concatenate(
            [np.repeat(numbers[:, None], 1024, axis=1)]
            + [np.full((count, 1024), level, np.uint8) for level in (100, 200)],
            axis=1,
        )
        files[name] = old_pickle(data, (numbers % 10).tolist())
    return files


def svhn_files(count: int = 10) -> dict[str, bytes]:
    """Write images whose pixels are their number in column 0; labels from 1 to 10."""
    from scipy.io import savemat

    files = {}
    for name in SVHN.files:
        images = np.zeros((32, 32, 3, count), np.uint8)
        images[:, 0, 0] = np.arange(count)
        labels = (np.arange(count) % 10 + 1).astype(np.uint8)[:, None]
        stream = io.BytesIO()
        savemat(stream, {"X": images, "y": labels})
        files[name] = stream.getvalue()
    return files


def celeba_files(count: int = 9) -> dict[str, bytes]:
    """Write flat pictures of 178×218 with black bars that the crop takes off."""
    stream = io.BytesIO()
    lines = []
    with zipfile.ZipFile(stream, "w") as archive:
        for i in range(count):
            image = Image.new("RGB", (178, 218))
            image.paste((20 * i, 100, 200), (0, 20, 178, 198))
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=100, subsampling=0)
            archive.writestr(f"img_align_celeba/{i + 1:06d}.jpg", buffer.getvalue())
            lines.append(f"{i + 1:06d}.jpg {i % 3}\n")
    partition = "".join(lines).encode()
    return dict(zip(CelebA.files, (stream.getvalue(), partition), strict=True))


def cifar_archive(files: dict[str, bytes]) -> bytes:
    """Pack CIFAR-10 as it is published."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def write(root: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def pin(monkeypatch: pytest.MonkeyPatch, cls: type[Published], files: dict[str, bytes]) -> None:
    """Let a data set be what the files say."""
    assert set(files) == set(cls.files)
    monkeypatch.setattr(cls, "files", {name: md5(data) for name, data in files.items()})
    monkeypatch.setattr(cls, "sha256", {})
