"""Packed events: what is taken out is what was put in, and columns are its numbers."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.store.columns import Best, extremes_of, numbers_of, series_of
from harness.store.events import Event, decode, encode, parse, read_events
from harness.store.packed import Packed
from harness.store.reading import RunRecord
from tests.stores import build_store

NUMBERS = st.integers() | st.floats()
TEXTS = st.text('ab"\\\n\0\ud800ß', max_size=3)
NAMES = st.sampled_from(["a", "b", "type", "step", '"', "\ud800"])
ITEMS = (
    NUMBERS | TEXTS | st.none() | st.booleans() | st.lists(NUMBERS, max_size=3)
    | st.dictionaries(NAMES, NUMBERS, max_size=3) | st.dictionaries(NAMES, TEXTS, max_size=2)
)  # fmt: skip
FORMS = st.fixed_dictionaries(
    {"type": st.sampled_from(["losses", "evaluation"])}, optional={"step": NUMBERS, "a": ITEMS}
)
ROWS = st.fixed_dictionaries(
    {"type": st.sampled_from(["losses", "evaluation"]), "step": st.integers(0, 9)},
    optional={
        "kimg": st.just(0.5),
        "values": st.dictionaries(st.sampled_from("ab"), st.floats(), max_size=2),
        "file": TEXTS,
        "histogram": st.lists(st.integers(0, 2**60), max_size=2),
    },
)


def exact(events: Any) -> str:
    """Write events so that 1 and 1.0, 0.0 and −0.0 differ; the order of keys does not matter."""
    return repr([sorted(event.items()) for event in events])


@given(st.lists(FORMS | ROWS, max_size=6))
def test_what_is_taken_out_was_put_in(events: list[Event]) -> None:
    packed = Packed(events)
    assert len(packed) == len(events)
    assert exact(packed) == exact(events)
    assert exact(pickle.loads(pickle.dumps(packed))) == exact(events)
    for kind in ("losses", "evaluation"):
        chosen = [event for event in events if event["type"] == kind]
        assert exact([*packed.newest(kind)][::-1]) == exact(chosen)
        of_type = packed.of_type(kind)
        assert exact(of_type) == exact(chosen) and len(of_type) == len(chosen)
        assert exact(of_type[-2:]) == exact(chosen[-2:])
        assert exact(of_type[-1:]) == exact([of_type[-1]] if chosen else [])


@given(st.lists(ROWS.map(lambda row: {"kimg": 0.5, **row}), max_size=6), st.sampled_from("abc"))
def test_columns_are_the_numbers_of_the_events(events: list[Event], name: str) -> None:
    packed = Packed(events)
    for kind in ("losses", "evaluation"):
        expected = series_of([e for e in events if e["type"] == kind], "values", name)
        for mine, theirs in zip(packed.series(kind, "values", name), expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)
        numbers = numbers_of([e for e in events if e["type"] == kind], "values")
        for mine, theirs in zip(packed.numbers(kind, "values"), numbers, strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("pack", [list, Packed])
def test_a_record_reads_both_alike(pack: type, tmp_path: Path) -> None:
    root = build_store(tmp_path, datasets=("ring8",), variants=("gan",), tricks=("none",), seeds=1)
    (file,) = root.glob("runs/*/events.jsonl")
    events = read_events(file)
    record = RunRecord(file.parent, None, pack(events))  # type: ignore[arg-type]
    rows = [event for event in events if event["type"] == "losses"]
    assert [*record.of_type("losses")] == rows
    found = record.series("losses", "d_loss")
    assert found.values.tolist() == [row["values"]["d_loss"] for row in rows]
    assert found.kimg.tolist() == [row["kimg"] for row in rows]
    numbers = record.numbers("losses")
    assert numbers.names == tuple(rows[0]["values"])
    assert numbers.values.tolist() == [[*row["values"].values()] for row in rows]
    assert record.numbers("losses", "raw").names == ()
    assert record.outcome == events[-1]
    assert record.curve("fd[data]@500/test")[0] == [0, 80, 160, 240, 320, 400]
    assert len(record.series("losses", "absent").values) == 0


@given(st.dictionaries(NAMES, ITEMS, max_size=3))
def test_a_line_is_read_as_it_was_written(value: Any) -> None:
    # Halves of surrogate pairs and integers of any length are among them.
    line = encode({"type": "outcome", "value": value}).rstrip(b"\n")
    assert repr(decode(line)) == repr({"type": "outcome", "value": value})


def test_text_of_another_encoding_is_no_record() -> None:
    with pytest.raises(ValueError, match="decode"):
        parse(b'{"a": "\xff"}')
    assert parse(b'{"a": "\\ud800"}') == {"a": "\ud800"}
    assert math.isinf(decode(encode({"type": "x", "y": -math.inf}).rstrip(b"\n"))["y"])


@given(st.lists(st.dictionaries(st.sampled_from("ab"), st.floats(), max_size=2), max_size=6))
def test_extremes_are_those_of_each_number_alone(rows: list[dict[str, float]]) -> None:
    events = [{"step": i, "kimg": i, "values": values} for i, values in enumerate(rows)]
    found = extremes_of(numbers_of(events, "values"))
    for name in "ab":
        series = series_of(events, "values", name)
        seen = (series.steps > 0) & np.isfinite(series.values)
        assert (name in found) == seen.any()
        if seen.any():
            steps, values = series.steps[seen], series.values[seen]
            for one, place in ((found[name].least, values.argmin()),
                               (found[name].largest, values.argmax())):  # fmt: skip
                assert one == Best(values[place], steps[place], len(values))
