"""Answers ``ganbench data``: which data sets are here, fetches them, checks them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.datasets.base import Dataset, datasets
from harness.datasets.published import ROOT, Published
from harness.datasets.stacked import Stacked
from harness.errors import AbsentDataError, DataError, GanbenchError
from harness.store.wording import listing

State = Literal["embedded", "present", "absent", "damaged", "yours"]


@dataclass(frozen=True)
class Status:
    """What there is of a data set.

    Attributes:
        id: Its id.
        state: ``embedded`` needs no files, ``yours`` is given by a path in a suite.
        root: The data root, where it needs one.
        bytes: Size of its files in the data root.
        download: Megabytes that fetching it takes; None where nothing is fetched.
        message: What is wrong, and what to do.
    """

    id: str
    state: State
    root: str | None = None
    bytes: int = 0
    download: int | None = None
    message: str = ""


def status_of(cls: type[Dataset], root: Path | None) -> Status:
    """Look at a data set's files, and hash them."""
    if cls.places():
        return Status(cls.id, "yours", message=f"write {cls.id}:PATH in a suite")
    if not cls.needs_root:
        return Status(cls.id, "embedded")
    dataset = cls()
    files = published(dataset)
    state: State = "present"
    message = ""
    try:
        dataset.check(root)
    except AbsentDataError as error:
        state, message = "absent", str(error)
    except DataError as error:
        state, message = "damaged", str(error)
    return Status(
        cls.id,
        state,
        str(root) if root is not None else None,
        size_of(files, root) if files is not None and root is not None else 0,
        files.megabytes if files is not None else None,
        message,
    )


def published(dataset: Dataset) -> Published | None:
    """Return the published files behind a data set; None if it has none."""
    single = dataset.single() if isinstance(dataset, Stacked) else dataset
    return single if isinstance(single, Published) else None


def size_of(files: Published, root: Path) -> int:
    """Add up the bytes of what is there, packed and unpacked."""
    names = {name for pinned in files.files for name in (pinned, pinned.removesuffix(".gz"))}
    return sum((root / name).stat().st_size for name in names if (root / name).is_file())


def statuses(root: Path | None) -> list[Status]:
    """Look at all data sets."""
    return [status_of(cls, root) for cls in datasets]


def print_statuses(listed: list[Status], root: Path | None) -> None:
    """Print them as a table."""
    table = Table(title="data sets", title_justify="left", box=None, pad_edge=False)
    table.add_column("id", style="bold", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("on disk", justify="right", no_wrap=True)
    table.add_column("to fetch", justify="right", no_wrap=True)
    table.add_column("remark", style="dim")
    for status in listed:
        table.add_row(
            Text(status.id),
            Text(status.state),
            f"{status.bytes / 1e6:,.0f} MB" if status.bytes else "",
            f"{status.download:,} MB" if status.download and status.state != "present" else "",
            Text(status.message if status.state in ("damaged", "yours") else ""),
        )
    console = Console()
    console.print(table)
    console.print(Text(f"data root: {root}" if root else f"no data root; {ROOT}"), style="dim")


def dataset_named(name: str) -> Dataset:
    """Make a data set of an id, or of ``folder:PATH``, relative to the working directory.

    Raises:
        GanbenchError: if there is none of that name, or it needs a path.
    """
    name, _, path = name.partition(":")
    cls = datasets.get(name)
    places = cls.places()
    if bool(places) != bool(path):
        how = f"{name}:PATH names one" if places else f"{name} has no path"
        raise GanbenchError(f"{name}: {how}")
    return cls.model_validate(dict.fromkeys(places, path))


def fetch(name: str, root: Path | None) -> str:
    """Fetch a data set's files; return what to tell the user.

    Raises:
        GanbenchError: if there is nothing to fetch, no place for it, or it cannot be fetched.
    """
    cls = datasets.get(name.partition(":")[0])
    if cls.places():
        raise GanbenchError(f"{cls.id} is your own files: there is nothing to fetch")
    dataset = dataset_named(name)
    files = published(dataset)
    if files is None:
        return f"{name} needs no files: there is nothing to fetch"
    if root is None:
        raise GanbenchError(f"{name} needs a folder to be kept in: {ROOT}")
    fetched = files.fetch(root)
    dataset.check(root)
    return f"{name}: fetched {', '.join(fetched)}" if fetched else f"{name} is there, and whole"


def verify(name: str, root: Path | None) -> str:
    """Check everything that a data set is made of; return what to tell the user.

    Raises:
        GanbenchError: if something is absent or damaged.
    """
    dataset = dataset_named(name)
    dataset.check(root)
    notes = "".join(f"; {note}" for note in dataset.notes)
    count, names = dataset.train_size, dataset.class_names
    facts = [f"fingerprint {dataset.fingerprint()}"]
    facts += [f"{count:,} to train with"] if count is not None else []
    facts += [f"classes {listing(names)}"] if names is not None else []
    return f"{name} is whole, {', '.join(facts)}{notes}"
