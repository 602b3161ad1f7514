"""Metrics of pairs: against torch-fidelity, against loops over examples, and by property."""

import math

import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from harness.metrics import kernel, pairs
from harness.metrics.base import Conditions, Observation
from harness.metrics.density_coverage import DensityCoverage
from harness.metrics.duplicates import Duplicates, close_distance
from harness.metrics.extractors.inception import FID_LABEL
from harness.metrics.kernel import KernelDistance
from harness.metrics.pairs import PairMetric, blocks, measure_pairs, radii, squared_distances
from harness.metrics.precision_recall import PrecisionRecall

KINDS = (DensityCoverage, Duplicates, KernelDistance, PrecisionRecall)


def draw(seed: int, count: int, dimensions: int = 12, shift: float = 0.0) -> torch.Tensor:
    """Draw features of a normal distribution, float64."""
    random = np.random.RandomState(seed)
    return torch.from_numpy(random.standard_normal((count, dimensions)) + shift)


def conditions(samples: int, **changes) -> Conditions:
    return Conditions("images", "digits-cnn@1a2b3c4d", samples, "train", **changes)


def measure(kind: type[PairMetric], generated: torch.Tensor, real: torch.Tensor, **changes):
    metric = kind(conditions(len(generated), **changes))
    reference = metric.reference(Observation(real, None))
    return metric.values(Observation(generated, None), reference), reference


def all_distances(first: torch.Tensor, second: torch.Tensor) -> np.ndarray:
    """Compute every Euclidean distance from its differences."""
    return np.linalg.norm(first.numpy()[:, None] - second.numpy()[None], axis=2)


def naive_prdc(real: torch.Tensor, generated: torch.Tensor, k: int) -> dict[str, float]:
    """Compute the four numbers as the papers define them, example by example."""
    among_real, among_generated = all_distances(real, real), all_distances(generated, generated)
    across = all_distances(real, generated)
    of_real, of_generated = (np.sort(d, axis=1)[:, k] for d in (among_real, among_generated))
    n = len(generated)
    precise = [any(across[i, j] <= of_real[i] for i in range(len(real))) for j in range(n)]
    recalled = [any(across[i, j] <= of_generated[j] for j in range(n)) for i in range(len(real))]
    hits = sum(across[i, j] < of_real[i] for i in range(len(real)) for j in range(n))
    covered = [across[i].min() < of_real[i] for i in range(len(real))]
    return {
        "precision": float(np.mean(precise)),
        "recall": float(np.mean(recalled)),
        "density": float(hits) / (k * n),
        "coverage": float(np.mean(covered)),
    }


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setitem(pairs.BLOCK, "cpu", 1000)


