"""Says what folders of images mean: splits at the top, classes below, and what lies beside them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from harness.datasets.images.cache import SPLITS
from harness.errors import DataError
from harness.spec import Split
from harness.store.wording import listing

SPLIT_FOLDERS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""Folders at the top that are splits, in letters of any case; never classes."""
few = partial(listing, most=5)
"""Lists names in a message."""


@dataclass(frozen=True)
class Layout:
    """What the folders of a data set mean.

    Attributes:
        splits: Folder of each split that has one; empty if there are none at the top.
        labelled: Whether folders are classes; images that lie directly in none are left out.
        notes: What is left out, or is no class.
    """

    splits: dict[Split, str] = field(default_factory=dict)
    labelled: bool = False
    notes: tuple[str, ...] = ()

    def split_of(self, name: str) -> Split | None:
        """Return the split in whose folder a file lies; None if it lies in none."""
        top, below, _ = name.partition("/")
        return next((s for s, folder in self.splits.items() if below and folder == top), None)

    def class_of(self, name: str) -> str | None:
        """Return the folder that a file lies in, if that is where classes are; None otherwise."""
        parts = name.split("/")[1 if self.splits else 0 :]
        return parts[0] if len(parts) == 2 else None

    def holds(self, name: str) -> bool:
        """Say whether a file belongs to the data set."""
        outside = self.splits and self.split_of(name) is None
        return not outside and (not self.labelled or self.class_of(name) is not None)

    def classes(self, path: Path, names: Iterable[str]) -> tuple[str, ...] | None:
        """Return the classes that images are of, in their order; None if there are no labels.

        Args:
            path: Of the data set, for messages.
            names: Of images that belong to it.

        Raises:
            DataError: if a split has no images, or none of a class that another split has.
        """
        found: dict[Split | None, set[str | None]] = {split: set() for split in self.splits}
        for name in names:
            found.setdefault(self.split_of(name), set()).add(self.class_of(name))
        for split, folder in self.splits.items():
            if not found[split]:
                or_else = ", or take the folder away" if split != "train" else ""
                raise DataError(
                    f"{path}: the split {folder} has no images that can be read; add some{or_else}"
                )
        classes = sorted({c for own in found.values() for c in own if c is not None}, key=natural)
        if not self.labelled or len(classes) < 2:
            return None
        for split, folder in self.splits.items():
            missing = [name for name in classes if name not in found[split]]
            if missing:
                raise DataError(
                    f"{path}: the split {folder} has no images of {few(missing)}, which another "
                    "split has as a class; every split needs images of every class: add some, or "
                    "take that folder out of the others"
                )
        return tuple(classes)


def layout_of(path: Path, names: Sequence[str], folders: Collection[str]) -> Layout:
    """Find out what the folders of a data set mean.

    Classes are the folders at the top, or in the splits, if there are several and most images lie
    directly in one.

    Args:
        path: Of the data set, for messages.
        names: Of its image files, with slashes.
        folders: All its folders, also those without images.

    Raises:
        DataError: if splits are not whole, or lie beside something else.
    """
    plain = Layout(_splits(path, names, folders))
    notes = []
    beside = [name for name in names if plain.splits and plain.split_of(name) is None]
    inside = [name for name in names if plain.holds(name)]
    if beside:
        if len(beside) >= len(inside):
            raise DataError(
                f"{path}: {len(beside):,} images lie beside the splits "
                f"{few(plain.splits.values())}; move them into one, or away"
            )
        notes.append(f"{len(beside):,} left out, in no split: {few(beside)}")
    plain.classes(path, inside)
    stray = [name for name in inside if plain.class_of(name) is None]
    found = sorted({c for name in inside if (c := plain.class_of(name)) is not None}, key=natural)
    labelled = len(found) > 1 and _mostly_in_classes(path, plain, inside)
    if labelled and stray:
        notes.append(f"{len(stray):,} left out, not directly in a class's folder: {few(stray)}")
    elif len(found) > 1 and not labelled:
        notes.append(
            f"without labels, since {len(stray):,} of {len(inside):,} do not lie directly in one "
            f"of the folders {few(found)}: {few(stray)}"
        )
    absent = [split for split in SPLITS if split not in plain.splits]
    if plain.splits and absent:
        words = "has no folder, and is" if len(absent) == 1 else "have no folders, and are"
        notes.append(f"{' and '.join(absent)} {words} cut out of {plain.splits['train']}")
    layout = Layout(plain.splits, labelled, tuple(notes))
    classes = layout.classes(path, filter(layout.holds, names))
    if classes is not None:
        here = {c for folder in folders if (c := plain.class_of(f"{folder}/")) is not None}
        empty = sorted(here - {*classes, *(_top(layout, name) for name in stray)}, key=natural)
        notes += [f"no class, without images: {few(empty)}"] if empty else []
    return Layout(plain.splits, labelled, tuple(notes))


