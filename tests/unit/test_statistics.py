"""The reports' statistics against scipy, closed forms and brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reports.statistics import ranks
from reports.statistics.correlation import (
    fisher_z,
    mean_correlation,
    spearman,
    spearman_interval,
)
from reports.statistics.intervals import (
    geometric_interval,
    geometric_mean,
    paired_rate_change,
    t_interval,
    t_p,
    wilson,
)
from reports.statistics.ranks import (
    holm,
    median_with_failures,
    probability_less,
    sign_flip_p,
    signed_ranks,
)

values = st.lists(st.floats(-100, 100, allow_subnormal=False), min_size=2, max_size=12)
small_integers = st.lists(st.integers(-4, 4), max_size=9)


@given(values)
def test_t_interval_is_scipys(sample: list[float]) -> None:
    if np.std(sample) < 1e-6:
        return
    expected = stats.t.interval(0.95, len(sample) - 1, np.mean(sample), stats.sem(sample))
    assert t_interval(sample) == pytest.approx(expected)


def test_t_interval_needs_two_values() -> None:
    assert t_interval([1.0]) is None
    assert t_interval([]) is None


@given(values)
def test_t_p_is_scipys(sample: list[float]) -> None:
    if np.std(sample) < 1e-6:
        return
    assert t_p(sample) == pytest.approx(stats.ttest_1samp(sample, 0).pvalue, abs=1e-12)


def test_t_p_of_equal_values() -> None:
    assert (t_p([2.0, 2.0, 2.0]), t_p([0.0, 0.0]), t_p([5.0]), t_p([])) == (0, 1, 1, 1)
    np.testing.assert_array_equal(t_p([[2.0, 2.0], [0.0, 0.0]]), [0, 1])


def test_geometric_interval_is_the_t_interval_of_logarithms() -> None:
    sample = [0.5, 1.0, 4.0]
    low, high = t_interval(np.log(sample)) or (0, 0)
    assert geometric_interval(sample) == pytest.approx((math.exp(low), math.exp(high)))
    assert geometric_mean(sample) == pytest.approx(stats.gmean(sample))


@pytest.mark.parametrize("sample", [[1.0, 0.0], [1.0, -2.0], [1.0, math.inf], [1.0, math.nan], []])
def test_no_geometric_mean_without_positive_values(sample: list[float]) -> None:
    assert geometric_mean(sample) is None
    assert geometric_interval(sample) is None


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(case: tuple[int, int]) -> None:
    successes, n = case
    expected = stats.binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_needs_a_trial() -> None:
    assert wilson(0, 0) is None


def test_paired_rate_change_of_a_known_table() -> None:
    # Complete response before and after therapy (Cavo et al. 2012), counts 59, 6, 16, 80: the R
    # package contingencytables gives -0.0621 (-0.1186 to -0.0046).
    first = [True] * 65 + [False] * 96
    second = [True] * 59 + [False] * 6 + [True] * 16 + [False] * 80
    change, interval = paired_rate_change(first, second) or (0, (0, 0))
    assert change == pytest.approx(-0.0621, abs=5e-5)
    assert interval == pytest.approx((-0.1186, -0.0046), abs=5e-5)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_paired_rate_change_is_antisymmetric_and_holds_its_estimate(
    pairs: list[tuple[bool, bool]],
) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    change, interval = paired_rate_change(first, second) or (0, (0, 0))
    backward, reverse = paired_rate_change(second, first) or (0, (0, 0))
    assert interval[0] - 1e-12 <= change <= interval[1] + 1e-12
    assert backward == pytest.approx(-change)
    assert reverse == pytest.approx((-interval[1], -interval[0]))
    assert interval[1] - interval[0] > 0


def test_paired_rate_change_needs_a_pair() -> None:
    assert paired_rate_change([], []) is None


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]).size == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_holm_is_monotone_and_between_raw_and_bonferroni(p: list[float]) -> None:
    adjusted = holm(p)
    for raw, value in zip(p, adjusted, strict=True):
        assert raw <= value <= min(1.0, len(p) * raw) + 1e-12
    by_size = [value for _, value in sorted(zip(p, adjusted, strict=True))]
    assert by_size == sorted(by_size)


@given(small_integers)
def test_signed_ranks_are_scipys(differences: list[int]) -> None:
    nonzero = [d for d in differences if d]
    expected = iter(np.sign(nonzero) * stats.rankdata(np.abs(nonzero)) if nonzero else [])
    assert signed_ranks(differences).tolist() == [
        float(next(expected)) if d else 0.0 for d in differences
    ]


def test_infinite_differences_rank_last_together() -> None:
    assert signed_ranks([0.1, math.inf, -0.2, -math.inf, 0.0]).tolist() == [1, 3.5, -2, -3.5, 0]


def test_signed_ranks_refuse_nan() -> None:
    with pytest.raises(ValueError, match="NaN"):
        signed_ranks([1.0, math.nan])


@given(small_integers)
def test_sign_flip_p_is_what_all_flips_give(differences: list[int]) -> None:
    scores = signed_ranks(differences)
    observed = abs(sum(scores))
    flips = itertools.product((1, -1), repeat=len(scores))
    sums = [abs(sum(s * f for s, f in zip(scores, flip, strict=True))) for flip in flips]
    assert sign_flip_p(scores) == pytest.approx(np.mean([s >= observed - 1e-9 for s in sums]))


def test_sign_flip_p_is_the_exact_wilcoxon_test() -> None:
    draw = np.random.default_rng(0)
    for n in (5, 12, 40):
        sample = draw.normal(0.3, 1, n)
        expected = stats.wilcoxon(sample, method="exact").pvalue
        assert sign_flip_p(signed_ranks(sample)) == pytest.approx(expected)


def test_sign_flip_p_is_scipys_permutation_test() -> None:
    scores = signed_ranks([0.3, -0.1, 0.1, 0.7, 0.0, 1.2, math.inf])
    result = stats.permutation_test(
        (scores,), np.sum, permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip_p(scores) == pytest.approx(result.pvalue)


def test_chances_of_long_lists_are_those_of_short_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [int(size) for size in np.random.default_rng(0).integers(1, 200, 90)]
    monkeypatch.setattr(ranks, "LONG", 10**9)
    whole = ranks.chances_of_sums(sizes)
    monkeypatch.setattr(ranks, "LONG", 50)
    np.testing.assert_allclose(ranks.chances_of_sums(sizes), whole, rtol=0, atol=1e-15)
    assert whole.size == sum(sizes) + 1
    assert whole.sum() == pytest.approx(1)


@pytest.mark.parametrize("lean", [0.0, 0.05, 0.1])
def test_sign_flip_p_of_very_many_pairs(lean: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounded they give what they give unrounded, to within two hundredths of it."""
    scores = signed_ranks(np.random.default_rng(1).normal(lean, 1, 1500))
    assert 2 * np.abs(scores).mean() > 5 * ranks.STEPS
    rounded = sign_flip_p(scores)
    monkeypatch.setattr(ranks, "STEPS", 10**4)
    assert rounded == pytest.approx(sign_flip_p(scores), rel=0.02)


