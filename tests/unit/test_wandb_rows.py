"""What of a run's records goes to W&B: rows, tags, identity, pictures; and the file's reader."""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from harness.store.events import EvaluationRow, Event, LossRow, SampleFile, effective
from harness.store.reading import read_run
from harness.store.records import PlannedPart, PlannedRun
from harness.tracking.pictures import INK, SIDE, read_picture, scatter
from harness.tracking.wandb_rows import Row, digest, identity, rows, summary, tags
from tests.event_logs import (
    METRIC,
    begin,
    end,
    make_spec,
    make_store,
    plan_of,
    train,
    whole_run,
    write_events,
)
from tests.stores import planned_cell
from tests.wandb_file import BLOCK, CHUNK, HEADER, payloads

PLANNED = PlannedRun("0123456789ab", "folder", planned_cell("ring8", "gan"), 0)


def evaluation(step: int, **values: float) -> EvaluationRow:
    return EvaluationRow(step=step, kimg=step / 10, values=values)


def samples(step: int, file: str) -> SampleFile:
    return SampleFile(step=step, file=file)


def test_rows_keep_every_value_and_its_images_seen() -> None:
    found = rows([evaluation(0, fd=math.inf), evaluation(10, fd=0.5, modes=8.0)])
    assert found == [
        Row({"kimg": 0.0, "evaluation/fd": math.inf}),
        Row({"kimg": 1.0, "evaluation/fd": 0.5, "evaluation/modes": 8.0}),
    ]


def test_raw_weights_have_charts_of_their_own() -> None:
    (found,) = rows([replace(evaluation(10, fd=0.5), raw={"fd": 0.75})])
    assert found == Row({"kimg": 1.0, "evaluation/fd": 0.5, "raw/fd": 0.75})


def test_examples_join_the_evaluation_of_their_step() -> None:
    found = rows([samples(0, "samples/a.png"), evaluation(0, fd=1.0), evaluation(10, fd=1.0)])
    assert [row.picture for row in found] == ["samples/a.png", None]


def test_examples_that_come_late_follow_it() -> None:
    found = rows([evaluation(0, fd=1.0), samples(0, "samples/a.png"), samples(5, "b.png")])
    assert found[1:] == [Row({"kimg": 0.0}, "samples/a.png")]


@pytest.mark.parametrize("file", ["/etc/passwd", "../../other/samples/a.png"])
def test_examples_outside_the_run_are_ignored(file: str) -> None:
    assert rows([samples(0, file), evaluation(0, fd=1.0)])[0].picture is None


@given(st.lists(st.sampled_from(["losses", "evaluation", "samples"]), max_size=30), st.data())
def test_a_longer_log_begins_with_the_same_rows(kinds: list[str], data: st.DataObject) -> None:
    events: list[Event] = []
    for kind in kinds:
        step = data.draw(st.integers(0, 5))
        events.append(
            SampleFile(step=step, file="x.png")
            if kind == "samples"
            else LossRow(step=step, kimg=step, values={"a": 1.0})
            if kind == "losses"
            else EvaluationRow(step=step, kimg=step, values={"a": 1.0})
        )
    cut = data.draw(st.integers(0, len(events)))
    before = rows(events[:cut])
    assert rows(events)[: len(before)] == before


def test_one_tag_for_each_trick() -> None:
    planned = replace(PLANNED, cell=planned_cell("ring8", "gan", "spectral-norm + ema(decay=0.9)"))
    assert tags(planned) == (
        "variant:gan",
        "trick:spectral-norm",
        "trick:ema(decay=0.9)",
        "data:ring8",
    )
    assert "trick:none" in tags(PLANNED)


def test_an_option_that_reads_like_two_tricks_makes_none() -> None:
    laid = (PlannedPart("mine", {"note": "a + b(c"}),)
    planned = replace(PLANNED, cell=replace(PLANNED.cell, tricks=laid))
    assert tags(planned) == ("variant:gan", 'trick:mine(note="a + b(c")', "data:ring8")


@given(st.text(min_size=1, max_size=200), st.text(min_size=1, max_size=200))
def test_tags_are_of_a_length_that_wandb_takes(variant: str, dataset: str) -> None:
    for tag in tags(replace(PLANNED, cell=planned_cell(dataset, variant))):
        assert 1 <= len(tag) <= 64


def test_identity_names_suite_and_fingerprint() -> None:
    who = identity("stability", "f00d", PLANNED, make_spec(3))
    assert who.id == PLANNED.id
    assert who.group == "stability-f00d"
    assert who.job_type == "train"
    assert who.name == "gan · ring8 · seed 0"
    assert who.config == make_spec(3).model_dump(mode="json")


def test_ids_that_wandb_refuses_are_refused_here() -> None:
    with pytest.raises(ValueError, match="refuses"):
        identity("s", "f", replace(PLANNED, id="a/b"), make_spec())