class TestBlocks:
    @pytest.mark.parametrize("size", [1, 700, 1001, 2**20])
    def test_every_pair_comes_once(self, size, monkeypatch):
        monkeypatch.setitem(pairs.BLOCK, "cpu", size)
        generated, real = draw(0, 37, 3), draw(1, 53, 3)
        seen = list(blocks(generated, real))
        own = torch.cat([block.own_distances for block in seen])
        cross = torch.cat([block.cross_distances for block in seen])
        assert own.sqrt().numpy() == pytest.approx(all_distances(generated, generated), abs=1e-9)
        assert cross.sqrt().numpy() == pytest.approx(all_distances(generated, real))
        assert torch.cat([block.cross for block in seen]).numpy() == pytest.approx(
            (generated @ real.T).numpy()
        )
        assert [i for block in seen for i in range(37)[block.rows]] == list(range(37))

    def test_the_same_example_has_distance_zero(self):
        features = 1e3 + draw(0, 200, 64)
        twice = torch.cat([features, features[:100]])
        norms = twice.square().sum(1)
        distances = squared_distances(twice @ twice.T, norms, norms)
        assert (distances.diagonal() == 0).all()
        assert (distances[:100, 200:].diagonal() == 0).all()
        apart = distances[:200, :200] + torch.eye(200) * 99
        assert apart.min() > 0

    def test_radii_are_those_of_the_kth_other(self):
        features = draw(0, 80)
        expected = np.sort(all_distances(features, features), axis=1)
        for k in (1, 3, 5):
            assert radii(features, k).sqrt().numpy() == pytest.approx(expected[:, k])

    def test_one_pass_serves_all(self, monkeypatch):
        passes = []
        count = pairs.blocks
        monkeypatch.setattr(pairs, "blocks", lambda *args: passes.append(1) or count(*args))
        generated, real = draw(0, 1100, shift=0.3), draw(1, 1300)
        metrics = [kind(conditions(1100)) for kind in KINDS]
        references = [metric.reference(Observation(real, None)) for metric in metrics]
        observed = Observation(generated, None)
        together = measure_pairs(metrics, references, observed)
        assert len(passes) == 1
        alone = [m.values(observed, r) for m, r in zip(metrics, references, strict=True)]
        assert together == alone
        assert len(passes) == 1 + len(KINDS)
        assert measure_pairs([], [], observed) == []

    @pytest.mark.parametrize("kind", KINDS)
    def test_size_of_the_blocks_does_not_matter(self, kind, monkeypatch):
        generated, real = draw(0, 1000, shift=0.3), draw(1, 1200)
        expected, _ = measure(kind, generated, real)
        monkeypatch.setitem(pairs.BLOCK, "cpu", 50_001)
        assert measure(kind, generated, real)[0] == pytest.approx(expected, rel=1e-12)

    def test_as_many_reference_examples_as_generated_always_the_same(self):
        real = draw(1, 500)
        (_, first), (_, second) = (measure(PrecisionRecall, draw(s, 200), real) for s in (0, 5))
        assert torch.equal(first["features"], second["features"])
        assert len(first["features"]) == 200
        assert all((row == real).all(1).any() for row in first["features"])
        _, fewer = measure(PrecisionRecall, draw(0, 900), real)
        assert torch.equal(fewer["features"], real)

    def test_no_more_than_are_compared(self):
        generated, real = draw(0, 300), draw(1, 400)
        part, reference = measure(PrecisionRecall, generated, real, most_compared=100)
        assert len(reference["features"]) == 100
        assert part == measure(PrecisionRecall, generated[:100], real)[0]
        metric = PrecisionRecall(conditions(26_000))
        assert [column.name for column in metric.columns()] == [
            "precision[digits-cnn@1a2b3c4d]@2500/train",
            "recall[digits-cnn@1a2b3c4d]@2500/train",
        ]
        wide = PrecisionRecall(conditions(50_000, most_compared=10_000))
        assert wide.columns()[0].name == "precision[digits-cnn@1a2b3c4d]@10k/train"

    def test_points_have_mode_coverage_instead(self):
        points = Conditions("points", "data", 2500, "train")
        assert not any(kind.applies(points) for kind in KINDS)


class TestPrecisionRecall:
    @pytest.mark.parametrize(("n", "m"), [(300, 300), (150, 400), (400, 150)])
    @pytest.mark.parametrize("save_cpu_ram", [True, False])
    def test_equals_torch_fidelity(self, n, m, save_cpu_ram):
        generated, real = draw(n, n, shift=0.4), draw(m + 7, m)
        (precision, recall), reference = measure(PrecisionRecall, generated, real)
        expected = prc_features_to_metric(
            generated, reference["features"], save_cpu_ram=save_cpu_ram, verbose=False
        )
        assert 0.3 < precision < 1 and 0.3 < recall < 1
        assert precision == pytest.approx(expected["precision"], rel=1e-6)
        assert recall == pytest.approx(expected["recall"], rel=1e-6)

    def test_equals_the_definition(self, small_blocks):
        generated, real = draw(0, 120, 4, shift=0.7), draw(1, 120, 4)
        (precision, recall), _ = measure(PrecisionRecall, generated, real)
        expected = naive_prdc(real, generated, 3)
        assert [precision, recall] == pytest.approx([expected["precision"], expected["recall"]])

    def test_constant_and_shifted_generators(self):
        real = draw(1, 200)
        constant = real[:1].expand(200, -1)
        assert measure(PrecisionRecall, constant, real)[0] == [1, 1 / 200]
        assert measure(PrecisionRecall, draw(0, 200, shift=50), real)[0] == [0, 0]
        assert measure(PrecisionRecall, real, real)[0] == [1, 1]

    def test_too_few_are_nan(self):
        for n, m in ((3, 50), (50, 3)):
            assert all(map(math.isnan, measure(PrecisionRecall, draw(0, n), draw(1, m))[0]))


