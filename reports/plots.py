"""Figures in Python: ``r.plot.effects()`` and others, by seaborn on axes of matplotlib.

They have the colours of the report's figures. All return the axes that they drew on: one where
there is one data set, or where ``dataset=`` names it, else one for each, in order. ``ax=`` takes
axes of your own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.patches import Circle
from matplotlib.ticker import NullFormatter

from harness.errors import GanbenchError
from harness.store.events import SampleFile
from reports.cells import Result, SuiteCells
from reports.effects import cell_effects
from reports.figures.effects import DIVERGING, REACH, readable_on
from reports.figures.samples import points_of, read_grid, view_of
from reports.figures.style import BAD, GOOD, MUTED, TickText, short_apart, styled, trick_styles
from reports.tables import significant

LASTS = 1.1
"""Where survivors lie on the axis of survival: beyond its end, at 1."""
Draw = Callable[[Axes, str, pd.DataFrame], None]


class Framed(Protocol):
    """What plots need of results."""

    @property
    def cells(self) -> SuiteCells:
        """The runs by cell."""

    @property
    def runs(self) -> pd.DataFrame:
        """The frame of runs."""

    @property
    def evaluations(self) -> pd.DataFrame:
        """The frame of evaluations."""


class Plots:
    """What draws the results of a suite.

    Args:
        results: What to draw.
    """

    def __init__(self, results: Framed) -> None:
        self._results = results

    def effects(self, dataset: str | None = None, ax: Axes | None = None) -> Axes | list[Axes]:
        """Draw the survivors' ratio of each trick and variant as a map: blue is better.

        Args:
            dataset: Label of the only data set to draw.
            ax: Where to draw it.

        Raises:
            GanbenchError: if there is no such data set, or several for one plot.
        """
        cells = self._results.cells
        ratios = {
            (*cell.labels[:2], effect.tricks): effect.survivors_ratio
            for cell, effect in cell_effects(cells)
        }

        def draw(plot: Axes, label: str, runs: pd.DataFrame) -> None:
            shown = {key[1:]: ratio for key, ratio in ratios.items() if key[0] == label}
            variants = [*dict.fromkeys(variant for variant, _ in shown)]
            tricks = [trick for trick in cells.treatments if any(trick == t for _, t in shown)]
            logs = [
                [math.nan if (r := shown.get((v, t))) is None else math.log2(r) for t in tricks]
                for v in variants
            ]
            frame = pd.DataFrame(
                np.array(logs, float).reshape(len(variants), len(tricks)),
                short_apart(variants),
                short_apart(tricks),
            )
            if frame.isna().all(axis=None):
                say_nothing(plot)
                return
            scale = Normalize(-REACH, REACH)
            sns.heatmap(frame, ax=plot, cmap=DIVERGING, norm=scale, cbar=False, linewidths=2)
            for (row, column), value in np.ndenumerate(frame.to_numpy()):
                if math.isfinite(value):
                    ink = readable_on(DIVERGING(scale(value)))
                    words = f"×{significant(2**value, 2)}"
                    plot.text(column + 0.5, row + 0.5, words, color=ink, ha="center", va="center")
            plot.tick_params(length=0)
            plot.tick_params(axis="y", labelrotation=0)
            plot.set_xlabel("primary metric with the trick / without")
            plot.grid(visible=False)

        return self._drawn(draw, dataset, ax)

    def curves(
        self,
        metric: str | None = None,
        dataset: str | None = None,
        variant: str | None = None,
        ax: Axes | None = None,
    ) -> Axes | list[Axes]:
        """Draw a metric over training: each run thin, the median of each trick bold.

        Args:
            metric: With or without its protocol, such as ``fd``; the primary one unless given.
            dataset: Label of the only data set to draw.
            variant: Label of the only variant to draw; otherwise all are drawn together.
            ax: Where to draw.

        Raises:
            GanbenchError: if there is no such metric, data set or variant.
        """
        self._check("variant", variant)
        rows = self._results.evaluations
        if metric is not None:
            rows = rows[(rows.protocol == metric) | (rows.metric == metric)]
            if rows.empty:
                known = ", ".join(self._results.evaluations.metric.cat.categories) or "none yet"
                raise GanbenchError(f"no evaluation has a metric {metric!r}; there is {known}")

        def draw(plot: Axes, label: str, runs: pd.DataFrame) -> None:
            chosen = runs if variant is None else runs[runs.variant == variant]
            data = rows.merge(chosen[["run", "tricks", "metric"]], on="run", suffixes=("", "_of"))
            if metric is None:
                data = data[data.protocol.astype(str) == data.metric_of.astype(str)]
            # Of averaged and raw weights, those that the suite measures.
            data = data.drop_duplicates(["run", "step", "protocol"])
            data = data[np.isfinite(data.value)]
            if data.empty:
                say_nothing(plot)
                return
            style = self._palette()
            common = {"data": data, "x": "kimg", "y": "value", "hue": "tricks", "palette": style}
            common |= {"hue_order": [t for t in style if (data.tricks == t).any()], "ax": plot}
            sns.lineplot(**common, units="run", estimator=None, lw=0.6, alpha=0.35, legend=False)
            sns.lineplot(**common, estimator="median", errorbar=None, lw=2)
            if (data.value > 0).all() and data.value.max() > 20 * data.value.min():
                plot.set_yscale("log")
                plot.yaxis.set_major_formatter(TickText())
                plot.yaxis.set_minor_formatter(NullFormatter())
            plot.set_xlabel("thousand images or points seen by D")
            plot.set_ylabel(", ".join(map(str, data.metric.unique())))

        return self._drawn(draw, dataset, ax)

    def modes(self, dataset: str | None = None, ax: Axes | None = None) -> Axes | list[Axes]:
        """Draw the share of modes or classes that each run captured, with means.

        Args:
            dataset: Label of the only data set to draw.
            ax: Where to draw it.

        Raises:
            GanbenchError: if there is no such data set, or several for one plot.
        """

        def draw(plot: Axes, label: str, runs: pd.DataFrame) -> None:
            data = runs[runs.final & runs.modes.notna()]
            if data.empty:
                say_nothing(plot)
                return
            style = self._palette()
            tricks = [trick for trick in style if (data.tricks == trick).any()]
            variants = [*dict.fromkeys(data.variant)]
            common = {"data": data, "x": "modes", "y": "variant", "hue": "tricks", "ax": plot}
            common |= {"palette": style, "hue_order": tricks, "order": variants}
            sns.stripplot(**common, dodge=True, size=3, alpha=0.4, legend=False, jitter=False)
            apart = 0.8 - 0.8 / len(tricks) if len(tricks) > 1 else False
            sns.pointplot(**common, dodge=apart, linestyle="none", errorbar=None, markersize=6)
            plot.set_xlim(-0.03, 1.03)
            plot.set_xlabel("share of modes or classes captured")
            plot.set_ylabel("")

        return self._drawn(draw, dataset, ax)

    def survival(self, dataset: str | None = None, ax: Axes | None = None) -> Axes | list[Axes]:
        """Draw the share of runs that have not failed yet, by the share of training done.

        Args:
            dataset: Label of the only data set to draw.
            ax: Where to draw it.

        Raises:
            GanbenchError: if there is no such data set, or several for one plot.
        """

        def draw(plot: Axes, label: str, runs: pd.DataFrame) -> None:
            data = runs[runs.final & runs.lasted.notna()]
            if data.empty:
                say_nothing(plot)
                return
            style = self._palette()
            lasted = data.lasted.where(data.failed.astype(bool), LASTS)
            sns.ecdfplot(
                data.assign(lasted=lasted), x="lasted", hue="tricks", complementary=True, ax=plot,
                palette=style, hue_order=[t for t in style if (data.tricks == t).any()],
            )  # fmt: skip
            plot.set_xlim(0, 1)
            plot.set_ylim(-0.03, 1.03)
            plot.set_xlabel("share of training")
            plot.set_ylabel("share of runs that have not failed")

        return self._drawn(draw, dataset, ax)

    def samples(self, run: str, ax: Axes | None = None) -> Axes:
        """Show the last samples that a run has saved.

        Args:
            run: Its id, or how that begins.
            ax: Where to show them.

        Raises:
            GanbenchError: if there is no such run, or it has no samples that can be read.
        """
        result = self._result(run)
        event = result.record.last_of(SampleFile) if result.record else None
        data = result.read(event.file) if event else None
        name = result.planned
        if result.record is None or event is None or data is None:
            raise GanbenchError(f"run {name.id} has saved no samples; it is {result.status}")
        grid = read_grid(data) if event.file.endswith(".png") else None
        points = None if grid is not None else points_of(data)
        if grid is None and points is None:
            raise GanbenchError(f"{result.record.path / event.file} cannot be read as samples")
        with styled():
            plot = ax if ax is not None else figure(1)[0]
            if grid is not None:
                plot.imshow(np.asarray(grid), cmap="gray", interpolation="nearest")
                plot.set_axis_off()
            elif points is not None:
                facts = result.record.data
                reach = view_of(facts.modes, points)
                if points.shape[1] == 1:
                    sns.histplot(x=points[:, 0], ax=plot, color=GOOD, stat="density")
                else:
                    sns.scatterplot(x=points[:, 0], y=points[:, 1], ax=plot, s=6, color=GOOD,
                                    linewidth=0, alpha=0.5)  # fmt: skip
                    for mode in facts.modes or ():
                        ring = 3 * (facts.sigma or 0.0)
                        plot.add_patch(Circle((mode[0], mode[1]), ring, fill=False, color=BAD))
                    plot.set_ylim(-reach, reach)
                    plot.set_aspect("equal")
                plot.set_xlim(-reach, reach)
            labels = " · ".join(name.labels)
            plot.set_title(f"{labels}, seed {name.seed}, step {event.step}", wrap=True)
        return plot

    def _drawn(self, draw: Draw, dataset: str | None, ax: Axes | None) -> Axes | list[Axes]:
        """Let a function draw each data set, or the one that is asked for."""
        self._check("dataset", dataset)
        labels = [dataset] if dataset is not None else self._results.cells.datasets
        if ax is not None and len(labels) != 1:
            raise GanbenchError(
                f"one plot cannot show {len(labels)} data sets: give dataset=, one of "
                f"{', '.join(labels)}"
            )
        runs = self._results.runs
        with styled():
            plots = [ax] if ax is not None else figure(len(labels))
            for plot, label, title in zip(plots, labels, short_apart(labels), strict=True):
                draw(plot, label, runs[(runs.dataset == label).to_numpy()])
                plot.set_title(title)
                key = plot.get_legend()
                if key is not None:
                    key.set_title("")
        return plots[0] if len(plots) == 1 else plots

    def _check(self, kind: str, label: str | None) -> None:
        known: Sequence[str] = getattr(self._results.cells, f"{kind}s")
        if label is not None and label not in known:
            raise GanbenchError(f"no run has {kind} {label!r}; there is {', '.join(known)}")

    def _palette(self) -> dict[str, str]:
        styles = trick_styles(self._results.cells.tricks)
        return {trick: style["color"] for trick, style in styles.items()}

    def _result(self, run: str) -> Result:
        found = [r for r in self._results.cells.results if run and r.planned.id.startswith(run)]
        if len(found) != 1:
            what = "several runs have ids that begin" if found else "no run has an id that begins"
            raise GanbenchError(f"{what} with {run!r}; r.runs lists them")
        return found[0]


def figure(count: int) -> list[Axes]:
    """Make a figure of so many plots side by side, on white whatever the notebook's theme."""
    _, plots = plt.subplots(
        1, count, squeeze=False, layout="constrained", facecolor="white",
        figsize=(max(5.2 * count, 5.2), 4.0),
    )  # fmt: skip
    return [*plots[0]]


def say_nothing(plot: Axes) -> None:
    """Say that there is nothing to draw."""
    plot.set_axis_off()
    plot.text(0.5, 0.5, "nothing to draw yet", transform=plot.transAxes, ha="center", color=MUTED)
