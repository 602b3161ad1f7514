"""How often a design sees an effect of some size, by its own scatter, never by its own effect.

What a suite has measured is taken without its effect: log-ratios are centred in each cell, and
whole seeds have their signs flipped, so that neither arm is the better one but what a seed shares
stays shared; a failure falls to either arm by chance. A known ratio is then put in, and the tests
that judge real results are asked. It is an estimate: where the truth is 5 to 90 %, simulated suites
of 5 to 10 seeds say .04 less to .12 more, on average.

Source: power by simulation from permuted residuals; Winkler et al., NeuroImage 92 (2014) 381, on
sign flips of whole blocks. The power at the *observed* effect would only restate p: Hoenig and
Heisey, The American Statistician 55 (2001) 19.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reports.statistics.claims import RANK_LEVEL, level_for
from reports.statistics.paired import Numbers, Pairs, rank_test

EFFECTS_OF_POWER = (1.1, 1.25, 1.5, 2.0, 3.0)
"""Ratios of which reports say how often a design sees them."""
DRAWS = 512
"""Flips of seeds for one ratio, of all tricks together."""
LEAST_DRAWS = 16
"""Of one trick."""


def residuals(pairs: Pairs) -> Numbers:
    """Centre the log-ratios of survivors in each cell; ±∞ and 0 of failures stay.

    Centred numbers scatter less than the noise that they are left of: they are divided by
    √(1 − 1/n). A cell with one survivor does not say how it scatters; its pair is NaN.
    """
    left = pairs.log_ratios.copy()
    for cell in np.unique(pairs.cells):
        known = (pairs.cells == cell) & pairs.survived
        n = int(known.sum())
        left[known] = (left[known] - left[known].mean()) / np.sqrt(1 - 1 / n) if n > 1 else np.nan
    return left


def flips_of(seeds: int, draws: int, draw: np.random.Generator) -> Numbers:
    """Return signs for each seed, ``(draws, seeds)``: all that there are, or some by chance."""
    if 2**seeds <= draws:
        bits: NDArray[np.int64] = np.arange(2**seeds)[:, None] >> np.arange(seeds) & 1
        return (1 - 2 * bits).astype(float)
    signs: Numbers = draw.choice([-1.0, 1.0], (draws, seeds))
    return signs


def with_effect(pairs: Pairs, ratio: float, draws: int, draw: np.random.Generator) -> Pairs:
    """Return sets of pairs ``(draws, pairs)`` that scatter as these do and differ by a ratio.

    Pairs without a known scatter are ties, as those are of which both runs failed.
    """
    left = residuals(pairs)
    _, place = np.unique(pairs.seeds, return_inverse=True)
    signs = flips_of(pairs.seed_count, draws, draw)[:, place]
    signs = np.where(pairs.survived, signs, draw.choice([-1.0, 1.0], signs.shape))
    flipped = np.where(np.isnan(left), 0.0, left) * signs
    known = pairs.survived & ~np.isnan(left)
    treated = np.where(known, flipped + np.log(ratio), np.where(flipped < 0, 0.0, np.inf))
    control = np.where(known | (flipped > 0), 0.0, np.inf)
    return Pairs(pairs.cells, pairs.seeds, treated, control, np.isinf(treated), np.isinf(control))


def power_curves(
    family: Sequence[Pairs], ratios: Sequence[float], draw: np.random.Generator
) -> Numbers:
    """Return the chance that a trick of an effect is seen, ``(tricks, ratios)``.

    It is that of the first trick that Holm's adjustment admits, tested at the level over the number
    of tricks: of several with an effect, later ones are seen a little more easily.

    Args:
        family: The pairs of every trick.
        ratios: Effects; above 1 is worse, and seen as often as its inverse.
        draw: Of the flips.
    """
    chances, draws = np.empty((len(family), len(ratios))), max(LEAST_DRAWS, DRAWS // len(family))
    for column, ratio in enumerate(ratios):
        for row, pairs in enumerate(family):
            test = rank_test(with_effect(pairs, ratio, draws, draw))
            level = level_for(pairs.seed_count, RANK_LEVEL / len(family))
            seen = (test.p < level) & (np.sign(test.lean) == np.sign(np.log(ratio)))
            chances[row, column] = seen.mean()
    return chances
