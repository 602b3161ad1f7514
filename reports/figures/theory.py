"""Figures of what theory says: G's gradient under two losses, and D beside the optimal one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from reports.figures.style import (
    BAD,
    FAINT,
    GOOD,
    INK,
    MUTED,
    PALETTE,
    facet_rows,
    facets,
    fitted,
    for_all_screens,
    key,
    leftmost,
    styled,
    to_svg,
)

Values = NDArray[np.float64]

SATURATING, NON_SATURATING = BAD, GOOD
DATA, GENERATED = PALETTE[5], PALETTE[3]
EARLY_DASHES: tuple[Any, ...] = ("--", ":")
VISIBLE = 0.01
"""Places where both densities together are under this share of the data's peak have no D*."""


def saturating_loss(d: Values) -> Values:
    """Return G's minimax loss log(1 − D), by D(G(z)) between 0 and 1."""
    return np.log1p(-d)


def saturating_gradient(d: Values) -> Values:
    """Return its derivative by D's logit f, with D = σ(f): −D."""
    return -d


def non_saturating_loss(d: Values) -> Values:
    """Return G's non-saturating loss −log D."""
    return -np.log(d)


def non_saturating_gradient(d: Values) -> Values:
    """Return its derivative by D's logit: −(1 − D)."""
    return d - 1


@for_all_screens
def draw_generator_gradients(observed: Mapping[str, float]) -> str:
    """Draw both losses of G and the size of their gradients by D's logit, against D(G(z)).

    Args:
        observed: Where runs were at their first record, by label: mean D(G(z)).
    """
    d = np.linspace(0.004, 0.996, 249)
    with styled():
        canvas, (losses, gradients) = facets(2, columns=2, width=4.2, height=2.9)
        for colour, loss, gradient in (
            (SATURATING, saturating_loss, saturating_gradient),
            (NON_SATURATING, non_saturating_loss, non_saturating_gradient),
        ):
            losses.plot(d, loss(d), color=colour, linewidth=2)
            gradients.plot(d, np.abs(gradient(d)), color=colour, linewidth=2)
        losses.set_title("G's loss")
        losses.set_ylim(-5, 5)
        gradients.set_title("size of its gradient at D's logit")
        gradients.set_ylim(0, 1.04)
        handles = [
            Line2D([], [], color=SATURATING, linewidth=2, label="minimax: log(1 − D)"),
            Line2D([], [], color=NON_SATURATING, linewidth=2, label="non-saturating: −log D"),
        ]
        for (label, place), dash in zip(observed.items(), EARLY_DASHES, strict=False):
            for plot in (losses, gradients):
                plot.axvline(place, color=MUTED, linewidth=1.2, linestyle=dash)
            handles.append(
                Line2D([], [], color=MUTED, linewidth=1.2, linestyle=dash,
                       label=f"{label}, early in training")
            )  # fmt: skip
        for plot in (losses, gradients):
            plot.set_xlim(0, 1)
            plot.set_xlabel("D(G(z))")
        key(canvas, handles)
        return to_svg(canvas)


@dataclass(frozen=True)
class Snapshot:
    """One run on the line at one step, ``(cells,)`` each.

    Attributes:
        step: The step.
        x: Centres of cells of equal width.
        data: Density p of the data.
        generated: Density q of the generated samples.
        answer: D(x); None where D does not judge one example alone.
        share: Whether the best answer is p / (p + q).
    """

    step: int
    x: Values
    data: Values
    generated: Values
    answer: Values | None
    share: bool


def optimal_answer(data: Values, generated: Values) -> Values:
    """Return D*(x) = p / (p + q); NaN where there is next to nothing of either.

    Source: Goodfellow et al. 2014, arXiv:1406.2661, proposition 1.
    """
    both = data + generated
    answer = np.full_like(both, np.nan)
    np.divide(data, both, out=answer, where=both > VISIBLE * data.max())
    return answer


@for_all_screens
def draw_optimal_discriminator(rows: Mapping[str, Sequence[Snapshot]]) -> str:
    """Draw D and the optimal D* over both densities: a row per cell, a plot per step.

    Args:
        rows: By label: the snapshots of one run, in order.
    """
    if not any(rows.values()):
        return ""
    columns = max(len(snapshots) for snapshots in rows.values())
    with styled():
        canvas, lines = facet_rows(len(rows), columns, width=2.9, height=2.1)
        # A row's label stands over its first plot, and reaches over the others.
        labels = fitted(rows, canvas.get_size_inches()[0] - 0.5, size=9, bold=True)
        peak = max(float(s.data.max()) for row in rows.values() for s in row)
        for label, line, snapshots in zip(labels, lines, rows.values(), strict=True):
            for j, plot in enumerate(line):
                if j >= len(snapshots):
                    plot.set_axis_off()
                    continue
                shown = snapshots[j]
                for density, colour in ((shown.data, DATA), (shown.generated, GENERATED)):
                    # Densities and answers share a scale on which the data's peak is 0.9.
                    height = np.minimum(density / peak * 0.9, 1.04)
                    plot.fill_between(shown.x, height, step="mid", color=colour, alpha=0.35,
                                      linewidth=0)  # fmt: skip
                if shown.share:
                    optimum = optimal_answer(shown.data, shown.generated)
                    plot.plot(shown.x, optimum, color=MUTED, linewidth=1.4, linestyle=(0, (3, 1)))
                if shown.answer is not None:
                    plot.plot(shown.x, _scaled(shown), color=INK, linewidth=1.5)
                plot.axhline(0.5, color=FAINT, linewidth=0.8)
                plot.set_ylim(0, 1.05)
                plot.set_xlim(float(shown.x[0]), float(shown.x[-1]))
                plot.set_yticks([0, 0.5, 1])
                plot.grid(visible=False)
                if j == 0:
                    plot.set_title(label, fontsize=9)
                plot.set_xlabel(f"x, at step {shown.step}", fontsize=8.5)
                if not leftmost(plot):
                    plot.tick_params(labelleft=False)
        handles = [
            Patch(color=DATA, alpha=0.35, linewidth=0, label="data p"),
            Patch(color=GENERATED, alpha=0.35, linewidth=0, label="generated q"),
            Line2D([], [], color=INK, linewidth=1.5, label="D(x)"),
            Line2D([], [], color=MUTED, linewidth=1.4, linestyle=(0, (3, 1)),
                   label="optimal D* = p / (p + q)"),
        ]  # fmt: skip
        key(canvas, handles)
        return to_svg(canvas)


def _scaled(shown: Snapshot) -> Values:
    """Return D's answer; a critic's has no scale of its own, and is stretched from 0 to 1."""
    answer = shown.answer
    assert answer is not None  # noqa: S101 - asked for only where there is one
    if shown.share:
        return answer
    low, high = float(answer.min()), float(answer.max())
    scaled: Values = (answer - low) / (high - low) if high > low else np.full_like(answer, 0.5)
    return scaled
