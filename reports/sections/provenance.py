"""Last chapter: what the numbers rest on, what is missing, and how to make them again."""

from __future__ import annotations

from collections import Counter
from typing import Any

from harness.store.records import SuitePlan
from harness.store.wording import listing
from reports.cells import CellRuns, Result, SuiteCells
from reports.code import code_table
from reports.document import Section
from reports.sections.verdict_words import run_again
from reports.tables import Column, Row, Table, TableCell, entries, significant

MOST_VALUES = 6


def flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """Write nested settings as dotted names with texts."""
    if isinstance(value, dict):
        flat: dict[str, str] = {}
        for key, item in value.items():
            flat |= flatten(item, f"{prefix}.{key}" if prefix else str(key))
        return flat
    return {prefix: ", ".join(map(str, value)) if isinstance(value, list) else str(value)}


def environment_table(cells: SuiteCells) -> Table:
    """Show versions and devices, with how many runs had each."""
    counts_by_key: dict[str, Counter[str]] = {}
    for result in cells.results:
        if result.record:
            environment = result.environment
            if environment is None:
                environment = {"environment": "file is damaged"}
            for key, text in flatten(environment).items():
                counts_by_key.setdefault(key, Counter())[text] += 1
    rows = []
    for key, counts in counts_by_key.items():
        shown = counts.most_common(MOST_VALUES)
        text = "; ".join(f"{value} ({n})" if len(counts) > 1 else value for value, n in shown)
        if len(counts) > MOST_VALUES:
            text += f"; and {len(counts) - MOST_VALUES} more"
        rows.append(entries(key, text, counts.total()))
    return Table(
        "environment",
        "Versions and devices",
        (Column("What"), Column("Value", "prose", "runs in brackets where they differ"),
         Column("Runs", "count")),
        tuple(rows),
        folded=True,
    )  # fmt: skip


def data_table(cells: SuiteCells) -> Table:
    """Show each data set's fingerprint and what the metrics saw of it."""
    rows: list[Row] = []
    notes: list[TableCell] = []
    named: list[TableCell] = []
    for dataset in cells.datasets:
        prints = {
            result.record.spec.dataset.fingerprint
            for cell in cells.of_dataset(dataset)
            for result in cell.results
            if result.record
        }
        facts = cells.data_facts(dataset)
        notes.append(TableCell("; ".join(facts.notes) or None))
        named.append(TableCell(listing(facts.class_names or ()) or None))
        shape = " × ".join(str(side) for side in facts.shape)
        rows.append(
            entries(
                dataset,
                ", ".join(sorted(prints)) or None,
                facts.kind,
                shape or None,
                facts.classes,
                facts.extractor,
                facts.reference_count,
            )
        )
    extra = [
        (Column(title, "prose"), found)
        for title, found in (("Classes", named), ("Files", notes))
        if any(cell.value for cell in found)
    ]
    return Table(
        "data",
        "Data sets",
        (
            Column("Data set"),
            Column("Fingerprint", "code"),
            Column("Kind"),
            Column("Shape"),
            Column("Modes or classes", "count"),
            Column("Extractor", "code"),
            Column("Reference examples", "count"),
            *(column for column, _ in extra),
        ),
        tuple((*row, *(found[i] for _, found in extra)) for i, row in enumerate(rows)),
    )


def protocol_table(cells: SuiteCells) -> Table:
    """List every metric with its protocol."""
    rows: dict[tuple[str, str], Row] = {}
    for cell in cells.cells:
        for metric in cell.metrics:
            floor = significant(metric.floor) if metric.floor is not None else None
            rows.setdefault(
                (cell.dataset, metric.name),
                entries(
                    cell.dataset,
                    metric.name,
                    metric.version,
                    metric.summary,
                    {"none": "diagnostic"}.get(metric.better, metric.better),
                    "yes" if metric.primary else "",
                    floor,
                    metric.floor_count,
                ),
            )
    return Table(
        "protocols",
        "Metric protocols",
        (
            Column("Data set"),
            Column("Metric", "code"),
            Column("Version", "count", "of its definition"),
            Column("Measures", "prose"),
            Column("Better"),
            Column("Primary"),
            Column("Real held-out data"),
            Column("of examples", "count"),
        ),
        tuple(rows.values()),
        folded=True,
    )


def measurement_table(cells: SuiteCells) -> Table:
    """Say once what all numbers of a data set rest on, with how many runs were measured so."""
    counts: Counter[tuple[str, ...]] = Counter()
    for cell in cells.cells:
        for result in cell.results:
            known = result.record.provenance if result.record else None
            if known is not None:
                weights = "raw" if known.weights == "raw" else f"averaged by {known.weights}"
                if known.classes:
                    weights += f"; asked for each class {known.classes}"
                libraries = ", ".join(f"{name} {text}" for name, text in known.libraries.items())
                counts[
                    cell.dataset,
                    known.extractor,
                    known.weights_sha256 or "none",
                    f"{known.samples} against {known.reference} ({known.reference_count})",
                    known.floor,
                    known.dtype,
                    f"{libraries}; preprocessing {known.preprocessing}, on {known.device}",
                    weights,
                    known.normalization,
                ] += 1
    return Table(
        "measurement",
        "What the numbers rest on",
        (
            Column("Data set"),
            Column("Extractor", "code"),
            Column("Its weights (sha256)", "code"),
            Column("Samples", "text", "generated, against all real ones of a split"),
            Column("Floor from"),
            Column("Precision", "prose"),
            Column("Libraries", "prose"),
            Column("Weights of G", "text", "as they are trained, or averaged by a trick"),
            Column("Normalization in evaluation", "prose", "statistics that G normalises by"),
            Column("Runs", "count"),
        ),
        tuple(entries(*key, count) for key, count in counts.items()),
        "Of one run, `ganbench show RUN` says the same.",
        folded=True,
        empty="No run says what its numbers rest on: all were measured by an older version.",
    )


