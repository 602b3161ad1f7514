"""The map of effects: every field readable, marked where its interval says so, none left blank."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from harness.store.records import PlannedRun
from reports.cells import Result
from reports.effects import Effect, Pair
from reports.figures.effects import (
    BLUES,
    DIVERGING,
    effect_map,
    excludes_nothing,
    forest,
    readable_on,
    share_map,
)
from tests.stores import planned_cell


def result(tricks: str, seed: int, *, failed: bool) -> Result:
    planned = PlannedRun(f"{tricks}-{seed}", "x", planned_cell("d", "v", tricks), seed)
    return Result(planned, "collapsed" if failed else "ok", None)


def effect(
    ratio: float | None,
    spread: float = 0.0,
    failures: tuple[int, int] = (0, 0),
    seeds: int = 5,
) -> Effect:
    """Make an effect of one cell; pairs that failed come last, the others scatter evenly."""
    pairs = []
    for seed in range(seeds):
        dead = [ratio is None or seeds - seed <= count for count in failures]
        log = math.log(ratio or 1) + spread * (seed - (seeds - 1) / 2)
        scores = (math.inf if dead[0] else log, math.inf if dead[1] else 0.0)
        arms = [result(arm, seed, failed=d) for arm, d in zip("ab", dead, strict=True)]
        pairs.append(Pair(("d", "v"), seed, arms[0], arms[1], scores))
    return Effect("t", "d", seeds, tuple(pairs))


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
            ("r", "a"): effect(0.5, 0.1),
            ("r", "b"): effect(0.5, 1.0),
            ("r", "c"): effect(2.0, 0.1),
        },
    )
    assert [t for t in texts(svg) if t.startswith("×")][:3] == ["×0.50 ★", "×0.50", "×2.0 ★"]


def test_a_forest_shows_open_intervals() -> None:
    """Where failures decide there is no dot, and an interval that ends at an arrow."""
    rescue = effect(1.0, 0.1, failures=(0, 4))
    assert rescue.interval == (0, math.inf)
    assert "t" in texts(str(forest([rescue])))
    assert forest([effect(None)]) == ""
    assert excludes_nothing(effect(0.5, 0.1)) and not excludes_nothing(rescue)


def test_failed_and_skipped_cells_are_said() -> None:
    svg = effect_map(
        ["r"], ["a", "b", "c"],
        {("r", "a"): effect(None), ("r", "b"): effect(1.0, failures=(2, 0))},
    )  # fmt: skip
    found = texts(svg)
    assert {"no pair survived", "failed 5 → 5 of 5", "failed 0 → 2 of 5", "–"} <= set(found)


def test_a_map_of_shares_shows_what_it_has_not() -> None:
    assert "–" in texts(share_map(["r"], ["a", "b"], {("r", "a"): (0.5, "4 of 8")}))
