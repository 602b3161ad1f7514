"""Lists and reads the image files of a folder or of a zip archive."""

from __future__ import annotations

import os
import stat
import threading
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.datasets.images.decoding import SUFFIXES, Undecodable
from harness.datasets.images.layout import SPLIT_FOLDERS
from harness.errors import DataError

LARGEST = 2**28
"""Bytes of one image file; more is refused rather than read."""


@dataclass(frozen=True)
class Entry:
    """One image file.

    Attributes:
        name: Path within the folder or archive, with slashes.
        size: Bytes.
        stamp: Changes with the content: time of the last change in nanoseconds, or the CRC.
    """

    name: str
    size: int
    stamp: int


@dataclass(frozen=True)
class Listing:
    """What a folder or archive holds.

    Attributes:
        entries: Files with an image's name, in the order of their names.
        folders: All folders, but hidden ones.
        others: How many files have other names.
        broken: Reason by name of what cannot even be looked at, such as a link to nowhere.
    """

    entries: tuple[Entry, ...]
    folders: frozenset[str]
    others: int
    broken: dict[str, str]


class ImageFolder:
    """The files below a folder, links followed.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def list(self) -> Listing:
        """List all files.

        Raises:
            DataError: if a folder cannot be read.
        """
        entries: list[Entry] = []
        folders: set[str] = set()
        broken: dict[str, str] = {}
        others = 0
        for name, file in self._files():
            if name.endswith("/"):
                folders |= {name[:-1]} if not is_hidden(PurePosixPath(name)) else set()
                continue
            if not is_image_name(name):
                others += 1
                continue
            try:
                status = file.stat()
            except OSError as error:
                broken[name] = error.strerror or "cannot be read"
                continue
            if stat.S_ISREG(status.st_mode):
                entries.append(Entry(name, status.st_size, status.st_mtime_ns))
            else:
                broken[name] = "is no regular file"
        ordered = tuple(sorted(entries, key=lambda entry: entry.name))
        return Listing(ordered, frozenset(folders), others, broken)

    def _files(self) -> Iterator[tuple[str, Path]]:
        """Name everything below the folder, a folder with a slash at its end."""

        def refuse(error: OSError) -> None:
            raise DataError(f"cannot read {error.filename}: {error.strerror}") from error

        seen: set[tuple[int, int]] = set()
        for here, folders, names in os.walk(self.path, onerror=refuse, followlinks=True):
            where = os.stat(here)  # noqa: PTH116 - as os.walk names it
            if (where.st_dev, where.st_ino) in seen:  # a link to a folder above
                folders.clear()
                continue
            seen.add((where.st_dev, where.st_ino))
            folders.sort()
            for name in (*(f"{folder}/" for folder in folders), *sorted(names)):
                file = Path(here) / name
                slash = "/" if name.endswith("/") else ""
                yield f"{file.relative_to(self.path).as_posix()}{slash}", file

    def read(self, entry: Entry) -> bytes:
        """Return a file's bytes.

        Raises:
            Undecodable: if it cannot be read.
        """
        refuse_size(entry.size)
        try:
            return (self.path / entry.name).read_bytes()
        except OSError as error:
            raise Undecodable(error.strerror or "cannot be read") from error


class ImageArchive:
    """The files of a zip archive, read without unpacking it.

    A folder that all images share is passed over, since many archives hold one folder.

    Args:
        path: The archive.

    Raises:
        DataError: if it is none, or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise DataError(f"{path} is no zip archive that can be read: {reason}") from error
        self._lock = threading.Lock()
        files = [info for info in self._archive.infolist() if not info.is_dir()]
        images = [info for info in files if is_image_name(info.filename)]
        self._others = len(files) - len(images)
        shared = shared_folders([info.filename.split("/")[:-1] for info in images])
        self._members = {"/".join(i.filename.split("/")[shared:]): i for i in images}
        wrapping = images[0].filename.split("/")[:shared] if images else []
        self._folders = frozenset(self._folders_in(wrapping))

    def list(self) -> Listing:
        """List all files."""
        entries = [Entry(name, i.file_size, i.CRC) for name, i in sorted(self._members.items())]
        return Listing(tuple(entries), self._folders, self._others, {})

    def _folders_in(self, wrapping: Sequence[str]) -> Iterator[str]:
        """Name the folders that files lie in, or that have an entry of their own."""
        for name in self._archive.namelist():
            parts = name.split("/")[:-1]
            for depth in range(len(wrapping) + 1, len(parts) + 1):
                own = PurePosixPath(*parts[len(wrapping) : depth])
                if parts[: len(wrapping)] == wrapping and not is_hidden(own):
                    yield own.as_posix()

    def read(self, entry: Entry) -> bytes:
        """Return a file's bytes.

        Raises:
            Undecodable: if it cannot be read.
        """
        refuse_size(entry.size)
        try:
            with self._lock:
                return self._archive.read(self._members[entry.name])
        except (OSError, RuntimeError, EOFError, ValueError, zipfile.BadZipFile) as error:
            raise Undecodable(str(error)) from error
        except Exception as error:
            raise Undecodable(f"cannot be unpacked: {error}") from error


def shared_folders(paths: Sequence[Sequence[str]]) -> int:
    """Count the folders, from the top, that all paths begin with; a split is none of them."""
    count = 0
    for level in zip(*paths, strict=False):
        if len(set(level)) > 1 or level[0].casefold() in SPLIT_FOLDERS:
            break
        count += 1
    return count


def is_image_name(name: str) -> bool:
    """Say whether a file counts as an image, by its ending; hidden files never do."""
    path = PurePosixPath(name)
    return not is_hidden(path) and path.suffix.lower() in SUFFIXES


def is_hidden(path: PurePosixPath) -> bool:
    """Say whether a file or folder is hidden, or in a hidden folder."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def refuse_size(size: int) -> None:
    """Refuse what is too large to be an image.

    Raises:
        Undecodable: if it is.
    """
    if size > LARGEST:
        raise Undecodable(f"has {size:,} bytes, more than {LARGEST:,}")


def open_images(path: Path) -> ImageFolder | ImageArchive:
    """Open a folder or a zip archive of images.

    Raises:
        DataError: if the path is neither.
    """
    if path.is_dir():
        return ImageFolder(path)
    if path.is_file():
        return ImageArchive(path)
    raise DataError(f"{path} is neither a folder nor a zip archive; give the path of one")