@given(st.lists(st.lists(st.integers(-9, 9), min_size=9, max_size=9), min_size=1, max_size=5))
def test_sign_flips_of_several_sets_are_those_of_each(sets: list[list[int]]) -> None:
    found = sign_flip_p(sets)
    np.testing.assert_allclose(found, [sign_flip_p(scores) for scores in sets])
    # More scores than are tried one by one are counted: zeros change nothing.
    padded = np.pad(np.array(sets, dtype=float), ((0, 0), (0, ranks.FEW)))
    np.testing.assert_allclose(sign_flip_p(padded), found)


def test_sign_flip_p_of_failures_is_mcnemars_exact_test() -> None:
    flips = [1.0] * 9 + [-1.0] * 2 + [0.0] * 20
    assert sign_flip_p(flips) == pytest.approx(stats.binomtest(9, 11).pvalue)


def test_sign_flip_p_without_differences_is_one() -> None:
    assert sign_flip_p([]) == 1.0
    assert sign_flip_p([0.0, 0.0]) == 1.0
    assert sign_flip_p(signed_ranks([1, 2, 3, 4, 5])) == 2 / 32


def test_sign_flip_p_refuses_what_it_cannot_count() -> None:
    with pytest.raises(ValueError, match="signed ranks"):
        sign_flip_p([0.3])


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=10),
    st.lists(st.integers(0, 5), min_size=1, max_size=10),
)
def test_probability_less_is_mann_whitneys(x: list[int], y: list[int]) -> None:
    u = stats.mannwhitneyu(y, x, method="asymptotic").statistic
    assert probability_less(x, y) == pytest.approx(u / (len(x) * len(y)))


