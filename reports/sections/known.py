"""Known answers: what a suite has put into its own numbers, beside what the report finds of it."""

from __future__ import annotations

import math

from harness.spec import Settings
from reports.cells import SuiteCells
from reports.document import Section
from reports.effects import Effect, compared, trick_effects
from reports.statistics.claims import Verdict
from reports.tables import Column, Row, Table, TableCell, entries, percent

LEAD = (
    "Some cells of this suite are replicates whose numbers were altered on purpose: the primary "
    "metric multiplied, runs failed with a known chance, or real examples put among the samples. "
    "What was put in is the truth that the other chapters have to find. Of twenty ratios, one lies "
    "outside its 95 % interval by chance.",
)


def ratio_put_in(settings: Settings, metric: str) -> float | None:
    """Return by what the primary metric was changed; None where that is not known.

    Real examples as a share s of the samples change an energy distance by (1 − s)².
    """
    if settings.injected_real and metric != "energy":
        return None
    return settings.injected_ratio * (1 - settings.injected_real) ** 2


def is_right(verdict: Verdict | None, ratio: float | None, failures: float) -> str:
    """Say whether a verdict agrees with what was put in: ``right``, ``missed`` or ``wrong``."""
    worse, better = (ratio or 1.0) > 1, (ratio or 1.0) < 1
    true = {
        "hurts": worse or failures > 0,
        "helps": better,
        "more failures": failures > 0,
        "fewer failures": False,
        "no difference": not worse and not better and not failures,
    }
    if verdict in (None, "screening"):
        return "–"
    if verdict == "no evidence":
        return "missed" if worse or better or failures else "right"
    return "right" if true[verdict] else "wrong"


def row_of(effect: Effect, cells: SuiteCells) -> Row | None:
    """Write a trick whose numbers were altered; None for others."""
    treated = [cell for cell in compared(cells) if cells.treatment(cell) == effect.tricks]
    settings = [cell.record.spec.settings for cell in treated if cell.record]
    if not settings or not all(one.is_altered for one in settings):
        return None
    metrics = {cell.primary.metric for cell in treated if cell.primary}
    ratios = {ratio_put_in(settings[0], metric) for metric in metrics}
    ratio = ratios.pop() if len(ratios) == 1 else None
    share = settings[0].injected_failures
    interval = effect.interval
    # A ratio is the pairs' that survived; the test's own counts failures, which are put in apart.
    found, own = effect.survivors_ratio, effect.survivors_interval
    holds = None if ratio is None or own is None else own.low <= ratio <= own.high
    return entries(
        effect.tricks,
        TableCell(ratio),
        TableCell(found, own, effect.survivors, effect.runs, "lower"),
        "–" if holds is None else "yes" if holds else "no",
        percent(share),
        f"{effect.failures[1]} → {effect.failures[0]} of {effect.pairs}",
        TableCell(effect.ratio, interval if _drawable(interval) else None),
        effect.verdict or "–",
        is_right(effect.verdict, ratio, share),
    )


def _drawable(interval: tuple[float, float] | None) -> bool:
    return interval is not None and all(map(math.isfinite, interval))


def build(cells: SuiteCells) -> Section | None:
    """Make the chapter; None where nothing was altered."""
    rows = [row_of(effect, cells) for effect in trick_effects(cells)]
    known = tuple(row for row in rows if row is not None)
    if not known:
        return None
    table = Table(
        "known",
        "What was put in, and what was found",
        (
            Column("Trick"),
            Column("Ratio put in", "ratio"),
            Column("Ratio of survivors", "ratio", "over pairs that both survived"),
            Column("Holds it", "text", "whether the interval holds what was put in"),
            Column("Failures put in", "text", "chance that a run is measured as failed"),
            Column("Failed runs", "text", "without → with"),
            Column("Ratio, failures counted", "ratio"),
            Column("Verdict", "verdict"),
            Column("It is", "text", "missed: no claim where something was put in"),
        ),
        known,
    )
    return Section("known", "Known answers", LEAD, (), (table,))
