"""How tricks stand after a look at a suite that goes on until it is decided."""

from __future__ import annotations

from pathlib import Path

from harness.store.reading import read_suite
from harness.store.records import Standing, SuitePlan
from reports.cells import SuiteCells, group
from reports.effects import Effect, compared, trick_effects
from reports.sections.verdict_words import limits, times
from reports.statistics.claims import Judgement

UNDECIDABLE = "not decidable here"


def standings(folder: Path) -> list[Standing]:
    """Say how every trick of a suite stands, whose planned runs have all ended.

    Raises:
        StoreError: if the folder holds no results.
    """
    cells = group(read_suite(folder))
    return [standing(effect, cells) for effect in trick_effects(cells)]


def standing(effect: Effect, cells: SuiteCells) -> Standing:
    """Say how one trick stands."""
    judgement = effect.judgement
    interval = effect.interval
    words = f"{times(effect.ratio)} " if effect.ratio is not None else ""
    need = judgement.seeds_to_decide if judgement is not None else None
    hopeless = judgement is not None and is_hopeless(judgement, cells.suite.plan)
    decided = judgement is not None and judgement.decided
    return Standing(
        effect.tricks,
        UNDECIDABLE if hopeless else str(effect.verdict or "nothing yet"),
        decided or hopeless,
        words + (limits(interval) if interval is not None else ""),
        "" if decided or need is None else f"{need[0]} to {need[1]}",
        frozenset(
            one.labels
            for cell in compared(cells)
            if cells.treatment(cell) == effect.tricks
            for one in (cell, cells.control(cell))
            if one is not None
        ),
    )


def is_hopeless(judgement: Judgement, plan: SuitePlan) -> bool:
    """Whether a trick is not decided, and would need more seeds than there may be."""
    need = judgement.seeds_to_decide
    last = plan.looks[-1] if plan.looks else 0
    return not judgement.decided and need is not None and need[0] > last
