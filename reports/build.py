"""Writes the report of a results folder, and knows whether the one that is there still holds.

Imports what is heavy only when a report is really written, so that a finished suite that is run
again pays nothing for it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports.run_links import FOLDER, LIST, RunLinks, Runs
from reports.stamps import stamps

if TYPE_CHECKING:
    from reports.cells import SuiteCells
    from reports.compare import Comparison
    from reports.document import Document

GENERATOR = b'<meta name="generator" content="ganbench">'
"""In every page, by which it is known for one of ours."""
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


def source_digest(folders: Folders) -> str:
    """Name what a report depends on: this package, the plan, every run's log, tuning results.

    Of logs, size and time of change are taken, not content: a finished suite must be recognised
    in milliseconds.
    """
    digest = hashlib.sha256(package_digest().encode())
    several = len(listed(folders)) > 1
    for folder in listed(folders):
        if several:
            # Which run came from where is in the report.
            digest.update(f"{folder.resolve()}\0".encode(errors="surrogateescape"))
        plan = folder / "suite.json"
        digest.update(plan.read_bytes() if plan.exists() else b"")
        # Of a run's folder by its name alone: results may be moved.
        for name, records in sorted(stamps(folder).items()):
            digest.update(f"{name!r}{records}\n".encode())
        for file in sorted(folder.glob("tuning/*/summary.json")):
            stat = file.stat()
            line = f"{file.relative_to(folder)}\0{stat.st_size}\0{stat.st_mtime_ns}\n"
            digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def is_current(folders: Folders, out: Path | None = None, runs: Runs = "auto") -> bool:
    """Say whether a report is there, with the pages of these runs, and shows what there is."""
    out = place_of(folders) if out is None else out
    manifest = _read_manifest(out)
    files = manifest.get("files", [])
    return (
        bool(files)
        and manifest.get("digest") == source_digest(folders)
        and runs in ("auto", manifest.get("runs"))
        and all((out / name).is_file() for name in files)
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


def check_out(out: Path) -> None:
    """Refuse a folder for pages that has records or somebody else's page.

    Raises:
        GanbenchError: naming it.
    """
    from harness.errors import GanbenchError
    from harness.store.outputs import check_place

    check_place("--out", out)
    page = out / "index.html"
    if page.is_file() and not (out / MANIFEST).exists() and GENERATOR not in page.read_bytes():
        raise GanbenchError(f"{page} is not of ganbench; choose another --out, or remove it")


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
        GanbenchError: if the folder holds a results folder's records, or another page.
        StoreError: if the files cannot be written.
    """
    from harness.errors import StoreError
    from harness.store.folders import write_atomically
    from reports import html, markdown
    from reports.compare import document

    check_out(out)
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


def write_report(
    folders: Folders,
    out: Path | None = None,
    *,
    skip_corrupt: bool = False,
    runs: Runs = "auto",
) -> Path:
    """Write page, Markdown, tables, figures and run pages; the same bytes for the same store.

    Args:
        folders: A results folder, such as ``results/stability``; runs may be in progress. Or
            several of the same plan, trained on several machines.
        out: Where to write; ``report`` inside the folder unless given, as it must be for several.
        skip_corrupt: List damaged runs instead of refusing.
        runs: Whose pages to write.

    Returns:
        Path of ``index.html``.

    Raises:
        GanbenchError: if ``out`` holds a results folder's records, or another page.
        StoreError: if a folder holds no results, plans differ, or the report cannot be written.
        CorruptRecordError: naming file and line of a damaged record, unless those are skipped.
    """
    from harness.errors import StoreError
    from harness.store.folders import write_atomically
    from harness.store.garbage import seldom_collected, uncollected
    from harness.store.merging import read_suites
    from reports.cells import group

    out = place_of(folders) if out is None else out
    check_out(out)
    # Before anything is read: what is appended later makes the report one that is not current.
    digest = source_digest(folders)
    with seldom_collected() as stay:
        with uncollected():
            cells = group(read_suites(listed(folders), skip_corrupt=skip_corrupt))
            stay()
        try:
            files = _write_files(cells, folders, out, runs)
            manifest: dict[str, Any] = {"files": files, "runs": runs}
            # A report that leaves damaged runs out is never current: without the option, the next
            # reading has to refuse.
            manifest |= {} if skip_corrupt else {"digest": digest}
            write_atomically(out / MANIFEST, json.dumps(manifest, indent=1).encode())
        except OSError as error:
            raise StoreError(f"cannot write the report to {out}: {error.strerror}") from error
    return out / "index.html"


