"""Answers ``ganbench list`` and ``ganbench show``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.errors import GanbenchError, StoreError, UnknownNameError
from harness.registry import Registry, nearest
from harness.spec import ID_LENGTH, RunSpec, encode_numbers
from harness.store.reading import RunRecord, read_run
from harness.store.wording import provenance_lines

KINDS = ("variants", "tricks", "datasets", "networks", "metrics", "probes", "extractors", "suites")


def catalog(kind: str) -> list[dict[str, Any]]:
    """List all things of a kind.

    Args:
        kind: One of :data:`KINDS`.

    Returns:
        Objects with ``id``, ``summary`` and ``source``; variants, tricks and data sets also with
        their ``options`` {name: {"default", "description", "required"}}; networks with the
        parameters of both networks at the family's default ``width`` and ``latent`` on examples
        of a ``shape``.

    Raises:
        GanbenchError: if there is no such kind.
    """
    if kind not in KINDS:
        hint = nearest(kind, list(KINDS))
        raise GanbenchError(f"nothing is called {kind!r}{hint}; there is {', '.join(KINDS)}")
    if kind == "suites":
        from harness.suite.load import built_in_suites

        return built_in_suites()
    entries = [_entry(cls) for cls in _registry(kind)]
    if kind == "networks":
        return [entry | sizes(entry["id"]) for entry in entries]
    return entries


def sizes(network: str) -> dict[str, Any]:
    """Count a network family's parameters at its default width.

    Returns:
        ``shape``, ``width``, ``latent``, ``generator_parameters`` and
        ``discriminator_parameters``; nothing for a family of unusual shapes only, and None for
        the generator that a family does not have.
    """
    from harness.networks.base import networks
    from harness.networks.summary import summarize

    found = summarize(networks.get(network))
    if found is None:
        return {}
    return {
        "shape": list(found.shape),
        "width": found.width,
        "latent": found.latent,
        "generator_parameters": found.generator_parameters,
        "discriminator_parameters": found.discriminator_parameters,
    }


def layers(network: str) -> dict[str, Any]:
    """List the layers of a network family at its default width.

    Returns:
        What :func:`sizes` does, and ``generator`` and ``discriminator``: objects with ``name``,
        ``kind``, ``output`` (shape of one example's activation) and ``parameters``.

    Raises:
        GanbenchError: if there is no such family, or none of the usual shapes fits it.
    """
    from harness.networks.base import networks
    from harness.networks.summary import SHAPES, summarize

    found = summarize(networks.get(network))
    if found is None:
        tried = ", ".join(shape_text(shape) for shape in SHAPES)
        raise GanbenchError(f"network {network!r} makes none of the shapes {tried}")
    return {
        "id": network,
        **sizes(network),
        **{
            role: None if listed is None else [asdict(layer) for layer in listed]
            for role, listed in (
                ("generator", found.generator),
                ("discriminator", found.discriminator),
            )
        },
    }


def shape_text(shape: Iterable[int]) -> str:
    """Write a shape as people do, such as ``3×32×32``."""
    return "×".join(str(side) for side in shape)


def print_layers(found: dict[str, Any]) -> None:
    """Print a network family layer by layer."""
    console = Console(highlight=False)
    console.print(Text(found["id"], style="bold"), Text(size_text(found)))
    for role in ("generator", "discriminator"):
        if found[role] is None:
            continue
        table = Table(title=role, title_justify="left", box=None, pad_edge=False)
        for heading in ("layer", "kind", "output"):
            table.add_column(heading, no_wrap=True)
        table.add_column("parameters", justify="right")
        for layer in found[role]:
            output = "" if layer["output"] is None else shape_text(layer["output"])
            table.add_row(layer["name"], layer["kind"], output, f"{layer['parameters']:,}")
        table.add_row("total", "", "", f"{found[f'{role}_parameters']:,}", style="bold")
        console.print(table)


def size_text(found: dict[str, Any]) -> str:
    """Say how large a network family is, from what :func:`sizes` gives."""
    D = f"D {found['discriminator_parameters']:,} parameters"
    at = f"at width {found['width']}, examples {shape_text(found['shape'])}"
    if found["generator_parameters"] is None:
        return f"{D} {at}"
    return f"G {found['generator_parameters']:,} and {D} {at}, latent {found['latent']}"


def _registry(kind: str) -> Registry[Any]:
    from harness import parts
    from harness.datasets.base import datasets
    from harness.metrics.base import metrics
    from harness.metrics.extractors.base import extractors
    from harness.metrics.probes.base import probes
    from harness.networks.base import networks

    registries: dict[str, Registry[Any]] = {
        "variants": parts.variants,
        "tricks": parts.tricks,
        "datasets": datasets,
        "networks": networks,
        "metrics": metrics,
        "probes": probes,
        "extractors": extractors,
    }
    return registries[kind]


def _entry(cls: Any) -> dict[str, Any]:
    entry = {"id": cls.id, "summary": cls.summary, "source": cls.source}
    fields = getattr(cls, "model_fields", None)
    if fields is not None:
        entry["options"] = {
            name: {
                "default": None if field.is_required() else field.default,
                "description": field.description or "",
                "required": field.is_required(),
            }
            for name, field in fields.items()
        }
    return entry


def print_catalog(kind: str, entries: list[dict[str, Any]]) -> None:
    """Print a catalogue as a table."""
    table = Table(title=kind, title_justify="left", show_lines=False, box=None, pad_edge=False)
    table.add_column("id", style="bold", no_wrap=True)
    table.add_column("what it is")
    table.add_column("source", style="dim")
    for entry in entries:
        what = Text(entry["summary"])
        for name, option in entry.get("options", {}).items():
            default = "…, must be given" if option["required"] else option["default"]
            what.append(f"\n  {name} = {default}", style="cyan")
            if option["description"]:
                what.append(f"  {option['description']}", style="dim")
        if "shape" in entry:
            what.append(f"\n  {size_text(entry)}", style="cyan")
        table.add_row(Text(entry["id"]), what, Text(entry["source"]))
    Console().print(table)


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
    found = sorted(Path("results").glob(f"*/runs/*-{name}*/spec.json"))
    found = [file for file in found if file.parent.name.rpartition("-")[2].startswith(name)]
    if len(found) != 1:
        which = "no run" if not found else f"{len(found)} runs"
        raise StoreError(f"{which} under results/ has the id {name}; give the run's folder instead")
    return found[0].parent


def describe_run(name: str) -> dict[str, Any]:
    """Describe a run: spec, outcome, numbers, what they rest on, attempts, where it was computed.

    Every metric has its value before training (``untrained``), at the last evaluation
    (``metrics``) and at the best (``best``, with ``step`` and how many were ``searched``); with
    averaged weights also those of the raw ones (``raw``). ``protocol`` has its floor and version,
    ``provenance`` what all of them share.
    """
    record = read_run(find_run(name))
    described: dict[str, Any] = encode_numbers(
        {
            "id": record.spec.id,
            "folder": str(record.path),
            "spec": record.spec.model_dump(mode="json"),
            "parameters": run_parameters(record),
            "remarks": run_remarks(record),
            "outcome": record.outcome,
            "metrics": last_metrics(record),
            "untrained": untrained_metrics(record),
            "best": best_metrics(record),
            "raw": raw_metrics(record),
            "probes": last_probes(record),
            "protocol": [vars(metric) for metric in record.metrics],
            "provenance": vars(record.provenance) if record.provenance else None,
            "data": next((e["data"] for e in record.of_type("protocol")), None),
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
    try:
        return remarks(record.spec)
    except UnknownNameError:
        return []


def remarks(spec: RunSpec) -> list[str]:
    """List what a run's variant and tricks say that follows from their options and its data."""
    from harness.parts import all_parts

    said = [part.remark(spec.dataset.shape) for part in all_parts(spec)]
    return [remark for remark in said if remark is not None]


def last_metrics(record: RunRecord) -> dict[str, Any]:
    """Return the values of the last evaluation by metric name, with ``step`` and ``kimg``."""
    evaluations = record.of_type("evaluation")
    if not evaluations:
        return {}
    last = evaluations[-1]
    return {"step": last["step"], "kimg": last["kimg"], **last["values"]}


def untrained_metrics(record: RunRecord) -> dict[str, float]:
    """Return the values of the generator before its first step, by metric name."""
    evaluations = record.of_type("evaluation")
    return dict(evaluations[0]["values"]) if evaluations and evaluations[0]["step"] == 0 else {}


def best_metrics(record: RunRecord) -> dict[str, dict[str, Any]]:
    """Return the best value of each metric with a direction, its step and how many there were."""
    found = {metric.name: record.best(metric) for metric in record.metrics}
    return {name: best._asdict() for name, best in found.items() if best is not None}


def raw_metrics(record: RunRecord) -> dict[str, float]:
    """Return the last values of the raw weights; empty where no average is measured."""
    found = {metric.name: record.last(metric.name, "raw") for metric in record.metrics}
    return {name: value for name, value in found.items() if value is not None}


def last_probes(record: RunRecord) -> dict[str, Any]:
    """Return what the probes found last, by column, with the step and their details."""
    return {
        name: {"value": value, "step": event["step"], "details": event["details"]}
        for event in record.of_type("probe")
        for name, value in event["values"].items()
    }


def print_run(found: dict[str, Any]) -> None:
    """Print a run's description for a person."""
    console = Console(highlight=False)
    spec, outcome = found["spec"], found["outcome"] or {}
    tricks = " + ".join(trick["id"] for trick in spec["tricks"]) or "none"
    console.print(
        Text(f"{spec['dataset']['id']} · {spec['variant']['id']} · {tricks} · seed {spec['seed']}"),
        style="bold",
    )
    console.print(Text(f"run {found['id']} in {found['folder']}"), style="dim")
    reason = f": {outcome['reason']}" if outcome.get("reason") else ""
    if found["parameters"] is not None:
        counted = (f"{role} {count:,}" for role, count in found["parameters"].items())
        console.print(Text(f"parameters: {', '.join(counted)}"))
    for remark in found["remarks"]:
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
    better = {metric["name"]: metric["better"] for metric in found["protocol"]}
    arrows = {"lower": "↓", "higher": "↑", "none": " "}
    rows = [name for name in found["metrics"] if name in better]
    if rows:
        last = found["metrics"]
        console.print(f"last evaluation: step {last['step']}, {last['kimg']:.4g} kimg")
        columns: dict[str, Mapping[str, Any]] = {"last": last}
        if found["raw"]:
            columns["raw weights"] = found["raw"]
        columns["best"] = {name: best["value"] for name, best in found["best"].items()}
        columns["untrained"] = found["untrained"]
        columns["real data"] = {metric["name"]: metric["floor"] for metric in found["protocol"]}
        values = Table(box=None, pad_edge=False)
        values.add_column("metric", overflow="fold")
        for heading in columns:
            values.add_column(heading, justify="right", no_wrap=True)
            if heading == "best":
                values.add_column("at step, of", no_wrap=True)
        for name in rows:
            shown = [number_text(column.get(name)) for column in columns.values()]
            best = found["best"].get(name)
            where = f"{best['step']}, {best['searched']}" if best else ""
            shown.insert(list(columns).index("best") + 1, where)
            values.add_row(Text(f"{arrows[better[name]]} {name}"), *shown)
        console.print(values)
    for name, probe in found["probes"].items():
        console.print(Text(f"{name} {number_text(probe['value'])} at step {probe['step']}"))
    for line in provenance_lines(found["provenance"]):
        console.print(Text(line), style="dim")


def number_text(value: Any) -> str:
    """Write a number as it is stored, also one that is not finite; nothing for none."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, int | float) else str(value["nonfinite"])
