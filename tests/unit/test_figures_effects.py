"""The map of effects: every field readable, marked where its interval says so, none left blank."""

from __future__ import annotations

import re

import numpy as np
import pytest

from reports.effects import Effect
from reports.figures.effects import BLUES, DIVERGING, effect_map, readable_on, share_map
from reports.statistics.intervals import Interval


def effect(ratio: float | None, interval: Interval | None, failures: tuple[int, int]) -> Effect:
    return Effect(
        tricks="t", dataset="d", planned=5, pairs=5, survivors=5, seeds=5, ratio=ratio,
        interval=interval, better=0.5, failures=failures, failure_change=0.0,
        failure_interval=None, failure_over_seeds=None, p=1.0, lean=0.0, failure_p=1.0, runs=(),
    )  # fmt: skip


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def luminance(colour: tuple[float, ...]) -> float:
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in colour[:3]]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("colours", [DIVERGING, BLUES])
def test_numbers_stand_out_from_every_field(colours: object) -> None:
    for share in np.linspace(0, 1, 201):
        field = colours(share)  # type: ignore[operator]
        ink = [int(readable_on(field)[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        low, high = sorted((luminance(tuple(ink)), luminance(field)))
        assert (high + 0.05) / (low + 0.05) >= 4.5


def test_a_star_where_the_interval_excludes_no_effect() -> None:
    svg = effect_map(
        ["r"],
        ["a", "b", "c"],
        {
            ("r", "a"): effect(0.5, Interval(0.3, 0.9), (0, 0)),
            ("r", "b"): effect(0.5, Interval(0.3, 1.1), (0, 0)),
            ("r", "c"): effect(2.0, Interval(1.5, 3.0), (0, 0)),
        },
    )
    assert [t for t in texts(svg) if t.startswith("×")][:3] == ["×0.50 ★", "×0.50", "×2.0 ★"]


def test_failed_and_skipped_cells_are_said() -> None:
    svg = effect_map(
        ["r"], ["a", "b", "c"],
        {("r", "a"): effect(None, None, (5, 1)), ("r", "b"): effect(1.0, None, (2, 0))},
    )  # fmt: skip
    found = texts(svg)
    assert {"no pair survived", "failed 1 → 5 of 5", "failed 0 → 2 of 5", "–"} <= set(found)


def test_a_map_of_shares_shows_what_it_has_not() -> None:
    assert "–" in texts(share_map(["r"], ["a", "b"], {("r", "a"): (0.5, "4 of 8")}))
