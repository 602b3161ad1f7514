"""Decides what became of a run from its own records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from harness.spec import PATIENCE, Settings
from harness.store.events import Event, EventLog
from harness.store.reading import RunRecord

EARLY_ROWS = 5
VANISHED = 1e-3
CONFIDENT = 0.95
LASTING = 0.25
SWING = 0.2
RAW_SWING = 0.4
TURNS = 4
BLOWN_UP = 1.25


@dataclass(frozen=True)
class Verdict:
    """What became of a run.

    Attributes:
        outcome: One of :data:`harness.store.records.Outcome`.
        onset: Step of the first evaluation of a collapse that lasted to the end, or in which
            something first was not finite; None for a run that never learnt.
        reason: One sentence; empty for ``ok``.
    """

    outcome: str
    onset: int | None = None
    reason: str = ""


WORDS = {"mode_coverage": "share of modes found", "diversity": "diversity"}
"""What a collapse is told by; classes count as modes, and *coverage* is a metric of its own."""


def has_collapsed(evaluation: Event, settings: Settings) -> str | None:
    """Say which threshold an evaluation falls below, or None.

    Args:
        evaluation: An ``evaluation`` record with ``diversity`` (share of the real data's) and
            ``mode_coverage`` (share of modes or classes found; NaN where they cannot be told apart,
            which is no sign of anything).
        settings: The run's thresholds.
    """
    for name, threshold in (
        ("mode_coverage", settings.collapse_coverage),
        ("diversity", settings.collapse_diversity),
    ):
        value = evaluation[name]
        if name == "mode_coverage" and math.isnan(value):
            continue
        if not value >= threshold:
            return f"{WORDS[name]} {value:.2f} is below {threshold:g}"
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
    reason = has_collapsed(streak[0], settings)
    if len(streak) == len(trained):
        return Verdict("unlearned", None, f"{reason}, as at every evaluation")
    onset = int(streak[-1]["step"])
    return Verdict("collapsed", onset, f"{reason}, from step {onset}")


def last_step(record: RunRecord) -> int:
    """Return the last step that a run recorded anything of, 0 if it did not."""
    return max((event["step"] for event in record.events if "step" in event), default=0)


def record_crash(record: RunRecord, log: EventLog, reason: str) -> None:
    """Record that a run crashed, and why, unless it has a result."""
    if not record.is_final:
        crash = {"outcome": "crashed", "step": last_step(record), "onset": None, "reason": reason}
        log.append({"type": "outcome", **crash}, durable=True)


def right_share(values: Mapping[str, float]) -> float:
    """Return D's accuracy over real and generated data, 0 to 1; NaN for a critic."""
    real, fake = (values.get(f"d_accuracy_{kind}", math.nan) for kind in ("real", "fake"))
    return (real + fake) / 2


def sign(step: int, size: float) -> dict[str, float]:
    """Describe a sign by the step at which it began and by how strong it is."""
    return {"step": step, "size": size}


def vanishing_gradient(losses: Sequence[Event]) -> dict[str, float] | None:
    """Look for a gradient of G under 1e-3 of its early median while D is more than 95 % right.

    Its size is the gradient norm over that median, the median of the first five rows.
    """
    norms = [row["values"].get("g_grad_norm", math.nan) for row in losses]
    early = median([n for n in norms[:EARLY_ROWS] if math.isfinite(n)] or [math.nan])
    for row, norm in zip(losses, norms, strict=True):
        if right_share(row["values"]) > CONFIDENT and norm < VANISHED * early:
            return sign(row["step"], norm / early)
    return None


def overpowered(losses: Sequence[Event]) -> dict[str, float] | None:
    """Look for D being more than 95 % right in a quarter of all rows, one after the other.

    Its size is the share of all rows, in a row or not, in which D was.
    """
    right = [right_share(row["values"]) > CONFIDENT for row in losses]
    start = 0
    for end, confident in enumerate(right, start=1):
        if not confident:
            start = end
        elif end - start >= LASTING * len(right):
            return sign(losses[start]["step"], sum(right) / len(right))
    return None


def oscillation(losses: Sequence[Event]) -> dict[str, float] | None:
    """Look for D's mean answer to generated data swinging up and down, two times over.

    G is caught, fools D, is caught again. A swing is a change by 0.2 of a probability where D's
    answer is one, by 0.4 of a raw answer where not, in one direction as far as it goes. Four turns
    are a sign: it begins with the first, and its size is how many there are. Swings shorter than
    an interval of logging are averaged away, and a critic's answers have no scale.
    """
    direction, turns = 0, []
    peak, trough = -math.inf, math.inf
    for row in losses:
        values = row["values"]
        answer = values.get("d_fake", math.nan)
        if not math.isfinite(answer) or math.isnan(right_share(values)):
            continue
        swing = SWING if "saturation" in values else RAW_SWING
        peak, trough = max(peak, answer), min(trough, answer)
        if direction >= 0 and peak - answer >= swing:
            turns += [row["step"]] if direction else []
            direction, trough = -1, answer
        elif direction <= 0 and answer - trough >= swing:
            turns += [row["step"]] if direction else []
            direction, peak = 1, answer
    return sign(turns[0], len(turns)) if len(turns) >= TURNS else None


def blow_up(
    evaluations: Sequence[Event], primary: str, floor: float = 0.0
) -> dict[str, float] | None:
    """Look for a metric, lower is better, that ended over 1.25 times its best value.

    It begins after the best evaluation; its size is last over best. A rise by less than a floor is
    none: real samples are as far apart by chance.
    """
    curve = [(e["values"].get(primary, math.nan), e["step"]) for e in evaluations if e["step"] > 0]
    best, step = min((point for point in curve if math.isfinite(point[0])), default=(0.0, 0))
    last = curve[-1][0] if curve else math.nan
    if best > 0 and last > BLOWN_UP * best and last - best > floor:
        return sign(step, last / best)
    return None


def warning_signs(
    losses: Sequence[Event], evaluations: Sequence[Event], primary: str, floor: float = 0.0
) -> dict[str, dict[str, float]]:
    """Look for signs of instability that are no outcome by themselves.

    Args:
        losses: The run's ``losses`` records.
        evaluations: Its ``evaluation`` records.
        primary: Name of the metric, lower is better, whose rise counts as a blow-up.
        floor: Its value for real data; 0 where that is not known.

    Returns:
        ``vanishing_gradient``, ``overpowered``, ``oscillation`` and ``blow_up``, each with the
        ``step`` at which it began and its ``size``, as the function of the name says. Keys are
        present only where there is something to say; the first three never for a critic, which
        is neither right nor wrong.
    """
    signs = {
        "vanishing_gradient": vanishing_gradient(losses),
        "overpowered": overpowered(losses),
        "oscillation": oscillation(losses),
        "blow_up": blow_up(evaluations, primary, floor),
    }
    return {name: symptom for name, symptom in signs.items() if symptom is not None}
