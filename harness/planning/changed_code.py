"""Runs that other code of the same name has trained: refused, trained again, or accepted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from harness.errors import GanbenchError, StoreError
from harness.parts.foreign import foreign_parts
from harness.planning.backlog import Backlog, backlog, readable
from harness.spec import RunSpec
from harness.store.code import Answer, PartCode, still_accepted
from harness.store.folders import REPLACED
from harness.store.plan import read_plan
from harness.store.reading import RunRecord
from harness.tracking.wording import counted


@dataclass(frozen=True)
class Change:
    """A part that is no longer what trained a run.

    Attributes:
        before: What trained it.
        now: What the part is now.
    """

    before: PartCode
    now: PartCode

    def __str__(self) -> str:
        was, now = self.before.sources, self.now.sources
        files = sorted(name for name in was.keys() | now.keys() if was.get(name) != now.get(name))
        return (
            f"{self.now.part}: {self.before.name} then, {self.now.name} now; "
            f"changed: {', '.join(files)}"
        )


@dataclass(frozen=True)
class Settled:
    """What is left to do, once it is settled what becomes of runs of other code.

    Attributes:
        code: Of all foreign parts, for the plan: with what is accepted as theirs.
        todo: What is left of the runs.
        again: Runs to be trained again, whose folders are to make room.
        told: What came of it, in lines; empty where no code has changed.
    """

    code: tuple[PartCode, ...]
    todo: Backlog
    again: tuple[RunSpec, ...] = ()
    told: tuple[str, ...] = ()


def settle_code(
    folder: Path,
    specs: Sequence[RunSpec],
    records: Mapping[str, RunRecord],
    code: Iterable[PartCode],
    answer: Answer,
    others: Iterable[RunSpec] = (),
) -> Settled:
    """Compare the code of foreign parts with what has trained the runs that are there.

    Nothing is written: whoever trains makes room for ``again``, and writes the plan.

    Args:
        folder: The results folder.
        specs: The runs that are asked for.
        records: What there is of them, by id.
        code: Of all foreign parts, as they are now.
        answer: What is to become of runs of other code.
        others: Runs of the same report, beside which those of other code would stand.

    Raises:
        GanbenchError: naming parts and files, what they were and are, and what to do, if nothing
            was answered.
    """
    code = code_for(folder, code)
    changed = changed_runs(records.values(), code)
    if answer == "retrain":
        records = {run: record for run, record in records.items() if run not in changed}
    todo = backlog(specs, records)
    beside = changed_beside(folder, others, todo.pending, code)
    everything = [*changed.values(), *beside.values()]
    if not everything:
        return Settled(code, todo)
    if answer == "refuse":
        refuse(everything, folder)
    if answer == "accept":
        runs = f"{counted(len(everything), 'run')} of other code"
        return Settled(
            tuple(accepting(part, everything) for part in code),
            todo,
            told=(f"{runs}: taken for results of the code as it is now, as the report says",),
        )
    runs = f"{counted(len(changed), 'run')} of other code"
    told = [f"{runs}: trained again; what they gave is kept in {folder / REPLACED}"]
    if beside:
        left = counted(len(beside), "run")
        told.append(f"{left} of other code that --only leaves out: kept, as the report says")
    again = tuple(spec for spec in specs if spec.id in changed)
    return Settled(code, todo, again, tuple(told))


def changed_beside(
    folder: Path, others: Iterable[RunSpec], pending: Iterable[RunSpec], code: Sequence[PartCode]
) -> dict[str, list[Change]]:
    """Find runs that other code has trained of parts that are about to be trained with.

    Args:
        folder: The results folder.
        others: Runs that are not asked for.
        pending: What is to be trained.
        code: Of all foreign parts, as they are now.
    """
    changed = changed_runs(readable(folder, others).values(), code) if code else {}
    if not changed:
        return {}
    cells = {spec.model_copy(update={"seed": 0}).id: spec for spec in pending}
    used = {(part.kind, part.id) for spec in cells.values() for part in foreign_parts(spec)}
    mixed = {
        run: [change for change in changes if (change.now.kind, change.now.id) in used]
        for run, changes in changed.items()
    }
    return {run: changes for run, changes in mixed.items() if changes}


def code_for(folder: Path, code: Iterable[PartCode]) -> tuple[PartCode, ...]:
    """Give parts what a results folder has accepted as their code."""
    accepted: tuple[PartCode, ...] = ()
    with suppress(StoreError):
        accepted = read_plan(folder).code
    return still_accepted(code, accepted)


def changed_runs(records: Iterable[RunRecord], code: Sequence[PartCode]) -> dict[str, list[Change]]:
    """Find the runs that other code has trained, and what has changed since, by their ids."""
    found = ((record.spec.id, changes_of(record, code)) for record in records)
    return {run: changes for run, changes in found if changes}


def changes_of(record: RunRecord, code: Iterable[PartCode]) -> list[Change]:
    """List the parts of a run that are not what trained it, nor accepted as that.

    A run that has neither a result nor a checkpoint starts over, whatever trained it before.
    """
    if not record.is_final and not any(record.path.glob("checkpoints/step-*.json")):
        return []
    now = {(part.kind, part.id): part for part in code}
    pairs = ((before, now.get((before.kind, before.id))) for before in record.code)
    return [Change(before, part) for before, part in pairs if part and not part.stands_for(before)]


def unreadable(code: Iterable[PartCode]) -> list[str]:
    """Say of which parts nobody can tell whether their code has changed."""
    return [
        f"the source of {part.part} cannot be read: a change of its code goes unnoticed"
        for part in code
        if not part.sources
    ]


def accepting(part: PartCode, changed: Iterable[Iterable[Change]]) -> PartCode:
    """Take all that a part was before for what it is now."""
    names = {change.before.name for run in changed for change in run if change.now == part}
    return replace(part, accepted=tuple(sorted(names.union(part.accepted))))


def refuse(changed: Sequence[Iterable[Change]], folder: Path) -> NoReturn:
    """Say which code has changed since how many runs were trained, and what to do.

    Raises:
        GanbenchError: saying it.
    """
    counts = Counter(str(change) for run in changed for change in run)
    lines = [f"  {change} ({counted(count, 'run')})" for change, count in counts.items()]
    raise GanbenchError(
        "\n".join(
            [
                "code has changed since these runs were trained:",
                *lines,
                f"  --retrain trains them again, and keeps what they gave in {folder / REPLACED};",
                "  --accept-code takes their results for results of the code as it is now, and the "
                "report says so;",
                "  or register the new code under another id, and one report can have both",
            ]
        )
    )
