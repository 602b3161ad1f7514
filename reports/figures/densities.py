"""Figure of where generated points lie, beside the truth, with the modes that they hit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from scipy import stats

from reports.figures.style import (
    BAD,
    FAINT,
    INK,
    MUTED,
    cell_width,
    facet_rows,
    fitted,
    for_all_screens,
    goes_on_below,
    key,
    styled,
    to_svg,
)

BINS = 52
"""Of a density, in each direction."""
BLUE = "#2b8cd0"
"""Of a density: an image does not change with the page around it, so it suits light and dark."""
GAMMA = 0.4
"""Power of the density that opacity follows, so that thin regions are still seen."""
MOST_NUMBERS = 25
"""Modes up to which each one's share is written."""


@dataclass(frozen=True)
class Density:
    """One panel.

    Attributes:
        title: Above it, line by line.
        mass: Share of all points by bin, ``(BINS, BINS)``, the first axis upwards.
        shares: By mode: its share of all samples.
        hit: By mode: the share of runs that hit it.
    """

    title: tuple[str, ...]
    mass: NDArray[np.float64]
    shares: tuple[float, ...]
    hit: tuple[float, ...]


def true_mass(modes: NDArray[np.float64], sigma: float, reach: float) -> NDArray[np.float64]:
    """Return the probability of each bin under equally likely round Gaussians.

    Args:
        modes: Centres, ``(modes, 2)``.
        sigma: Their standard deviation.
        reach: Half the side of the square that is divided into bins.

    Returns:
        ``(BINS, BINS)``, the first axis upwards.
    """
    edges = np.linspace(-reach, reach, BINS + 1)
    across, up = (
        np.diff(stats.norm.cdf(edges[None, :], centres[:, None], sigma), axis=1)
        for centres in (modes[:, 0], modes[:, 1])
    )
    mass: NDArray[np.float64] = np.einsum("mi,mj->ij", up, across) / len(modes)
    return mass


def mass_of(points: NDArray[np.float32], reach: float) -> NDArray[np.float64]:
    """Return the share of points ``(n, 2)`` in each bin; those out of view count in none."""
    edges = np.linspace(-reach, reach, BINS + 1)
    counts, _, _ = np.histogram2d(points[:, 1], points[:, 0], bins=(edges, edges))
    mass: NDArray[np.float64] = counts / max(len(points), 1)
    return mass


@for_all_screens
def draw_densities(
    rows: Sequence[tuple[str, Sequence[Density | None]]],
    modes: NDArray[np.float64],
    sigma: float,
    reach: float,
) -> str:
    """Draw panels in rows; in each, density as opacity, and a mark at every mode.

    Args:
        rows: Label and panels, as many in each; None leaves a place empty.
        modes: Centres, ``(modes, 2)``.
        sigma: Their standard deviation.
        reach: Half the side of what is shown.
    """
    if not rows:
        return ""
    columns = max(len(panels) for _, panels in rows)
    peak = float(true_mass(modes, sigma, reach).max())
    with styled():
        canvas, lines = facet_rows(len(rows), columns, width=1.8, height=1.8)
        titles = list(dict.fromkeys(t for _, ps in rows for p in ps if p for t in p.title))
        room_for_titles = cell_width(lines[0][0]) - 0.65
        fit = dict(zip(titles, fitted(titles, room_for_titles, bold=True), strict=True))
        labels = fitted([label for label, _ in rows], 1.3, size=9, bold=True)
        for label, line, (_, panels) in zip(labels, lines, rows, strict=True):
            for j, plot in enumerate(line):
                panel = panels[j] if j < len(panels) else None
                plot.set_xticks([])
                plot.set_yticks([])
                plot.set_aspect("equal")
                for spine in plot.spines.values():
                    spine.set_visible(panel is not None)
                    spine.set_color(FAINT)
                if j == 0 and label:
                    plot.set_ylabel(label, fontsize=9, fontweight="bold")
                if panel is not None:
                    _draw(plot, panel, modes, reach, peak)
                    # What a plot of the first row names, those below it need not, unless they
                    # are no longer below it.
                    above = rows[0][1][j] if goes_on_below(line) else None
                    title = panel.title or (above.title if above else ())
                    text = "\n".join(fit[part] for part in title)
                    plot.set_title(text, fontsize=8.5, loc="center")
        handles = [
            Line2D([], [], color=BAD, marker="o", markerfacecolor="none", linestyle="",
                   markersize=6, label="mode that every run hit"),
            Line2D([], [], color=MUTED, marker="o", markerfacecolor="none", linestyle="",
                   markersize=6, label="that some runs hit"),
            Line2D([], [], color=BAD, marker="x", linestyle="", markersize=6,
                   label="that none hit"),
        ]  # fmt: skip
        key(canvas, handles)
        return to_svg(canvas)


def _draw(
    plot: Axes, panel: Density, modes: NDArray[np.float64], reach: float, peak: float
) -> None:
    image = np.zeros((BINS, BINS, 4))
    image[..., :3] = [int(BLUE[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    image[..., 3] = np.round(np.minimum(panel.mass / peak, 1.0) ** GAMMA, 2)
    plot.imshow(
        image, origin="lower", extent=(-reach, reach, -reach, reach), interpolation="nearest"
    )
    size = 7.0 if len(modes) <= 10 else 5.0
    hit = np.array(panel.hit)
    for some, marker, colour in (
        (hit == 1, "o", BAD),
        ((hit > 0) & (hit < 1), "o", MUTED),
        (hit == 0, "x", BAD),
    ):
        plot.plot(*modes[some].T, marker, color=colour, markersize=size, markerfacecolor="none",
                  markeredgewidth=1.0)  # fmt: skip
    if len(modes) <= MOST_NUMBERS:
        # Inwards from a ring, above the point of a grid.
        ring = len(modes) <= 10
        place, lift, align, points = (0.72, 0, "center", 7.5) if ring else (1.0, 4, "bottom", 6.5)
        for mode, share in zip(
            place * modes[hit > 0], np.array(panel.shares)[hit > 0], strict=True
        ):
            plot.annotate(
                _percent(share), mode, (0, lift), textcoords="offset points", ha="center",
                va=align, fontsize=points, color=INK, in_layout=False,
            )  # fmt: skip


def _percent(share: float) -> str:
    return "<1" if share < 0.005 else f"{100 * share:.0f}"
