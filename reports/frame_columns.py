"""What the columns of every frame are: name, dtype, unit and meaning, stated once.

Frames in Python, ``data/*.parquet`` beside a report and the tables that describe both follow it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

DType = Literal["category", "string", "int64", "Int64", "float64", "boolean"]
"""As pandas calls them; ``Int64`` and ``boolean`` may lack a value."""


@dataclass(frozen=True)
class FrameColumn:
    """One column of a frame.

    Attributes:
        name: Its name.
        dtype: In pandas.
        unit: Of its numbers; empty for what has none.
        meaning: What it says, in a line.
    """

    name: str
    dtype: DType
    unit: str
    meaning: str


def _columns(text: str) -> tuple[FrameColumn, ...]:
    rows = ([part.strip() for part in line.split("|")] for line in text.strip().splitlines())
    return tuple(FrameColumn(*row) for row in rows)  # type: ignore[arg-type]


FRAMES: dict[str, tuple[FrameColumn, ...]] = {
    "runs": _columns("""
        run | category | | id of the run, and the key of the other frames
        suite | category | | name of the suite
        dataset | category | | label of the data set
        variant | category | | label of the variant
        tricks | category | | labels of the tricks, joined by “ + ”; none
        cell | category | | data set, variant and tricks together
        options | category | JSON | options of data set, variant and tricks beside defaults
        settings | category | JSON | all settings of the cell's runs; missing before one has begun
        seed | int64 | | seed
        folder | category | | results folder, where there are several
        outcome | category | | ok, a failure, a crash, preempted, running, corrupt or missing
        final | boolean | | whether it is a result, a success or a failure
        failed | boolean | | whether it is a result that ranks worst
        reason | string | | why it ended so; empty for ok
        steps | Int64 | steps | that the cell trains; missing before one of its runs has begun
        step | Int64 | steps | at which it ended
        onset | Int64 | steps | at which a collapse began
        lasted | float64 | share | of training before it failed; 1 if it did not
        kimg | float64 | 1000 examples | that D had seen at the end
        seconds | float64 | s | of training
        evaluation_seconds | float64 | s | of evaluations
        peak_memory | Int64 | bytes | at most
        device | category | | that it was last trained on, cpu or cuda
        attempts | int64 | | jobs that trained it
        metric | category | | primary metric with its protocol: verdicts go by it
        better | category | | which values of it are better, lower or higher
        primary | float64 | of metric | at the last evaluation, if finite
        primary_raw | float64 | of metric | the same of raw weights, where not they are measured
        best | float64 | of metric | best of the evaluations after step 0; it flatters
        best_step | Int64 | steps | of the best
        untrained | float64 | of metric | at step 0
        modes | float64 | share | of modes or classes with a generated example, at the last count
        """),
    "evaluations": _columns("""
        run | category | | id of the run
        step | int64 | steps | of the evaluation; 0 is untrained
        kimg | float64 | 1000 examples | that D had seen
        metric | category | | name of the metric without its protocol
        protocol | category | | name with its protocol: only the same may be compared
        weights | category | | weights of G: raw, or what averages them, such as ema
        value | float64 | of metric | may be NaN or infinite
        """),
    "losses": _columns("""
        run | category | | id of the run
        step | int64 | steps | of the record
        kimg | float64 | 1000 examples | that D had seen
        series | category | | such as d_loss or g_grad_norm
        value | float64 | of series | mean since the record before; may be NaN or infinite
        """),
    "verdicts": _columns("""
        trick | string | | what is compared with its absence, or the two sides of a contrast
        comparison | category | | tricks, contrasts (declared), defaults or tuned (of tuned cells)
        verdict | category | | what may be claimed; missing while runs are still to come
        claim | category | | kind of claim: quality, failures, equivalence or none
        estimate | float64 | ratio | with over without; below 1 is better, failures count
        low | float64 | ratio | lower end of its interval; 0 is open
        high | float64 | ratio | upper end of its interval; infinite is open
        level | float64 | share | confidence of the interval, at least
        p | float64 | | of signed ranks, before it is adjusted over the family
        p_adjusted | float64 | | the same, adjusted by Holm
        pairs | int64 | | of which both runs have a result
        planned | int64 | | pairs that there are to be
        seeds | int64 | | with at least one pair
        failures | int64 | runs | that failed, with the trick
        control_failures | int64 | runs | that failed, without
        failure_change | float64 | share | change of the failure rate
        failure_low | float64 | share | lower end of its 95 % interval
        failure_high | float64 | share | upper end of its 95 % interval
        failure_p | float64 | | of the change in failures, before it is adjusted over the family
        failure_p_adjusted | float64 | | the same, adjusted by Holm
        margin | float64 | ratio | within which a change is negligible
        smallest_margin | float64 | ratio | that would pass as no difference
        seeds_least | Int64 | seeds | that would decide, by the spread as observed
        seeds_most | Int64 | seeds | that would decide, by the upper limit of the spread
        words | string | | the report's sentence
        """),
    "trials": _columns("""
        dataset | category | | label of the data set
        variant | category | | label of the variant
        tricks | category | | labels of the tricks
        cell | category | | data set, variant and tricks together
        trial | int64 | | number of the setting that was tried; 0 is the suite's own
        parameters | string | JSON | value of each number that was searched
        seed | int64 | | seed
        metric | category | | that trials are measured by, on the validation split
        value | float64 | of metric | of the trial; missing where it failed
        outcome | category | | as of runs
        run | category | | id of the trial's run
        """),
}  # fmt: skip
"""By the frame's name."""


