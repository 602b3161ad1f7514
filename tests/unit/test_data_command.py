"""``ganbench data``: what there is, fetching from a server that may fail, checking."""

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness import cli
from harness.cli import app
from harness.commands import data as data_module
from harness.datasets import published
from harness.datasets.base import datasets
from harness.datasets.published import Download
from harness.datasets.torchvision import CIFAR10, KMNIST
from harness.errors import DataError, DataWarning, GanbenchError, StoreError
from harness.store.folders import hold
from tests.unit.published_files import cifar_archive, cifar_files, idx_files, md5, pin, write


@dataclass
class Server:
    """Serves files; each path may be told to fail in a way of its own."""

    files: dict[str, bytes] = field(default_factory=dict)
    ways: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def server() -> Iterator[Server]:
    served = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            served.asked.append(self.path)
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            content = served.files.get(self.path)
            way = served.ways.get(self.path, "")
            if content is None:
                self.send_error(404)
                return
            if way == "hang":
                time.sleep(3)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content[: len(content) // 2] if way == "cut" else content)

        def log_message(self, *arguments: object) -> None:
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    served.url = f"http://127.0.0.1:{listening.server_address[1]}"
    yield served
    listening.shutdown()
    thread.join()
    listening.server_close()


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "root"


@pytest.fixture
def kmnist(server, monkeypatch) -> dict[str, bytes]:
    """Let KMNIST be tiny, and come from the server."""
    files = idx_files(KMNIST)
    pin(monkeypatch, KMNIST, files)
    served = {f"/{Path(name).name}": data for name, data in files.items()}
    server.files.update(served)
    downloads = [
        Download((f"{server.url}/{Path(name).name}",), name, md5(data), unpack=True)
        for name, data in files.items()
    ]
    monkeypatch.setattr(KMNIST, "downloads", lambda self: downloads)
    return files


def entries(root: Path) -> list[str]:
    return sorted(str(f.relative_to(root)) for f in root.rglob("*") if f.is_file())


class TestFetching:
    def test_files_are_put_in_place_packed_and_unpacked(self, kmnist, root, server):
        fetched = KMNIST().fetch(root)
        assert fetched == list(kmnist)
        assert entries(root) == sorted([*kmnist, *(name.removesuffix(".gz") for name in kmnist)])
        assert len(KMNIST().load("train", root)) == 6
        server.asked.clear()
        assert KMNIST().fetch(root) == []
        assert server.asked == []

    def test_only_what_is_missing_or_damaged_is_fetched(self, kmnist, root, server):
        KMNIST().fetch(root)
        first, second = list(kmnist)[:2]
        (root / first).unlink()
        (root / second).write_bytes(b"damaged")
        server.asked.clear()
        assert KMNIST().fetch(root) == [first, second]
        assert set(server.asked) == {f"/{Path(name).name}" for name in (first, second)}
        KMNIST().check(root)

    @pytest.mark.parametrize("way", ["cut", "other", "gone"])
    def test_what_did_not_arrive_whole_leaves_nothing(self, way, kmnist, root, server):
        third = list(kmnist)[2]
        path = f"/{Path(third).name}"
        if way == "cut":
            server.ways[path] = "cut"
        elif way == "other":
            server.files[path] = b"a page that says: please log in"
        else:
            del server.files[path]
        with pytest.raises(DataError, match=f"{third} could not be fetched") as caught:
            KMNIST().fetch(root)
        assert server.url in str(caught.value)
        whole = list(kmnist)[:2]
        assert entries(root) == sorted([*whole, *(name.removesuffix(".gz") for name in whole)])

    def test_another_mirror_is_tried(self, kmnist, root, server, monkeypatch):
        downloads = [
            Download((f"{server.url}/nowhere/{i}", *d.urls), d.path, d.md5, d.unpack)
            for i, d in enumerate(KMNIST().downloads())
        ]
        monkeypatch.setattr(KMNIST, "downloads", lambda self: downloads)
        assert KMNIST().fetch(root) == list(kmnist)

    def test_a_server_that_hangs_is_given_up(self, kmnist, root, server, monkeypatch):
        monkeypatch.setattr(published, "TIMEOUT", 0.3)
        server.ways[f"/{Path(next(iter(kmnist))).name}"] = "hang"
        start = time.monotonic()
        with pytest.raises(DataError, match=r"could not be fetched .*time"):
            KMNIST().fetch(root)
        assert time.monotonic() - start < 3
        assert socket.getdefaulttimeout() is None
        assert entries(root) == []

    def test_nobody_answers(self, root, monkeypatch):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        files = idx_files(KMNIST)
        pin(monkeypatch, KMNIST, files)
        name = next(iter(files))
        download = Download((f"http://127.0.0.1:{port}/x",), name, "0" * 32, unpack=True)
        monkeypatch.setattr(KMNIST, "downloads", lambda self: [download])
        with pytest.raises(DataError, match="Connection refused"):
            KMNIST().fetch(root)
        assert entries(root) == []

    def test_an_archive_is_unpacked_and_not_kept(self, root, server, monkeypatch):
        files = cifar_files()
        pin(monkeypatch, CIFAR10, files)
        archive = cifar_archive({**files, "cifar-10-batches-py/batches.meta": b"names"})
        server.files["/c.tar.gz"] = archive
        download = Download(
            (f"{server.url}/c.tar.gz",), "cifar-10-python.tar.gz", md5(archive), unpack=True
        )
        monkeypatch.setattr(CIFAR10, "downloads", lambda self: [download])
        assert CIFAR10().fetch(root) == ["cifar-10-python.tar.gz"]
        assert entries(root) == sorted([*files, "cifar-10-batches-py/batches.meta"])
        assert len(CIFAR10().load("train", root)) == 20

    def test_an_archive_cannot_write_elsewhere(self, root, server, monkeypatch):
        pin(monkeypatch, CIFAR10, cifar_files())
        archive = cifar_archive({"../../evil": b"x"})
        server.files["/c.tar.gz"] = archive
        download = Download(
            (f"{server.url}/c.tar.gz",), "cifar-10-python.tar.gz", md5(archive), unpack=True
        )
        monkeypatch.setattr(CIFAR10, "downloads", lambda self: [download])
        with pytest.raises(DataError, match="could not be unpacked"):
            CIFAR10().fetch(root)
        assert entries(root) == []
        assert not (root.parent / "evil").exists()

    def test_what_a_killed_process_left_is_not_taken_for_whole(self, kmnist, root):
        staging = root / ".fetch-kmnist"
        (staging / "deep").mkdir(parents=True)
        (staging / "train-images-idx3-ubyte.gz").write_bytes(b"half")
        (staging / "deep" / "file").write_bytes(b"half")
        KMNIST().fetch(root)
        assert not staging.exists()
        KMNIST().check(root)

    def test_two_at_once_are_one(self, kmnist, root):
        staging = root / ".fetch-kmnist"
        staging.mkdir(parents=True)
        with hold(staging), pytest.raises(StoreError, match="is in use by process"):
            KMNIST().fetch(root)


def test_what_is_odd_about_files_is_one_line_and_other_warnings_stay(monkeypatch, capsys):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)

    def warn() -> None:
        for category in (DataWarning, RuntimeWarning):
            print(warnings.formatwarning("3 skipped", category, "file.py", 7), end="")
        print(warnings.formatwarning("\x1b[2Jred\nred", DataWarning, "file.py", 7), end="")

    monkeypatch.setattr(cli, "app", warn)
    cli.main()
    assert capsys.readouterr().out == (
        "warning: 3 skipped\nfile.py:7: RuntimeWarning: 3 skipped\nwarning: \ufffd[2Jred\nred\n"
    )


