"""Writes the report of a results folder, and knows whether the one that is there still holds.

Imports what is heavy only when a report is really written, so that a finished suite that is run
again pays nothing for it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports.run_links import FOLDER
from reports.stamps import Stamp, stamps

if TYPE_CHECKING:
    from reports.cells import SuiteCells
    from reports.compare import Comparison
    from reports.document import Document

MANIFEST = ".report.json"
"""Beside the page: what it was made of, and the files it consists of."""


PACKAGES = (Path(__file__).parent, Path(__file__).parents[1] / "harness" / "store")
"""What makes reports: this package, and what reads records for it and words them."""


def package_digest() -> str:
    """Name what makes reports, by its content."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for file in sorted(
            f for f in package.rglob("*") if f.suffix in (".py", ".jinja", ".css", ".js", ".yaml")
        ):
            digest.update(f"{file.relative_to(package.parent)}\0".encode() + file.read_bytes())
    return digest.hexdigest()


Folders = Path | Sequence[Path]
"""One results folder, or several of the same plan."""


def listed(folders: Folders) -> list[Path]:
    """Return results folders as a list."""
    return [folders] if isinstance(folders, Path) else [*folders]


Stamps = dict[Path, dict[str, Stamp]]
"""By results folder: those of its runs, by the path of each."""


def stamps_of(folders: Folders) -> Stamps:
    """Look at the records of all runs; of a suite of ten thousand this takes a while."""
    return {folder: stamps(folder) for folder in listed(folders)}


def source_digest(run_stamps: Stamps) -> str:
    """Name what a report depends on: this package, the plan, every run's log, tuning results.

    Of logs, size and time of change are taken, not content: a finished suite must be recognised
    in milliseconds.

    Args:
        run_stamps: From :func:`stamps_of`.
    """
    digest = hashlib.sha256(package_digest().encode())
    for folder, runs in run_stamps.items():
        if len(run_stamps) > 1:
            # Which run came from where is in the report.
            digest.update(f"{folder.resolve()}\0".encode(errors="surrogateescape"))
        plan = folder / "suite.json"
        digest.update(plan.read_bytes() if plan.exists() else b"")
        for path, records in sorted(runs.items()):
            # Of a run's folder by its name alone: results may be moved.
            digest.update(f"{os.path.basename(path)!r}{records}\n".encode())  # noqa: PTH119
        for file in sorted(folder.glob("tuning/*/summary.json")):
            stat = file.stat()
            line = f"{file.relative_to(folder)}\0{stat.st_size}\0{stat.st_mtime_ns}\n"
            digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def is_current(folders: Folders, out: Path | None = None) -> bool:
    """Say whether a report is there and nothing that it shows has changed since."""
    out = place_of(folders) if out is None else out
    manifest = _read_manifest(out)
    files = manifest.get("files", [])
    return (
        bool(files)
        and manifest.get("digest") == source_digest(stamps_of(folders))
        and all((out / name).is_file() for name in files)
        # One look into the folder, for a suite may have ten thousand of these.
        and manifest.get("pages", {}).keys() <= _names(out / FOLDER)
    )


def place_of(folders: Folders) -> Path:
    """Return where a report goes unless it is said: ``report`` inside the only folder.

    Raises:
        GanbenchError: if there are several, of which none is more its place than another.
    """
    first, *others = listed(folders)
    if others:
        from harness.errors import GanbenchError

        raise GanbenchError("several results folders: say where their report goes, by --out FOLDER")
    return first / "report"


def _names(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))  # noqa: PTH208 - no path is needed
    except OSError:
        return set()