def test_summary_compares_with_the_untrained_generator(tmp_path: Path) -> None:
    _, (run,) = make_store(tmp_path / "results", [make_spec()])
    write_events(run.path, [*begin(), *train(run.path, 0, 20)])
    assert summary(read_run(run.path)) == {}
    write_events(run.path, end("collapsed"))
    found = summary(read_run(run.path))
    assert found["outcome"] == "collapsed"
    assert found["onset"] == 20
    assert found["primary_metric"] == METRIC
    assert (found["primary"], found["untrained"]) == (0.4, math.inf)
    assert "peak_memory" not in found


def test_digest_changes_with_anything_that_is_told(tmp_path: Path) -> None:
    _, (run,) = make_store(tmp_path / "results", [make_spec()])
    whole_run(run.path)
    record = read_run(run.path)
    planned = plan_of([record.spec]).runs[0]
    who = identity("s", "f", planned, record.spec)
    history, totals = rows(record.events), summary(record)
    names = {
        digest(who, history, totals),
        digest(replace(who, group="g"), history, totals),
        digest(who, history[:-1], totals),
        digest(who, history, {**totals, "seconds": 1.0}),
        digest(who, [*history[:-1], replace(history[-1], picture=None)], totals),
    }
    assert len(names) == 5
    assert digest(who, rows(effective(record.events)), totals) in names


def test_scatter_puts_points_where_they_are() -> None:
    pixels, extent = scatter(np.array([[1.5, 1.5], [-1.5, 0.0]], np.float32))
    assert extent == 2.0
    down, across = np.nonzero(pixels == INK)
    right = down[across > SIDE / 2]
    assert (right < SIDE / 4).all()
    assert abs(down[across < SIDE / 2].mean() - SIDE / 2) < 2


@given(st.integers(0, 40), st.floats(1e-3, 1e3), st.integers(0, 2**32 - 1))
def test_scatter_takes_any_points(count: int, scale: float, seed: int) -> None:
    points = (scale * np.random.RandomState(seed).standard_normal((count, 2))).astype(np.float32)
    points[: count // 3] = np.nan
    pixels, extent = scatter(points)
    assert pixels.shape == (SIDE, SIDE)
    assert extent > 0
    assert (pixels == INK).any() == (count > 0)


def test_points_on_a_line_are_bars() -> None:
    points = np.repeat(np.array([[-1.5], [0.5]], np.float32), [100, 50], axis=0)
    pixels, extent = scatter(np.concatenate([points, [[np.nan]]]))
    assert extent == 2.0
    heights = (pixels == INK).sum(axis=0)
    assert sorted(set(heights.tolist())) == [0, (SIDE - 1 + 1) // 2, SIDE - 1]
    left, right = np.flatnonzero(heights == SIDE - 1), np.flatnonzero(heights == SIDE // 2)
    assert left.mean() == pytest.approx((-1.5 / 2 + 1) / 2 * SIDE, abs=2)
    assert right.mean() == pytest.approx((0.5 / 2 + 1) / 2 * SIDE, abs=2)
    assert pixels[-1, left[0]] == INK != pixels[0, right[0]]


def test_pictures_are_read_from_both_kinds_of_file(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 2), np.float32))
    Image.new("RGB", (16, 8), (255, 0, 0)).save(tmp_path / "b.png")
    points, images = read_picture(tmp_path / "a.npy"), read_picture(tmp_path / "b.png")
    assert points is not None
    assert images is not None
    assert points[0].size == (SIDE, SIDE)
    assert (images[0].size, images[1]) == ((16, 8), None)


@pytest.mark.parametrize("name", ["a.png", "a.npy", "a.txt"])
@pytest.mark.parametrize("content", [None, b"", b"\x89PNG\r\n\x1a\n torn", b"\x93NUMPY"])
def test_a_damaged_picture_is_left_out(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert read_picture(tmp_path / name) is None


def test_points_of_another_shape_are_left_out(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 3), np.float32))
    assert read_picture(tmp_path / "a.npy") is None


def write_log(records: list[bytes]) -> bytes:
    """Write records as W&B does, to test the reader across blocks."""
    data = bytearray(HEADER.pack(b":W&B", 0xBEE1, 0))
    for record in records:
        rest, first = record, True
        while True:
            room = BLOCK - len(data) % BLOCK
            if room < CHUNK.size:
                data += bytes(room)
                continue
            part, rest = rest[: room - CHUNK.size], rest[room - CHUNK.size :]
            kind = (1 if first else 4) if not rest else (2 if first else 3)
            data += CHUNK.pack(zlib.crc32(bytes([kind]) + part), len(part), kind) + part
            first = False
            if not rest:
                break
    return bytes(data)


@given(st.lists(st.integers(0, 80_000), max_size=5), st.integers(0, 200_000))
def test_the_reader_reads_records_of_any_length_and_stops_at_a_tear(
    lengths: list[int], cut: int
) -> None:
    records = [struct.pack("<I", n) * (n // 4 + 1) for n in lengths]
    data = write_log(records)
    assert list(payloads(data)) == records
    found = list(payloads(data[: max(cut, HEADER.size)]))
    assert found == records[: len(found)]


def test_the_reader_refuses_a_flipped_bit() -> None:
    data = bytearray(write_log([b"a" * 100]))
    data[50] ^= 1
    with pytest.raises(ValueError, match="checksum"):
        list(payloads(bytes(data)))
