"""``r.plot`` draws what frames hold, one plot for each data set."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

import ganbench
from harness.errors import GanbenchError
from reports.effects import cell_effects
from reports.plots import Plots
from reports.results import Results
from tests.stores import Fate, build_store

KINDS = ("effects", "curves", "modes", "survival")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    root = tmp_path_factory.mktemp("plots") / "suite"
    return ganbench.load(build_store(root, tricks=("none", "label-smoothing", "dropout-g")))


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    with matplotlib.rc_context({"backend": "agg"}):
        yield
        plt.close("all")


@pytest.mark.parametrize("kind", KINDS)
def test_one_plot_for_each_data_set_or_the_one_that_is_named(kind: str, results: Results) -> None:
    before = dict(matplotlib.rcParams)
    plots = getattr(results.plot, kind)()
    assert [plot.get_title(loc="left") for plot in plots] == ["ring8", "digits"]
    one = getattr(results.plot, kind)(dataset="digits")
    assert isinstance(one, Axes) and one.get_title(loc="left") == "digits"
    _, mine = plt.subplots()
    assert getattr(results.plot, kind)(dataset="digits", ax=mine) is mine
    with pytest.raises(GanbenchError, match="no run has dataset 'mnist'; there is ring8, digits"):
        getattr(results.plot, kind)(dataset="mnist")
    with pytest.raises(GanbenchError, match="one plot cannot show 2 data sets"):
        getattr(results.plot, kind)(ax=mine)
    plots[0].figure.canvas.draw()
    assert dict(matplotlib.rcParams) == before


def test_the_map_has_the_ratios(results: Results) -> None:
    plot = results.plot.effects("ring8")
    assert isinstance(plot, Axes)
    shown = np.ma.filled(plot.collections[0].get_array(), math.nan)
    ratios = [e.survivors_ratio for c, e in cell_effects(results.cells) if c.dataset == "ring8"]
    expected = [math.nan if ratio is None else math.log2(ratio) for ratio in ratios]
    assert shown.ravel() == pytest.approx(expected, nan_ok=True)


def test_curves_are_those_of_the_runs_and_their_medians(results: Results) -> None:
    plot = results.plot.curves(dataset="ring8", variant="gan")
    assert isinstance(plot, Axes) and plot.get_ylabel() == "fd"
    thin = [line for line in plot.lines if line.get_linewidth() < 1]
    assert len(thin) == 15
    shown = sorted(tuple(line.get_ydata()) for line in thin)
    cells = [c for c in results.cells.of_dataset("ring8") if c.variant == "gan"]
    told = sorted(
        tuple(value for _, value in result.curve("fd[data]@500/test"))
        for cell in cells
        for result in cell.results
    )
    assert shown == told
    other = results.plot.curves(metric="cs", dataset="ring8")
    assert isinstance(other, Axes) and other.get_ylabel() == "cs"
    with pytest.raises(GanbenchError, match=r"no evaluation has a metric 'fid'; there is fd, cs"):
        results.plot.curves(metric="fid")
    with pytest.raises(GanbenchError, match="no run has variant 'sngan'"):
        results.plot.curves(variant="sngan")


def test_survival_is_the_share_that_has_not_failed(results: Results) -> None:
    plot = results.plot.survival("ring8")
    assert isinstance(plot, Axes)
    runs = results.runs[results.runs.dataset == "ring8"]
    shares = sorted(1 - group.failed.mean() for _, group in runs.groupby("tricks", observed=True))
    ends = [np.interp(0.999, line.get_xdata(), line.get_ydata()) for line in plot.lines]
    at_end = sorted(
        line.get_ydata()[np.flatnonzero(np.asarray(line.get_xdata()) <= 1)[-1]]
        for line in plot.lines
    )
    assert len(ends) == 3 and at_end == pytest.approx(shares)


def test_samples_of_points_and_of_images(results: Results) -> None:
    runs = results.runs.groupby("dataset", observed=True).run.first()
    points, image = (results.plot.samples(runs[name]) for name in ("ring8", "digits"))
    assert len(points.collections[0].get_offsets()) == 500 and len(points.patches) == 8
    assert image.images[0].get_array().shape[:2] == (64, 64)
    with pytest.raises(GanbenchError, match="no run has an id that begins with 'xyz'"):
        results.plot.samples("xyz")
    with pytest.raises(GanbenchError, match="with ''"):
        results.plot.samples("")


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_to_draw_is_said(kind: str, tmp_path: Path) -> None:
    root = build_store(tmp_path / "s", datasets=("ring8",), fate_of=lambda where: Fate("missing"))
    empty = ganbench.load(root)
    plot = getattr(Plots(empty), kind)()
    assert [text.get_text() for text in plot.texts] == ["nothing to draw yet"]
    with pytest.raises(GanbenchError, match="has saved no samples; it is missing"):
        empty.plot.samples(empty.runs.run[0])
