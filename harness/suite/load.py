"""Reads suite files: YAML to a validated suite, or one error that lists every problem."""

from __future__ import annotations

from typing import Any

from harness.errors import Problem, SuiteError
from harness.registry import nearest
from harness.suite.cells import resolve_cells
from harness.suite.files import built_in_files, suite_bytes
from harness.suite.layer_reader import LAYER_KEYS, LayerReader
from harness.suite.layers import Combination, Layer, Suite
from harness.suite.reader import Reader, is_name, listing, refuse_name
from harness.suite.strict_yaml import parse, shorten

SUITE_KEYS = ("suite", "summary", *LAYER_KEYS, "profiles")
DEFAULT_LAYER = Layer(tricks=(Combination((), ("tricks",)),), seeds=range(10))
"""Without ``tricks`` there are none, without ``seeds`` they are 0 to 9: the cheapest power."""


def load_suite(source: str) -> Suite:
    """Read a built-in suite by its name, or a file by its path.

    A source with a slash or a YAML suffix is a path, everything else a name.

    Raises:
        SuiteError: listing every problem, each with its line and place.
    """
    data = suite_bytes(source)
    if data is None:
        names = sorted(built_in_files())
        hint = nearest(source[:64], names) or f"; there is {listing(names)}"
        message = f"is not a built-in suite{hint}; a file's path has a slash or ends with .yaml"
        raise SuiteError(shorten(source), [Problem(message)])
    return read_suite(data, source)


def built_in_suites() -> list[dict[str, Any]]:
    """List the built-in suites: ``id``, ``summary`` and ``source`` of each, without checking it."""
    entries = []
    for name, file in sorted(built_in_files().items()):
        value = parse(file.read_bytes()).value
        summary = value.get("summary", "") if isinstance(value, dict) else ""
        entries.append({"id": name, "summary": summary, "source": f"suites/{file.name}"})
    return entries


def read_suite(data: bytes, source: str) -> Suite:
    """Read a suite file's content.

    Args:
        data: The file's bytes.
        source: What messages call the file.

    Raises:
        SuiteError: listing every problem, each with its line and place.
    """
    document = parse(data)
    reader = Reader(source, document)
    if not document.readable:
        reader.raise_problems()
    required = ("suite", "datasets", "variants")
    entries = reader.fields(document.value, (), SUITE_KEYS, required)
    name = entries.get("suite")
    if "suite" in entries and not is_name(name):
        reader.problem(("suite",), refuse_name(name))
    summary = reader.text(entries.get("summary", ""), ("summary",)) or ""
    layers = LayerReader(reader)
    base = DEFAULT_LAYER.overlaid(layers.layer(entries, ()))
    profiles = read_profiles(entries, layers)
    layers.check_names([base, *profiles.values()])
    # What only shows in the cells is listed too, if their settings could all be read.
    if reader.problems and not reader.touches("settings", "overrides"):
        resolve_cells(base, reader)
    reader.raise_problems()
    return Suite(str(name), " ".join(summary.split()), source, base, profiles, document)


def read_profiles(entries: dict[str, Any], layers: LayerReader) -> dict[str, Layer]:
    """Read what each profile lays over the suite."""
    reader = layers.reader
    profiles: dict[str, Layer] = {}
    for name, value in reader.mapping(entries.get("profiles", {}), ("profiles",)).items():
        place = ("profiles", name)
        if not is_name(name):
            reader.problem(place, refuse_name(name))
        profiles[name] = layers.layer(reader.fields(value, place, LAYER_KEYS), place)
    return profiles
