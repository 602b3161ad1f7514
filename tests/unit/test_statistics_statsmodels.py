"""The reports' statistics against statsmodels, which shares no code with them or with scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reports.statistics.intervals import t_interval, wilson
from reports.statistics.ranks import holm, sign_flip_p
from reports.statistics.survival import Lifetimes, kaplan_meier, log_rank

pytest.importorskip("statsmodels", reason="statsmodels is not installed")
from statsmodels.duration.survfunc import SurvfuncRight, survdiff
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

SEEDS = range(20)


@pytest.mark.parametrize("seed", SEEDS)
def test_holm(seed: int) -> None:
    draw = np.random.default_rng(seed)
    p_values = draw.choice([*draw.random(6) ** 3, 0.0, 1.0, 0.01], size=seed + 1)
    expected = multipletests(p_values, method="holm")[1]
    assert holm(p_values.tolist()) == pytest.approx(expected.tolist())


@pytest.mark.parametrize("n", [1, 5, 10, 250])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.999])
def test_wilson(n: int, level: float) -> None:
    for successes in {0, 1, n // 3, n - 1, n}:
        expected = proportion_confint(successes, n, alpha=1 - level, method="wilson")
        assert wilson(successes, n, level) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_t_interval(seed: int) -> None:
    values = np.random.default_rng(seed).normal(3, 2, seed + 2)
    assert t_interval(values) == pytest.approx(DescrStatsW(values).tconfint_mean())


@pytest.mark.parametrize("seed", SEEDS)
def test_failures_are_tested_by_mcnemar(seed: int) -> None:
    first, second = np.random.default_rng(seed).random((2, 15 + seed)) < [[0.4], [0.2]]
    table = [[sum((first == a) & (second == b)) for b in (True, False)] for a in (True, False)]
    flips = [float(a) - float(b) for a, b in zip(first, second, strict=True)]
    assert sign_flip_p(flips) == pytest.approx(mcnemar(table, exact=True).pvalue)


def lifetimes(seed: int, n: int = 15) -> Lifetimes:
    draw = np.random.default_rng(seed)
    times = draw.integers(1, 12, n).astype(float)
    return Lifetimes(times.tolist(), (draw.random(n) < 0.6).tolist())


@pytest.mark.parametrize("seed", SEEDS)
def test_survival_and_its_intervals(seed: int) -> None:
    lived = lifetimes(seed)
    curve = kaplan_meier(lived)
    assert curve is not None
    found = dict(zip(curve.times, zip(curve.shares, curve.intervals, strict=True), strict=True))
    expected = SurvfuncRight(lived.times, np.array(lived.failed, dtype=int))
    rows = zip(expected.surv_times, expected.surv_prob, expected.surv_prob_se, strict=True)
    compared = 0
    for time, share, error in rows:
        mine, interval = found[time]
        assert mine == pytest.approx(share)
        if 0 < share < 1:
            reach = 1.959964 * error / (share * abs(math.log(share)))
            limits = (share ** math.exp(reach), share ** math.exp(-reach))
            assert interval == pytest.approx(limits, rel=1e-5)
            compared += 1
    assert compared > 3


@pytest.mark.parametrize("seed", SEEDS)
def test_log_rank_in_strata(seed: int) -> None:
    strata = [(lifetimes(seed + k, 9), lifetimes(seed + 100 + k, 12)) for k in range(3)]
    times, failed, group, stratum = [], [], [], []
    for k, pair in enumerate(strata):
        for which, lived in enumerate(pair):
            times += lived.times
            failed += [int(one) for one in lived.failed]
            group += [which] * len(lived.times)
            stratum += [k] * len(lived.times)
    arrays = (np.array(column) for column in (times, failed, group))
    expected = survdiff(*arrays, strata=np.array(stratum))[1]
    found = log_rank(strata)
    assert found is not None
    assert found.p == pytest.approx(expected)
