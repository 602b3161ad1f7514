"""Formulas of the metrics: against torch-fidelity, against known answers, and by property."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric

from harness.datasets.mixtures import Grid25, Ring8
from harness.metrics.base import Conditions, Observation, metrics
from harness.metrics.class_histogram import ClassHistogram, histogram_kl, total_variation
from harness.metrics.classifier_score import LOWEST_LOGIT, classifier_score
from harness.metrics.diversity import Diversity, mean_distance
from harness.metrics.extractors.inception import FID_LABEL
from harness.metrics.frechet import FrechetDistance, moments, symmetric_root
from harness.metrics.modes import ModeCoverage, count_high_quality, reverse_kl

IMAGES = Conditions("images", "digits-cnn@1a2b3c4d", 1000, "train", classes=10)
RING = Conditions("points", "data", 2500, "train", classes=8, modes=Ring8.modes, sigma=Ring8.sigma)
GRID = Conditions(
    "points", "data", 2500, "train", classes=25, modes=Grid25.modes, sigma=Grid25.sigma
)


def draw(seed: int, count: int, dimensions: int, rank: int | None = None) -> torch.Tensor:
    """Draw correlated features, of a lower rank if asked."""
    random = np.random.RandomState(seed)
    mixing = random.standard_normal((rank or dimensions, dimensions))
    offset = random.standard_normal(dimensions)
    return torch.from_numpy(random.standard_normal((count, rank or dimensions)) @ mixing + offset)


def distance(generated: torch.Tensor, real: torch.Tensor) -> float:
    metric = FrechetDistance(IMAGES)
    return metric.values(Observation(generated, None), metric.reference(Observation(real, None)))[0]


def torch_fidelity_distance(generated: torch.Tensor, real: torch.Tensor) -> float:
    statistics = [fid_features_to_statistics(features) for features in (generated, real)]
    return fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]


class TestFrechet:
    @settings(max_examples=40)
    @given(
        seed=st.integers(0, 2**31),
        dimensions=st.integers(2, 40),
        count=st.integers(50, 200),
        rank=st.integers(1, 40),
    )
    def test_equals_torch_fidelity(self, seed, dimensions, count, rank):
        generated = draw(seed, count, dimensions, min(rank, dimensions))
        real = draw(seed + 1, 150, dimensions)
        expected = torch_fidelity_distance(generated, real)
        assert distance(generated, real) == pytest.approx(expected, rel=1e-6)

    def test_equals_the_formula_for_known_gaussians(self):
        # For commuting covariances the distance is Σ(μ₁−μ₂)² + Σ(σ₁−σ₂)².
        axis = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
        square = torch.cartesian_prod(axis[:, 0], axis[:, 0])
        scale = math.sqrt(3 / 4)  # so that the unbiased covariance is the identity
        real = square * scale * torch.tensor([1.0, 2.0])
        generated = square * scale * torch.tensor([3.0, 5.0]) + torch.tensor([10.0, 0.0])
        assert distance(generated, real) == pytest.approx(100 + 4 + 9)

    def test_is_zero_for_the_same_features(self):
        features = draw(0, 200, 30)
        assert abs(distance(features, features)) < 1e-9 * float(features.var(0).sum())

    def test_constant_generator_gets_its_distance(self):
        real = draw(0, 200, 30)
        constant = torch.full((200, 30), 0.5, dtype=torch.float64)
        expected = float((real.mean(0) - 0.5).square().sum() + real.var(0).sum())
        assert distance(constant, real) == pytest.approx(expected)
        assert distance(constant, constant) == 0

    def test_overflow_is_nan_and_huge_points_are_finite(self):
        real = draw(0, 50, 2)
        assert math.isfinite(distance(real * 1e30, real))
        assert math.isnan(distance(real * 1e200, real))

    def test_real_against_real_falls_as_one_over_n(self):
        train = Grid25().load("train").values.double()
        test = Grid25().load("test").values.double()
        average = {
            count: np.mean([distance(part, train) for part in test.split(count)])
            for count in (250, 1000)
        }
        assert 2.5 < average[250] / average[1000] < 6.5

    def test_root_of_a_singular_covariance_is_a_root(self):
        _, covariance = moments(draw(3, 100, 12, rank=4))
        root = symmetric_root(covariance, 100)
        assert torch.allclose(root @ root, covariance, atol=1e-9)

    @pytest.mark.parametrize(("n", "m"), [(20, 30), (20, 300), (300, 20)])
    def test_fewer_examples_than_dimensions(self, n, m):
        # Σ√eig(S₁S₂) are the singular values of the centred features' product.
        generated, real = draw(0, n, 150) / 10 + 5, draw(1, m, 150)
        a, b = (features - features.mean(0) for features in (generated, real))
        overlap = torch.linalg.svdvals(a @ b.T).sum() / math.sqrt((n - 1) * (m - 1))
        gap = (generated.mean(0) - real.mean(0)).square().sum()
        expected = gap + generated.var(0).sum() + real.var(0).sum() - 2 * overlap
        assert distance(generated, real) == pytest.approx(float(expected), rel=1e-10)

    def test_is_called_fid_on_inception_only(self):
        column = FrechetDistance(IMAGES).columns()[0]
        assert column.name == "fd[digits-cnn@1a2b3c4d]@1000/train"
        assert (column.primary, column.better, column.metric) == (True, "lower", "frechet")
        inception = Conditions("images", FID_LABEL, 50_000, "train")
        assert FrechetDistance(inception).columns()[0].name == "fid@50k/train"
        other = Conditions("images", "inception-v3-compat@00000000", 2000, "test")
        assert FrechetDistance(other).columns()[0].name == (
            "fd[inception-v3-compat@00000000]@2000/test"
        )
        assert FrechetDistance(RING).columns()[0].name == "fd[data]@2500/train"


class TestClassifierScore:
    @settings(max_examples=40)
    @given(
        seed=st.integers(0, 2**31),
        count=st.integers(10, 300),
        classes=st.integers(2, 12),
        sharpness=st.floats(0, 50),
    )
    def test_equals_torch_fidelity_and_stays_in_range(self, seed, count, classes, sharpness):
        logits = sharpness * draw(seed, count, classes)
        score = classifier_score(logits)
        expected = isc_features_to_metric(logits)["inception_score_mean"]
        if math.isfinite(expected):  # torch-fidelity has 0·∞ where a probability underflows
            assert score == pytest.approx(expected, rel=1e-6)
            relative = (logits - logits.amax(1, keepdim=True)).clamp(min=LOWEST_LOGIT)
            assert score == isc_features_to_metric(relative)["inception_score_mean"]
        assert 1 - 1e-9 <= score <= classes + 1e-9
        assert classifier_score(logits + 1000) == pytest.approx(score, rel=1e-9)

    def test_extremes(self):
        sure = torch.full((1000, 10), -1e6, dtype=torch.float64)
        sure[torch.arange(1000), torch.arange(1000) % 10] = 0
        assert 9.5 < classifier_score(sure) <= 10
        assert classifier_score(sure[::10]) == pytest.approx(1)
        assert classifier_score(torch.zeros(1000, 10, dtype=torch.float64)) == pytest.approx(1)

    def test_is_nan_below_ten_samples(self):
        assert math.isnan(classifier_score(torch.zeros(9, 3, dtype=torch.float64)))

    def test_name(self):
        metric = metrics.get("classifier-score")
        assert metric(IMAGES).columns()[0].name == "cs[digits-cnn@1a2b3c4d]@1000"
        inception = Conditions("images", FID_LABEL, 50_000, "train")
        assert metric(inception).columns()[0].name == "is@50k"
        assert not metric.applies(Conditions("points", "data", 10, "train"))


class TestModes:
    def values(self, points: torch.Tensor, conditions: Conditions) -> dict[str, float]:
        metric = ModeCoverage(conditions)
        numbers = metric.values(Observation(points.double(), None), {})
        names = [column.name.partition("@")[0] for column in metric.columns()]
        return dict(zip(names, numbers, strict=True))

    @pytest.mark.parametrize(("dataset", "conditions"), [(Ring8, RING), (Grid25, GRID)])
    def test_oracle(self, dataset, conditions):
        values = self.values(dataset().load("validation").values[:2500], conditions)
        assert values["high-quality"] == pytest.approx(0.9889, abs=0.005)
        assert values["modes"] == dataset.classes
        assert values["fair-modes"] == dataset.classes
        assert 0 <= values["mode-kl"] < 0.02

    def test_radius_is_strict_and_in_sigmas(self):
        modes, sigma = np.array([[0.0, 0.0], [100.0, 0.0]]), 0.5
        points = torch.tensor([[1.5, 0.0], [1.4999, 0.0], [100.0, -1.5001], [100.0, 1.0]])
        assert count_high_quality(points, modes, sigma).tolist() == [1, 1]

    def test_collapse_to_one_mode(self):
        values = self.values(torch.tensor([[1.0, 0.0]]).expand(2500, 2), RING)
        assert values == {
            "modes": 1,
            "high-quality": 1,
            "mode-kl": pytest.approx(math.log(8)),
            "fair-modes": 1,
        }

    def test_nothing_captured(self):
        values = self.values(torch.zeros(2500, 2), RING)
        assert math.isnan(values.pop("mode-kl"))
        assert values == {"modes": 0, "high-quality": 0, "fair-modes": 0}
        huge = self.values(torch.full((2500, 2), 3e38), RING)
        assert huge["modes"] == 0

    def test_a_mode_is_fair_from_a_fifth_of_its_share_on(self):
        # Of 2,500 samples each of 25 modes is due 100, and is fair with 20.
        modes = torch.from_numpy(Grid25.modes.copy())
        points = torch.cat(
            [modes[0].expand(2461, 2), modes[1].expand(20, 2), modes[2].expand(19, 2)]
        )
        assert self.values(points, GRID)["fair-modes"] == 2
        assert self.values(points, GRID)["modes"] == 3

    @given(st.lists(st.integers(0, 1000), min_size=2, max_size=30).filter(any))
    def test_reverse_kl_lies_between_zero_and_log_of_the_modes(self, counts):
        divergence = reverse_kl(torch.tensor(counts))
        assert -1e-12 <= divergence <= math.log(len(counts)) + 1e-12

    def test_reverse_kl_in_nats(self):
        assert reverse_kl(torch.tensor([5, 5, 5, 5])) == pytest.approx(0)
        assert reverse_kl(torch.tensor([5, 5, 0, 0])) == pytest.approx(math.log(2))
        assert reverse_kl(torch.tensor([3, 1])) == pytest.approx(
            0.75 * math.log(1.5) + 0.25 * math.log(0.5)
        )

    def test_histogram_counts_high_quality_samples(self):
        points = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.5, 0.0], [0.0, 1.0]])
        histogram = ModeCoverage(RING).histogram(Observation(points, None))
        assert histogram == [2, 0, 1, 0, 0, 0, 0, 0]


counts = st.lists(st.integers(0, 500), min_size=5, max_size=5)


class TestClassHistogram:
    def test_known_answers(self):
        reference = torch.tensor([10, 10, 10, 10])
        assert histogram_kl(torch.tensor([7, 7, 7, 7]), reference) == pytest.approx(0)
        assert histogram_kl(torch.tensor([0, 3, 0, 0]), reference) == pytest.approx(math.log(4))
        assert total_variation(torch.tensor([0, 3, 0, 0]), reference) == pytest.approx(0.75)
        assert histogram_kl(torch.tensor([1, 1]), torch.tensor([1, 0])) == math.inf

    @given(counts.filter(any), counts.map(lambda c: [n + 1 for n in c]))
    def test_bounds(self, generated, real):
        p, q = torch.tensor(generated), torch.tensor(real)
        assert 0 <= total_variation(p, q) <= 1 + 1e-12
        assert histogram_kl(p, q) >= -1e-12
        assert histogram_kl(p, q) >= 2 * total_variation(p, q) ** 2 - 1e-9  # Pinsker
        assert histogram_kl(7 * p, q) == pytest.approx(histogram_kl(p, q), abs=1e-12)

    def test_counts_labels_where_known_and_classifications_elsewhere(self):
        metric = ClassHistogram(IMAGES)
        logits = torch.nn.functional.one_hot(torch.tensor([0, 0, 3]), 10).double()
        generated = Observation(torch.zeros(3, 2), logits)
        real = Observation(torch.zeros(3, 2), logits, labels=torch.arange(3))
        reference = metric.reference(real)
        assert reference["counts"].tolist() == [1, 1, 1] + [0] * 7
        assert metric.histogram(generated) == [2, 0, 0, 1] + [0] * 6
        uniform = {"counts": torch.full((10,), 3)}
        divergence, missing, variation = metric.values(generated, uniform)
        assert missing == 8
        assert variation == pytest.approx(0.8)
        assert divergence == pytest.approx(2 / 3 * math.log(20 / 3) + 1 / 3 * math.log(10 / 3))

    def test_names(self):
        assert [column.name for column in ClassHistogram(IMAGES).columns()] == [
            "class-kl[digits-cnn@1a2b3c4d]@1000/train",
            "missing-classes[digits-cnn@1a2b3c4d]@1000",
            "class-tv[digits-cnn@1a2b3c4d]@1000/train",
        ]


class TestDiversity:
    def test_known_distances(self):
        triangle = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
        assert mean_distance(triangle) == pytest.approx((3 + 4 + 5) / 3, rel=1e-3)
        in_space = torch.nn.functional.pad(triangle, (0, 1))
        assert mean_distance(in_space) == pytest.approx((3 + 4 + 5) / 3)

    def test_ratio(self):
        metric = Diversity(IMAGES)
        real = draw(0, 1500, 8)
        reference = metric.reference(Observation(real, None))
        assert metric.values(Observation(real, None), reference)[0] == pytest.approx(1, rel=0.05)
        half = Observation(real / 2 + 7, None)
        assert metric.values(half, reference)[0] == pytest.approx(0.5, rel=0.05)

    def test_constant_has_none_at_all(self):
        metric = Diversity(IMAGES)
        reference = metric.reference(Observation(draw(0, 50, 8), None))
        constant = torch.full((1000, 8), 1 / 3, dtype=torch.float64)
        assert metric.values(Observation(constant, None), reference) == [0]


class TestNames:
    @pytest.mark.parametrize(
        ("samples", "expected"),
        [
            (1000, "1000"),
            (2500, "2500"),
            (9000, "9000"),
            (10_000, "10k"),
            (12_500, "12500"),
            (50_000, "50k"),
        ],
    )
    def test_counts(self, samples, expected):
        assert Conditions("images", "x@1", samples, "train").count == expected

    @given(st.integers(2, 10**6), st.integers(2, 10**6))
    def test_two_counts_never_share_a_name(self, a, b):
        names = {Conditions("images", "x@1", n, "train").name("fd", reference=True) for n in (a, b)}
        assert len(names) == len({a, b})

    @pytest.mark.parametrize("conditions", [IMAGES, RING, GRID])
    def test_columns_are_unique_and_one_is_primary(self, conditions):
        columns = [c for m in metrics if m.applies(conditions) for c in m(conditions).columns()]
        assert len({column.name for column in columns}) == len(columns)
        assert sum(column.primary for column in columns) == 1
        assert all(column.summary and column.metric in metrics.names() for column in columns)
