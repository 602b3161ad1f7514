"""Reads suite files: YAML to a validated suite, or one error that lists every problem."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from harness.errors import Problem, SuiteError
from harness.registry import nearest
from harness.suite.cells import resolve_cells
from harness.suite.files import built_in_files, suite_bytes
from harness.suite.model import Layer, Suite
from harness.suite.reading import Reader
from harness.suite.strict_yaml import parse, shorten
from harness.suite.wording import listing


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
    found = reader.read(partial(Suite.model_validate, context=reader), document.value)
    suite = found[0] if found else Suite.at(())
    check_names([suite, *suite.profiles.values()], reader)
    # What only shows in the cells is listed too, if their settings could all be read.
    if reader.problems and not reader.touches("settings", "overrides"):
        resolve_cells(suite.layer(None), reader)
    reader.raise_problems()
    return suite


def check_names(layers: Iterable[Layer], reader: Reader) -> None:
    """Check that filters name what the suite has, in its own lists or in a profile's."""
    for layer in layers:
        for cell_filter in (*(rule.when for rule in layer.rules), *layer.exclude):
            for kind, known in reader.names.items():
                place = (*cell_filter.place, kind)
                for i, name in enumerate(getattr(cell_filter, kind)):
                    if name not in known:
                        reader.problem(
                            reader.within(place, i),
                            f"no {kind} of this suite is called {shorten(name)}"
                            f"{nearest(name[:64], sorted(known))}",
                        )
