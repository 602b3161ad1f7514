"""Thumbnails: points on a line, points in the plane, images; and which runs and moments."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.store.events import SampleFile
from harness.store.reading import read_suite
from reports.cells import SuiteCells, group
from reports.figures.samples import SIDE, histogram_png, points_of, scatter_png, spaced
from reports.figures.style import BAD, GOOD
from reports.sample_files import SampleFolder
from reports.sections.samples import BEST, COMMON, WORST, at_share, build, chosen
from tests.stores import Fate, Where, build_store


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
        found = points_of((tmp_path / "points.npy").read_bytes())
        assert (found is not None) == known


def test_a_mode_that_is_hit_is_a_ring_and_a_missed_one_a_cross() -> None:
    modes = [[-1.0, 0.0], [1.0, 0.0]]
    points = np.zeros((0, 2), np.float32)
    _, orange = colours(scatter_png(points, modes, 0.05, [True, False])[0])
    left, right = orange[:, : SIDE // 2], orange[:, SIDE // 2 :]
    centre = [round(SIDE * (1 - 1 / 1.3) / 2), round(SIDE / 2 * (1 / 1.3))]
    assert not left[SIDE // 2, centre[0]] and left.any()
    assert right[SIDE // 2 - 1 : SIDE // 2 + 1, centre[1] - 1 : centre[1] + 1].any()


def test_points_are_where_they_are() -> None:
    points = np.array([[0.5, 1.0]], np.float32)
    blue, _ = colours(scatter_png(points, [[1.0, 1.0]], 0.0, [False])[0])
    lines, columns = np.nonzero(blue)
    assert columns.mean() == pytest.approx((0.5 / 1.3 + 1) / 2 * SIDE, abs=1.5)
    assert lines.mean() == pytest.approx((1 - 1.0 / 1.3) / 2 * SIDE, abs=1.5)


def test_tiles_are_kept_whole_with_a_clear_line_between() -> None:
    tiles = np.arange(64, dtype=np.uint8).reshape(8, 8)
    grid = Image.fromarray(tiles.repeat(3, 0).repeat(3, 1))
    kept = np.asarray(spaced(grid, 2))
    assert kept.shape == (7, 7, 2)
    assert kept[[0, 0, 4, 4], [0, 4, 0, 4], 0].tolist() == [0, 1, 8, 9]
    assert (kept[3, :, 1] == 0).all() and (kept[:, 3, 1] == 0).all()
    assert spaced(Image.new("L", (9, 9)), 2).size == (9, 9)


def cells_of(tmp_path: Path, values: list[float]) -> SuiteCells:
    def fate(where: Where) -> Fate:
        return Fate("ok", values[where.seed])

    root = build_store(
        tmp_path / "s", datasets=("ring8",), variants=("gan",), tricks=("none",),
        seeds=len(values), fate_of=fate,
    )  # fmt: skip
    return group(read_suite(root))


def test_worst_common_and_best_seed(tmp_path: Path) -> None:
    (cell,) = cells_of(tmp_path, [2.0, 9.0, 1.0, 5.0]).cells
    everything = (WORST, COMMON, BEST)
    found = [(run.planned.seed, roles) for run, roles in chosen(cell, everything, 0)]
    assert found == [(1, (WORST,)), (0, (COMMON,)), (2, (BEST,))]
    found = [(run.planned.seed, roles) for run, roles in chosen(cell, everything, 2)]
    assert found == [(1, (WORST,)), (2, (COMMON, BEST))]
    assert [run.planned.seed for run, _ in chosen(cell, (WORST,), 0)] == [1]


def test_moments_are_the_nearest_samples() -> None:
    events = [SampleFile(step=step, file="") for step in (0, 40, 100)]
    assert [at_share(events, 200, share).step for share in (0, 0.25, 0.5, 1)] == [
        0,
        40,
        100,
        100,
    ]


def test_a_gallery_shows_the_last_moment_of_the_worst_seed_first(tmp_path: Path) -> None:
    section = build(cells_of(tmp_path, [2.0, 9.0, 1.0]))
    (gallery,) = (block for block in section.blocks if block.name == "samples-ring8")
    assert len(gallery.moments) == 5 and len(gallery.ranks) == 3
    shown = gallery.images["gan", "none"]
    assert shown.caption == "seed 1, ok, 9.00"
    assert shown.alt.startswith("500 generated points over the true modes, 8 of 8 hit: ring8, gan")
    frames = (shown, *shown.others)
    assert {rank for frame in frames for rank in frame.ranks} == {0, 1, 2}
    # Samples were taken at the beginning, half way and at the end.
    assert sorted(frame.moment for frame in frames if 0 in frame.ranks) == [0, 2, 4]


def test_files_are_read_from_the_run_s_folder_only(tmp_path) -> None:
    run, secret = tmp_path / "a" / "run", tmp_path / "secret"
    (run / "samples" / "deep").mkdir(parents=True)
    secret.mkdir()
    for folder in (run, run / "samples", run / "samples" / "deep", secret):
        (folder / "x").write_text(folder.name)
    (run / "out").symlink_to(secret)
    (run / "in").symlink_to(run / "samples")
    (run / "samples" / "link").symlink_to(secret / "x")
    (tmp_path / "latest").symlink_to(tmp_path / "a")
    for root in (run, tmp_path / "latest" / "run"):
        files = SampleFolder(root)
        for name in ("x", "samples/x", "samples/deep/x", "in/x", "samples/../x"):
            assert files.read(name) is not None, name
        for name in ("out/x", "samples/link", "../../secret/x", "../x", f"{secret}/x", "gone/x",
                     "samples", "x\0"):  # fmt: skip
            assert files.read(name) is None, name
