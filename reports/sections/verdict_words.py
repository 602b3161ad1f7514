"""What is said of tricks in sentences: what they change, what that rules out, what is missing."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import cast

from harness.store.records import SEEDS_FOR_A_CLAIM, SuitePlan
from reports.cells import SuiteCells
from reports.cost import Surcharge
from reports.effects import Effect
from reports.statistics.claims import (
    FAILURE_MARGIN,
    MOST_SEEDS,
    PAIRS_FOR_NO_DIFFERENCE,
    RANK_LEVEL,
    Judgement,
    Verdict,
)
from reports.statistics.intervals import Interval
from reports.statistics.power import EFFECTS_OF_POWER
from reports.tables import NO_BREAK, p_value, percent, percentage_points, significant

ORDER: tuple[Verdict, ...] = (
    "helps",
    "fewer failures",
    "hurts",
    "more failures",
    "no difference",
    "no evidence",
    "screening",
)
"""What a reader looks for first."""
MOST_ASKED = 1000
"""Seeds that the command line takes."""
MOST_NAMED = 4
"""Tricks that the first sentence names of a kind."""


def times(ratio: float) -> str:
    """Write a ratio."""
    return f"×{NO_BREAK}{significant(ratio)}"


def limits(interval: Interval) -> str:
    """Write a ratio's interval."""
    high = "∞" if math.isinf(interval.high) else significant(interval.high)
    return f"[{significant(interval.low)}, {high}]"


def change(effect: Effect, word: str) -> str:
    """Say how the metric changes, failures counted, with every number's n."""
    interval = effect.interval
    count = f"{effect.pairs} pairs over {effect.seeds} {'seed' if effect.seeds == 1 else 'seeds'}"
    if interval is None:
        return f"no ratio, because no pair survived (0 of {count})"
    if interval.high == 0 or math.isinf(interval.low):
        better = "better" if interval.high == 0 else "worse"
        return f"failures alone make it {better} in {count}, whatever survivors do"
    if interval.low == 0 and math.isinf(interval.high):
        return f"{word} by a ratio that {count} leave open"
    if interval.low == 0:
        return f"{word} {times(interval.high)} or less in {count}"
    if math.isinf(interval.high):
        return f"{word} {times(interval.low)} or more in {count}"
    estimate = f"{times(effect.ratio)} " if effect.ratio is not None else ""
    return f"{word} {estimate}{limits(interval)} in {count}"


def failures(effect: Effect) -> str:
    """Say how failures change."""
    treated, control = effect.failures
    text = f"failed runs {control} → {treated} of {effect.pairs}"
    if effect.failure_change is not None and effect.failure_interval and (treated or control):
        low, high = (
            percentage_points(limit).removesuffix(f"{NO_BREAK}pp")
            for limit in effect.failure_interval
        )
        text += f" ({percentage_points(effect.failure_change)} [{low}, {high}])"
    return text


def sentence(effect: Effect, word: str, plan: SuitePlan) -> str:
    """Say what a trick did, what that proves or rules out, and what would decide."""
    if effect.pairs == 0:
        return f"no pair of runs is finished yet (0 of {effect.planned})."
    text = f"{change(effect, word)}; {failures(effect)}"
    judgement = effect.judgement
    if judgement is None:
        return f"{text}."
    text += f"; adjusted p {_p_words(judgement.p)}"
    if judgement.failure_claim:
        text += f", that of the failures {_p_words(judgement.failure_p)}"
    said = [f"{text}.", *([both_sides(effect)] if effect.disagrees else [])]
    verdict = judgement.verdict
    if verdict == "screening":
        said.append(f"Under {SEEDS_FOR_A_CLAIM} seeds this claims nothing.")
        return " ".join(said)
    if verdict == "no evidence":
        said += [rules_out(judgement), what_decides(judgement, plan)]
    elif judgement.within_margin and verdict != "no difference":
        said.append(f"It is shown to be less than the margin, {times(judgement.margin)}.")
    said.append(smallest_margin(judgement))
    return " ".join(said)


