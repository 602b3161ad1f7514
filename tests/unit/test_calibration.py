"""How often a report errs, by simulation: intervals cover, and what does nothing is not praised.

Each simulated suite is judged by the code that judges real ones. The laws are those of training:
log-distances that differ between cells, that a seed moves in all of its cells alike, and runs
that fail.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from harness.store.records import PlannedRun
from reports.cells import Result
from reports.effects import Effect, Pair, adjusted, effect_of
from reports.statistics.intervals import (
    Interval,
    geometric_interval,
    paired_rate_change,
    t_interval,
    wilson,
)

SUITES = 600
TRICKS = 5
CELLS = tuple((dataset, variant) for dataset in ("ring8", "digits") for variant in "abc")

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Law:
    """How simulated runs come out; standard deviations are of the log-distance.

    Attributes:
        noise: From run to run.
        seed_effect: Of a seed on all cells with a trick alike, beside what it does without.
        failures: Chance of a run to fail.
        seed_failures: Chance of a seed to fail with a trick in all cells at once.
    """

    noise: float = 0.3
    seed_effect: float = 0.0
    failures: float = 0.0
    seed_failures: float = 0.0


LAWS = {
    "independent": Law(),
    "seeds that matter": Law(seed_effect=0.3),
    "nothing but the seed": Law(noise=1e-3, seed_effect=0.3),
    "failures": Law(failures=0.2),
    "rare failures": Law(failures=0.03, seed_effect=0.1),
    "seeds that fail": Law(failures=0.1, seed_failures=0.2, seed_effect=0.2),
}


def result(seed: int, *, failed: bool) -> Result:
    planned = PlannedRun("x", "ring8", "a", "none", seed, "x")
    return Result(planned, "collapsed" if failed else "ok", None)


def suite(law: Law, seeds: int, draw: np.random.Generator) -> list[Effect]:
    """Judge a suite of tricks that do nothing, each in all cells."""

    def scores(common: np.ndarray, ruined: np.ndarray) -> np.ndarray:
        made = common + draw.normal(0, law.noise, (len(CELLS), seeds))
        failed = (draw.random(made.shape) < law.failures) | ruined
        return np.where(failed, math.inf, made)

    control = scores(np.zeros(seeds), np.zeros(seeds, dtype=bool))
    effects = []
    for trick in range(TRICKS):
        ruined = draw.random(seeds) < law.seed_failures
        moved = draw.normal(0, law.seed_effect, seeds) if law.seed_effect else np.zeros(seeds)
        # What ruins seeds with a trick ruins as many others without: there is no effect.
        treated, base = scores(moved, ruined), control.copy()
        base[:, draw.random(seeds) < law.seed_failures] = math.inf
        pairs = [
            Pair(
                cell,
                seed,
                result(seed, failed=math.isinf(treated[i, seed])),
                result(seed, failed=math.isinf(base[i, seed])),
                (float(treated[i, seed]), float(base[i, seed])),
            )
            for i, cell in enumerate(CELLS)
            for seed in range(seeds)
        ]
        effects.append(effect_of(f"t{trick}", None, pairs, len(pairs)))
    return adjusted(effects)


@pytest.mark.parametrize("seeds", [5, 10])
@pytest.mark.parametrize("law", LAWS)
def test_what_does_nothing_is_seldom_praised(law: str, seeds: int) -> None:
    """Of these suites, 600 each, a share of .05 has a standard error of .009."""
    draw = np.random.default_rng([seeds, *law.encode()])
    praised = claimed = 0
    for _ in range(SUITES):
        verdicts = {effect.verdict for effect in suite(LAWS[law], seeds, draw)}
        praised += bool(verdicts & {"helps", "fewer failures"})
        claimed += bool(verdicts - {"no evidence"})
    print(f"{law}, {seeds} seeds: {praised / SUITES:.3f} praise, {claimed / SUITES:.3f} claim")
    assert praised / SUITES <= 0.05


def test_an_effect_is_found() -> None:
    """The other side, since one who never speaks never errs: halving is found with five seeds."""
    draw = np.random.default_rng(0)
    found = 0
    for _ in range(100):
        pairs = []
        for cell in CELLS:
            for seed in range(5):
                control, treated = draw.normal([0.0, -math.log(2)], 0.3)
                one = result(seed, failed=False)
                pairs.append(Pair(cell, seed, one, one, (float(treated), float(control))))
        others = [effect_of(f"n{k}", None, [], 0) for k in range(TRICKS - 1)]
        found += adjusted([effect_of("t", None, pairs, 30), *others])[0].verdict == "helps"
    assert found / 100 > 0.9


def coverage(intervals: Sequence[Interval | None], truth: float) -> float:
    return float(np.mean([i is not None and i.low <= truth <= i.high for i in intervals]))


@pytest.mark.parametrize("n", [5, 10, 30])
def test_intervals_of_a_mean_distance_cover(n: int) -> None:
    draw = np.random.default_rng(n)
    intervals = [geometric_interval(np.exp(draw.normal(1, 0.5, n))) for _ in range(20_000)]
    assert coverage(intervals, math.exp(1)) == pytest.approx(0.95, abs=0.006)


@pytest.mark.parametrize("law", ["independent", "seeds that matter", "failures", "rare failures"])
@pytest.mark.parametrize("seeds", [5, 10])
def test_intervals_of_an_effect_cover(law: str, seeds: int) -> None:
    draw = np.random.default_rng([seeds, 7, *law.encode()])
    effects = [e for _ in range(400) for e in suite(LAWS[law], seeds, draw)]
    covered = coverage([effect.interval for effect in effects], 1.0)
    print(f"{law}, {seeds} seeds: {covered:.3f} of {len(effects)} intervals cover")
    assert 0.93 <= covered <= 0.97


@pytest.mark.parametrize("n", [10, 30, 60])
@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5])
def test_intervals_of_a_failure_rate_cover_on_average(n: int, rate: float) -> None:
    """Counts are discrete, so that coverage swings with rate and n; Wilson's stays near."""
    draw = np.random.default_rng([n, int(100 * rate)])
    counts = draw.binomial(n, rate, 4000)
    assert 0.91 <= coverage([wilson(int(k), n) for k in counts], rate) <= 0.99


@pytest.mark.parametrize("n", [25, 55])
def test_intervals_of_a_change_in_failures_cover(n: int) -> None:
    draw = np.random.default_rng(n)
    intervals = []
    for _ in range(3000):
        first, second = draw.random(n) < 0.3, draw.random(n) < 0.15
        change = paired_rate_change(first.tolist(), second.tolist())
        intervals.append(change[1] if change else None)
    assert 0.93 <= coverage(intervals, 0.15) <= 0.98


def test_too_narrow_an_interval_would_be_seen() -> None:
    draw = np.random.default_rng(3)
    narrow = [t_interval(draw.normal(0, 1, 5), level=0.9) for _ in range(20_000)]
    assert coverage(narrow, 0.0) == pytest.approx(0.9, abs=0.01)