class TestDensityCoverage:
    @pytest.mark.parametrize(("n", "m"), [(120, 120), (60, 130), (130, 60)])
    def test_equals_the_definition(self, n, m, small_blocks):
        generated, real = draw(n, n, 4, shift=0.7), draw(m + 7, m, 4)
        numbers, reference = measure(DensityCoverage, generated, real)
        expected = naive_prdc(reference["features"], generated, 5)
        assert numbers == pytest.approx([expected["density"], expected["coverage"]])
        assert 0.2 < numbers[1] < 1

    def test_equals_the_authors_package(self):
        prdc = pytest.importorskip("prdc", reason="the package prdc is not installed")
        generated, real = draw(0, 300, shift=0.4), draw(1, 300)
        expected = prdc.compute_prdc(real.numpy(), generated.numpy(), nearest_k=5)
        numbers, _ = measure(DensityCoverage, generated, real)
        assert numbers == pytest.approx([expected["density"], expected["coverage"]])

    def test_real_data_score_one_and_the_papers_coverage(self):
        # E coverage = 1 − Π (n−i)/(2n−i) for i of 1…k, which is 1 − 2⁻⁵ for large n.
        density, coverage = np.mean(
            [
                measure(DensityCoverage, draw(2 * s, 800, 16), draw(2 * s + 1, 800, 16))[0]
                for s in range(3)
            ],
            axis=0,
        )
        assert density == pytest.approx(1, abs=0.06)
        assert coverage == pytest.approx(1 - 2**-5, abs=0.01)

    def test_a_constant_generator_covers_those_whose_balls_it_is_in(self):
        real = draw(1, 300, 2)
        centre = real[real.square().sum(1).argmin()].expand(300, -1)
        density, coverage = measure(DensityCoverage, centre, real)[0]
        assert 0 < coverage < 0.05
        assert density * 5 == pytest.approx(coverage * 300)

    def test_too_few_are_nan(self):
        assert all(map(math.isnan, measure(DensityCoverage, draw(0, 50), draw(1, 5))[0]))
        assert not any(map(math.isnan, measure(DensityCoverage, draw(0, 6), draw(1, 6))[0]))


