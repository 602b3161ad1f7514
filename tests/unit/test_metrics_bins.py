"""NDB and JSD, and the distance without bias: against scipy, by formula and by property."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency

from harness.metrics.base import Conditions, Observation, metrics
from harness.metrics.bins import (
    BINS,
    Bins,
    different_bins,
    jensen_shannon,
    k_means,
    nearest,
)
from harness.metrics.extractors.inception import FID_LABEL
from harness.metrics.frechet import distance_to, reference_moments
from harness.metrics.frechet_infinity import POINTS, FrechetInfinity, intercept

IMAGES = Conditions("images", "digits-cnn@1a2b3c4d", 2000, "train", classes=10)


def draw(seed: int, count: int, dimensions: int = 8, shift: float = 0.0) -> torch.Tensor:
    """Draw features of a normal distribution, float64."""
    random = np.random.RandomState(seed)
    return torch.from_numpy(random.standard_normal((count, dimensions)) + shift)


class TestClusters:
    def test_finds_separate_clusters(self):
        random = np.random.RandomState(0)
        middles = torch.from_numpy(100 * random.standard_normal((BINS, 4)))
        member = torch.arange(3000) % BINS
        features = middles[member] + draw(1, 3000, 4) / 100
        centres = k_means(features, BINS)
        found = nearest(features, centres)
        assert len(found.unique()) == BINS
        assert (torch.bincount(found) == 30).all()
        expected = torch.stack([features[member == i].mean(0) for i in range(BINS)])
        gaps = (expected[:, None] - centres).norm(dim=2).min(1).values
        assert (gaps < 1e-9).all()

    def test_is_a_fixed_point_and_repeats_itself(self):
        features = draw(0, 800)
        centres = k_means(features, 20)
        assert torch.equal(centres, k_means(features, 20))
        member = nearest(features, centres)
        assert torch.equal(member, torch.cdist(features, centres).argmin(1))
        for cluster in range(20):
            own = features[member == cluster].mean(0)
            assert torch.allclose(own, centres[cluster], atol=1e-9)

    def test_fewer_different_examples_than_clusters(self):
        features = draw(0, 7).repeat(20, 1)
        centres = k_means(features, 10)
        assert centres.shape == (10, 8)
        assert centres.isfinite().all()


class TestBins:
    @pytest.mark.parametrize("sizes", [(200, 300), (1000, 1000), (50, 5000)])
    def test_z_test_is_the_chi_squared_test_without_correction(self, sizes):
        random = np.random.RandomState(sizes[0])
        shares = random.dirichlet(np.ones(40), size=2)
        a, b = (random.multinomial(n, p) for n, p in zip(sizes, shares, strict=True))
        expected = 0
        for x, y in zip(a, b, strict=True):
            if x + y:
                table = [[x, a.sum() - x], [y, b.sum() - y]]
                expected += chi2_contingency(table, correction=False).pvalue < 0.05
        assert different_bins(torch.from_numpy(a), torch.from_numpy(b)) == expected
        assert 0 < expected < 40

    def test_divergence_is_scipys(self):
        random = np.random.RandomState(0)
        a, b = random.poisson(2, 50), random.poisson(4, 50)
        a[:5] = b[:3] = 0
        found = jensen_shannon(torch.from_numpy(a), torch.from_numpy(b))
        assert found == pytest.approx(jensenshannon(a, b) ** 2)
        assert jensen_shannon(torch.tensor([3, 0]), torch.tensor([0, 9])) == pytest.approx(
            math.log(2)
        )
        assert jensen_shannon(torch.tensor([3, 1]), torch.tensor([6, 2])) == pytest.approx(0)

    def test_a_fair_sampler_scores_five_of_a_hundred(self):
        metric = Bins(IMAGES)
        # Bins of one half of the data, counts of fresh draws on both sides: the test's own level.
        centres = k_means(draw(99, 4000), BINS)
        found = []
        for seed in range(20):
            counts = [
                torch.bincount(nearest(draw(2 * seed + side, 4000), centres), minlength=BINS)
                for side in (0, 1)
            ]
            found.append(different_bins(*counts))
        assert np.mean(found) == pytest.approx(5, abs=1.5)
        # As it is used, with counts of the very data that the bins were made of.
        reference = metric.reference(Observation(draw(99, 4000), None))
        fresh = [metric.values(Observation(draw(s, 2000), None), reference)[0] for s in range(8)]
        assert np.mean(fresh) == pytest.approx(5, abs=3)

    def test_a_generator_of_part_of_the_data_scores_many(self):
        metric = Bins(IMAGES)
        reference = metric.reference(Observation(draw(0, 4000), None))
        half = draw(1, 6000)
        half = half[half[:, 0] > 0][:2000]
        different, divergence = metric.values(Observation(half, None), reference)
        assert different > 60
        fair, small = metric.values(Observation(draw(2, 2000), None), reference)
        assert fair < 15
        assert small < divergence / 5

    def test_too_few_reference_images_leave_it_undefined(self):
        metric = Bins(IMAGES)
        reference = metric.reference(Observation(draw(0, BINS - 1), None))
        assert all(map(math.isnan, metric.values(Observation(draw(1, 200), None), reference)))

    def test_columns(self):
        assert [column.name for column in Bins(IMAGES).columns()] == [
            "ndb[digits-cnn@1a2b3c4d]@2000/train",
            "jsd[digits-cnn@1a2b3c4d]@2000/train",
        ]
        assert not Bins.applies(Conditions("points", "data", 2500, "train"))


class TestFrechetInfinity:
    def test_intercept_of_an_exact_line(self):
        counts = [100, 200, 400, 1000]
        assert intercept(counts, [3 + 70 / n for n in counts]) == pytest.approx(3)

    def test_is_free_of_most_of_the_bias(self):
        real = reference_moments(draw(0, 60_000, 30))
        metric = FrechetInfinity(IMAGES)
        plain, extrapolated = [], []
        for seed in range(4):
            # Shifted by .3 along each of 30 axes: the true distance is 30 · .09.
            generated = draw(seed + 1, 2000, 30, shift=0.3)
            plain.append(distance_to(generated, real))
            extrapolated.append(metric.values(Observation(generated, None), real)[0])
        bias, rest = np.mean(plain) - 2.7, np.mean(extrapolated) - 2.7
        assert bias > 0.08
        assert abs(rest) < bias / 3

    def test_is_measured_of_images_on_request_only(self):
        assert metrics.get("frechet-infinity") is FrechetInfinity
        assert [metric.id for metric in metrics if metric.on_request] == ["frechet-infinity"]
        few = Conditions("images", "digits-cnn@1a2b3c4d", 20 * POINTS - 1, "train")
        assert not FrechetInfinity.applies(few)
        assert not FrechetInfinity.applies(Conditions("points", "data", 2500, "train"))

    def test_name(self):
        assert FrechetInfinity(IMAGES).columns()[0].name == (
            "fd-infinity[digits-cnn@1a2b3c4d]@2000/train"
        )
        inception = Conditions("images", FID_LABEL, 50_000, "train")
        assert FrechetInfinity(inception).columns()[0].name == "fid-infinity@50k/train"

    def test_too_few_samples_and_overflow_are_nan(self):
        metric = FrechetInfinity(IMAGES)
        reference = metric.reference(Observation(draw(0, 500), None))
        assert math.isnan(metric.values(Observation(draw(1, 12), None), reference)[0])
        assert math.isnan(metric.values(Observation(draw(1, 500) * 1e200, None), reference)[0])
