"""Where a command may write what a user asked for."""

from __future__ import annotations

from pathlib import Path

from harness.errors import GanbenchError


def check_output(file: Path, suffixes: tuple[str, ...], *, force: bool) -> Path:
    """Refuse a file of another kind, or one that would be lost; return the file.

    Raises:
        GanbenchError: if its name has none of the suffixes, or it exists and ``force`` is off.
    """
    if file.suffix.lower() not in suffixes:
        raise GanbenchError(f"--output {file}: the name has to end with {' or '.join(suffixes)}")
    if file.is_dir():
        raise GanbenchError(f"--output {file} is a folder")
    if file.exists() and not force:
        raise GanbenchError(
            f"{file} is there already; choose another --output, or replace it with --force"
        )
    return file
