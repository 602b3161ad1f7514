"""``ganbench show``: what a run is, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.errors import StoreError, UnknownNameError
from harness.spec import ID_LENGTH
from harness.store.code import PartCode
from harness.store.events import EvaluationRow, ProbeRow
from harness.store.fields import as_json
from harness.store.reading import RunRecord, read_run
from harness.store.records import CRASHES, Provenance
from harness.store.wording import class_counts, code_lines, listing, provenance_lines


def find_run(name: str) -> Path:
    """Find a run by its folder, or by its id (or the id's beginning) under ``results/``.

    Raises:
        StoreError: if there is none, or several.
    """
    path = Path(name)
    try:
        if (path / "spec.json").exists():
            return path
    except OSError as error:
        raise StoreError(f"{name[:60]}… is neither a run's folder nor its id") from error
    # A folder's name, as reports print it, ends with the id.
    name = name.rpartition("-")[2]
    if not name or len(name) > ID_LENGTH or not all(c in "0123456789abcdef" for c in name):
        raise StoreError(f"{path} is neither a run's folder, nor its name, nor a run's id")
    files = sorted(Path("results").glob(f"*/runs/*-{name}*/spec.json"))
    files = [file for file in files if file.parent.name.rpartition("-")[2].startswith(name)]
    if len(files) != 1:
        which = f"{len(files)} runs under results/ have" if files else "no run under results/ has"
        raise StoreError(f"{which} the id {name}; give the run's folder instead")
    return files[0].parent


def describe_run(name: str) -> dict[str, Any]:
    """Describe a run: spec, outcome, numbers, what they rest on, attempts, where it was computed.

    Every metric has its value before training (``untrained``), at the last evaluation
    (``metrics``) and at the best (``best``, with ``step`` and how many were ``searched``); with
    averaged weights also those of the raw ones (``raw``); ``histogram`` counts the last samples of
    each class or mode. ``protocol`` has its floor and version, ``provenance`` what all of them
    share, ``code`` what plugins consisted of. A crashed run has no number: it is no result.
    """
    record = read_run(find_run(name))
    crashed = record.outcome is not None and record.outcome.outcome in CRASHES
    described: dict[str, Any] = as_json(
        {
            "id": record.spec.id,
            "folder": str(record.path),
            "spec": record.spec.model_dump(mode="json"),
            "parameters": run_parameters(record),
            "remarks": run_remarks(record),
            "outcome": record.outcome,
            "histogram": None if crashed else last_histogram(record),
            **{name: {} if crashed else read(record) for name, read in MEASURED.items()},
            "protocol": record.metrics,
            "provenance": record.provenance,
            "code": [{"name": part.name, **as_json(part)} for part in record.code],
            "data": record.protocol and record.protocol.data,
            "attempts": record.attempts,
            "environment": record.environment(),
        }
    )
    return described


def run_parameters(record: RunRecord) -> dict[str, int] | None:
    """Count a run's parameters by network; None where a plugin that it needs is not loaded."""
    from harness.planning.cohorts import parameters

    try:
        G, D = parameters(record.spec)
    except UnknownNameError:
        return None
    return {"generator": G, "discriminator": D}


def run_remarks(record: RunRecord) -> list[str]:
    """List what a run's parts have to say; nothing where a plugin that it needs is not loaded."""
    from harness.parts import remarks

    try:
        return remarks(record.spec)
    except UnknownNameError:
        return []


def last_metrics(record: RunRecord) -> dict[str, Any]:
    """Return the values of the last evaluation by metric name, with ``step`` and ``kimg``."""
    last = record.last_of(EvaluationRow)
    return {"step": last.step, "kimg": last.kimg, **last.values} if last else {}


def untrained_metrics(record: RunRecord) -> dict[str, float]:
    """Return the values of the generator before its first step, by metric name."""
    first = next(iter(record.of_type(EvaluationRow)), None)
    return first.values if first and first.step == 0 else {}


def best_metrics(record: RunRecord) -> dict[str, dict[str, Any]]:
    """Return the best value of each metric with a direction, its step and how many there were."""
    bests = {metric.name: record.best(metric) for metric in record.metrics}
    return {name: best._asdict() for name, best in bests.items() if best is not None}


def raw_metrics(record: RunRecord) -> dict[str, float]:
    """Return the last values of the raw weights; empty where no average is measured."""
    values = {metric.name: record.last(metric.name, "raw") for metric in record.metrics}
    return {name: value for name, value in values.items() if value is not None}


def last_probes(record: RunRecord) -> dict[str, Any]:
    """Return what the probes found last, by column, with the step and their details."""
    return {
        name: {"value": value, "step": row.step, "details": row.details}
        for row in record.of_type(ProbeRow)
        for name, value in row.values.items()
    }


def last_histogram(record: RunRecord) -> list[int] | None:
    """Return the last samples of each class or mode; None where they were not counted."""
    last = record.last_of(EvaluationRow)
    return last.histogram if last else None


MEASURED: dict[str, Callable[[RunRecord], dict[str, Any]]] = {
    "metrics": last_metrics,
    "untrained": untrained_metrics,
    "best": best_metrics,
    "raw": raw_metrics,
    "probes": last_probes,
}
"""What a run's description says of its measurements."""


def print_run(description: dict[str, Any]) -> None:
    """Print a run's description for a person."""
    console = Console(highlight=False)
    spec, outcome = description["spec"], description["outcome"] or {}
    tricks = " + ".join(trick["id"] for trick in spec["tricks"]) or "none"
    console.print(
        Text(f"{spec['dataset']['id']} · {spec['variant']['id']} · {tricks} · seed {spec['seed']}"),
        style="bold",
    )
    console.print(Text(f"run {description['id']} in {description['folder']}"), style="dim")
    reason = f": {outcome['reason']}" if outcome.get("reason") else ""
    if description["parameters"] is not None:
        counted = (f"{role} {count:,}" for role, count in description["parameters"].items())
        console.print(Text(f"parameters: {', '.join(counted)}"))
    for remark in description["remarks"]:
        console.print(Text(remark))
    console.print(Text(f"outcome {outcome.get('outcome', 'in progress')}{reason}"))
    table = Table(box=None, pad_edge=False)
    for heading in ("setting", "value"):
        table.add_column(heading)
    parts = [("dataset", spec["dataset"]), ("variant", spec["variant"])]
    for name, part in [*parts, *(("trick", trick) for trick in spec["tricks"])]:
        for option, value in part["options"].items():
            table.add_row(f"{name} {part['id']}: {option}", str(value))
    for setting, value in spec["settings"].items():
        table.add_row(setting, str(value))
    console.print(table)
    better = {metric["name"]: metric["better"] for metric in description["protocol"]}
    arrows = {"lower": "↓", "higher": "↑", "none": " "}
    rows = [name for name in description["metrics"] if name in better]
    if rows:
        last = description["metrics"]
        console.print(f"last evaluation: step {last['step']}, {last['kimg']:.4g} kimg")
        columns: dict[str, Mapping[str, Any]] = {"last": last}
        if description["raw"]:
            columns["raw weights"] = description["raw"]
        columns["best"] = {name: best["value"] for name, best in description["best"].items()}
        columns["untrained"] = description["untrained"]
        columns["real data"] = {
            metric["name"]: metric["floor"] for metric in description["protocol"]
        }
        values = Table(box=None, pad_edge=False)
        values.add_column("metric", overflow="fold")
        for heading in columns:
            values.add_column(heading, justify="right", no_wrap=True)
            if heading == "best":
                values.add_column("at step, of", no_wrap=True)
        for name in rows:
            shown = [number_text(column.get(name)) for column in columns.values()]
            best = description["best"].get(name)
            where = f"{best['step']}, {best['searched']}" if best else ""
            shown.insert(list(columns).index("best") + 1, where)
            values.add_row(Text(f"{arrows[better[name]]} {name}"), *shown)
        console.print(values)
    names, histogram = (description["data"] or {}).get("class_names"), description["histogram"]
    if names is not None and histogram is not None and len(names) == len(histogram):
        console.print(Text(f"last samples of each class: {class_counts(names, histogram)}"))
    elif names is not None:
        console.print(Text(f"classes: {listing(names)}"))
    for name, probe in description["probes"].items():
        console.print(Text(f"{name} {number_text(probe['value'])} at step {probe['step']}"))
    known = description["provenance"]
    code = [PartCode(part["kind"], part["id"], part["sources"]) for part in description["code"]]
    for line in (*provenance_lines(known and Provenance(**known)), *code_lines(code)):
        console.print(Text(line), style="dim")


def number_text(value: Any) -> str:
    """Write a number as it is stored, also one that is not finite; nothing for none."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, int | float) else str(value["nonfinite"])
