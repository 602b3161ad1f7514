"""Line plots as SVG text: where points lie, which ticks there are, and that nothing breaks them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest

from reports.figures.lines import (
    BOTTOM,
    HUGE,
    LARGE,
    LEFT,
    RIGHT,
    SMALL,
    TOP,
    Polyline,
    kimg_axis,
    linear_ticks,
    log_ticks,
    plot,
    tick_text,
)

POINTS = [(0.0, 1.0), (2.5, 3.0), (10.0, 2.0)]


def line(
    points: Sequence[tuple[float, float]], kind: str = "first", seen: bool = False
) -> Polyline:
    kimg, values = np.array(points, dtype=np.float64).T
    return Polyline(kimg, values, kind, seen)


def places(svg: str, name: str = "first") -> list[tuple[int, int]]:
    root = ElementTree.fromstring(svg)
    (line,) = [e for e in root.iter("polyline") if name in e.attrib["class"].split()]
    pairs = (pair.split(",") for pair in line.attrib["points"].split())
    return [(int(x), int(y)) for x, y in pairs]


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_points_lie_where_their_values_say(size: tuple[int, int]) -> None:
    svg = plot([line(POINTS)], kimg_axis(20.0, size), "a", size=size)
    (x0, y0), (x1, y1), (x2, y2) = places(svg)
    width = size[0] - RIGHT - LEFT
    assert (x0, x1, x2) == (LEFT, LEFT + round(width / 8), LEFT + round(width / 2))
    assert TOP < y1 < y2 < y0 < size[1] - BOTTOM
    # 2 lies in the middle of 1 and 3, and 1 and 3 equally far from the edges.
    assert y2 == pytest.approx((y0 + y1) / 2, abs=1)
    assert y1 - TOP == pytest.approx(size[1] - BOTTOM - y0, abs=1)


def test_equal_ratios_are_equal_distances_over_decades() -> None:
    svg = plot([line([(0, 0.01), (1, 0.1), (2, 1.0), (3, 10.0)])], kimg_axis(3), "a")
    heights = [y for _, y in places(svg)]
    steps = [a - b for a, b in pairwise(heights)]
    assert max(steps) - min(steps) <= 1 and min(steps) > 0


def test_a_level_is_in_view_and_decides_the_scale() -> None:
    assert "level" not in plot([line(POINTS)], kimg_axis(10), "a")
    svg = plot([line(POINTS)], kimg_axis(10), "a", level=0.001)
    (level,) = [e for e in ElementTree.fromstring(svg).iter("path") if e.attrib["class"] == "level"]
    height = int(level.attrib["d"].split()[1].partition("H")[0])
    assert max(y for _, y in places(svg)) < height < SMALL[1] - BOTTOM
    assert "0.001" in svg and "0.01" in svg


def test_a_cross_stands_where_the_first_line_ends() -> None:
    lines = [line(POINTS), line([(0.0, 1.0)], "second")]
    svg = plot(lines, kimg_axis(10), "a", died=True)
    x, y = places(svg)[-1]
    assert svg.count('class="cross"') == 1 and f'class="cross" d="M{x} {y}m' in svg
    assert "cross" not in plot(lines, kimg_axis(10), "a")


def test_an_onset_is_a_vertical_line() -> None:
    svg = plot([line(POINTS)], kimg_axis(10), "a", onset=2.5)
    assert f'class="onset" d="M{places(svg)[1][0]} {TOP}V' in svg


def test_single_points_and_measurements_get_dots() -> None:
    assert 'class="first seen"' in plot([line([(1.0, 2.0)])], kimg_axis(3), "a")
    assert 'class="first seen"' in plot([line(POINTS, seen=True)], kimg_axis(10), "a")
    assert 'class="first"' in plot([line(POINTS)], kimg_axis(10), "a")


@pytest.mark.parametrize(
    "values",
    [
        [0.0], [5e-324], [-1.0, -1.0], [1e308, -1e308], [1e-320, 1e308], [1e15, 1e15 + 1],
        [math.nextafter(1.0, 2.0), 1.0], [-1e-300, 1e-300],
    ],
)  # fmt: skip
def test_extreme_values_are_drawn_inside(values: list[float]) -> None:
    svg = plot([line([(float(i), v) for i, v in enumerate(values)])], kimg_axis(len(values)), "a")
    assert all(TOP <= y <= SMALL[1] - BOTTOM for _, y in places(svg))
    assert "nan" not in svg and "inf" not in svg


@pytest.mark.parametrize("end", [0.0, -1.0, math.inf, math.nan, 1e-9, 1e200])
def test_any_length_of_training_has_an_axis(end: float) -> None:
    axis = kimg_axis(end)
    assert axis.low == 0 < axis.high < math.inf
    assert 2 <= len(axis.ticks) <= 6


@pytest.mark.parametrize("most", [4, 8])
@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0, 4.8), (-3, 17), (0.00012, 0.0009), (99, 101)]
)
def test_linear_ticks_are_round_few_and_within(low: float, high: float, most: int) -> None:
    ticks = linear_ticks(low, high, most)
    assert 2 <= len(ticks) <= most + 1
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)
    step = ticks[1] - ticks[0]
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(mantissa - good) for good in (1, 2, 5, 10)) < 1e-6
    assert all(math.isclose(tick / step, round(tick / step), abs_tol=1e-6) for tick in ticks)


@pytest.mark.parametrize(("low", "high"), [(0.002, 300), (1, 30), (0.3, 7.5), (1e-12, 1e12)])
def test_log_ticks_are_within_and_neither_few_nor_many(low: float, high: float) -> None:
    ticks = log_ticks(low, high, 4)
    assert 2 <= len(ticks) <= 5
    assert all(low <= tick * (1 + 1e-9) and tick <= high * (1 + 1e-9) for tick in ticks)


def test_ticks_are_written_short() -> None:
    assert [tick_text(value) for value in (0.5, 1e-5, -2.0, 1e6, 2e4)] == [
        "0.5", "1e−5", "−2", "1e6", "20000",
    ]  # fmt: skip


def test_what_is_too_large_to_draw_is_clipped() -> None:
    svg = plot([line([(0, 1.0), (1, -1e305), (2, -1e308), (3, -HUGE)])], kimg_axis(3), "a")
    assert len({y for _, y in places(svg)[1:]}) == 1


def test_any_description_is_text() -> None:
    attack = "\"><script>alert(1)</script>&'"
    svg = plot([line(POINTS)], kimg_axis(10), attack)
    assert ElementTree.fromstring(svg).attrib["aria-label"] == attack
