"""``ganbench list``: what there is of each kind, with sources."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.errors import GanbenchError
from harness.registry import KINDS, nearest

LISTED = (*(kind.plural for kind in KINDS.values()), "suites")
"""What ``ganbench list`` knows."""


def catalog(kind: str) -> list[dict[str, Any]]:
    """List all things of a kind.

    Args:
        kind: One of :data:`LISTED`.

    Returns:
        Objects with ``id``, ``summary`` and ``source``; variants, tricks and data sets also with
        their ``options`` {name: {"default", "description", "required"}}; variants whose defaults do
        not learn ring8, grid25 or digits with what they need for those (``needs``); networks with
        the parameters of both networks at the family's default ``width`` and ``latent`` on examples
        of a ``shape``.

    Raises:
        GanbenchError: if there is no such kind.
    """
    if kind not in LISTED:
        hint = nearest(kind, list(LISTED))
        raise GanbenchError(f"nothing is called {kind!r}{hint}; there is {', '.join(LISTED)}")
    if kind == "suites":
        from harness.suite.load import built_in_suites

        return built_in_suites()
    entries = [_entry(cls) for cls in KINDS[kind.removesuffix("s")].registry]
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

    summary = summarize(networks.get(network))
    if summary is None:
        return {}
    counts = ("width", "latent", "generator_parameters", "discriminator_parameters")
    return {"shape": list(summary.shape), **{name: getattr(summary, name) for name in counts}}


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

    summary = summarize(networks.get(network))
    if summary is None:
        tried = ", ".join(shape_text(shape) for shape in SHAPES)
        raise GanbenchError(f"network {network!r} makes none of the shapes {tried}")
    listed = {"generator": summary.generator, "discriminator": summary.discriminator}
    described = {role: part and [asdict(layer) for layer in part] for role, part in listed.items()}
    return {"id": network, **sizes(network), **described}


def shape_text(shape: Iterable[int]) -> str:
    """Write a shape as people do, such as ``3×32×32``."""
    return "×".join(str(side) for side in shape)


def print_layers(description: dict[str, Any]) -> None:
    """Print a network family layer by layer."""
    console = Console(highlight=False)
    console.print(Text(description["id"], style="bold"), Text(size_text(description)))
    for role in ("generator", "discriminator"):
        if description[role] is None:
            continue
        table = Table(title=role, title_justify="left", box=None, pad_edge=False)
        for heading in ("layer", "kind", "output"):
            table.add_column(heading, no_wrap=True)
        table.add_column("parameters", justify="right")
        for layer in description[role]:
            output = "" if layer["output"] is None else shape_text(layer["output"])
            table.add_row(layer["name"], layer["kind"], output, f"{layer['parameters']:,}")
        table.add_row("total", "", "", f"{description[f'{role}_parameters']:,}", style="bold")
        console.print(table)


def size_text(description: dict[str, Any]) -> str:
    """Say how large a network family is, from what :func:`sizes` gives."""
    D = f"D {description['discriminator_parameters']:,} parameters"
    at = f"at width {description['width']}, examples {shape_text(description['shape'])}"
    if description["generator_parameters"] is None:
        return f"{D} {at}"
    return f"G {description['generator_parameters']:,} and {D} {at}, latent {description['latent']}"


def _entry(cls: Any) -> dict[str, Any]:
    entry = {"id": cls.id, "summary": cls.summary, "source": cls.source}
    if needs := getattr(cls, "needs", ""):
        entry["needs"] = needs
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
        if "needs" in entry:
            what.append(f"\n  needs {entry['needs']}", style="yellow")
        if "shape" in entry:
            what.append(f"\n  {size_text(entry)}", style="cyan")
        table.add_row(Text(entry["id"]), what, Text(entry["source"]))
    Console().print(table)
