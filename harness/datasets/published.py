"""Data sets of published files: each file pinned by its MD5, fetched only when asked to."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import socket
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from harness.datasets.base import Dataset, Kind
from harness.errors import AbsentDataError, DataError
from harness.spec import Split, content_id
from harness.store.code import is_foreign
from harness.store.folders import hold

PREPARATION = 1
"""Raised by every change of what files become."""
TIMEOUT = 30.0
"""Seconds without an answer after which a download is given up."""
ROOT = "give the data root with --data-root or GANBENCH_DATA"


@dataclass(frozen=True)
class Download:
    """A file to fetch.

    Attributes:
        urls: Where it may be; tried in order.
        path: Where it belongs, relative to the data root.
        md5: Of the file.
        unpack: Whether what is in it belongs beside it; a ``.tar.gz`` itself is not kept.
    """

    urls: tuple[str, ...]
    path: str
    md5: str
    unpack: bool = False


class Published(Dataset):
    """A data set that is read from files in torchvision's layout below the data root."""

    files: ClassVar[dict[str, str]]
    """MD5 of each file, by its path relative to the data root."""
    megabytes: ClassVar[int]
    """What fetching it downloads."""

    kind: ClassVar[Kind] = "images"
    needs_root: ClassVar[bool] = True

    def pin(self, split: Split) -> str | None:
        """Name a split by its hash, or by the files' hashes, which reading it checks.

        Of a class from elsewhere they do not say what becomes of the files.
        """
        return super().pin(split) or (None if is_foreign(type(self)) else self.fingerprint())

    def fingerprint(self) -> str:
        """Name the content by the files' hashes and by what becomes of them."""
        if self.sha256:
            return super().fingerprint()
        options = {"options": self.identity} if self.identity else {}
        made_of = {"files": dict(self.files), "preparation": PREPARATION}
        return content_id({"id": self.id, **made_of, **options})

    def path(self, name: str, root: Path | None) -> Path:
        """Find one of the files.

        Raises:
            AbsentDataError: naming what is absent, where it belongs, and how to get it.
        """
        self.require((name,), root)
        assert root is not None  # noqa: S101 - or it would be absent
        return root / name

    def require(self, names: tuple[str, ...], root: Path | None) -> None:
        """Check that files are there.

        Raises:
            AbsentDataError: naming what is absent, where it belongs, and how to get it.
        """
        fetch = f"`ganbench data fetch {self.id}` puts them there"
        if root is None:
            listing = ", ".join(names)
            raise AbsentDataError(
                f"data set {self.id!r} needs the files {listing} in the data root: {ROOT}; {fetch}"
            )
        absent = [name for name in names if not (root / name).is_file()]
        if absent:
            raise AbsentDataError(
                f"data set {self.id!r}: {', '.join(absent)} not found in {root}; {fetch}; or {ROOT}"
            )

    def verified(self, name: str, root: Path | None) -> Path:
        """Find one of the files and check its hash.

        Raises:
            AbsentDataError: if it is absent.
            DataError: if it is not what was published.
        """
        file = self.path(name, root)
        actual = md5_of(file)
        if actual != self.files[name]:
            raise DataError(
                f"{file} has md5 {actual}, expected {self.files[name]}; delete it, then "
                f"`ganbench data fetch {self.id}` replaces it"
            )
        return file

    @contextmanager
    def reading(self, file: Path) -> Iterator[None]:
        """Turn whatever a damaged file leads to into an error that names it.

        Raises:
            DataError: if reading fails.
        """
        try:
            yield
        except DataError:
            raise
        except Exception as error:
            raise DataError(
                f"data set {self.id!r}: {file} is damaged ({error or type(error).__name__}); "
                "delete it, and replace it by `ganbench data fetch "
                f"{self.id}`"
            ) from error

    def check(self, root: Path | None = None) -> None:
        """Check that every file is there and is what was published."""
        self.require(tuple(self.files), root)
        for name in self.files:
            self.verified(name, root)

    def downloads(self) -> list[Download]:
        """List what to fetch, as torchvision knows it."""
        raise NotImplementedError

    def fetch(self, root: Path) -> list[str]:
        """Download what is absent or damaged, and put it in place only when it is whole.

        Args:
            root: The data root; made if it is not there.

        Returns:
            The paths of the files that were fetched, relative to the root.

        Raises:
            DataError: if a file cannot be fetched, or is not what was published; nothing of it
                stays behind.
        """
        with suppress(DataError):
            self.check(root)
            return []
        staging = root / f".fetch-{self.id}"
        staging.mkdir(parents=True, exist_ok=True)
        fetched = []
        with hold(staging), patient(TIMEOUT):
            clear(staging)  # of what a killed process left
            try:
                for download in self.downloads():
                    if self._has(download, root):
                        continue
                    self._fetch_one(download, staging, root)
                    fetched.append(download.path)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        self.check(root)
        return fetched

    def _has(self, download: Download, root: Path) -> bool:
        """Say whether everything that a download gives is in place, and whole."""
        given = {download.path} if download.path in self.files else set(self.files)
        return all(
            (root / name).is_file() and md5_of(root / name) == self.files[name] for name in given
        )

    def _fetch_one(self, download: Download, staging: Path, root: Path) -> None:
        from torchvision.datasets.utils import download_url

        file = staging / Path(download.path).name
        reasons = []
        for url in download.urls:
            file.unlink(missing_ok=True)
            print(f"{url} → {root / download.path}", file=sys.stderr)
            try:
                download_url(url, str(staging), file.name, download.md5)
                break
            except Exception as error:  # noqa: BLE001 - of the network, of every kind
                reasons.append(f"{url}: {error or type(error).__name__}")
        else:
            raise DataError(
                f"data set {self.id!r}: {download.path} could not be fetched "
                f"({'; '.join(reasons)}); fetch it in another way and put it in {root}"
            )
        try:
            members = unpacked(file) if download.unpack else [file]
        except (OSError, EOFError, tarfile.TarError) as error:
            raise DataError(
                f"data set {self.id!r}: {download.path} could not be unpacked: {error}"
            ) from error
        for member in members:
            own = member.relative_to(staging)
            place = root / Path(download.path).parent / own
            place.parent.mkdir(parents=True, exist_ok=True)
            member.replace(place)


def clear(folder: Path) -> None:
    """Delete what is in a folder, but for its lock."""
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != ".lock":
            entry.unlink()


def unpacked(file: Path) -> list[Path]:
    """Unpack an archive beside itself; return what belongs in place, the archive itself last.

    A ``.tar.gz`` is no part of it.
    """
    if file.name.endswith(".tar.gz"):
        with tarfile.open(file) as archive:
            archive.extractall(file.parent, filter="data")
        file.unlink()
        return sorted(f for f in file.parent.rglob("*") if f.is_file() and f.name != ".lock")
    plain = file.with_suffix("")
    with gzip.open(file) as packed, plain.open("wb") as out:
        shutil.copyfileobj(packed, out)
    return [plain, file]


@contextmanager
def patient(seconds: float) -> Iterator[None]:
    """Let no connection wait for longer."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def md5_of(file: Path) -> str:
    """Hash a file; MD5 is what the files were published with."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def torchvision_class(name: str) -> Any:
    """Import a class of torchvision's, which takes seconds."""
    import torchvision.datasets

    return getattr(torchvision.datasets, name)
