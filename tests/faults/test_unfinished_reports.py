"""A report at any time of a suite: it never fails, says n, and says what is missing."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.store.events import Attempt, EvaluationRow
from harness.store.log import encode, read_events, split_lines
from reports.build import compose, write_report
from reports.document import Document
from reports.tables import Table
from tests.stores import Fate, Where, build_store

STATUSES = (
    "ok",
    "collapsed",
    "unlearned",
    "diverged",
    "oom",
    "crashed",
    "preempted",
    None,
    "missing",
)
RESULTS = frozenset({"ok", "collapsed", "unlearned", "diverged"})


def table(document: Document, name: str) -> Table:
    return next(found for found in document.tables() if found.name == name)


def gaps(document: Document) -> list[str]:
    return [str(row[0].value) for row in table(document, "gaps").rows]


@pytest.mark.parametrize("seeds", [1, 5])
@pytest.mark.parametrize(
    ("told", "fate_of"),
    [
        ("none begun", lambda where: Fate("missing")),
        ("all in progress", lambda where: Fate(None)),
        ("all collapsed", lambda where: Fate("collapsed", 9.0)),
        ("all without a value", lambda where: Fate("diverged", float("nan"))),
        ("some of each", lambda where: Fate(STATUSES[(where.seed + len(where.tricks)) % 8], 1.0)),
        ("half of the pairs", lambda where: Fate("ok" if where.tricks == "none" else None)),
    ],
)
def test_it_says_how_many_there_are_and_what_is_missing(
    told: str, fate_of: Callable[[Where], Fate], seeds: int, tmp_path: Path
) -> None:
    root = build_store(
        tmp_path, datasets=("ring8",), variants=("gan",), tricks=("none", "ema"), seeds=seeds,
        fate_of=fate_of,
    )  # fmt: skip
    fates = [
        fate_of(Where("ring8", "gan", t, s)).outcome for t in ("none", "ema") for s in range(seeds)
    ]
    results = [fate for fate in fates if fate in RESULTS]
    failed = len(results) - results.count("ok")
    document = compose(root)
    facts = dict(document.facts)
    assert facts["Runs with a result"] == f"{len(results)} of {2 * seeds}"
    assert facts["Failed"] == f"{failed} of {len(results)}"
    assert sorted(gaps(document)) == sorted(
        "running" if fate is None else fate for fate in fates if fate not in RESULTS
    )
    pairs = sum(
        a in RESULTS and b in RESULTS for a, b in zip(fates[:seeds], fates[seeds:], strict=True)
    )
    (row,) = table(document, "verdicts").rows
    assert f"{pairs} of {seeds}" in [cell.value for cell in row]
    to_come = sum(fate in ("missing", None, "preempted") for fate in fates)
    claims = document.sections[0].claims
    if to_come:
        assert not claims
        assert f"{to_come} planned run" in document.sections[0].headline
    else:
        assert [claim.verdict for claim in claims] == ["no evidence" if pairs >= 5 else "screening"]


def stages(log: Path) -> dict[str, Callable[[], object]]:
    """What a run's folder can look like while a job is at work on it, or after it was killed."""
    lines = split_lines(log.read_bytes())[0]
    first = next(i for i, e in enumerate(read_events(log)) if isinstance(e, EvaluationRow))
    again = encode(Attempt(attempt=2, resumed_from=80, cohort=()))

    def written(*parts: bytes) -> Callable[[], object]:
        return lambda: log.write_bytes(b"".join(parts))

    def start(count: int) -> bytes:
        return b"".join(line + b"\n" for line in lines[:count])

    return {
        "no folder": lambda: shutil.rmtree(log.parent),
        "an empty folder": lambda: (shutil.rmtree(log.parent), log.parent.mkdir()),
        "no log": log.unlink,
        "an empty log": written(),
        "a torn first line": written(lines[0][:20]),
        "an attempt": written(start(1)),
        "no evaluation": written(start(first)),
        "the untrained generator": written(start(first + 1)),
        "a torn last line": written(start(len(lines) - 1), lines[-1][:30]),
        "begun again": written(start(len(lines)), again),
        "no samples": lambda: shutil.rmtree(log.parent / "samples"),
        "no environment": (log.parent / "environment-1.json").unlink,
    }


STAGES = (
    "no folder", "an empty folder", "no log", "an empty log", "a torn first line", "an attempt",
    "no evaluation", "the untrained generator", "a torn last line", "begun again", "no samples",
    "no environment",
)  # fmt: skip
WHOLE = ("no samples", "no environment")
NOT_BEGUN = ("no folder", "an empty folder")


@pytest.mark.parametrize("dataset", ["ring8", "digits"])
def test_every_stage_of_a_run(dataset: str, tmp_path: Path) -> None:
    root = build_store(
        tmp_path, datasets=(dataset,), variants=("gan",), tricks=("none",), seeds=len(STAGES)
    )
    logs = sorted(root.glob("runs/*/events.jsonl"), key=lambda log: log.parent.name.split("-s")[1])
    for stage, log in zip(STAGES, logs, strict=True):
        stages(log)[stage]()
    write_report(root)
    report = root / "report"
    rows = list(csv.DictReader(io.StringIO((report / "tables" / "gaps.csv").read_text())))
    by_run = {row["Run"]: row["Status"] for row in rows}
    expected = {
        log.parent.name: "missing" if stage in NOT_BEGUN else "running"
        for stage, log in zip(STAGES, logs, strict=True)
        if stage not in WHOLE
    }
    assert by_run == expected
    assert (
        f"{len(WHOLE)} of {len(STAGES)} planned runs have a result"
        in (report / "report.md").read_text()
    )


def test_one_run_alone(tmp_path: Path) -> None:
    root = build_store(tmp_path, datasets=("ring8",), variants=("gan",), tricks=("none",), seeds=1)
    for log in root.glob("runs/*/events.jsonl"):
        stages(log)["the untrained generator"]()
    document = compose(root)
    assert dict(document.facts)["Runs with a result"] == "0 of 1"
    assert gaps(document) == ["running"]
    (row,) = table(document, "outcomes").rows
    assert [cell.value for cell in row[3:10]] == [0, 0, 0, 0, 0, 0, 1]
