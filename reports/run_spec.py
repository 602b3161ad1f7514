"""What a run was: everything that defines it, where it was computed, how to repeat it."""

from __future__ import annotations

import json
import os
from typing import Any

from harness.errors import CorruptRecordError
from harness.spec import RunSpec, Settings
from harness.store.reading import ReportedRun
from harness.store.records import SuitePlan
from reports.cells import CellRuns
from reports.sections.provenance import command, flatten

SETTINGS = tuple((name, field.description or "") for name, field in Settings.model_fields.items())
AGAIN = "again"
"""Folder that the command on a page writes to: in its own a finished run would not be repeated."""


def value_text(value: Any) -> str:
    """Write a setting as a suite file would."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def spec_rows(spec: RunSpec) -> list[tuple[str, str, str, str]]:
    """List everything that defines a run but its seed: group, name, value, meaning."""
    rows = [
        ("Data set", "id", spec.dataset.id, ""),
        ("", "fingerprint", spec.dataset.fingerprint, "of its content"),
        ("", "shape", " × ".join(map(str, spec.dataset.shape)), "of one example"),
        ("", "classes", value_text(spec.dataset.classes), ""),
        *(("", name, value_text(value), "") for name, value in spec.dataset.options.items()),
        *(("", name, value, "no part of the id") for name, value in spec.dataset.where.items()),
    ]
    for group, part in (("Variant", spec.variant), *(("Trick", trick) for trick in spec.tricks)):
        rows.append((group, "id", part.id, ""))
        rows += [("", name, value_text(value), "") for name, value in part.options.items()]
    if not spec.tricks:
        rows.append(("Tricks", "none", "", ""))
    rows += [
        ("" if i else "Settings", name, value_text(getattr(spec.settings, name)), meaning)
        for i, (name, meaning) in enumerate(SETTINGS)
    ]
    rows += [
        ("Versions", "metrics", spec.metrics, "fingerprint of the metric protocols in force"),
        ("", "results_version", str(spec.results_version), "of what the numbers depend on"),
        ("", "schema_version", str(spec.schema_version), "of this record"),
    ]
    return rows


def environment_rows(record: ReportedRun) -> list[tuple[str, str]]:
    """List versions and devices of the last attempt."""
    try:
        return list(flatten(record.environment()).items())
    except CorruptRecordError as error:
        return [("environment", str(error))]


def saved_networks(record: ReportedRun) -> list[str]:
    """List the files of networks that a run has left: checkpoints, or what is kept at its end."""
    names = [*record.files]
    if "checkpoints" in names:
        inside = os.listdir(record.path / "checkpoints")  # noqa: PTH208 - cheaper than a glob
        names += sorted(f"checkpoints/{name}" for name in inside)
    return [name for name in names if name.endswith(".safetensors")]


def repeat_command(plan: SuitePlan, cell: CellRuns, seed: int, device: object = None) -> str:
    """Write the command that trains exactly one run again, on the same kind of device."""
    words = [command(plan, cell, seed)]
    words += [f"--device {device}"] if device in ("cpu", "cuda") else []
    return " ".join([*words, f"--out {AGAIN}"])