def _read_manifest(out: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((out / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def compose(folders: Folders, *, skip_corrupt: bool = False) -> Document:
    """Read a results folder, or several of one plan, and lay out the report.

    Raises:
        StoreError: if one holds no results, or their plans differ.
        CorruptRecordError: naming file and line of a damaged record, unless those are skipped.
    """
    from harness.store.merging import read_suites
    from reports.cells import group

    return lay_out(group(read_suites(listed(folders), skip_corrupt=skip_corrupt)), folders)


def lay_out(cells: SuiteCells, folders: Folders) -> Document:
    """Lay out the report of a suite that has been read."""
    from reports.code import mixtures
    from reports.document import Document
    from reports.sections import (
        cost,
        known,
        losses,
        measurements,
        outcomes,
        pooled,
        provenance,
        published,
        rates,
        representation,
        samples,
        survival,
        theory,
        training,
        tuning,
        verdicts,
    )
    from reports.unlearned import learnt_nothing

    optional = (
        rates.build(cells),
        losses.build(cells),
        representation.build(cells),
        theory.build(cells),
    )
    lasting, price = survival.build(cells), cost.build(cells)
    together = pooled.build(cells)
    answers = known.build(cells)
    searched, elsewhere = tuning.build(cells, listed(folders)), published.build(cells)
    sections = (
        verdicts.build(cells, tuned=searched is not None),
        *((searched,) if searched else ()),
        *((answers,) if answers else ()),
        outcomes.build(cells),
        *((lasting,) if lasting else ()),
        measurements.build(cells),
        *((together,) if together else ()),
        *((price,) if price else ()),
        *((elsewhere,) if elsewhere else ()),
        training.build(cells),
        *(section for section in optional if section),
        samples.build(cells),
        provenance.build(cells),
    )
    plan = cells.suite.plan
    facts = provenance.facts(cells)
    notices = (*mixtures(cells), *learnt_nothing(cells))
    return Document(plan.suite, plan.summary, facts, sections, notices)


def write_comparison(comparison: Comparison, out: Path) -> Path:
    """Write a comparison of two folders as a page and as Markdown.

    Returns:
        Path of ``index.html``.

    Raises:
        StoreError: if the files cannot be written.
    """
    from harness.errors import StoreError
    from harness.store.folders import write_atomically
    from reports import html, markdown
    from reports.compare import document

    laid_out = document(comparison)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in (
            ("index.html", html.render(laid_out)),
            ("compare.md", markdown.render(laid_out)),
        ):
            write_atomically(out / name, text.encode(errors="replace"))
    except OSError as error:
        raise StoreError(f"cannot write the comparison to {out}: {error.strerror}") from error
    return out / "index.html"


def write_report(folders: Folders, out: Path | None = None, *, skip_corrupt: bool = False) -> Path:
    """Write page, Markdown, tables, figures and run pages; the same bytes for the same store.

    Args:
        folders: A results folder, such as ``results/stability``; runs may be in progress. Or
            several of the same plan, trained on several machines.
        out: Where to write; ``report`` inside the folder unless given, as it must be for several.
        skip_corrupt: List damaged runs instead of refusing.

    Returns:
        Path of ``index.html``.

    Raises:
        StoreError: if a folder holds no results, plans differ, or the report cannot be written.
        CorruptRecordError: naming file and line of a damaged record, unless those are skipped.
    """
    from harness.errors import StoreError
    from harness.store.folders import write_atomically
    from harness.store.garbage import seldom_collected, uncollected
    from harness.store.merging import read_suites
    from reports.cells import group

    out = place_of(folders) if out is None else out
    run_stamps = stamps_of(folders)
    digest = source_digest(run_stamps)
    with seldom_collected() as stay:
        with uncollected():
            cells = group(read_suites(listed(folders), skip_corrupt=skip_corrupt))
            stay()
        try:
            manifest = _write_files(cells, folders, out, run_stamps)
            # A report that leaves damaged runs out is never current: without the option, the next
            # reading has to refuse.
            manifest |= {} if skip_corrupt else {"digest": digest}
            write_atomically(out / MANIFEST, json.dumps(manifest, indent=1).encode())
        except OSError as error:
            raise StoreError(f"cannot write the report to {out}: {error.strerror}") from error
    return out / "index.html"


def _write_files(
    cells: SuiteCells, folders: Folders, out: Path, run_stamps: Stamps
) -> dict[str, Any]:
    """Write all but the manifest, and return what that says of the files."""
    from harness.store.folders import write_atomically
    from reports import comma_separated, html, latex, markdown, structured
    from reports.run_files import RunFiles
    from reports.run_links import RunLinks

    flat = {path: one for runs in run_stamps.values() for path, one in runs.items()}
    run_files = RunFiles(flat, package_digest())
    manifest = _read_manifest(out)
    before, pages = manifest.get("files", []), manifest.get("pages", {})
    for name in ("tables", "figures", FOLDER):
        (out / name).mkdir(parents=True, exist_ok=True)
    (out / MANIFEST).unlink(missing_ok=True)
    with run_files.writing(cells, out / FOLDER, pages) as finish:
        document, links = lay_out(cells, folders), RunLinks(cells)
        read = document.for_readers()
        files = {"index.html": html.render(read, links), "report.md": markdown.render(read, links)}
        for table in document.tables():
            files[f"tables/{table.name}.csv"] = comma_separated.render(table)
            files[f"tables/{table.name}.tex"] = latex.render(table)
        files["tables.json"] = structured.render(document)
        for figure in document.figures():
            files[f"figures/{figure.name}.svg"] = figure.svg + "\n"
        for name, text in files.items():
            # A label may hold half a surrogate pair, which no encoding can write.
            write_atomically(out / name, text.encode(errors="replace"))
        for name in set(before) - set(files):
            if Path(name).parent in (Path("tables"), Path("figures")):
                (out / name).unlink(missing_ok=True)
        return {"files": sorted(files), "pages": finish()}