def both_sides(effect: Effect) -> str:
    """Say in one sentence how failures and quality disagree."""
    treated, control = effect.failures
    more, ratio = treated > control, effect.survivors_ratio
    survivors = (
        f"pairs that survive are {'better' if ratio < 1 else 'worse'}: {times(ratio)}"
        if ratio is not None
        else f"ranks are {'worse' if not more else 'better'}"
    )
    if effect.survivors_interval is not None:
        survivors += f" {limits(effect.survivors_interval)}"
    return f"{'More' if more else 'Fewer'} runs fail with it, but {survivors}."


def rules_out(judgement: Judgement) -> str:
    """Say what the interval excludes, though nothing is claimed."""
    interval = judgement.interval
    if interval is None or (interval.low == 0 and math.isinf(interval.high)):
        return "These pairs rule out no ratio."
    sides = [f"below {times(interval.low)}"] if interval.low > 0 else []
    sides += [f"above {times(interval.high)}"] if math.isfinite(interval.high) else []
    text = f"This rules out ratios {' and '.join(sides)}."
    if interval.low > 1 or interval.high < 1:
        text = (
            f"{text[:-1]}, taken by itself; as one of several questions it may be chance."
            if judgement.tests > 1
            else f"{text[:-1]}, but not at the level of a claim, {RANK_LEVEL:g}."
        )
    return text


def what_decides(judgement: Judgement, plan: SuitePlan) -> str:
    """Say how many seeds would decide, with the command; or why that is not known.

    A study's looks are all that it has, so that there is no command for more of them. Other seeds
    are judged by themselves, as a new study: they, not their sum with these, are what is needed.
    """
    if judgement.smallest_margin <= judgement.margin:
        missing = (
            f"{PAIRS_FOR_NO_DIFFERENCE} pairs are needed"
            if judgement.pairs < PAIRS_FOR_NO_DIFFERENCE
            else f"failures may still differ by over {100 * FAILURE_MARGIN:.0f} points"
        )
        return (
            f"The ratio stays within the margin, but {missing}: more seeds decide that"
            f"{by(plan, 2 * judgement.seeds)}."
        )
    needed = judgement.seeds_to_decide
    if needed is None:
        return (
            "The interval is open, so that nothing says how many seeds would decide; twice as "
            f"many are a start{by(plan, 2 * judgement.seeds)}."
        )
    least, most = needed
    if least >= MOST_SEEDS:
        return f"No number of seeds up to {MOST_SEEDS:,} would decide."
    span = f"{least}" if least == most else f"{least} to {most}"
    return (
        f"Some {span} new seeds would decide between an effect and none beyond "
        f"{times(judgement.margin)}{by(plan, most)}."
    )


def by(plan: SuitePlan, seeds: int) -> str:
    """Write the command in brackets, or where a study with looks ends."""
    if plan.looks:
        return f"; this study ends at {plan.looks[-1]}"
    return f" (`{command(plan, seeds)}`)"


def command(plan: SuitePlan, seeds: int) -> str:
    """Write the command that goes on with new seeds until it is decided, up to so many."""
    return run_again(plan, [("max-seeds", min(seeds, MOST_ASKED))], "--until-decided")


def run_again(plan: SuitePlan, more: Sequence[tuple[str, object]], *flags: str) -> str:
    """Write the command that ran a suite, with flags first and more options last."""
    options: list[tuple[str, object]] = [("plugin", name) for name in plan.plugins]
    options += [("extractor", named) for named in plan.extractors]
    options += [("profile", plan.profile)] if plan.profile else []
    words = [f"--{name} {shlex.quote(str(value))}" for name, value in [*options, *more]]
    return " ".join(["ganbench run", shlex.quote(plan.source or plan.suite), *flags, *words])


def smallest_margin(judgement: Judgement) -> str:
    """Say within which margin the ratio is shown to lie."""
    smallest = judgement.smallest_margin
    if math.isinf(smallest):
        return "No margin would pass as no difference."
    return f"The smallest margin that would pass is {times(smallest)}."


