"""Every figure can be read: no text overlaps another, is cut off, or stands twice on an axis."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.ticker import FixedLocator

from reports.build import compose, write_report
from reports.document import Document, Figure
from reports.figures.correlations import Correlations, draw_correlations
from reports.figures.cost import Priced, draw_cost
from reports.figures.curves import draw_cliff, draw_curves, draw_diagnostics
from reports.figures.densities import draw_densities
from reports.figures.effects import effect_map, forest, share_map
from reports.figures.failures import draw_courses
from reports.figures.pooled import draw_profiles, draw_scores
from reports.figures.probes import Probed, draw_probes
from reports.figures.rates import RateCurve, draw_rates
from reports.figures.style import (
    CUT,
    NARROW,
    TickText,
    draw_estimate,
    facets,
    powers,
    short_apart,
    styled,
    to_svg,
)
from reports.figures.survival import draw_survival
from reports.figures.theory import Snapshot, draw_generator_gradients, draw_optimal_discriminator
from reports.statistics.intervals import Interval
from tests.figure_texts import drawn_figures
from tests.stores import Fate, Where, build_store, write_tuning
from tests.unit.test_figures_effects import effect

LONG = {
    "v1": "wgan-gp(penalty_weight=0.1, d_steps=5)",
    "v2": "wgan-gp(penalty_weight=10.0, d_steps=5)",
    "v3": "gan-saturating",
    "t1": "settings(lr_g=0.001, optimizer=adam, lr_d=0.1) + spectral-norm",
    "t2": "settings(lr_g=0.001, optimizer=adam, lr_d=0.002) + spectral-norm",
    "ring8": "gauss1d(gaussians=2, sigma=0.05)",
}


def huge(where: Where) -> Fate:
    name = f"{where.variant}{where.tricks}{where.seed}"
    return Fate("ok", 10.0 ** (zlib.crc32(name.encode()) % 19 - 9))


def half_diverged(where: Where) -> Fate:
    return Fate("ok" if where.seed % 2 else "diverged", float("nan"))


def crashed(where: Where) -> Fate:
    return Fate("crashed", 1.0)


SHAPES: dict[str, dict[str, Any]] = {
    "usual": {"tricks": ("none", "label-smoothing", "dropout-g")},
    "long names": {
        "datasets": ("ring8",), "variants": ("v1", "v2", "v3"), "tricks": ("none", "t1", "t2"),
        "seeds": 3, "labels": LONG,
    },
    "one run": {"datasets": ("ring8",), "variants": ("gan",), "tricks": ("none",), "seeds": 1},
    "one seed": {"seeds": 1},
    "all failed": {"fate_of": lambda where: Fate("collapsed", 9.0)},
    "all equal": {"fate_of": lambda where: Fate("ok", 1.0)},
    "no numbers": {"fate_of": half_diverged},
    "from 1e-9 to 1e9": {"fate_of": huge, "tricks": ("none", "ema", "ttur")},
}  # fmt: skip


QUICK = ("usual", "long names", "one run")
"""Shapes that are drawn each time; the others take too long."""


@pytest.mark.parametrize(
    "shape",
    [pytest.param(shape, marks=[pytest.mark.slow] * (shape not in QUICK)) for shape in SHAPES],
)
def test_every_figure_of_a_report(shape: str, tmp_path: Path) -> None:
    root = build_store(tmp_path / "suite", **SHAPES[shape])
    write_tuning(root)
    with drawn_figures() as figures:
        document = compose(root)
    assert len(figures) >= len(document.figures()) > 3
    assert [fault for figure in figures for fault in figure.faults()] == []


def snapshot(step: int) -> Snapshot:
    x = np.linspace(-6, 6, 60)
    p = np.exp(-((x - 2) ** 2))
    return Snapshot(step, x, p, p[::-1] * 3, np.linspace(0, 1, 60), True)


NAMES = [*LONG.values(), "gan"]
OTHERS: dict[str, Callable[[], str]] = {
    "probes": lambda: draw_probes(
        [(name, Probed((0.9, 0.92), 0.91, Interval(0.78, 1.0), 0.5)) for name in NAMES],
        {"k-means features": 0.93, "raw pixels": 0.88},
    ),
    "close probes": lambda: draw_probes(
        [("gan", Probed((0.9001, 0.9002), 0.90015, None, None))], {"raw pixels": 0.9}
    ),
    "rates": lambda: draw_rates(
        {
            name: RateCurve((1e-4, 1e-3, 1e-2), ((1.0, 2.0), (0.1,), ()), (0, 1, 3),
                            (1.5, 0.1, float("inf")), (1e-3, 1e-3), 9.0)
            for name in NAMES
        },
        "fd",
    ),
    "optimum": lambda: draw_optimal_discriminator(
        {f"{name}, none": [snapshot(s) for s in (0, 25000, 50000)] for name in NAMES}
    ),
    "gradients": lambda: draw_generator_gradients(dict.fromkeys(NAMES[:2], 0.2)),
    "correlations": lambda: draw_correlations(
        {
            title: [(n, Correlations((0.1,), 0.1, Interval(-1, 1), -1.0, None)) for n in NAMES]
            for title in ("d_loss", "g_loss", "logit_gap")
        }
    ),
    "many tricks": lambda: effect_map(
        NAMES,
        [f"{LONG['t1']} {i}" for i in range(20)],
        {(NAMES[0], f"{LONG['t1']} 3"): effect(0.5, 0.1, (1, 2))},
    ),
    "scores": lambda: draw_scores([(name, 0.5, Interval(0.2, 1.4)) for name in NAMES]),
    "costs": lambda: draw_cost(
        {"cpu": [Priced(n, 1.0 + i / 50, 2.0 - i / 50, True) for i, n in enumerate(NAMES)]},
        "fd", lower=True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_figures_that_few_suites_have(name: str) -> None:
    with drawn_figures() as figures:
        drawing = OTHERS[name]()
    assert drawing and len(figures) == 2
    assert [fault for figure in figures for fault in figure.faults()] == []


@pytest.mark.parametrize("name", OTHERS)
def test_a_narrow_screen_has_a_figure_of_its_own_and_both_are_the_same_each_time(name: str) -> None:
    drawing, again = OTHERS[name](), OTHERS[name]()
    assert drawing == again
    narrow: str = getattr(drawing, "narrow")  # noqa: B009 - what draws is typed as a text here
    assert narrow == getattr(again, "narrow")  # noqa: B009
    width = float(narrow.split('viewBox="0 0 ')[1].split()[0])
    assert width <= 72 * NARROW + 0.1


EMPTY: dict[str, Callable[[], str]] = {
    "forest": lambda: forest([effect(None)]),
    "effects": lambda: effect_map(["r"], ["a"], {}),
    "shares": lambda: share_map(["r"], ["a"], {}),
    "survival": lambda: draw_survival({"gan": {}}),
    "rates": lambda: draw_rates({"gan": RateCurve((), (), (), (), None, None)}, "fd"),
    "correlations": lambda: draw_correlations({"d_loss": []}),
    "probes": lambda: draw_probes([], {"raw pixels": 0.5}),
    "scores": lambda: draw_scores([]),
    "profiles": lambda: draw_profiles({}, (0.0, 1.0)),
    "courses": lambda: draw_courses({}),
    "cost": lambda: draw_cost({"cpu": []}, "fd", lower=True),
    "curves": lambda: draw_curves({"gan": {"none": []}}, "fd"),
    "diagnostics": lambda: draw_diagnostics(
        {"d_loss": {"gan": {"none": []}}}, ["gan"], frozenset()
    ),
    "cliff": lambda: draw_cliff({}),
    "densities": lambda: draw_densities([], np.zeros((1, 2)), 0.1, 1.0),
    "optimum": lambda: draw_optimal_discriminator({}),
}


@pytest.mark.parametrize("name", EMPTY)
def test_without_data_nothing_is_drawn(name: str) -> None:
    assert EMPTY[name]() == ""


@pytest.mark.parametrize(
    ("fate_of", "why"),
    [
        (crashed, "All runs that have begun crashed"),
        (half_diverged, "No run has recorded a finite number of this"),
        (lambda where: Fate("collapsed", 1.0), "In every pair a run failed"),
    ],
)
def test_an_empty_figure_is_replaced_by_its_reason(
    fate_of: Callable[[Where], Fate], why: str, tmp_path: Path
) -> None:
    root = build_store(tmp_path / "suite", datasets=("ring8",), variants=("gan",), fate_of=fate_of)
    report = write_report(root).parent
    empty = [figure for figure in figures_of(compose(root)) if not figure.svg]
    assert any(why in figure.empty for figure in empty)
    for name in ("index.html", "report.md"):
        text = (report / name).read_text()
        assert all(figure.title in re.sub(r"\\", "", text) for figure in empty)
        assert why in text
    assert not any((report / "figures" / f"{figure.name}.svg").exists() for figure in empty)


def figures_of(document: Document) -> list[Figure]:
    return [b for section in document.sections for b in section.blocks if isinstance(b, Figure)]


@pytest.mark.parametrize(
    ("value", "limits", "arrows"),
    [
        (1.0, Interval(0.5, 2.0), 0),
        (1.0, Interval(0.05, 2.0), 1),
        (1.0, Interval(0.05, 20.0), 2),
        (1.0, None, 0),
        (20.0, None, 1),
        (20.0, Interval(15.0, 30.0), 1),
        (0.01, Interval(0.005, 0.02), 1),
        (1.0, Interval(0.5, float("inf")), 1),
        (None, Interval(0.5, 20.0), 1),
    ],
)
def test_what_an_axis_cuts_ends_in_an_arrow(
    value: float | None, limits: Interval | None, arrows: int
) -> None:
    with styled():
        canvas, (plot,) = facets(1, columns=1, width=4, height=2)
        plot.set_xscale("log")
        plot.set_xlim(0.1, 10)
        draw_estimate(plot, value, limits, 0.5, color="#0072b2")
        assert to_svg(canvas).count(f'id="{CUT}') == arrows


def test_a_forest_marks_what_it_cuts() -> None:
    """Five pairs leave both sides open; of ten that hardly scatter the interval is drawn whole."""
    svg = forest([effect(0.5), effect(1.0, 0.01, seeds=10)])
    assert svg.count(f'id="{CUT}') == 2


@given(
    st.lists(
        st.lists(st.sampled_from(["lr_g=0.001", "lr_d=0.1", "ema", "(", ", ", " + "]), max_size=9)
        .map("".join),
        min_size=1, max_size=8,
    ),
    st.integers(6, 40),
)  # fmt: skip
def test_labels_that_differ_still_differ_when_they_are_cut(labels: list[str], length: int) -> None:
    cut = short_apart(labels, length)
    assert all(len(text) <= length for text in cut)
    for one, cut_one in zip(labels, cut, strict=True):
        for other, cut_other in zip(labels, cut, strict=True):
            assert (cut_one == cut_other) == (one == other)


def test_sixty_labels_that_differ_in_two_places() -> None:
    labels = [
        f"wgan-gp(penalty_weight=0.{i:03d}, d_steps=5, penalty=one-sided) · {LONG[trick]}"
        for i in range(30)
        for trick in ("t1", "t2")
    ]
    assert len(set(short_apart(labels, 34))) == 60


@given(st.floats(-1e9, 1e9), st.floats(1e-9, 1e6))
def test_the_numbers_of_an_axis_differ(start: float, step: float) -> None:
    ticks = [start + i * step for i in range(5)]
    if len({f"{tick:.8e}" for tick in ticks}) == 5 and abs(start) < 1e6 * step:
        assert len(set(TickText().format_ticks(ticks))) == 5
        assert len(set(TickText(powers).format_ticks(ticks))) == 5


def test_the_numbers_of_an_axis_are_right() -> None:
    with styled():
        canvas, (plot,) = facets(1, columns=1, width=4, height=2)
        plot.set_xlim(0, 1)
        plot.xaxis.set_major_locator(FixedLocator([0, 0.25, 0.5]))
        plot.xaxis.set_major_formatter(TickText())
        assert {"0", "0.25", "0.50"} <= set(re.findall(r">([^<>]*)</text>", to_svg(canvas)))
