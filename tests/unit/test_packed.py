"""Packed events: what is taken out is what was put in, and columns are its numbers."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.store.columns import Best, extremes_of
from harness.store.events import (
    Attempt,
    Ending,
    EvaluationRow,
    Event,
    LineFile,
    LossRow,
    SampleFile,
    Sign,
)
from harness.store.log import decode, decode_all, encode, parse, read_events
from harness.store.packed import Packed
from harness.store.reading import RunRecord
from tests.stores import build_store

TEXTS = st.text('ab"\\\n\0\ud800ß', max_size=3)
COUNTS = st.integers(0, 2**53)
NUMBERS = st.floats(-1e100, 1e100) | st.sampled_from([math.nan, math.inf, -math.inf])
AMOUNTS = st.floats(0, 2**53)
VALUES = st.dictionaries(st.sampled_from(["a", "b", "step", '"']), NUMBERS, max_size=3)
ROWS = st.one_of(
    st.builds(LossRow, step=COUNTS, kimg=AMOUNTS, values=VALUES),
    st.builds(
        EvaluationRow,
        step=COUNTS,
        kimg=AMOUNTS,
        values=VALUES,
        raw=st.none() | VALUES,
        histogram=st.none() | st.lists(COUNTS, max_size=2),
        diversity=st.none() | NUMBERS,
        mode_coverage=st.none() | NUMBERS,
        seconds=st.none() | AMOUNTS,
    ),
)
EVENTS = st.one_of(
    ROWS,
    st.builds(Attempt, attempt=COUNTS, resumed_from=COUNTS),
    st.builds(SampleFile, step=COUNTS, file=TEXTS),
    st.builds(LineFile, step=COUNTS, file=TEXTS, share=st.booleans()),
    st.builds(
        Ending,
        outcome=st.sampled_from(["ok", "oom"]),
        step=COUNTS,
        onset=st.none() | COUNTS,
        reason=TEXTS,
        signs=st.none() | st.just({"a": Sign(1, math.inf), "b": 2.5}),
    ),
)
KINDS = (LossRow, EvaluationRow, SampleFile, LineFile, Ending)


@given(st.lists(EVENTS, max_size=6))
def test_what_is_taken_out_was_put_in(events: list[Event]) -> None:
    # As text, so that 1 and 1.0, 0.0 and −0.0 differ, and NaN equals NaN.
    packed = Packed(events)
    assert len(packed) == len(events)
    assert repr([*packed]) == repr(events)
    assert repr([*pickle.loads(pickle.dumps(packed))]) == repr(events)
    for kind in KINDS:
        chosen = [event for event in events if isinstance(event, kind)]
        of_type = packed.of_type(kind)
        assert repr([*of_type]) == repr(chosen) and len(of_type) == len(chosen)
        assert repr([*reversed(of_type)]) == repr(chosen[::-1])
        assert repr(of_type[-2:]) == repr(chosen[-2:])
        assert repr(of_type[-1:]) == repr([of_type[-1]] if chosen else [])


def numbers_of(events: list[Any], place: str) -> list[tuple[Any, ...]]:
    """List step, kimg and numbers of the events that hold any in a field."""
    held = ((e.step, e.kimg, getattr(e, place)) for e in events)
    return [(step, kimg, numbers) for step, kimg, numbers in held if numbers is not None]


@given(st.lists(ROWS, max_size=6), st.sampled_from("abc"))
def test_columns_are_the_numbers_of_the_events(events: list[Event], name: str) -> None:
    packed = Packed(events)
    for kind, place in ((LossRow, "values"), (EvaluationRow, "values"), (EvaluationRow, "raw")):
        told = numbers_of([e for e in events if isinstance(e, kind)], place)
        having = [(step, kimg, held[name]) for step, kimg, held in told if name in held]
        expected = np.array(having, dtype=float).reshape(-1, 3).T
        np.testing.assert_array_equal(np.array(packed.series(kind, place, name)), expected)
        steps, kimg, rows = ([*column] for column in zip(*told, strict=True)) if told else ([],) * 3
        numbers = packed.numbers(kind, place)
        assert numbers.names == tuple(dict.fromkeys(each for row in rows for each in row))
        np.testing.assert_array_equal(numbers.steps, steps)
        np.testing.assert_array_equal(numbers.kimg, kimg)
        table = [[row.get(each, math.nan) for each in numbers.names] for row in rows]
        np.testing.assert_array_equal(numbers.values, np.reshape(table, numbers.values.shape))


def test_a_record_reads_its_log(tmp_path: Path) -> None:
    root = build_store(tmp_path, datasets=("ring8",), variants=("gan",), tricks=("none",), seeds=1)
    (file,) = root.glob("runs/*/events.jsonl")
    events = read_events(file)
    record = RunRecord(file.parent, None, Packed(events))  # type: ignore[arg-type]
    rows = [event for event in events if isinstance(event, LossRow)]
    assert [*record.of_type(LossRow)] == rows
    found = record.series(LossRow, "d_loss")
    assert found.values.tolist() == [row.values["d_loss"] for row in rows]
    assert found.kimg.tolist() == [row.kimg for row in rows]
    numbers = record.numbers(LossRow)
    assert numbers.names == tuple(rows[0].values)
    assert numbers.values.tolist() == [[*row.values.values()] for row in rows]
    assert record.numbers(EvaluationRow, "raw").names == ()
    assert record.outcome == events[-1]
    assert record.curve("fd[data]@500/test")[0] == [0, 80, 160, 240, 320, 400]
    assert len(record.series(LossRow, "absent").values) == 0


def sealed_row(values: dict[str, float]) -> bytes:
    """Write a row of losses as a version without a largest number did."""
    row = {"schema": 1, "type": "losses", "step": 1, "kimg": 0.0, "values": values}
    body = json.dumps(row)
    return f'{body[:-1]}, "crc": "{crc32(body.encode()):08x}"}}'.encode()


@given(EVENTS)
def test_a_line_is_read_as_it_was_written(event: Event) -> None:
    # Halves of surrogate pairs and numbers that are not finite are among them.
    line = encode(event).rstrip(b"\n")
    assert repr(decode(line)) == repr(event)
    together = decode_all([line])
    assert together is None or repr(together) == repr([event])


def test_a_number_that_nobody_can_compute_with_is_infinite() -> None:
    row = LossRow(step=1, kimg=0.0, values={"a": 1e101, "b": -1e308, "c": 1e100})
    written = encode(row)
    for line in (written, sealed_row({"a": 1e101, "b": -1e308, "c": 1e100})):
        read = decode(line.rstrip(b"\n"))
        assert isinstance(read, LossRow)
        assert read.values == {"a": math.inf, "b": -math.inf, "c": 1e100}


def test_text_of_another_encoding_is_no_record() -> None:
    with pytest.raises(ValueError, match="unicode"):
        parse(b'{"a": "\xff"}')
    assert parse(b'{"a": "\\ud800"}') == {"a": "\ud800"}


@given(st.lists(st.dictionaries(st.sampled_from("ab"), st.floats(), max_size=2), max_size=6))
def test_extremes_are_those_of_each_number_alone(rows: list[dict[str, float]]) -> None:
    events = [LossRow(step=i, kimg=i, values=values) for i, values in enumerate(rows)]
    packed = Packed(events)
    found = extremes_of(packed.numbers(LossRow, "values"))
    for name in "ab":
        series = packed.series(LossRow, "values", name)
        seen = (series.steps > 0) & np.isfinite(series.values)
        assert (name in found) == seen.any()
        if seen.any():
            steps, values = series.steps[seen], series.values[seen]
            for one, place in ((found[name].least, values.argmin()),
                               (found[name].largest, values.argmax())):  # fmt: skip
                assert one == Best(values[place], steps[place], len(values))
