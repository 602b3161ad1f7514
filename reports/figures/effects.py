"""Figures of what tricks change: a forest of intervals, and a map over all cells."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle

from reports.effects import Effect
from reports.figures.style import BAD, GOOD, INK, MUTED, facets, short_apart, styled, to_svg
from reports.tables import significant

DIVERGING = LinearSegmentedColormap.from_list(
    "blue-white-orange", ["#0b5a94", "#6aaed6", "#f4f4f2", "#f2a66a", "#b84a00"]
)
"""Blue is better, orange is worse; told apart by every common kind of colour vision."""


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """Frame ratios symmetrically around 1, at least from ½ to 2, at most from 1/32 to 32."""
    reach = max([abs(math.log2(value)) for value in values if value > 0] + [1.0])
    reach = min(reach * 1.08, 5.0)
    return 2.0**-reach, 2.0**reach


def forest(effects: Sequence[Effect]) -> str:
    """Draw each trick's ratio with its interval, on a log axis with 1 marked."""
    shown = [effect for effect in effects if effect.ratio is not None]
    numbers = [v for e in shown for v in (e.ratio or 1.0, *(e.interval or ()))]
    low, high = _limits(numbers)
    with styled():
        canvas, (axes,) = facets(1, columns=1, width=8.6, height=0.9 + 0.36 * max(len(shown), 1))
        axes.axvline(1, color=INK, linewidth=1)
        for row, effect in enumerate(shown):
            colour = {"helps": GOOD, "fewer failures": GOOD, "hurts": BAD}.get(
                effect.verdict, MUTED
            )
            claimed = effect.verdict in ("helps", "hurts")
            if effect.interval:
                axes.plot(effect.interval, [row, row], color=colour, linewidth=2.2)
            axes.plot(
                [effect.ratio or 1.0],
                [row],
                "o",
                markersize=7,
                color=colour,
                markerfacecolor=colour if claimed else "none",
                markeredgewidth=1.6,
            )
        axes.set_xscale("log", base=2)
        axes.set_xlim(low, high)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_yticks(range(len(shown)), short_apart(effect.tricks for effect in shown))
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_formatter(lambda value, _: f"×{significant(value, 2)}")
        axes.set_xlabel("primary metric with the trick / without      ◂ better    |    worse ▸")
        return to_svg(canvas)


def effect_map(
    rows: Sequence[str], columns: Sequence[str], effects: dict[tuple[str, str], Effect]
) -> str:
    """Draw the ratio of every cell as a coloured field with its number and its failures.

    Args:
        rows: Labels of data set and variant.
        columns: Labels of tricks.
        effects: By (row, column); where there is none, the field stays empty.
    """
    with styled():
        height = 1.3 + 0.42 * len(rows)
        canvas, (axes,) = facets(1, columns=1, width=2.6 + 1.35 * len(columns), height=height)
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                effect = effects.get((row, column))
                ratio = effect.ratio if effect else None
                share = 0.5 if ratio is None else 0.5 + max(-2.0, min(2.0, math.log2(ratio))) / 4
                known = effect is not None and effect.pairs > 0
                axes.add_patch(
                    Rectangle(
                        (j - 0.47, i - 0.44),
                        0.94,
                        0.88,
                        facecolor=DIVERGING(share) if ratio is not None else "none",
                        edgecolor=MUTED if ratio is None else "none",
                        linewidth=0.6,
                        linestyle=":",
                    )
                )
                if effect is None or not known:
                    continue
                # These two inks stand on the field's own colour, in a dark page too.
                ink = "#fefefe" if ratio is not None and abs(share - 0.5) > 0.36 else "#1b1f23"
                ink = ink if ratio is not None else INK
                label = f"×{significant(ratio, 2)}" if ratio is not None else "no pair survived"
                with_trick, without = effect.failures
                lift = 0.14 if with_trick or without else 0
                axes.text(
                    j, i - lift, label, ha="center", va="center", color=ink,
                    fontsize=9.5 if ratio is not None else 7.5,
                )  # fmt: skip
                if lift:
                    axes.text(
                        j, i + 0.23, f"failed {without} → {with_trick} of {effect.pairs}",
                        ha="center", va="center", color=ink, fontsize=7,
                    )  # fmt: skip
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xticks(range(len(columns)), short_apart(columns, 18))
        axes.set_yticks(range(len(rows)), short_apart(rows))
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.grid(visible=False)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return to_svg(canvas)


def share_map(
    rows: Sequence[str], columns: Sequence[str], shares: dict[tuple[str, str], tuple[float, str]]
) -> str:
    """Draw shares between 0 and 1 as fields of a blue that deepens with the share.

    Args:
        rows: Labels of variants.
        columns: Labels of tricks.
        shares: By (row, column): the share, and a text such as ``7.5 / 8``.
    """
    blues = LinearSegmentedColormap.from_list("blues", ["#f1f4f7", "#7fb3d9", "#08457e"])
    with styled():
        height = 0.9 + 0.36 * len(rows)
        canvas, (axes,) = facets(1, columns=1, width=2.2 + 1.3 * len(columns), height=height)
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                if (row, column) not in shares:
                    continue
                share, label = shares[row, column]
                field = Rectangle((j - 0.47, i - 0.44), 0.94, 0.88, facecolor=blues(share))
                axes.add_patch(field)
                ink = "#fefefe" if share > 0.62 else "#1b1f23"
                axes.text(j, i, label, ha="center", va="center", color=ink)
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xticks(range(len(columns)), short_apart(columns, 18))
        axes.set_yticks(range(len(rows)), short_apart(rows))
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.grid(visible=False)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return to_svg(canvas)