def gaps_table(cells: SuiteCells) -> Table:
    """List what is not in the numbers: stale folders, unreadable and unfinished runs."""
    suite = cells.suite
    rows = [
        entries("stale", folder, "the plan no longer has it; it is in no number")
        for folder in suite.stale
    ]
    for result in cells.results:
        if not result.final:
            text = suite.corrupt.get(result.planned.id, "")
            text = text or (result.outcome.reason if result.outcome else "")
            text = text or "run the suite again to finish it"
            run = TableCell(result.planned.folder, runs=(result.planned.id,))
            rows.append(entries(result.status, run, text))
    return Table(
        "gaps",
        "What is missing from the numbers",
        (Column("Status"), Column("Run", "code"), Column("Why", "prose")),
        tuple(rows),
        folded=len(rows) > 12,
        empty="Nothing: every planned run has a result, and no stale folder is left.",
    )


def folders_table(cells: SuiteCells) -> Table:
    """Say which runs came from which folder and device, where results of several are merged."""
    by_origin: dict[tuple[str, str], list[Result]] = {}
    for result in cells.results:
        folder = cells.suite.folder_of(result.planned.id)
        if folder and result.record:
            by_origin.setdefault((folder, result.record.device or "not said"), []).append(result)
    return Table(
        "folders",
        "Where runs were trained",
        (
            Column("Folder", "code"),
            Column("Device"),
            Column("Variants", "prose"),
            Column("Runs", "count"),
            Column("with a result", "count"),
        ),
        tuple(
            entries(
                folder,
                device,
                ", ".join(sorted({result.planned.variant for result in results})),
                TableCell(len(results), runs=tuple(result.planned.id for result in results)),
                sum(result.final for result in results),
            )
            for (folder, device), results in by_origin.items()
        ),
        "All folders have the same plan. Pairs of runs on unlike devices are listed beside the "
        "effects, as a setting that differs.",
        empty="No run has begun.",
    )


def command(plan: SuitePlan, cell: CellRuns, seed: int | None = None) -> str:
    """Write the command that runs one cell again, or one seed of it."""
    options: list[tuple[str, object]] = [("seeds", plan.seeds)] if plan.seeds else []
    options += [
        ("only", f"dataset={cell.dataset}"),
        ("only", f"variant={cell.variant}"),
        ("only", f"tricks={cell.tricks}"),
    ]
    options += [("only", f"seed={seed}")] if seed is not None else []
    return run_again(plan, options)


def commands_table(cells: SuiteCells) -> Table:
    """List the command that repeats each cell."""
    return Table(
        "commands",
        "Repeat a cell",
        (Column("Data set"), Column("Variant"), Column("Tricks"), Column("Command", "code")),
        tuple(entries(*cell.labels, command(cells.suite.plan, cell)) for cell in cells.cells),
        "Seeds, settings and data fingerprints are part of each run's identity, so a repeated cell "
        "is the same cell.",
        folded=True,
    )


def build(cells: SuiteCells) -> Section:
    """Make the chapter."""
    plan = cells.suite.plan
    profile = f", profile {plan.profile}" if plan.profile else ""
    lead = (
        f"Suite {plan.suite} (source {plan.source or plan.suite}{profile}), "
        f"fingerprint {plan.fingerprint}. Results of another fingerprint never share a cell.",
    )
    blocks = (
        gaps_table(cells),
        *((folders_table(cells),) if cells.suite.folders else ()),
        *((code_table(cells),) if plan.code or plan.plugins else ()),
        data_table(cells),
        measurement_table(cells),
        protocol_table(cells),
        environment_table(cells),
        commands_table(cells),
    )
    return Section("provenance", "Provenance", lead, (), blocks)


def facts(cells: SuiteCells) -> tuple[tuple[str, str], ...]:
    """Return what the head of a report says: sizes, progress, identity."""
    plan = cells.suite.plan
    results = cells.results
    finals = sum(result.final for result in results)
    failed = sum(result.failed for result in results)
    seeds = len({result.planned.seed for result in results})
    entries = [
        ("Runs with a result", f"{finals} of {len(results)}"),
        ("Failed", f"{failed} of {finals}"),
        ("Seeds", str(seeds)),
        ("Variants × tricks", f"{len(cells.variants)} × {len(cells.tricks)}"),
        ("Data sets", str(len(cells.datasets))),
        ("Fingerprint", plan.fingerprint),
    ]
    if plan.profile:
        entries.append(("Profile", plan.profile))
    return tuple(entries)
