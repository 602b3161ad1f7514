"""Which runs of a suite have a result, which have begun, and which are left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
        return {run: r.attempts[-1].cohort for run, r in self.begun.items()}


def backlog(specs: Iterable[RunSpec], records: Mapping[str, RunRecord]) -> Backlog:
    """Sort runs into those with a result and those to train, by what there is of them."""
    finished = {run: record for run, record in records.items() if record.is_final}
    begun = {run: r for run, r in records.items() if run not in finished and r.attempts}
    return Backlog(finished, tuple(spec for spec in specs if spec.id not in finished), begun)


def recorded(store: Store, specs: Iterable[RunSpec]) -> dict[str, RunRecord]:
    """Read what a results folder has of some runs, by id.

    Raises:
        CorruptRecordError: naming file and line, if a run's records are damaged.
    """
    folders = ((spec.id, store.folder(spec)) for spec in specs)
    return {run: read_run(path, run) for run, path in folders if (path / "spec.json").exists()}


def finished(store: Store, specs: Iterable[RunSpec]) -> dict[str, RunRecord]:
    """Read those among some runs that have a result; as :func:`recorded`."""
    return {run: record for run, record in recorded(store, specs).items() if record.is_final}


def readable(folder: Path, specs: Iterable[RunSpec]) -> dict[str, RunRecord]:
    """Read what a results folder has of some runs, by id; damaged ones count for nothing."""
    records = {}
    for spec in specs:
        with suppress(StoreError):
            records[spec.id] = read_run(folder / "runs" / spec.slug, spec.id)
    return records
