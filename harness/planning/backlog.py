"""Runs what a suite asks for and the store does not have yet."""

from __future__ import annotations

from collections.abc import Container, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import StoreError
from harness.spec import RunSpec
from harness.store.folders import Store
from harness.store.reading import RunRecord, read_run


@dataclass(frozen=True)
class Backlog:
    """What is left of a set of runs.

    Attributes:
        finished: Runs that have a result, by id.
        pending: Specs that have none, in the order of the suite.
        begun: Records of pending runs that have trained, by id.
    """

    finished: dict[str, RunRecord]
    pending: tuple[RunSpec, ...]
    begun: dict[str, RunRecord] = field(default_factory=dict)

    @property
    def together(self) -> dict[str, tuple[str, ...]]:
        """Ids of the cohort in which a run trained last, by the run's id."""
        return {run: tuple(r.attempts[-1]["cohort"]) for run, r in self.begun.items()}


def backlog(store: Store, specs: Iterable[RunSpec], again: Container[str] = ()) -> Backlog:
    """Sort runs into those with a result and those to train.

    Args:
        store: The results folder.
        specs: The runs.
        again: Ids of runs that are to be trained as if they had never been.

    Raises:
        CorruptRecordError: naming file and line, if a run's records are damaged.
    """
    finished: dict[str, RunRecord] = {}
    pending = []
    begun = {}
    for spec in specs:
        path = store.folder(spec)
        begun_before = spec.id not in again and (path / "spec.json").exists()
        record = read_run(path, spec.id) if begun_before else None
        if record is not None and record.is_final:
            finished[spec.id] = record
        else:
            pending.append(spec)
            if record is not None and record.attempts:
                begun[spec.id] = record
    return Backlog(finished, tuple(pending), begun)


def readable(folder: Path, specs: Iterable[RunSpec]) -> dict[str, RunRecord]:
    """Read what a results folder has of some runs, by id; damaged ones count for nothing."""
    records = {}
    for spec in specs:
        with suppress(StoreError):
            records[spec.id] = read_run(folder / "runs" / spec.slug, spec.id)
    return records
