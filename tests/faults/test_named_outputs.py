"""What a user names to be written replaces no record, no other page and nothing by half."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import GanbenchError
from harness.store.outputs import check_file, write_named
from tests.stores import build_store

RUN, ROOT, OTHER = "{run}", "{root}", "{other}"
FILES = {
    "show": ["show", RUN, "--force", "--html"],
    "sample": ["sample", RUN, "--force", "-o"],
    "export": ["export", RUN, "--force", "-o"],
}
FOLDERS = {
    "report": ["report", ROOT, "--out"],
    "compare": ["compare", OTHER, ROOT, "--out"],
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("named")
    for name in ("results", "other"):
        build_store(
            folder / name, datasets=("ring8",), variants=("gan",), tricks=("none", "a"), seeds=1
        )
    return folder / "results"


def filled(words: list[str], root: Path) -> list[str]:
    run = min((root / "runs").iterdir())
    return [word.format(run=run, root=root, other=root.parent / "other") for word in words]


def content(root: Path) -> dict[str, bytes]:
    files = (file for file in sorted(root.rglob("*")) if file.is_file())
    return {str(file.relative_to(root)): file.read_bytes() for file in files}


def refused(root: Path, command: list[str], place: str) -> str:
    """Return what a command says that must not write there."""
    before = content(root)
    told = CliRunner().invoke(app, filled([*command, place], root))
    assert isinstance(told.exception, GanbenchError), (told.exception, told.output)
    assert content(root) == before
    return str(told.exception)


@pytest.mark.parametrize("command", FILES)
@pytest.mark.parametrize(
    "place",
    ["{run}/events.jsonl", "{run}/spec.json", "{root}/suite.json", "", "-", "/dev/full", "{root}"],
)
def test_a_file_of_another_kind_is_refused(command: str, place: str, root: Path) -> None:
    assert "the name has to end with ." in refused(root, FILES[command], place)


@pytest.mark.parametrize("name", ["page.html", "../page.htm", "samples/page.html"])
def test_no_page_goes_among_records(name: str, root: Path) -> None:
    told = refused(root, FILES["show"], "{run}/" + name)
    assert "keeps its records; choose another place" in told


@pytest.mark.parametrize("command", FOLDERS)
@pytest.mark.parametrize(
    "place", ["{root}", "{root}/runs", "{root}/tuning/x", "{run}", "{run}/samples", "{root}/wandb"]
)
def test_no_folder_of_pages_goes_among_records(command: str, place: str, root: Path) -> None:
    assert "keeps its records; choose another place" in refused(root, FOLDERS[command], place)


@pytest.mark.parametrize("command", FOLDERS)
def test_a_page_of_somebody_else_stays(command: str, root: Path, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<h1>My site</h1>")
    told = refused(root, FOLDERS[command], str(tmp_path))
    assert told.startswith(f"{tmp_path / 'index.html'} is not of ganbench")
    assert (tmp_path / "index.html").read_text() == "<h1>My site</h1>"


@pytest.mark.parametrize("command", FOLDERS)
def test_a_page_of_ours_is_replaced(command: str, root: Path, tmp_path: Path) -> None:
    words = filled([*FOLDERS[command], str(tmp_path)], root)
    for _ in range(2):
        assert CliRunner().invoke(app, words).exit_code == 0
        (tmp_path / ".report.json").unlink(missing_ok=True)  # a kill leaves it out
        (tmp_path / "index.html").write_bytes((tmp_path / "index.html").read_bytes()[:-9])


def test_force_without_a_file_is_told(root: Path) -> None:
    assert "--force belongs to --html" in refused(root, ["show", RUN], "--force")


def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.html")
    (tmp_path / "b.html").mkdir()
    (tmp_path / "c.html").write_text("mine")
    for name, why in (("a", "not a file"), ("b", "is a folder"), ("c", "replace it with --force")):
        with pytest.raises(GanbenchError, match=why):
            check_file("--html", tmp_path / f"{name}.html", (".html",), force=name != "c")


def test_what_cannot_be_written_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "page.html"
    file.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        GanbenchError, match=rf"cannot write {re.escape(str(file))}: No space left on device"
    ):
        write_named(file, b"new")
    assert file.read_text() == "old" and [*tmp_path.iterdir()] == [file]
    (tmp_path / "file").write_text("")
    with pytest.raises(GanbenchError, match=r"Not a directory|File exists"):
        write_named(tmp_path / "file" / "page.html", b"new")