class TestKernel:
    def test_equals_torch_fidelity_at_its_defaults(self):
        generated, real = draw(0, 1010), draw(1, 1010, shift=0.2)
        (distance,), reference = measure(KernelDistance, generated, real)
        expected = kid_features_to_metric(generated, reference["features"], verbose=False)
        assert distance == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-6)

    @pytest.mark.parametrize(("n", "m"), [(1000, 1000), (1000, 1300), (1300, 1000), (1100, 1200)])
    def test_equals_torch_fidelity(self, n, m, monkeypatch):
        monkeypatch.setattr(kernel, "SUBSETS", 5)
        generated, real = draw(n, n, shift=0.2), draw(m + 7, m)
        (distance,), reference = measure(KernelDistance, generated, real)
        expected = kid_features_to_metric(
            generated, reference["features"], kid_subsets=5, verbose=False
        )
        assert distance == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-6)
        assert distance > 0.05

    def test_fewer_samples_are_one_subset(self):
        generated, real = draw(0, 300, shift=0.2), draw(1, 1000)
        metric = KernelDistance(conditions(300))  # as for a floor of fewer held-out examples
        reference = metric.reference(Observation(real, None))
        (distance,) = metric.values(Observation(generated, None), reference)
        kept = reference["features"]
        expected = kid_features_to_metric(generated, kept, kid_subset_size=300, verbose=False)
        assert distance == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-6)

    @pytest.mark.parametrize(("n", "m"), [(1000, 300), (300, 300), (1000, 999)])
    def test_a_reference_of_fewer_than_its_name_says_gives_no_number(self, n, m):
        metric = KernelDistance(conditions(1000))
        reference = metric.reference(Observation(draw(1, m), None))
        (distance,) = metric.values(Observation(draw(0, n), None), reference)
        assert math.isnan(distance)

    def test_is_unbiased(self):
        values = [
            measure(KernelDistance, draw(2 * s, 1000, 4), draw(2 * s + 1, 1000, 4))[0][0]
            for s in range(12)
        ]
        assert min(values) < 0 < max(values)
        assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(len(values) - 1)

    def test_applies_from_a_whole_subset_on(self):
        assert not KernelDistance.applies(conditions(999))
        assert KernelDistance.applies(conditions(1000))
        assert not KernelDistance.applies(conditions(5000, most_compared=999))
        metric = KernelDistance(conditions(1000))
        assert metric.columns()[0].name == "kd[digits-cnn@1a2b3c4d]@1000/train"
        assert "100 subsets of 1000" in metric.columns()[0].summary
        inception = Conditions("images", FID_LABEL, 50_000, "train", most_compared=10_000)
        assert KernelDistance(inception).columns()[0].name == "kid@10k/train"

    def test_one_example_has_none(self):
        metric = KernelDistance(conditions(1000))
        reference = metric.reference(Observation(draw(1, 1000), None))
        assert math.isnan(metric.values(Observation(draw(0, 1), None), reference)[0])


class TestDuplicates:
    def test_equals_the_definition(self, small_blocks):
        generated, real = draw(0, 150, 2), draw(1, 140, 2)
        (share,), _ = measure(Duplicates, generated, real)
        upper = [all_distances(f, f)[np.triu_indices(len(f), 1)] for f in (generated, real)]
        rank = math.ceil(len(upper[1]) / 1000)
        threshold = np.sort(upper[1])[rank - 1]
        assert close_distance(real).sqrt() == pytest.approx(threshold)
        assert share == pytest.approx(np.mean(upper[0] <= threshold))
        assert share > 0

    def test_a_fair_sampler_has_one_in_a_thousand(self):
        real = draw(1, 1500, 3)
        assert measure(Duplicates, real, real)[0][0] == pytest.approx(0.001, rel=0.01)
        assert measure(Duplicates, draw(0, 1500, 3), real)[0][0] == pytest.approx(0.001, rel=0.3)

    def test_repeated_images_are_duplicates(self):
        real = draw(1, 1000)
        # Of 10 images, each appears a hundred times: 10 · C(100, 2) of C(1000, 2) pairs.
        repeated = draw(0, 10, shift=3).repeat(100, 1)
        (share,), _ = measure(Duplicates, repeated, real)
        assert share == pytest.approx(10 * 4950 / 499_500)
        assert measure(Duplicates, real[:1].expand(1000, -1), real)[0] == [1]

    def test_where_real_images_repeat_themselves_too(self):
        real = draw(1, 50).repeat(4, 1)
        assert measure(Duplicates, real[:1].expand(200, -1), real)[0] == [1]
        assert measure(Duplicates, draw(0, 200), real)[0] == [0]

    def test_single_examples_have_none(self):
        assert math.isnan(measure(Duplicates, draw(0, 1), draw(1, 9))[0][0])
        assert math.isnan(measure(Duplicates, draw(0, 9), draw(1, 1))[0][0])
