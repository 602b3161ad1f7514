"""The index of a results folder: one row a run, derived from the records and rebuilt at will."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from harness.store.folders import write_atomically
from harness.store.reading import RunRecord, SuiteRecord


def row(suite: SuiteRecord, run_id: str, record: RunRecord | None) -> dict[str, Any]:
    """Summarise one planned run; a run that has not begun has no outcome."""
    planned = next(run for run in suite.plan.runs if run.id == run_id)
    outcome = (record.outcome or {}) if record else {}
    primary = record.primary if record else None
    return {
        "run": run_id,
        "folder": planned.folder,
        "dataset": planned.dataset,
        "variant": planned.variant,
        "tricks": planned.tricks,
        "seed": planned.seed,
        "outcome": outcome.get("outcome"),
        "step": outcome.get("step"),
        "onset": outcome.get("onset"),
        "attempts": len(record.attempts) if record else 0,
        "seconds": outcome.get("seconds"),
        "kimg": outcome.get("kimg"),
        "metric": primary.name if primary else None,
        "value": record.last(primary.name) if record and primary else None,
    }


def write_index(suite: SuiteRecord) -> Path:
    """Write ``index.parquet`` beside ``suite.json``; return its path."""
    import pyarrow as pa
    from pyarrow import parquet

    rows = [row(suite, planned.id, suite.runs.get(planned.id)) for planned in suite.plan.runs]
    buffer = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), buffer)
    path = suite.path / "index.parquet"
    write_atomically(path, buffer.getvalue())
    return path
