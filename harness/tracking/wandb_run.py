"""Sends one run to W&B, and remembers in the run's folder what W&B has.

The only module that imports wandb. It is used in the process of ``ganbench push``, because W&B's
client may hang or die, and registers exit handlers that wait for the network.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.store.folders import write_json
from harness.store.reading import ReportedRun, RunRecord, read_run
from harness.store.records import PlannedRun
from harness.tracking.pictures import read_picture
from harness.tracking.wandb_rows import (
    AXIS,
    SECTIONS,
    Identity,
    Row,
    digest,
    identity,
    rows,
    summary,
)

STATE = "wandb.json"
STATE_SCHEMA = 1
INIT_SECONDS = 30.0
"""That W&B may take to accept a run."""
FINISH_SECONDS = 60.0
"""That it may take to receive a run's last rows."""


@dataclass(frozen=True)
class Target:
    """Where runs are mirrored to.

    Attributes:
        root: The results folder; W&B's files go into its ``wandb`` folder.
        mode: ``offline`` or ``online``.
        project: W&B project, or ``entity/project``.
        suite: Name of the suite.
        fingerprint: Of the suite.
    """

    root: Path
    mode: Literal["offline", "online"]
    project: str
    suite: str
    fingerprint: str

    def key(self, environ: Mapping[str, str]) -> str:
        """Name the target in a run's state: another server or entity is another target."""
        place = (environ.get(name, "") for name in ("WANDB_BASE_URL", "WANDB_ENTITY"))
        elsewhere = place if self.mode == "online" else ()
        return " ".join(filter(None, (self.mode, *elsewhere, self.project)))


def told(target: Target, planned: PlannedRun, record: RunRecord) -> str:
    """Name everything that W&B would be told of a run."""
    who = identity(target.suite, target.fingerprint, planned, record.spec)
    return digest(who, rows(record.events), summary(record))


def is_mirrored(target: Target, planned: PlannedRun, record: RunRecord) -> bool:
    """Say whether W&B has all of a run, by what its folder remembers."""
    known = _read_state(record.path).get(target.key(os.environ))
    if known is None or known["digest"] != told(target, planned, record):
        return False
    return target.mode == "online" or bool(offline_folders(target.root, planned.id))


def offline_folders(root: Path, run_id: str) -> list[Path]:
    """Return the folders that W&B wrote for a run in offline mode."""
    return sorted((root / "wandb").glob(f"offline-run-*-{run_id}"))


def _read_state(folder: Path) -> dict[str, Any]:
    """Read what was sent; a damaged or newer file only means that it is sent again."""
    try:
        state = json.loads((folder / STATE).read_bytes())
        if state["schema"] != STATE_SCHEMA:
            return {}
        targets: dict[str, Any] = state["targets"]
        return {key: value for key, value in targets.items() if "digest" in value}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