class Coded(NamedTuple):
    """A category column as numbers.

    Attributes:
        codes: Of each row, the place of its category; −1 for none.
        categories: All different.
    """

    codes: NDArray[np.integer[Any]]
    categories: Sequence[str]


def encodable(text: str) -> str:
    """Replace what no encoding can write: half of a surrogate pair, in a foreign label."""
    return text.encode(errors="replace").decode()


def coded(values: Iterable[str | None], categories: Iterable[str] = ()) -> Coded:
    """Number texts in the order in which they come, after those categories that are given."""
    places: dict[str, int] = {}
    for category in categories:
        places.setdefault(encodable(category), len(places))
    codes = [
        -1 if value is None else places.setdefault(encodable(value), len(places))
        for value in values
    ]
    return Coded(np.array(codes, np.int32), list(places))


def _array(column: FrameColumn, values: Any) -> pa.Array:
    match column.dtype:
        case "category":
            codes, categories = values if isinstance(values, Coded) else coded(values)
            missing = codes < 0
            places = pa.array(codes.astype(np.int32), mask=missing if missing.any() else None)
            return pa.DictionaryArray.from_arrays(places, pa.array(categories, pa.string()))
        case "string":
            return pa.array([v if v is None else encodable(v) for v in values], pa.string())
        case "float64":
            # What is missing is NaN, as pandas has it.
            numbers = np.array(values, np.float64)
            return pa.array(numbers)
        case "boolean":
            return pa.array(values, pa.bool_())
        case _:
            return pa.array(values, pa.int64())


def table_of(frame: str, values: Mapping[str, Any]) -> pa.Table:
    """Put the columns of a frame together.

    Args:
        frame: One of :data:`FRAMES`.
        values: Of every column: texts or :class:`Coded`, numbers, truth values; None is missing.

    Raises:
        ValueError: if a column is missing or unknown.
    """
    columns = FRAMES[frame]
    if [column.name for column in columns] != list(values):
        raise ValueError(f"{frame} has other columns than {list(values)}")
    arrays = [_array(column, values[column.name]) for column in columns]
    schema = pa.schema(
        [pa.field(c.name, array.type) for c, array in zip(columns, arrays, strict=True)],
        # By which pandas reads whole numbers with gaps as such, and not as floats.
        {"pandas": json.dumps(_as_pandas_notes(columns))},
    )
    return pa.Table.from_arrays(arrays, schema=schema)


def _as_pandas_notes(columns: Sequence[FrameColumn]) -> dict[str, Any]:
    noted = [c for c in columns if c.dtype in ("Int64", "boolean", "string")]
    return {
        "index_columns": [],
        "column_indexes": [],
        "columns": [
            {"name": c.name, "field_name": c.name, "pandas_type": c.dtype.lower(),
             "numpy_type": c.dtype, "metadata": None}
            for c in noted
        ],
    }  # fmt: skip


def described(frame: str) -> str:
    """Describe the columns of a frame as a table in Markdown."""
    rows = [f"| `{c.name}` | {c.dtype} | {c.unit} | {c.meaning} |" for c in FRAMES[frame]]
    return "\n".join(["| column | dtype | unit | meaning |", "|---|---|---|---|", *rows])
