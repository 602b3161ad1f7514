"""Decides what became of a run from its own records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from harness.spec import Settings
from harness.store.events import Event

PATIENCE = 3
"""Evaluations in a row, at the end, that must be below a threshold to call a run collapsed."""

EARLY_ROWS = 5
VANISHED = 1e-3
CONFIDENT = 0.95
BLOWN_UP = 1.25


@dataclass(frozen=True)
class Verdict:
    """What became of a run.

    Attributes:
        outcome: One of :data:`harness.store.records.Outcome`.
        onset: Step of the first evaluation of a collapse that lasted to the end, or in which
            something first was not finite.
        reason: One sentence; empty for ``ok``.
    """

    outcome: str
    onset: int | None = None
    reason: str = ""


def has_collapsed(evaluation: Event, settings: Settings) -> str | None:
    """Say which threshold an evaluation falls below, or None.

    Args:
        evaluation: An ``evaluation`` record with ``diversity`` (share of the real data's) and
            ``coverage`` (share of modes or classes found; NaN where they cannot be told apart,
            which is no sign of anything).
        settings: The run's thresholds.
    """
    for name, threshold in (
        ("coverage", settings.collapse_coverage),
        ("diversity", settings.collapse_diversity),
    ):
        value = evaluation[name]
        if name == "coverage" and math.isnan(value):
            continue
        if not value >= threshold:
            return f"{name} {value:.2f} is below {threshold:g}"
    return None


def judge(evaluations: Sequence[Event], settings: Settings) -> Verdict:
    """Judge a run that reached its last step by its last evaluations."""
    trained = [e for e in evaluations if e["step"] > 0]
    streak: list[Event] = []
    for evaluation in reversed(trained):
        if has_collapsed(evaluation, settings) is None:
            break
        streak.append(evaluation)
    if len(streak) < PATIENCE:
        return Verdict("ok")
    onset = int(streak[-1]["step"])
    when = "from the first evaluation on" if len(streak) == len(trained) else f"from step {onset}"
    return Verdict("collapsed", onset, f"{has_collapsed(streak[0], settings)}, {when}")


def right_share(values: Mapping[str, float]) -> float:
    """Return D's accuracy over real and generated data, 0 to 1; NaN for a critic."""
    real, fake = (values.get(f"d_accuracy_{kind}", math.nan) for kind in ("real", "fake"))
    return (real + fake) / 2


def warning_signs(
    losses: Sequence[Event], evaluations: Sequence[Event], primary: str
) -> dict[str, Any]:
    """Look for signs of instability that are no outcome by themselves.

    Args:
        losses: The run's ``losses`` records.
        evaluations: Its ``evaluation`` records.
        primary: Name of the metric, lower is better, whose rise counts as a blow-up.

    Returns:
        ``vanishing_gradient``: first step at which G's gradient norm was under 1e-3 of its early
        median while D was more than 95 % right; ``blow_up``: last over best value, where above
        1.25; ``overpowered``: share of rows in which D was more than 95 % right. Keys are
        present only where there is something to say; the first and the last never for a critic,
        which is neither right nor wrong.
    """
    signs: dict[str, Any] = {}
    norms = [row["values"]["g_grad_norm"] for row in losses[:EARLY_ROWS]]
    early = median([n for n in norms if math.isfinite(n)] or [math.nan])
    right = [right_share(row["values"]) > CONFIDENT for row in losses]
    for row, confident in zip(losses, right, strict=True):
        if confident and row["values"]["g_grad_norm"] < VANISHED * early:
            signs["vanishing_gradient"] = row["step"]
            break
    if any(right):
        signs["overpowered"] = sum(right) / len(right)
    curve = [e["values"].get(primary, math.nan) for e in evaluations if e["step"] > 0]
    best = min((value for value in curve if math.isfinite(value)), default=0.0)
    if best > 0 and curve[-1] > BLOWN_UP * best:
        signs["blow_up"] = curve[-1] / best
    return signs