def _mostly_in_classes(path: Path, layout: Layout, names: Sequence[str]) -> bool:
    """Say whether most images lie directly in a class's folder, in every split.

    Raises:
        DataError: if they do in one split, and not in another.
    """
    counts: Counter[Split | None] = Counter()
    for name in names:
        counts[layout.split_of(name)] += 1 if layout.class_of(name) is not None else -1
    inside = [folder for split, folder in layout.splits.items() if counts[split] > 0]
    outside = [folder for split, folder in layout.splits.items() if counts[split] <= 0]
    if inside and outside:
        raise DataError(
            f"{path}: images lie in folders of classes in {few(inside)}, and not in "
            f"{few(outside)}; lay all splits out alike, or take {few(outside)} away"
        )
    return all(count > 0 for count in counts.values())


def _top(layout: Layout, name: str) -> str:
    """Return where a class would be in a name."""
    return name.split("/")[1 if layout.splits else 0]


def _splits(path: Path, names: Sequence[str], folders: Collection[str]) -> dict[Split, str]:
    """Find the folder of each split.

    Raises:
        DataError: if there are two for one, or none for training, or other folders beside them.
    """
    filled = {name.partition("/")[0] for name in names if "/" in name}
    splits: dict[Split, str] = {}
    for top in sorted({*filled, *(folder.partition("/")[0] for folder in folders)}):
        split = SPLIT_FOLDERS.get(top.casefold())
        if split in splits:
            raise DataError(
                f"{path}: {splits[split]} and {top} are one split by their names; move the images "
                "of one into the other"
            )
        if split is not None:
            splits[split] = top
    if not splits:
        _refuse_deep_splits(path, names)
        return {}
    splits = {split: splits[split] for split in SPLITS if split in splits}
    if "train" not in splits:
        first = next(iter(splits.values()))
        raise DataError(
            f"{path}: {first} is a split by its name, and there is no folder train beside it; add "
            f"one, or rename {first} if it is a class"
        )
    others = sorted(filled - set(splits.values()), key=natural)
    if others:
        words = "is a split by its name" if len(splits) == 1 else "are splits by their names"
        raise DataError(
            f"{path}: {few(splits.values())} {words}, and there are images beside in "
            f"{few(others)}; move these into a split, or away, or rename {splits['train']} if it "
            "is a class"
        )
    return splits


def _refuse_deep_splits(path: Path, names: Sequence[str]) -> None:
    """Refuse splits further down, or they would be trained on.

    Raises:
        DataError: if a folder that is not the top holds a training split and another.
    """
    found: dict[str, dict[Split, str]] = {}
    for name in names:
        parts = name.split("/")[:-1]
        for depth, part in enumerate(parts):
            split = SPLIT_FOLDERS.get(part.casefold())
            if split is not None:
                found.setdefault("/".join(parts[:depth]), {})[split] = part
    for folder, splits in found.items():
        if "train" in splits and len(splits) > 1:
            raise DataError(
                f"{path}: {folder} has {few(splits.values())}, which are splits by their names, "
                f"and honoured only at the top; give the path of {folder}, or move them to the top"
            )


def natural(name: str) -> tuple[list[tuple[str, int, str]], str]:
    """Order names as people do, by the numbers in them: 1, 2, 10."""
    pieces = re.findall(r"([^0-9]*)0*([0-9]*)", name)
    return [(text, len(digits), digits) for text, digits in pieces], name
