"""What a data set is: fixed content, in three splits, named by a fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from harness.errors import DataError
from harness.registry import Registry
from harness.spec import RunSpec, Split, content_id

Kind = Literal["points", "images"]


@dataclass(frozen=True)
class Examples:
    """One split of a data set.

    Attributes:
        values: uint8 images ``(n, channels, height, width)`` or float32 points ``(n, 2)``.
        labels: int64 class or mode of each, ``(n,)``; None where there are none.
    """

    values: Tensor
    labels: Tensor | None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def sha256(self) -> str:
        """Hash of dtype, shape and bytes of values and labels."""
        digest = hashlib.sha256()
        for tensor in (self.values, self.labels):
            if tensor is not None:
                digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
                digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()


class Dataset(BaseModel):
    """A data set whose options are its fields.

    A subclass gives :meth:`read`, and says what its examples are: attributes of the class where
    they are always the same, properties where they follow from options. Built-in data sets also
    pin the hash of each split, so that nothing needs to be read to name a run, and damaged
    content is refused when it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    kind: ClassVar[Kind]
    needs_root: ClassVar[bool] = False
    """Whether it is read from the folder given by ``--data-root`` or ``GANBENCH_DATA``."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example; images as (channels, height, width)."""
        raise NotImplementedError

    @property
    def classes(self) -> int | None:
        """Number of labelled classes or modes; None where there are none."""
        return None

    @property
    def train_size(self) -> int | None:
        """Examples of the training split, so that a batch can be checked before any training.

        None where they are not known before the data is read.
        """
        return None

    @property
    def sha256(self) -> Mapping[Split, str]:
        """Pinned hash of each split's content; empty where none is."""
        return {}

    def read(self, split: Split, root: Path | None) -> Examples:
        """Read or synthesise one split.

        Raises:
            DataError: if files are missing; the message says which, and where to put them.
        """
        raise NotImplementedError

    def fingerprint(self) -> str:
        """Name the content of all splits, 12 hexadecimal digits."""
        return content_id({"id": self.id, "splits": {**self.sha256}})

    def load(self, split: Split, root: Path | None = None) -> Examples:
        """Read one split and check that it is what the fingerprint says.

        Raises:
            DataError: if it is absent, or its content has another hash than the pinned one.
        """
        examples = self.read(split, root)
        expected = self.sha256.get(split)
        if expected is not None and examples.sha256 != expected:
            raise DataError(
                f"data set {self.id!r}, split {split!r}: content has sha256 {examples.sha256}, "
                f"expected {expected}; "
                + (f"replace the files under {root}" if self.needs_root else "is numpy unusual?")
            )
        return examples


def to_unit_range(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Map uint8 images from 0…255 to [−1, 1]."""
    return images.to(dtype) / 127.5 - 1


def to_bytes(images: Tensor) -> Tensor:
    """Map images in [−1, 1] to uint8, rounded to the nearest level."""
    return (images * 127.5 + 128).clamp(0, 255).to(torch.uint8)


datasets: Registry[Dataset] = Registry("dataset", "harness.datasets")


def dataset_of(spec: RunSpec) -> Dataset:
    """Make the data set that a spec describes."""
    return datasets.get(spec.dataset.id).model_validate(spec.dataset.options)
