"""Finds suite files: built-in ones by name, others by path."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from harness.errors import Problem, SuiteError
from harness.suite.strict_yaml import MAX_BYTES, shorten


def is_path(source: str) -> bool:
    """Say whether a source is a path: it has a slash or a YAML suffix; all else are names."""
    return "/" in source or source.endswith((".yaml", ".yml"))


def suite_bytes(source: str) -> bytes | None:
    """Read a suite by name or path; None where there is no built-in one of a name.

    Raises:
        SuiteError: if a file cannot be read.
    """
    if is_path(source):
        return read_file(source)
    files = built_in_files()
    return files[source].read_bytes() if source in files else None


def read_file(source: str) -> bytes:
    """Read a regular file, at most one byte more than a suite may have.

    Raises:
        SuiteError: if it cannot be read.
    """
    path = Path(source)
    try:
        if not path.is_file():
            message = "is no regular file" if path.exists() else "does not exist"
            raise SuiteError(shorten(source), [Problem(message)])
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise SuiteError(shorten(source), [Problem(message)]) from error


def built_in_files() -> dict[str, Traversable]:
    """Return the built-in suites' files by name."""
    files = resources.files("suites").iterdir()
    return {f.name.removesuffix(".yaml"): f for f in files if f.name.endswith(".yaml")}
