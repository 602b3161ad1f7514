"""Writes what a user named: never over records, other people's files, or half a file."""

from __future__ import annotations

import os
from pathlib import Path

from harness.errors import GanbenchError, StoreError
from harness.store.folders import REPLACED, write_atomically

OWN = frozenset({"runs", REPLACED, "tuning", "cohorts", "wandb"})
"""What a results folder keeps its records in: nothing else goes there."""


def check_file(option: str, file: Path, suffixes: tuple[str, ...], *, force: bool) -> Path:
    """Refuse a file of another kind, or one that would be lost; return the file.

    Args:
        option: How the user says where.
        file: Where to write.
        suffixes: How its name may end.
        force: Whether a file that is there may be replaced.

    Raises:
        GanbenchError: if its name has none of the suffixes, it is no file, lies among a results
            folder's records, or exists and ``force`` is off.
    """
    if file.suffix.lower() not in suffixes:
        named = f"{option} {file}" if str(file) not in ("", ".") else f"{option} is empty"
        raise GanbenchError(f"{named}: the name has to end with {' or '.join(suffixes)}")
    check_place(option, file)
    if file.is_dir():
        raise GanbenchError(f"{option} {file} is a folder")
    if file.exists() and not file.is_file():
        raise GanbenchError(f"{option} {file} is not a file that can be replaced")
    if file.exists() and not force:
        raise GanbenchError(
            f"{file} is there already; choose another {option}, or replace it with --force"
        )
    return file


def check_place(option: str, path: Path) -> None:
    """Refuse what lies among a results folder's records, or is a results folder.

    Raises:
        GanbenchError: naming the folder.
    """
    place = Path(os.path.realpath(path))
    for folder in (place, *place.parents):
        kept = folder / "suite.json", folder / "spec.json", folder / "events.jsonl"
        if not any(file.is_file() for file in kept):
            continue
        inside = place.relative_to(folder).parts
        if not inside or not kept[0].is_file() or inside[0] in OWN:
            raise GanbenchError(
                f"{option} {path} is where {folder} keeps its records; choose another place"
            )


def write_named(file: Path, data: bytes) -> None:
    """Write a file that :func:`check_file` has let pass; until it is whole, the old one stays.

    Raises:
        StoreError: if it cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, data)
    except OSError as error:
        raise StoreError(f"cannot write {file}: {error.strerror or error}") from error