def test_no_name_in_an_error_steers_the_terminal(monkeypatch, capsys):
    def fail() -> None:
        raise GanbenchError("first \x1b]0;title\x07\n  second \u202e")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert capsys.readouterr().err == "error: first \ufffd]0;title\ufffd\n  second \ufffd\n"


class TestCommand:
    def status(self, root: Path | None, name: str) -> data_module.Status:
        return data_module.status_of(datasets.get(name), root)

    def test_states(self, root, monkeypatch):
        files = idx_files(KMNIST)
        pin(monkeypatch, KMNIST, files)
        assert self.status(None, "ring8").state == "embedded"
        assert self.status(None, "folder").state == "yours"
        for where in (None, root):
            assert self.status(where, "kmnist").state == "absent"
        write(root, files)
        found = self.status(root, "kmnist")
        assert (found.state, found.root, found.download) == ("present", str(root), 21)
        assert found.bytes == sum(map(len, files.values()))
        (root / next(iter(files))).write_bytes(b"x")
        found = self.status(root, "kmnist")
        assert found.state == "damaged"
        assert "has md5" in found.message
        assert self.status(root, "stacked-mnist").state == "absent"

    def test_listing_as_json_has_every_data_set(self, root, monkeypatch):
        result = CliRunner().invoke(app, ["data", "list", "--json", "--data-root", str(root)])
        assert result.exit_code == 0, result.output
        found = {entry["id"]: entry for entry in json.loads(result.output)}
        assert list(found) == datasets.names()
        assert found["digits"]["state"] == "embedded"
        assert found["celeba"] == {
            "id": "celeba", "state": "absent", "root": str(root), "bytes": 0, "download": 1443,
            "message": found["celeba"]["message"],
        }  # fmt: skip
        assert "ganbench data fetch celeba" in found["celeba"]["message"]

    def test_listing_for_people(self, root, monkeypatch):
        monkeypatch.setenv("GANBENCH_DATA", str(root))
        result = CliRunner().invoke(app, ["data", "list"], env={"COLUMNS": "200"})
        assert result.exit_code == 0, result.output
        lines = {line.split()[0]: line for line in result.output.splitlines() if line.strip()}
        assert "embedded" in lines["ring8"]
        assert "absent" in lines["svhn"]
        assert "247 MB" in lines["svhn"]
        assert "folder:PATH" in lines["folder"]
        assert str(root) in result.output

    def test_fetching_and_verifying(self, kmnist, root):
        told = data_module.fetch("kmnist", root)
        assert told.startswith("kmnist: fetched KMNIST/raw/train-images-idx3-ubyte.gz, ")
        assert data_module.fetch("kmnist", root) == "kmnist is there, and whole"
        fingerprint = KMNIST().fingerprint()
        facts = "60,000 to train with, classes o, ki, su, tsu, na, ha, ma, ya, re, wo"
        whole = f"kmnist is whole, fingerprint {fingerprint}, {facts}"
        assert data_module.verify("kmnist", root) == whole
        (root / next(iter(kmnist))).write_bytes(b"x")
        with pytest.raises(DataError, match="has md5"):
            data_module.verify("kmnist", root)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("kmnist", "needs a folder to be kept in: give the data root with --data-root"),
            ("folder", "nothing to fetch"),
            ("folder:photos", "nothing to fetch"),
            ("kmnst", "did you mean 'kmnist'"),
        ],
    )
    def test_what_cannot_be_fetched(self, name, message):
        with pytest.raises(GanbenchError, match=message):
            data_module.fetch(name, None)

    def test_what_needs_no_fetching(self):
        for name in ("digits", "gauss1d", "stacked-digits"):
            assert "nothing to fetch" in data_module.fetch(name, None)
            assert f"{name} is whole" in data_module.verify(name, None)

    def test_verifying_a_folder(self, root, tmp_path):
        with pytest.raises(GanbenchError, match="folder:PATH names one"):
            data_module.verify("folder", None)
        with pytest.raises(GanbenchError, match="ring8 has no path"):
            data_module.verify("ring8:photos", None)
        with pytest.raises(DataError, match="neither a folder nor"):
            data_module.verify(f"folder:{tmp_path}/nowhere", None)

    def test_offline_is_one_line_and_status_two(self, root, tmp_path):
        code = (
            "import socket, sys\n"
            "def refuse(*a, **k): raise socket.gaierror(-2, 'Name or service not known')\n"
            "socket.getaddrinfo = refuse\n"
            "from harness.cli import main\n"
            f"sys.argv = ['ganbench', 'data', 'fetch', 'kmnist', '--data-root', {str(root)!r}]\n"
            "main()\n"
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment,
            check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        *_, last = done.stderr.strip().splitlines()
        assert last.startswith("error: data set 'kmnist': KMNIST/raw/train-images-idx3-ubyte.gz")
        assert "Name or service not known" in last
        assert "Traceback" not in done.stderr
        assert entries(root) == []