class Sender:
    """One run on its way to W&B.

    Args:
        target: Where to.
        planned: The run's labels, and the name of its folder.

    Attributes:
        url: Of the W&B project; None until the run was opened there.
        is_done: Whether W&B has all that there will ever be.
    """

    def __init__(self, target: Target, planned: PlannedRun) -> None:
        self.target = target
        self.planned = planned
        self.path = target.root / "runs" / planned.folder
        self.url: str | None = None
        self.is_done = False
        self._run: Any = None
        self._sent: list[str] = []
        self._there = 0
        self._size = -1

    def send(self, *, last: bool) -> bool:
        """Send what the log has gained since the last call; say whether that was anything.

        A run that has an outcome is closed in W&B, and so is any where this is the last call.

        Raises:
            StoreError: if the run is none that may be shown; CorruptRecordError if its records are
                damaged.
        """
        try:
            (self.path / "spec.json").stat()
            size = (self.path / "events.jsonl").stat().st_size
        except FileNotFoundError:
            return False
        if size == self._size and (self._run is None or not last):
            return False
        self._size = size
        record = ReportedRun.of(read_run(self.path, self.planned.id))
        self.is_done = record.is_final
        history, totals = rows(record.events), summary(record)
        texts = [row.text for row in history]
        closing = last or bool(totals)
        if self._run is None and (
            not (history or totals) or is_mirrored(self.target, self.planned, record)
        ):
            return False
        # An attempt that goes on from a checkpoint says again what is here already.
        if not closing and texts == self._sent[: len(texts)]:
            return False
        if self._run is not None and texts[: len(self._sent)] != self._sent:
            # A later attempt took back what an earlier one had said.
            self._close(exit_code=1)
        if self._run is None:
            self._open(record)
            self._sent = []
        for row in history[max(len(self._sent), self._there) :]:
            self._run.log(self._with_picture(row))
        self._sent = texts
        if closing:
            self._run.summary.update(totals)
            self._close(exit_code=0 if record.is_final else 1)
            self._remember(record, len(history), totals.get("outcome"))
        return True

    def _open(self, record: RunRecord) -> None:
        """Open the W&B run and learn how many of its rows are there.

        Offline, W&B cannot go on with a run that it has: the run is written anew. Online it
        counts the rows that it has, whoever sent them; those are not sent again.
        """
        if self.target.mode == "offline":
            for folder in offline_folders(self.target.root, self.planned.id):
                shutil.rmtree(folder)
        who = identity(self.target.suite, self.target.fingerprint, self.planned, record.spec)
        self._run = _start(self.target, who)
        self.url = getattr(self._run, "project_url", None)
        self._run.define_metric(AXIS, hidden=True)
        for section in SECTIONS:
            self._run.define_metric(f"{section}/*", step_metric=AXIS)
        self._run.define_metric("samples", step_metric=AXIS)
        self._there = self._run.starting_step if self.target.mode == "online" else 0

    def _close(self, exit_code: int) -> None:
        """Wait until W&B has everything; then its own files of an online run are of no use."""
        self._run.finish(exit_code=exit_code)
        self._run = None
        if self.target.mode == "online":
            for folder in (self.target.root / "wandb").glob(f"run-*-{self.planned.id}"):
                shutil.rmtree(folder)

    def _with_picture(self, row: Row) -> dict[str, Any]:
        values: dict[str, Any] = dict(row.values)
        picture = read_picture(self.path / row.picture) if row.picture is not None else None
        if picture is not None:
            import wandb

            image, caption = picture
            values["samples"] = wandb.Image(image, caption=caption)
        return values

    def _remember(self, record: RunRecord, count: int, outcome: str | None) -> None:
        offline = self.target.mode == "offline"
        # Offline there is one copy, which another project's has just replaced.
        state = {
            key: value
            for key, value in _read_state(self.path).items()
            if not (offline and key.startswith("offline "))
        }
        digest = told(self.target, self.planned, record)
        state[self.target.key(os.environ)] = {"digest": digest, "rows": count, "outcome": outcome}
        write_json(self.path / STATE, {"schema": STATE_SCHEMA, "targets": state})


def _start(target: Target, who: Identity) -> Any:
    import wandb

    entity, _, project = target.project.rpartition("/")
    return wandb.init(
        mode=target.mode,
        entity=entity or None,
        project=project,
        dir=str(target.root),
        id=who.id,
        name=who.name,
        group=who.group,
        job_type=who.job_type,
        tags=who.tags,
        config=who.config,
        resume="allow" if target.mode == "online" else None,
        reinit="create_new",
        settings=wandb.Settings(
            init_timeout=INIT_SECONDS,
            finish_timeout=FINISH_SECONDS,
            finish_timeout_raises=True,
            silent=True,
            console="off",
            symlink=False,
            disable_git=True,
            disable_code=True,
            save_code=False,
            x_save_requirements=False,
            x_disable_meta=True,
            x_disable_stats=True,
            x_disable_machine_info=True,
        ),
    )
