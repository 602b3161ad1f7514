"""The energy distance against double sums, SciPy, and samples whose faults are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import energy_distance as scipy_root

from harness.datasets.base import datasets
from harness.metrics.base import Conditions, Observation
from harness.metrics.diversity import mean_distance as mean_pair_distance
from harness.metrics.energy import (
    EnergyDistance,
    Potential,
    ascending,
    directions,
    energy_distance,
    lengthening,
    mean_distance,
    mean_gap,
    reference_energy,
)

REFERENCE = 8000
"""Real points that a double sum can bear."""


def double_sum(x: torch.Tensor, y: torch.Tensor) -> float:
    """Compute the distance from all pairs, one by one."""

    def mean(a: torch.Tensor, b: torch.Tensor) -> float:
        parts = [
            torch.cdist(part, b, compute_mode="donot_use_mm_for_euclid_dist").sum()
            for part in a.split(500)
        ]
        return float(torch.stack(parts).sum()) / len(a) / len(b)

    return 2 * mean(x, y) - mean(x, x) - mean(y, y)


def real(name: str, split: str = "test") -> torch.Tensor:
    return datasets.get(name)().load(split).values[:].double()


def cases(count: int) -> dict[str, torch.Tensor]:
    """Make generators of the ring, right and wrong in known ways."""
    draws = np.random.RandomState(0)
    ring = datasets.get("ring8")()
    test = ring.load("test")
    points, labels = test.values[:].double(), test.labels

    def normal() -> torch.Tensor:
        return torch.from_numpy(draws.standard_normal((count, 2)))

    centres = torch.from_numpy(ring.modes[draws.randint(8, size=count)])
    angles = torch.from_numpy(draws.uniform(0, 2 * math.pi, count))
    covariance = torch.cov(points.T)
    outliers = points[:count].clone()
    outliers[: count // 100] = 10 * normal()[: count // 100]
    return {
        "real": points[:count],
        "wide": centres + 5 * ring.sigma * normal(),
        "wider": centres + 10 * ring.sigma * normal(),
        "outliers": outliers,
        "circle": torch.stack([angles.cos(), angles.sin()], 1) * points.norm(dim=1).mean(),
        "seven": points[labels != 3][:count],
        "alternate": points[labels % 2 == 0][:count],
        "blob": points.mean(0) + normal() @ torch.linalg.cholesky(covariance).T,
        "adjacent": points[labels < 4][:count],
    }


def test_the_plane_agrees_with_the_double_sum():
    reference = real("ring8", "train")[:REFERENCE]
    known = reference_energy(reference)
    for name, points in cases(1000).items():
        exact = double_sum(points, reference)
        assert energy_distance(points, known) == pytest.approx(exact, rel=1e-3, abs=1e-6), name


@pytest.mark.parametrize("name", ["ring8", "grid25"])
def test_no_symmetry_of_modes_deceives_the_directions(name):
    reference = real(name, "train")[:REFERENCE]
    noise = torch.from_numpy(np.random.RandomState(0).standard_normal((1000, 2)))
    points = real(name)[:1000] + 5 * datasets.get(name)().sigma * noise
    exact = double_sum(points, reference)
    assert energy_distance(points, reference_energy(reference)) == pytest.approx(exact, rel=1e-3)


def test_faults_are_in_the_right_order():
    """A blob must not beat a generator that misses one mode of eight, as by moments it does."""
    known = reference_energy(real("ring8", "train"))
    found = {name: energy_distance(points, known) for name, points in cases(1000).items()}
    # Magnitudes at 1,000 samples; the draws move those of the smallest by half.
    expected = {
        "real": 0.0012, "wide": 0.004, "wider": 0.008, "outliers": 0.0025, "circle": 0.016,
        "seven": 0.031, "alternate": 0.05, "blob": 0.053, "adjacent": 0.38,
    }  # fmt: skip
    assert found == {name: pytest.approx(value, rel=0.5) for name, value in expected.items()}
    order = sorted(found, key=lambda name: found[name])
    assert order[0] == "real"
    assert order[1:4] in (["outliers", "wide", "wider"], ["wide", "outliers", "wider"])
    assert order[4:6] == ["circle", "seven"]
    assert set(order[6:8]) == {"alternate", "blob"}
    assert order[8] == "adjacent"


def test_the_line_is_scipys():
    draws = np.random.RandomState(0)
    x, y = draws.standard_normal(700), 0.5 + draws.standard_normal(3000)
    known = reference_energy(torch.from_numpy(y)[:, None])
    # SciPy gives the root of it.
    expected = scipy_root(x, y) ** 2
    assert energy_distance(torch.from_numpy(x)[:, None], known) == pytest.approx(expected, rel=1e-6)


def test_space_is_near_the_double_sum():
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(500, 5, generator=draws).double() + 0.7
    y = torch.randn(2000, 5, generator=draws).double()
    known = reference_energy(y)
    assert energy_distance(x, known) == pytest.approx(double_sum(x, y), rel=0.02)


@pytest.mark.parametrize(("dimensions", "factor"), [(1, 1), (2, math.pi / 2), (3, 2)])
def test_lengthening(dimensions, factor):
    assert lengthening(dimensions) == pytest.approx(factor)


def test_floors_fall_as_one_over_n():
    """The mean over samples of the law is E|Y − Y′| / n: of 200, known to 4 %."""
    train = real("ring8", "train")
    known = reference_energy(train)
    gap = double_sum(train[:1], train[:2000])  # 2E|x − Y| − E|Y − Y′|, on a ring near to the latter
    ring = datasets.get("ring8")()
    draws = np.random.RandomState(0)
    found = []
    for _ in range(200):
        centres = ring.modes[draws.randint(8, size=100)]
        points = torch.from_numpy(centres + ring.sigma * draws.standard_normal((100, 2)))
        found.append(energy_distance(points, known))
    assert np.mean(found) == pytest.approx(gap / 100, rel=0.15)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from(["normal", "cauchy", "steps", "constant"]),
    st.floats(-1e3, 1e3),
    st.floats(1e-3, 1e3),
)
def test_never_negative_and_zero_for_the_same(seed, law, shift, scale):
    draws = np.random.RandomState(seed)
    values = {
        "normal": draws.standard_normal((300, 2)),
        "cauchy": draws.standard_cauchy((300, 2)),
        "steps": draws.randint(0, 3, (300, 2)).astype(float),
        "constant": np.ones((300, 2)),
    }[law]
    y = torch.from_numpy(values * scale + shift)
    known = reference_energy(y)
    itself = energy_distance(y, known)
    spread = float(mean_gap(ascending(directions(2) @ y.T)).mean())
    assert 0 <= itself <= 1e-6 * spread + 1e-9 * (abs(shift) + scale)
    x = y[:100] + scale
    # A shift by a vector of length l moves a law by at least its share of l.
    assert energy_distance(x, known) > itself
    assert energy_distance(x, known) == pytest.approx(
        double_sum(x, y), rel=2e-3, abs=1e-9 * (abs(shift) + scale)
    )


def test_heavy_tails_are_kept_whole():
    """Where equal cells cannot hold the data, nothing is lost but time."""
    draws = np.random.RandomState(0)
    y = torch.from_numpy(draws.standard_cauchy((5000, 2)))
    known = reference_energy(y)
    assert "ordered" in known
    x = torch.from_numpy(draws.standard_cauchy((500, 2)))
    assert energy_distance(x, known) == pytest.approx(double_sum(x, y), rel=2e-2)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 200))
def test_potential_equals_the_mean_distance_inside_and_beyond(seed, count):
    draws = np.random.RandomState(seed)
    ordered = ascending(torch.from_numpy(draws.standard_normal((3, count))))
    potential = Potential._fitted(ordered, 4096)
    x = torch.from_numpy(draws.uniform(-9, 9, (3, 50)))
    expected = (x[:, :, None] - ordered[:, None]).abs().mean(2)
    torch.testing.assert_close(mean_distance(x, ordered), expected)
    torch.testing.assert_close(potential(x), expected, rtol=0, atol=1e-3)
    beyond = (x < ordered[:, :1]) | (x > ordered[:, -1:])
    torch.testing.assert_close(potential(x)[beyond], expected[beyond])


def test_blocks_do_not_matter(monkeypatch):
    known = reference_energy(real("ring8", "train")[:2000])
    points = real("ring8")[:3000]
    whole = energy_distance(points, known)
    monkeypatch.setattr("harness.metrics.energy.BLOCK", 1)
    assert energy_distance(points, known) == pytest.approx(whole, rel=1e-12)


def test_diversity_of_points_is_the_mean_over_pairs():
    points = real("ring8")[:500]
    assert mean_pair_distance(points) == pytest.approx(float(torch.pdist(points).mean()), rel=1e-3)
    line = real("gauss1d")[:500]
    assert mean_pair_distance(line) == pytest.approx(float(torch.pdist(line).mean()), rel=1e-9)


def test_it_is_the_primary_of_points_alone():
    points = Conditions("points", "data", 1000, "train")
    (column,) = EnergyDistance(points).columns()
    assert (column.name, column.better, column.primary) == (
        "energy[data]@1000/train",
        "lower",
        True,
    )
    assert not EnergyDistance.applies(Conditions("images", "x@1", 1000, "train"))


def test_a_single_point_has_a_distance():
    known = EnergyDistance(Conditions("points", "data", 1, "train")).reference(
        Observation(real("ring8", "train")[:500], None)
    )
    assert energy_distance(torch.zeros(1, 2).double(), known) > 0.5