def _write_files(cells: SuiteCells, folders: Folders, out: Path, runs: Runs) -> list[str]:
    """Write all but the manifest, remove what only the report before had, and return the names."""
    from harness.store.folders import write_atomically

    before = _read_manifest(out).get("files", [])
    for name in ("tables", "figures", FOLDER):
        (out / name).mkdir(parents=True, exist_ok=True)
    (out / MANIFEST).unlink(missing_ok=True)
    files = []
    # A label may hold half a surrogate pair, which no encoding can write.
    for name, text in _texts(lay_out(cells, folders), RunLinks(cells, runs)):
        write_atomically(out / name, text.encode(errors="replace"))
        files.append(name)
    for page, text in _pages(cells, RunLinks(cells, runs, prefix="")):
        file = out / FOLDER / page
        # A link is replaced, not followed. Nothing waits for the disk: without the manifest, which
        # is written last, all are written again.
        file.unlink(missing_ok=True)
        file.write_bytes(text.encode(errors="replace"))
        files.append(f"{FOLDER}/{page}")
    for name in set(before) - set(files):
        if Path(name).parent in (Path("tables"), Path("figures"), Path(FOLDER)):
            (out / name).unlink(missing_ok=True)
    return sorted(files)


def _texts(document: Document, links: RunLinks) -> Iterator[tuple[str, str]]:
    """Write the files of a report but for the pages of runs: names and what is in them."""
    from reports import comma_separated, html, latex, markdown, structured

    read = document.for_readers()
    yield "index.html", html.render(read, links)
    yield "report.md", markdown.render(read, links)
    for table in document.tables():
        yield f"tables/{table.name}.csv", comma_separated.render(table)
        yield f"tables/{table.name}.tex", latex.render(table)
    yield "tables.json", structured.render(document)
    for figure in document.figures():
        yield f"figures/{figure.name}.svg", figure.svg + "\n"


def _pages(cells: SuiteCells, links: RunLinks) -> Iterator[tuple[str, str]]:
    """Write the list of runs and their pages: names and what is in them."""
    from reports.run_list import render_list
    from reports.run_pages import RunPages

    yield LIST, render_list(cells, links)
    pages = RunPages(cells, links)
    for cell in cells.cells:
        for position, result in enumerate(cell.results):
            if result.planned.id in links.pages:
                yield links.pages[result.planned.id], pages.render(cell, position)


def write_run_page(run: Path, file: Path, *, force: bool = False) -> None:
    """Write the page of one run by itself, as one file that loads nothing.

    Args:
        run: The run's folder, inside its results folder.
        file: Where to write.
        force: Whether a file that is there may be replaced.

    Raises:
        GanbenchError: if the file is there, or must not be written.
        StoreError: if the results folder has no such run, or the file cannot be written.
        CorruptRecordError: naming file and line of a damaged record.
    """
    from harness.errors import StoreError
    from harness.store.outputs import check_file, write_named
    from harness.store.plan import read_plan
    from harness.store.reading import ReportedRun, SuiteRecord, read_run
    from reports.cells import group
    from reports.run_pages import RunPages

    check_file("--html", file, (".html", ".htm"), force=force)
    record = ReportedRun.of(read_run(run))
    folder = run.resolve().parent.parent
    plan = read_plan(folder)
    cells = group(SuiteRecord(folder, plan, {record.spec.id: record}))
    places = [(c, i) for c in cells.cells for i, r in enumerate(c.results) if r.record]
    if not places:
        raise StoreError(f"run {record.spec.id} is not in the plan of {folder}")
    page = RunPages(cells).render(*places[0])
    write_named(file, page.encode(errors="replace"))
