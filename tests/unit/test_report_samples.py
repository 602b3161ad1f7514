"""Thumbnails of points on a line: a histogram under the true density."""

import io

import numpy as np
import pytest
from PIL import Image

from reports.figures.samples import SIDE, histogram_png, read_points
from reports.figures.style import BAD, GOOD


def colours(png: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return where a picture is blue and where it is orange."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))
    return tuple(
        (pixels[..., :3] == [int(colour[i : i + 2], 16) for i in (1, 3, 5)]).all(2)
        & (pixels[..., 3] > 0)
        for colour in (GOOD, BAD)
    )


def test_bars_are_the_counts() -> None:
    points = np.random.RandomState(0).normal(2, 0.5, (2000, 1)).astype(np.float32)
    png, outside = histogram_png(points, None, None)
    blue, _ = colours(png)
    reach = 1.3 * float(abs(points).max())
    assert outside == 0
    counts, _ = np.histogram(points, bins=SIDE // 4, range=(-reach, reach))
    expected = counts / counts.max() * (SIDE - 8)
    assert np.abs(blue.sum(axis=0)[2::4] - expected).max() <= 1
    assert blue[-1].sum() == 4 * (expected >= 0.5).sum()


def test_the_curve_is_the_density_on_the_scale_of_the_bars() -> None:
    points = np.random.RandomState(0).normal(2, 0.5, (200_000, 1)).astype(np.float32)
    blue, orange = colours(histogram_png(points, [[2.0]], 0.5)[0])
    reach = 1.3 * 3.5
    axis = (np.arange(SIDE) + 0.5) / SIDE * 2 * reach - reach
    curve = SIDE - np.array([np.flatnonzero(column).mean() for column in orange.T])
    density = np.exp(-((axis - 2) ** 2) / 0.5)
    assert curve / curve.max() == pytest.approx(density, abs=0.04)
    tops = SIDE - (blue | orange).argmax(axis=0)
    assert np.abs(tops - curve).max() < 0.1 * SIDE


def test_points_out_of_view_are_counted_and_no_mode_is_no_curve() -> None:
    points = np.array([[0.0], [9.0], [-9.0]], np.float32)
    _, outside = histogram_png(points, [[-2.0], [2.0]], 0.5)
    assert outside == 2
    blue, orange = colours(histogram_png(points, None, None)[0])
    assert blue.any()
    assert not orange.any()


def test_no_points_at_all_still_show_the_truth() -> None:
    blue, orange = colours(histogram_png(np.zeros((0, 1), np.float32), [[2.0]], 0.5)[0])
    assert orange.any()
    assert not blue.any()


def test_points_of_one_and_two_dimensions_are_read(tmp_path) -> None:
    for dimensions, known in ((1, True), (2, True), (3, False)):
        np.save(tmp_path / "points.npy", np.ones((5, dimensions), np.float32))
        found = read_points(tmp_path / "points.npy")
        assert (found is not None) == known
