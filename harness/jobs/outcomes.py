"""Decides what became of a run from its own records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from harness.spec import PATIENCE, Settings
from harness.store.events import Ending, EvaluationRow, LossRow, Sign, last_step
from harness.store.fields import Players
from harness.store.log import EventLog
from harness.store.reading import RunRecord
from harness.store.records import MetricInfo, Outcome

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
        outcome: In a word.
        onset: Step of the first evaluation of a collapse that lasted to the end, or in which
            something first was not finite; None for a run that never learnt.
        reason: One sentence; empty for ``ok``.
    """

    outcome: Outcome
    onset: int | None = None
    reason: str = ""


def has_collapsed(evaluation: EvaluationRow, settings: Settings) -> str | None:
    """Say which threshold an evaluation falls below, or None.

    A coverage of NaN, where modes or classes cannot be told apart, is no sign of anything.

    Args:
        evaluation: With its ``diversity`` and ``mode_coverage``.
        settings: The run's thresholds.
    """
    # Classes count as modes, and *coverage* is a metric of its own.
    coverage, diversity = evaluation.mode_coverage, evaluation.diversity
    if coverage is not None and coverage < settings.collapse_coverage:
        return f"share of modes found {coverage:.2f} is below {settings.collapse_coverage:g}"
    if diversity is not None and not diversity >= settings.collapse_diversity:
        return f"diversity {diversity:.2f} is below {settings.collapse_diversity:g}"
    return None


def judge(evaluations: Sequence[EvaluationRow], settings: Settings) -> Verdict:
    """Judge a run that reached its last step by its last evaluations."""
    trained = [e for e in evaluations if e.step > 0]
    streak: list[EvaluationRow] = []
    for evaluation in reversed(trained):
        if has_collapsed(evaluation, settings) is None:
            break
        streak.append(evaluation)
    if len(streak) < PATIENCE:
        return Verdict("ok")
    reason = has_collapsed(streak[0], settings)
    if len(streak) == len(trained):
        return Verdict("unlearned", None, f"{reason}, as at every evaluation")
    onset = streak[-1].step
    return Verdict("collapsed", onset, f"{reason}, from step {onset}")


def record_outcome(
    record: RunRecord,
    log: EventLog,
    verdict: Verdict,
    *,
    step: int | None = None,
    primary: MetricInfo | None = None,
    seconds: float | None = None,
    evaluation_seconds: float | None = None,
    kimg: float | None = None,
    updates: Players | None = None,
    peak_memory: int | None = None,
) -> None:
    """Record what became of a run, unless it has a result.

    Args:
        record: What it did so far.
        log: Its log.
        verdict: What became of it.
        step: At which it ended; None for the last one that it told of.
        primary: The metric whose rise is a sign of instability; None to look for no signs.
        seconds: As in :class:`Ending`, like all that follow; None where it is not known.
        evaluation_seconds: Of evaluations.
        kimg: Seen by D.
        updates: Of ``d`` and ``g``.
        peak_memory: In bytes.
    """
    if record.is_final:
        return
    signs = None
    if primary is not None:
        losses, evaluations = record.of_type(LossRow)[:], record.of_type(EvaluationRow)[:]
        signs = warning_signs(losses, evaluations, primary.name, primary.floor or 0.0)
    ending = Ending(
        outcome=verdict.outcome,
        step=last_step(record.events) if step is None else step,
        onset=verdict.onset,
        reason=verdict.reason,
        signs=signs,
        seconds=seconds,
        evaluation_seconds=evaluation_seconds,
        kimg=kimg,
        updates=updates,
        peak_memory=peak_memory,
    )
    log.append(ending, durable=True)


def right_share(values: Mapping[str, float]) -> float:
    """Return D's accuracy over real and generated data, 0 to 1; NaN for a critic."""
    real, fake = (values.get(f"d_accuracy_{kind}", math.nan) for kind in ("real", "fake"))
    return (real + fake) / 2


def vanishing_gradient(losses: Sequence[LossRow]) -> Sign | None:
    """Look for a gradient of G under 1e-3 of its early median while D is more than 95 % right.

    Its size is the gradient norm over that median, the median of the first five rows.
    """
    norms = [row.values.get("g_grad_norm", math.nan) for row in losses]
    early = median([n for n in norms[:EARLY_ROWS] if math.isfinite(n)] or [math.nan])
    for row, norm in zip(losses, norms, strict=True):
        if right_share(row.values) > CONFIDENT and norm < VANISHED * early:
            return Sign(row.step, norm / early)
    return None


def overpowered(losses: Sequence[LossRow]) -> Sign | None:
    """Look for D being more than 95 % right in a quarter of all rows, one after the other.

    Its size is the share of all rows, in a row or not, in which D was.
    """
    right = [right_share(row.values) > CONFIDENT for row in losses]
    start = 0
    for end, confident in enumerate(right, start=1):
        if not confident:
            start = end
        elif end - start >= LASTING * len(right):
            return Sign(losses[start].step, sum(right) / len(right))
    return None


def oscillation(losses: Sequence[LossRow]) -> Sign | None:
    """Look for D's mean answer to generated data swinging up and down, two times over.

    G is caught, fools D, is caught again. A swing is a change by 0.2 of a probability where D's
    answer is one, by 0.4 of a raw answer where not, in one direction as far as it goes. Four turns
    are a sign: it begins with the first, and its size is how many there are. Swings shorter than
    an interval of logging are averaged away, and a critic's answers have no scale.
    """
    direction, turns = 0, []
    peak, trough = -math.inf, math.inf
    for row in losses:
        values = row.values
        answer = values.get("d_fake", math.nan)
        if not math.isfinite(answer) or math.isnan(right_share(values)):
            continue
        swing = SWING if "saturation" in values else RAW_SWING
        peak, trough = max(peak, answer), min(trough, answer)
        if direction >= 0 and peak - answer >= swing:
            turns += [row.step] if direction else []
            direction, trough = -1, answer
        elif direction <= 0 and answer - trough >= swing:
            turns += [row.step] if direction else []
            direction, peak = 1, answer
    return Sign(turns[0], len(turns)) if len(turns) >= TURNS else None


def blow_up(evaluations: Sequence[EvaluationRow], primary: str, floor: float = 0.0) -> Sign | None:
    """Look for a metric, lower is better, that ended over 1.25 times its best value.

    It begins after the best evaluation; its size is last over best. A rise by less than a floor is
    none: real samples are as far apart by chance.
    """
    curve = [(e.values.get(primary, math.nan), e.step) for e in evaluations if e.step > 0]
    best, step = min((point for point in curve if math.isfinite(point[0])), default=(0.0, 0))
    last = curve[-1][0] if curve else math.nan
    if best > 0 and last > BLOWN_UP * best and last - best > floor:
        return Sign(step, last / best)
    return None


def warning_signs(
    losses: Sequence[LossRow],
    evaluations: Sequence[EvaluationRow],
    primary: str,
    floor: float = 0.0,
) -> dict[str, Sign | float]:
    """Look for signs of instability that are no outcome by themselves.

    Args:
        losses: What the run's training told.
        evaluations: How it was measured.
        primary: Name of the metric, lower is better, whose rise counts as a blow-up.
        floor: Its value for real data; 0 where that is not known.

    Returns:
        ``vanishing_gradient``, ``overpowered``, ``oscillation`` and ``blow_up``, each as the
        function of its name says. Keys are
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