def headline(overall: Sequence[Effect], unfinished: int = 0) -> str:
    """Say in one sentence what helps, what hurts, and of how much nothing is known.

    Args:
        overall: The family that claims.
        unfinished: Planned runs that are still to come.
    """
    if unfinished:
        runs = "1 planned run is" if unfinished == 1 else f"{unfinished} planned runs are"
        return f"Nothing is claimed yet: {runs} still to come."
    by_verdict: dict[Verdict, list[str]] = {verdict: [] for verdict in ORDER}
    for effect in overall:
        by_verdict[effect.verdict or "screening"].append(effect.tricks)
    if len(by_verdict["screening"]) == len(overall):
        return f"Only a screening: with under {SEEDS_FOR_A_CLAIM} seeds nothing is claimed."
    parts = []
    for verdict, verb, rest in (
        ("helps", "help", ""),
        ("fewer failures", "make", " fewer runs fail"),
        ("hurts", "hurt", ""),
        ("more failures", "make", " more runs fail"),
        ("no difference", "make", " no difference"),
    ):
        names = by_verdict[cast(Verdict, verdict)]
        if names:
            parts.append(f"{_listed(names, len(overall))} {_verb(names, verb)}{rest}")
        if verdict == "fewer failures" and not parts:
            parts.append("Nothing is shown to help")
    unknown = len(by_verdict["no evidence"]) + len(by_verdict["screening"])
    if unknown:
        more = " more" if any(by_verdict[verdict] for verdict in ORDER[:5]) else ""
        parts.append(f"of {unknown}{more} there is no evidence either way")
    return "; ".join(parts) + "."


def _listed(names: Sequence[str], total: int) -> str:
    # Names that are lists themselves, or many, are read in the verdicts below.
    if len(names) > MOST_NAMED or any(", " in name for name in names):
        return f"{len(names)} of {total}"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _verb(names: Sequence[str], verb: str) -> str:
    return verb if len(names) > 1 else f"{verb}s"


def cost_words(charge: Surcharge | None) -> str:
    """Say what a trick adds to the time of training; nothing where that is not known."""
    if charge is None:
        return ""
    span = f" ({significant(charge.least, 2)} to {significant(charge.most, 2)})"
    cells = "1 cell" if charge.cells == 1 else f"{charge.cells} cells{span}"
    return f" Cost: training time ×{NO_BREAK}{significant(charge.ratio)} over {cells}."


def _p_words(p: float) -> str:
    text = p_value(p)
    return text if text.startswith("<") else f"= {text}"


def least_change(cells: SuiteCells, overall: Sequence[Effect]) -> str:
    """Name the cells that do better than the baseline with the fewest changes."""
    counts = {cells.treatment(c): len(cells.changes(c) or ()) for c in cells.cells}
    better = [e for e in overall if e.verdict in ("helps", "fewer failures")]
    if not better:
        return "No change is shown to do better than the baseline."
    fewest = min(counts[effect.tricks] for effect in better)
    least = [effect for effect in better if counts[effect.tricks] == fewest]
    least.sort(key=lambda effect: (effect.failures[0], -(effect.better or 0)))
    named = "; ".join(
        f"{effect.tricks} ({effect.failures[0]} of {effect.pairs} fail, {effect.failures[1]} "
        "without the change)"
        for effect in least
    )
    number = "one change" if fewest == 1 else f"{fewest} changes at once"
    return f"The least that does better than the baseline is {number}: {named}."


def power_words(powers: Mapping[str, Sequence[float]]) -> str:
    """Say what the design sees; nothing where that is not known."""
    if not powers:
        return ""
    means = [sum(shares) / len(shares) for shares in zip(*powers.values(), strict=True)]
    seen = ", ".join(
        f"{times(ratio)} in {percent(share)}"
        for ratio, share in zip(EFFECTS_OF_POWER, means, strict=True)
    )
    said = f"This design sees an effect of {seen} of cases"
    if len(powers) == 1:
        return said + "."
    least = min(powers, key=lambda tricks: powers[tricks][-1])
    return (
        f"{said}, averaged over the tricks. It sees least of {least}: "
        f"{times(EFFECTS_OF_POWER[-1])} in {percent(powers[least][-1])}."
    )
