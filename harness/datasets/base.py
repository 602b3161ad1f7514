"""What a data set is: fixed content, in three splits, named by a fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeVar, cast

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from harness.errors import DataError
from harness.registry import Registry
from harness.spec import RunSpec, Split, content_id

Kind = Literal["points", "images"]
HASHED = 4096
"""Examples that are hashed at a time, so that nothing larger is put together."""


class Values(Protocol):
    """Examples that are indexed like a tensor, whether or not all of them lie in memory.

    A tensor is one; others are uint8 images that are put together when they are asked for.
    """

    @property
    def shape(self) -> torch.Size:
        """Number of examples, then the shape of one."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the examples."""

    @property
    def nbytes(self) -> int:
        """Memory that :meth:`to` takes."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Tensor:
        """Return the examples of a slice, or of indices of any shape, which comes first."""

    def to(self, device: torch.device, /) -> Values:
        """Move everything to a device."""


@dataclass(frozen=True)
class Examples:
    """One split of a data set.

    Attributes:
        values: uint8 images ``(n, channels, height, width)`` or float32 points ``(n, dimensions)``.
        labels: int64 class or mode of each, ``(n,)``; None where there are none.
    """

    values: Values
    labels: Tensor | None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def sha256(self) -> str:
        """Hash of dtype, shape and bytes of values and labels."""
        digest = hashlib.sha256()
        for held in (self.values, self.labels):
            if held is not None:
                digest.update(f"{held.dtype}{tuple(held.shape)}".encode())
                for start in range(0, len(held), HASHED):
                    digest.update(held[start : start + HASHED].contiguous().numpy().data)
        return digest.hexdigest()


T = TypeVar("T")


def from_options(method: Callable[[Any], T]) -> T:
    """Let an attribute of a data set follow from its options: a property, typed by its value."""
    return cast(T, property(method))


class Place:
    """Marks an option that says where files lie: no part of what a run is, and never in its id."""


class Dataset(BaseModel):
    """A data set whose options are its fields.

    A subclass gives :meth:`read`, and says what its examples are by class attributes; where one
    follows from options it is a method under :func:`from_options`, so read them of an instance
    (:func:`dataset_of`). Built-in data sets also pin the hash of each split, so that nothing
    needs to be read to name a run, and damaged content is refused when it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    kind: ClassVar[Kind]
    shape: ClassVar[tuple[int, ...]]
    """Shape of one example; images as (channels, height, width)."""
    classes: ClassVar[int | None] = None
    """Number of labelled classes or modes."""
    class_names: ClassVar[tuple[str, ...] | None] = None
    """What the classes are called, in the order of their labels; None if they are only numbered."""
    train_size: ClassVar[int | None] = None
    """Examples of the training split, so that a batch can be checked before any training."""
    sha256: ClassVar[Mapping[Split, str]] = {}
    """Pinned hash of each split's content; empty where other pins, or none, name it."""
    samples: ClassVar[int | None] = None
    """Generated examples per evaluation where a suite says nothing; None for the kind's usual."""
    needs_root: ClassVar[bool] = False
    """Whether it is read from the folder given by ``--data-root`` or ``GANBENCH_DATA``."""

    @property
    def identity(self) -> dict[str, Any]:
        """The options that say what it is, as a run's spec has them."""
        return self.model_dump(mode="json", exclude=set(self.places()))

    @property
    def where(self) -> dict[str, str]:
        """The options that say where its files lie."""
        return {name: str(getattr(self, name)) for name in self.places()}

    @classmethod
    def places(cls) -> list[str]:
        """Name the options that are marked as a :class:`Place`."""
        return [
            name
            for name, field in cls.model_fields.items()
            if any(isinstance(mark, Place) for mark in field.metadata)
        ]

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be known of the files it was made of, such as those that were skipped."""
        return ()

    def read(self, split: Split, root: Path | None) -> Examples:
        """Read or synthesise one split.

        Raises:
            DataError: if files are missing; the message says which, and where to put them.
        """
        raise NotImplementedError

    def pin(self, split: Split) -> str | None:
        """Name a split's content without reading it; None where nothing pins it."""
        return self.sha256.get(split)

    def fingerprint(self) -> str:
        """Name all splits, 12 hexadecimal digits: by their content, as far as that is pinned."""
        splits: object = dict(self.sha256)
        options = {"options": self.identity} if self.identity else {}
        return content_id({"id": self.id, "splits": splits, **options})

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

    def check(self, root: Path | None = None) -> None:
        """Check that everything it is made of is there and whole.

        Raises:
            AbsentDataError: if files are absent; the message says which, and how to get them.
            DataError: if something is damaged.
        """
        for split in self.sha256:
            self.load(split, root)


def to_unit_range(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Map uint8 images from 0…255 to [−1, 1]."""
    return images.to(dtype) / 127.5 - 1


def to_bytes(images: Tensor) -> Tensor:
    """Map images in [−1, 1] to uint8, rounded to the nearest level."""
    return (images * 127.5 + 128).clamp(0, 255).to(torch.uint8)


datasets: Registry[Dataset] = Registry("dataset")


def dataset_of(spec: RunSpec) -> Dataset:
    """Make the data set that a spec describes."""
    described = spec.dataset
    return datasets.get(described.id).model_validate({**described.options, **described.where})
