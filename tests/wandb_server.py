"""An imitation of the W&B server on this machine: what the client sends is kept row by row.

It answers the requests that wandb 0.31 makes when a run begins, resumes, logs and ends. Told so,
it rejects, or takes requests and never answers.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Behaviour = Literal["work", "reject", "hang", "hang at rows"]


@dataclass
class ServedRun:
    """A run as the server knows it."""

    config: dict[str, Any] = field(default_factory=dict)
    group: str = ""
    job_type: str = ""
    name: str = ""
    tags: list[str] = field(default_factory=list)
    lines: dict[int, dict[str, Any]] = field(default_factory=dict)
    """History by line number, as received."""
    received: int = 0
    """Lines received, those that overwrite another counted again."""
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None
    files: set[str] = field(default_factory=set)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """History without the columns that W&B adds."""
        return [
            {k: v for k, v in self.lines[n].items() if not k.startswith("_")}
            for n in sorted(self.lines)
        ]


@dataclass
class WandbServer:
    """The server's address, its behaviour, and what it was sent."""

    address: str = ""
    behaviour: Behaviour = "work"
    runs: dict[str, ServedRun] = field(default_factory=dict)
    requests: int = 0
    closing: threading.Event = field(default_factory=threading.Event)

    def graphql(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Answer a query by the name that the client gives it."""
        found = re.search(r"(?:query|mutation)\s+(\w+)", query)
        name = found.group(1) if found else ""
        if name == "RunResumeStatus":
            return {"model": {**PROJECT, "bucket": self._resume(variables["name"])}}
        if name == "UpsertBucket":
            return {"upsertBucket": {"bucket": self._upsert(variables), "inserted": True}}
        if name == "CreateRunFiles":
            run = variables["run"]
            files = [
                {"name": file, "uploadUrl": f"{self.address}/upload/{run}/{file}"}
                for file in variables["files"]
            ]
            return {"createRunFiles": {"runID": run, "uploadHeaders": [], "files": files}}
        return {}

    def _resume(self, name: str) -> dict[str, Any] | None:
        run = self.runs.get(name)
        if run is None:
            return None
        tail = [json.dumps(run.lines[max(run.lines)])] if run.lines else []
        return {
            "id": name,
            "name": name,
            "summaryMetrics": json.dumps(run.summary),
            "displayName": run.name,
            "logLineCount": 0,
            "historyLineCount": len(run.lines),
            "eventsLineCount": 0,
            "historyTail": json.dumps(tail),
            "eventsTail": "[]",
            "config": json.dumps(run.config),
            "tags": run.tags,
            "notes": None,
            "wandbConfig": json.dumps({"t": 1}),
        }

    def _upsert(self, said: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.setdefault(said["name"], ServedRun())
        if said.get("config"):
            run.config = json.loads(said["config"])
        run.group = said.get("groupName") or run.group
        run.job_type = said.get("jobType") or run.job_type
        run.name = said.get("displayName") or run.name
        run.tags = said.get("tags") or run.tags
        return {
            "id": said["name"],
            "name": said["name"],
            "displayName": run.name,
            "description": None,
            "config": said.get("config"),
            "sweepName": None,
            "project": PROJECT,
            "historyLineCount": len(run.lines),
        }

    def file_stream(self, name: str, said: dict[str, Any]) -> None:
        """Take in rows, the summary and the end of a run."""
        run = self.runs[name]
        for file, chunk in (said.get("files") or {}).items():
            for number, line in enumerate(chunk["content"], start=chunk["offset"]):
                if file == "wandb-history.jsonl":
                    run.lines[number] = json.loads(line)
                    run.received += 1
                elif file == "wandb-summary.json":
                    run.summary = json.loads(line)
        if said.get("complete"):
            run.exit_code = said.get("exitcode")


PROJECT: dict[str, Any] = {"id": "p", "name": "project", "entity": {"id": "e", "name": "entity"}}


def _handler(server: WandbServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            server.requests += 1
            body = self._body()
            is_rows = self.path.endswith("/file_stream")
            hangs = ("hang", "hang at rows") if is_rows else ("hang",)
            if server.behaviour in hangs:
                server.closing.wait()
                self.close_connection = True
                return
            if server.behaviour == "reject":
                return self._reply({"errors": [{"message": "permission denied"}]}, 403)
            if self.path == "/graphql":
                said = json.loads(body)
                answer = server.graphql(said["query"], said.get("variables") or {})
                return self._reply({"data": answer})
            if is_rows:
                server.file_stream(self.path.split("/")[4], json.loads(body))
            return self._reply({})

        def do_PUT(self) -> None:
            self._body()
            _, _, run, file = self.path.split("/", 3)
            server.runs[run].files.add(file)
            self._reply({})

        def do_GET(self) -> None:
            self._reply({})

        def _body(self) -> bytes:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

        def _reply(self, value: dict[str, Any], status: int = 200) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

    return Handler


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that were killed."""


@contextlib.contextmanager
def serve() -> Iterator[WandbServer]:
    """Run the server while the context lasts."""
    server = WandbServer()
    listener = _Listener(("127.0.0.1", 0), _handler(server))
    server.address = f"http://127.0.0.1:{listener.server_address[1]}"
    thread = threading.Thread(target=listener.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        listener.shutdown()
        listener.server_close()
        thread.join()
