"""What plugins were when they trained a suite's runs, code and data, and whether it was one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.spec import RunSpec
from harness.store.code import UNKNOWN, PartCode
from harness.store.reading import RunRecord
from reports.cells import SuiteCells
from reports.tables import Column, Table, TableCell, entries

NOT_RECORDED = "not recorded"
PartName = tuple[str, str]
"""Kind and id."""


@dataclass(frozen=True)
class Trained:
    """What one code of a part has trained.

    Attributes:
        part: The part.
        name: Of its code, or :data:`NOT_RECORDED`.
        runs: Ids of the runs.
    """

    part: PartCode
    name: str
    runs: list[str] = field(default_factory=list)


Codes = Mapping[PartName, Mapping[str, Trained]]
"""By part, then by the name of its code."""


def codes_of(cells: SuiteCells) -> Codes:
    """Sort the runs that have begun by the code of their foreign parts."""
    planned = {(part.kind, part.id): part for part in cells.suite.plan.code}
    found: dict[PartName, dict[str, Trained]] = {}
    for result in cells.results:
        record = result.record
        if record is None:
            continue
        known = {(part.kind, part.id) for part in record.code}
        silent = [p for name, p in planned.items() if name not in known and uses(record, p)]
        for part, name in [
            *((part, part.name) for part in record.code),
            *((part, NOT_RECORDED) for part in silent),
        ]:
            of_part = found.setdefault((part.kind, part.id), {})
            of_part.setdefault(name, Trained(part, name)).runs.append(result.planned.id)
    return found


def uses(record: RunRecord, part: PartCode) -> bool:
    """Say whether a part takes part in a run, as far as its records tell."""
    spec = record.spec
    ids = {
        "variant": [spec.variant.id],
        "trick": [trick.id for trick in spec.tricks],
        "dataset": [spec.dataset.id],
        "network": [spec.settings.network],
        "extractor": [spec.settings.extractor],
        "probe": spec.settings.probes,
        "metric": [metric.metric for metric in record.metrics],
    }
    return part.id in ids[part.kind]


def mixtures(cells: SuiteCells) -> tuple[str, ...]:
    """Say what is not the same in all runs though it has one name; nothing where all is."""
    return (*older_results(cells), *mixed_code(cells), *mixed_data(cells))


def older_results(cells: SuiteCells) -> list[str]:
    """Say where runs are of a results version whose numbers were others."""
    now = RunSpec.model_fields["results_version"].default
    found = {r.record.spec.results_version for r in cells.results if r.record is not None}
    return [
        f"These runs are of results version {version}, and this ganbench gives version {now}, of "
        "which some numbers are others: compare only runs of one version. `ganbench run` trains "
        "them anew, and says which numbers have changed."
        for version in sorted(found - {now})
    ]


def mixed_data(cells: SuiteCells) -> list[str]:
    """Say which data sets without pinned hashes have not always held the same."""
    sentences = []
    for dataset in cells.datasets:
        found = [
            tuple(sorted(result.record.data.content.items()))
            for cell in cells.of_dataset(dataset)
            for result in cell.results
            if result.record and result.record.data.content
        ]
        counts = Counter(found).values()
        if len(counts) > 1:
            sentences.append(
                f"This report mixes {len(counts)} contents of data set {dataset!r} under one name, "
                f"in so many runs: {', '.join(map(str, counts))}. Pin its hashes, or give other "
                "content another id."
            )
    return sentences


def mixed_code(cells: SuiteCells) -> list[str]:
    """Say of which parts several codes stand under one name."""
    accepted = {(part.kind, part.id): part for part in cells.suite.plan.code}
    sentences = []
    for name, codes in codes_of(cells).items():
        known = [one for one in codes.values() if one.name not in (UNKNOWN, NOT_RECORDED)]
        if len(known) < 2:
            continue
        each = ", ".join(f"{one.name} ({len(one.runs)})" for one in known)
        now = accepted.get(name)
        taken = now is not None and all(now.stands_for(one.part) for one in known)
        sentences.append(
            f"This report mixes {len(known)} codes of {known[0].part.part} under one name, with so "
            f"many runs: {each}. "
            + (
                "They were taken for one by --accept-code."
                if taken
                else "Where such runs differ, the code may be why. `ganbench run` with --retrain "
                "trains those of other code again."
            )
        )
    return sentences


def differences(first: Codes, second: Codes) -> tuple[str, ...]:
    """Say which parts are not the same code in two results folders."""
    sentences = []
    for name in first.keys() & second.keys():
        mine, theirs = sorted(first[name]), sorted(second[name])
        if mine != theirs and not {UNKNOWN, NOT_RECORDED} & {*mine, *theirs}:
            part = next(iter(first[name].values())).part.part
            sentences.append(
                f"{part} is not the same code in both folders: {' and '.join(mine)} in the "
                f"first, {' and '.join(theirs)} in the second"
            )
    return tuple(sorted(sentences))


def code_table(cells: SuiteCells) -> Table:
    """List the code of every foreign part, with what it has trained."""
    plan = {(part.kind, part.id): part for part in cells.suite.plan.code}
    codes = codes_of(cells)
    rows = []
    for name in sorted(codes.keys() | plan.keys()):
        now = plan.get(name)
        trained = dict(codes.get(name, {}))
        if now is not None:
            trained.setdefault(now.name, Trained(now, now.name))
        for one in trained.values():
            runs = tuple(one.runs)
            rows.append(
                entries(
                    *name,
                    one.name,
                    ", ".join(one.part.sources) if one.name != NOT_RECORDED else None,
                    TableCell(len(runs), runs=runs),
                    standing(one, now),
                )
            )
    return Table(
        "code",
        "Code from elsewhere",
        (
            Column("Kind"),
            Column("Part", "code"),
            Column("Code", "code", "hash of all its files"),
            Column("Files", "prose", "of the plugin, and what it imports from beside it"),
            Column("Runs", "count", "trained by it"),
            Column("Counts as", "prose"),
        ),
        tuple(rows),
        "What plugins import from installed packages is no part of their code.",
        empty="Plugins took part when their code was not recorded yet: what it was is unknown, and "
        "it is taken for what it is now.",
    )


def standing(one: Trained, now: PartCode | None) -> str:
    """Say how a code stands to the plan's."""
    if one.name == NOT_RECORDED:
        return "of an older version, which did not record it; taken for the plan's"
    if one.name == UNKNOWN:
        return "its source could not be read; taken for the plan's"
    if now is None or one.name == now.name:
        return "the plan's code"
    if now.stands_for(one.part):
        return "accepted as the plan's code, by --accept-code"
    return "other code than the plan's"