def test_probability_less_ties_failures() -> None:
    assert probability_less([1.0, math.inf], [math.inf, math.inf]) == 0.75
    assert probability_less([], [1.0]) is None


def test_median_ranks_failures_worst() -> None:
    assert median_with_failures([3.0, 1.0, 2.0], 0, lower_is_better=True) == 2
    assert median_with_failures([3.0, 1.0, 2.0], 2, lower_is_better=True) == 3
    assert median_with_failures([3.0, 1.0, 2.0], 4, lower_is_better=True) == math.inf
    assert median_with_failures([3.0, 1.0, 2.0], 2, lower_is_better=False) == 1
    assert median_with_failures([0.5], 3, lower_is_better=False) == -math.inf
    assert median_with_failures([], 0, lower_is_better=True) is None


def test_intervals_cover_what_they_promise() -> None:
    draw = np.random.default_rng(1)
    samples = np.exp(draw.normal(0.0, 0.5, (2000, 5)))
    intervals = [geometric_interval(sample) for sample in samples]
    covered = np.mean([i is not None and i.low <= 1 <= i.high for i in intervals])
    assert 0.93 < covered < 0.97


pairs = st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=3, max_size=15)


@given(pairs)
def test_spearman_is_scipys(sample: list[tuple[int, int]]) -> None:
    x, y = zip(*sample, strict=True)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert spearman(x, y) is None
    else:
        assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


def test_spearman_needs_three_pairs_with_ranks() -> None:
    assert spearman([1.0, 2.0], [1.0, 2.0]) is None
    assert spearman([1.0, 2.0, math.inf], [1.0, 2.0, 3.0]) == 1
    with pytest.raises(ValueError, match="NaN"):
        spearman([1.0, 2.0, math.nan], [1.0, 2.0, 3.0])


@pytest.mark.parametrize("n", [3, 5, 8])
def test_perfect_order_is_entered_half_a_step_below_one(n: int) -> None:
    order = np.arange(n)
    swapped = order.copy()
    swapped[:2] = swapped[1::-1]
    next_best = spearman(order, swapped)
    assert next_best is not None
    assert math.tanh(fisher_z(1.0, n)) == pytest.approx((1 + next_best) / 2)
    assert fisher_z(-1.0, n) == -fisher_z(1.0, n)
    assert fisher_z(next_best, n) == pytest.approx(math.atanh(next_best))


def test_the_interval_of_a_correlation_is_fishers_but_for_its_variance() -> None:
    x, y = np.random.default_rng(3).normal(size=(2, 20))
    found = stats.pearsonr(x, y)
    rho = float(found.statistic)
    fisher = found.confidence_interval(0.95)
    own = spearman_interval(rho, 20)
    assert own is not None
    wider = math.sqrt(1 + rho**2 / 2)
    for mine, theirs in zip(own, fisher, strict=True):
        expected = math.atanh(rho) + wider * (math.atanh(theirs) - math.atanh(rho))
        assert math.atanh(mine) == pytest.approx(expected)
    assert spearman_interval(0.5, 3) is None


def test_intervals_of_correlations_cover_what_they_promise() -> None:
    draw, rho = np.random.default_rng(2), 0.6
    truth = 6 / math.pi * math.asin(rho / 2)
    covered = []
    for _ in range(1500):
        x, y = draw.multivariate_normal([0, 0], [[1, rho], [rho, 1]], 20).T
        found = spearman(x, y)
        interval = spearman_interval(found, 20) if found is not None else None
        covered.append(interval is not None and interval.low <= truth <= interval.high)
    assert 0.93 < np.mean(covered) < 0.97


def test_mean_correlation_is_a_t_interval_of_transforms() -> None:
    correlations = [(0.2, 9), (0.7, 12), (-0.1, 9)]
    z = np.arctanh([0.2, 0.7, -0.1])
    mean, interval = mean_correlation(correlations) or (None, None)
    assert mean == pytest.approx(math.tanh(z.mean()))
    assert interval == pytest.approx(np.tanh(stats.t.interval(0.95, 2, z.mean(), stats.sem(z))))


def test_units_that_agree_exactly_do_not_make_an_interval_of_no_width() -> None:
    mean, interval = mean_correlation([(1.0, 10)] * 4) or (None, None)
    assert mean == pytest.approx(1 - 6 / 990)
    assert interval is None
    assert mean_correlation([(0.3, 10)]) == (pytest.approx(0.3), None)
    assert mean_correlation([]) is None
