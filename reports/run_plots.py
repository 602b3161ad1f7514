"""The plots on a run's page: metrics and what training told of itself, over training."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from harness.store.columns import Numbers
from harness.store.records import short_name
from reports.figures.lines import LARGE, SMALL, Polyline, Values, kimg_axis, plot
from reports.figures.style import evenly
from reports.markup import figure
from reports.run_history import History, number
from reports.tables import ARROWS

TOGETHER = (
    ("d_loss", "g_loss"),
    ("d_real", "d_fake"),
    ("d_accuracy_real", "d_accuracy_fake"),
    ("d_grad_norm", "g_grad_norm"),
    ("d_loss_std", "g_loss_std"),
)
"""Diagnostics that share a plot: what is D's or of real data first."""
MOST_POINTS = 100
"""Of a line; more could not be told apart."""
MOST_DOTS = 60
"""Points of a line up to which each gets a dot."""
AVERAGED = (("first", "averaged weights"), ("raw", "raw weights"))
KINDS = ("first", "second")


class Curve(NamedTuple):
    """A number over training: the finite values, no more than can be seen."""

    kimg: Values
    values: Values

    @property
    def course(self) -> str:
        """Where it began and where it ended."""
        return f"from {number(float(self.values[0]))} to {number(float(self.values[-1]))}"


def curves_of(numbers: Numbers) -> dict[str, Curve]:
    """Return every number that is ever finite as a curve, by its name."""
    by_name = {}
    for name, values in zip(numbers.names, numbers.values.T, strict=True):
        seen = np.flatnonzero(np.isfinite(values))
        if len(seen):
            places = seen[evenly(len(seen), MOST_POINTS)]
            by_name[name] = Curve(numbers.kimg[places], values[places])
    return by_name


def metric_plots(history: History) -> list[Markup]:
    """Plot every metric over training, the primary one first and large."""
    plots: list[Markup] = []
    averaged, raw = map(curves_of, (history.measured, history.unaveraged))
    for metric in history.metrics:
        measured, unaveraged = averaged.get(metric.name), raw.get(metric.name)
        size = SMALL if plots else LARGE
        name = short_name(metric.name)
        title, protocol = f"{name} {ARROWS[metric.better]}".rstrip(), metric.name[len(name) :]
        shown = measured or unaveraged
        if shown is None:
            none = "no finite value" if history.evaluations else "not measured yet"
            plots.append(figure(title, "", rest=protocol, note=none))
            continue
        lines = [Polyline(*measured, seen=len(measured.kimg) <= MOST_DOTS)] if measured else []
        lines += [Polyline(*unaveraged, "raw")] if unaveraged else []
        floor = metric.floor
        svg = plot(
            lines,
            kimg_axis(history.end, size),
            f"{name} over training: {shown.course}",
            size=size,
            died=history.died,
            onset=history.onset,
            level=floor if floor is not None and math.isfinite(floor) else None,
        )
        keys = AVERAGED if measured and unaveraged else ()
        plots.append(figure(title, svg, rest=protocol, keys=keys, note=metric.summary))
    return plots


def diagnostic_plots(history: History) -> list[Markup]:
    """Plot what training tells of itself; what belongs together in one plot."""
    x, known = kimg_axis(history.end), curves_of(history.trained)
    names = history.trained.names
    groups = [[name for name in pair if name in names] for pair in TOGETHER]
    grouped = {name for group in groups for name in group}
    groups += [[name] for name in names if name not in grouped]
    plots = []
    for group in groups:
        curves = {name: known[name] for name in group if name in known}
        if not curves:
            continue
        lines = [
            Polyline(*curve, kind) for kind, curve in zip(KINDS, curves.values(), strict=False)
        ]
        told = "; ".join(f"{name}: {curve.course}" for name, curve in curves.items())
        svg = plot(lines, x, f"over training, {told}", died=history.died, onset=history.onset)
        keys = tuple(zip(KINDS, curves, strict=False)) if len(curves) > 1 else ()
        title = "" if keys else next(iter(curves))
        plots.append(figure(title, svg, keys=keys))
    return plots
