"""What a trick does: paired comparison with the same cells without it, and a verdict.

**The unit is the training seed.** All cells of one seed share their data order, latents and first
weights, so their differences are not independent of each other. What is tested and how is told in
``statistics/paired.py``, what may be claimed of it in ``statistics/claims.py``.

**Failures are never dropped.** A failed run ranks worse than any other; two failed runs tie. They
count in the tests, in the ratio and in its interval. Beside these stand two descriptions: the ratio
of the pairs that both survived, averaged within each seed and then over seeds with Student's
interval, and P(better), which cells leave out in which neither arm ever learnt.

**Only the effect over all data sets claims**, and, as a family of its own, contrasts that the suite
declared before its first run. Effects on single data sets or in single cells have intervals and no
verdict. Nor has anything while runs are still to come: who looks early must pay for it.

**Only like is compared with like**: both runs of a pair are measured by the same protocol. Settings
that a suite gives to one of them alone are listed beside the effects.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from harness.store.records import MetricInfo
from reports.cells import CellRuns, Result, SuiteCells, cached_per_suite
from reports.statistics.claims import Judgement, Verdict, judge, ratio_interval
from reports.statistics.intervals import (
    LEVEL,
    Interval,
    geometric_mean,
    paired_rate_change,
    t_interval,
)
from reports.statistics.paired import Pairs, log_ratio_estimate
from reports.statistics.ranks import probability_less

MARGINS = {"energy": 1.5}
"""Ratio within which a change is negligible, where the suite does not say, by metric."""
OTHER_MARGIN = 1.25
NEAR_FLOOR = 3.0
"""A control of fewer floors is marked: its ratios are compressed."""
UNFINISHED = ("missing", "running", "preempted")
"""What becomes of a run that is still to come."""
NEVER_LEARNT = "unlearned"


@dataclass(frozen=True)
class Pair:
    """The same data set, variant and seed, with a trick and without; both runs are final.

    Attributes:
        cell: Data set and variant.
        seed: The seed.
        treated: The run with the trick.
        control: The run without.
        scores: Log of the primary metric, with and without, smaller is better; a failed run or
            one without a value has +∞.
    """

    cell: tuple[str, str]
    seed: int
    treated: Result
    control: Result
    scores: tuple[float, float]

    @property
    def survived(self) -> bool:
        """Whether a ratio can be formed: neither run failed, and both have a positive value."""
        return math.isfinite(self.scores[0]) and math.isfinite(self.scores[1])

    @property
    def difference(self) -> float:
        """The log-ratio; ±∞ where one run failed, 0 where both did."""
        treated, control = self.scores
        return 0.0 if treated == control else treated - control

    @property
    def never_learnt(self) -> bool:
        """Whether neither run ever learnt anything."""
        return self.treated.status == self.control.status == NEVER_LEARNT


@dataclass(frozen=True)
class Effect:
    """What a trick changes, over all pairs of some cells; numbers are worked out when asked for.

    Attributes:
        tricks: Label of the trick.
        dataset: Label of the data set; None where all are pooled.
        planned: Pairs that the suite plans.
        paired: Pairs of which both runs are final.
        judgement: What may be claimed; None where nothing may be.
    """

    tricks: str
    dataset: str | None
    planned: int
    paired: tuple[Pair, ...]
    judgement: Judgement | None = None

    @property
    def verdict(self) -> Verdict | None:
        """What may be claimed; None where nothing is asked."""
        return self.judgement.verdict if self.judgement else None

    @property
    def pairs(self) -> int:
        """How many pairs there are."""
        return len(self.paired)

    @cached_property
    def survivors(self) -> int:
        """Pairs that both survived."""
        return sum(pair.survived for pair in self.paired)

    @cached_property
    def seeds(self) -> int:
        """Seeds with at least one pair."""
        return len({pair.seed for pair in self.paired})

    @cached_property
    def cells(self) -> int:
        """Cells with at least one pair."""
        return len({pair.cell for pair in self.paired})

    @cached_property
    def evidence(self) -> Pairs:
        """The pairs as the tests take them."""
        return evidence_of(self.paired)

    @cached_property
    def ratio(self) -> float | None:
        """Ratio at which neither arm ranks better, with over without; below 1 is better.

        It is inverted for metrics of which more is better. None without survivors, and where
        failures alone decide.
        """
        found = log_ratio_estimate(self.evidence)
        return math.exp(found) if found is not None and math.isfinite(found) else None

    @cached_property
    def interval(self) -> Interval | None:
        """Interval of the ratio, of at least 95 %; an end may be 0 or ∞."""
        return self.judgement.interval if self.judgement else ratio_interval(self.evidence, LEVEL)

    @cached_property
    def survivors_ratio(self) -> float | None:
        """Ratio of geometric means over the pairs that both survived; a description."""
        return ratio_over_seeds(self.paired)[0]

    @cached_property
    def survivors_interval(self) -> Interval | None:
        """Student's 95 % interval of that over seeds."""
        return ratio_over_seeds(self.paired)[1]

    @cached_property
    def better(self) -> float | None:
        """Chance that a run with the trick beats one without, failures ranked worst.

        Cells in which neither arm ever learnt are left out.
        """
        return probability_better(self.paired)

    @cached_property
    def failures(self) -> tuple[int, int]:
        """Failed runs with the trick, and without."""
        return (
            sum(pair.treated.failed for pair in self.paired),
            sum(pair.control.failed for pair in self.paired),
        )

    @cached_property
    def _failure_change(self) -> tuple[float, Interval] | None:
        return paired_rate_change(
            [pair.treated.failed for pair in self.paired],
            [pair.control.failed for pair in self.paired],
        )

    @property
    def failure_change(self) -> float | None:
        """Change of the failure rate, −1…1."""
        return self._failure_change[0] if self._failure_change else None

    @property
    def failure_interval(self) -> Interval | None:
        """Newcombe's 95 % interval of that over pairs."""
        return self._failure_change[1] if self._failure_change else None

    @cached_property
    def disagrees(self) -> bool:
        """Whether failures and the quality of survivors clearly go opposite ways."""
        if self.judgement and self.judgement.rank_claim * self.judgement.failure_claim < 0:
            return True
        quality, rate = self.survivors_interval, self.failure_interval
        if quality is None or rate is None:
            return False
        return (quality.low > 1 and rate.high < 0) or (quality.high < 1 and rate.low > 0)

    @property
    def runs(self) -> tuple[str, ...]:
        """Ids of all runs that went in."""
        return tuple(r.planned.id for p in self.paired for r in (p.treated, p.control))


def score(result: Result, cell: CellRuns) -> float:
    """Return the log of a run's primary metric, smaller is better; +∞ if there is none."""
    primary = cell.primary
    value = result.last(primary.name) if primary and not result.failed else None
    if primary is None or value is None or value <= 0:
        return math.inf
    return -math.log(value) if primary.better == "higher" else math.log(value)


def pairs_of(treated: CellRuns, control: CellRuns) -> list[Pair]:
    """Pair the final runs of two cells by seed; none if their protocols differ."""
    if treated.primary and control.primary and treated.primary.name != control.primary.name:
        return []
    by_seed = {result.planned.seed: result for result in control.finals}
    return [
        Pair(
            (treated.dataset, treated.variant),
            result.planned.seed,
            result,
            by_seed[result.planned.seed],
            (score(result, treated), score(by_seed[result.planned.seed], control)),
        )
        for result in treated.finals
        if result.planned.seed in by_seed
    ]


@cached_per_suite
def compared(cells: SuiteCells) -> dict[CellRuns, list[Pair]]:
    """Pair every cell that has a control with that."""
    return {cell: unspent(cells, pairs_of(cell, control)) for cell, control in cells.controlled}


def unspent(cells: SuiteCells, pairs: Iterable[Pair]) -> list[Pair]:
    """Leave out the seeds that an earlier study has judged: these verdicts could be read before."""
    spent = set(cells.suite.plan.spent)
    return [pair for pair in pairs if pair.seed not in spent]


def ratio_over_seeds(pairs: Sequence[Pair]) -> tuple[float | None, Interval | None]:
    """Average log-ratios within each seed, then over seeds; return ratio and interval."""
    survivors = [pair for pair in pairs if pair.survived]
    means = seed_means(survivors, [pair.difference for pair in survivors])
    if not means:
        return None, None
    interval = t_interval(means)
    if interval is not None:
        interval = Interval(math.exp(interval.low), math.exp(interval.high))
    return math.exp(float(np.mean(means))), interval


def seed_means(pairs: Sequence[Pair], values: Sequence[float]) -> list[float]:
    """Average a number of each pair within each seed."""
    by_seed: dict[int, list[float]] = {}
    for pair, value in zip(pairs, values, strict=True):
        by_seed.setdefault(pair.seed, []).append(value)
    return [sum(group) / len(group) for group in by_seed.values()]


def probability_better(pairs: Sequence[Pair]) -> float | None:
    """Average P(better) over cells; within a cell every run with meets every run without.

    Cells in which no run of either arm ever learnt are left out: they say nothing.

    Source: Agarwal et al., NeurIPS 2021, section 4.3 (probability of improvement).
    """
    shares = [
        probability_less([p.scores[0] for p in group], [p.scores[1] for p in group])
        for group in by_cell(pairs).values()
        if not all(pair.never_learnt for pair in group)
    ]
    known = [share for share in shares if share is not None]
    return float(np.mean(known)) if known else None


def by_cell(pairs: Iterable[Pair]) -> dict[tuple[str, str], list[Pair]]:
    """Order pairs by their cells."""
    cells: dict[tuple[str, str], list[Pair]] = {}
    for pair in pairs:
        cells.setdefault(pair.cell, []).append(pair)
    return cells


def without_learning(pairs: Iterable[Pair]) -> list[tuple[str, str]]:
    """List the cells in which no run of either arm ever learnt."""
    cells = by_cell(pairs)
    return [cell for cell, group in cells.items() if all(pair.never_learnt for pair in group)]


def evidence_of(pairs: Sequence[Pair]) -> Pairs:
    """Write pairs as the arrays that the tests take."""
    cells = {cell: number for number, cell in enumerate(by_cell(pairs))}
    scores = np.array([pair.scores for pair in pairs], dtype=float).reshape(-1, 2)
    return Pairs(
        np.array([cells[pair.cell] for pair in pairs], dtype=np.int64),
        np.array([pair.seed for pair in pairs], dtype=np.int64),
        scores[:, 0],
        scores[:, 1],
        np.array([pair.treated.failed for pair in pairs], dtype=bool),
        np.array([pair.control.failed for pair in pairs], dtype=bool),
    )


def unfinished(cells: SuiteCells) -> int:
    """Count the planned runs that are still to come."""
    return sum(result.status in UNFINISHED for result in cells.results)


def near_floor(cells: SuiteCells) -> list[tuple[CellRuns, float]]:
    """List the controls that are hardly worse than real data, with how many floors they are away.

    It is the geometric mean of their surviving runs. A floor is in every value, so that ratios of
    such cells are nearer to 1 than those of the distances that lie beneath.
    """
    found = []
    for cell in dict.fromkeys(control for _, control in cells.controlled):
        primary = cell.primary
        if primary is None or primary.better != "lower" or not (primary.floor or 0) > 0:
            continue
        values = [
            v for r in cell.finals if not r.failed and (v := r.last(primary.name)) is not None
        ]
        mean = geometric_mean(values)
        if mean is not None and primary.floor and mean < NEAR_FLOOR * primary.floor:
            found.append((cell, mean / primary.floor))
    return found


def margin_of(cells: SuiteCells) -> float:
    """Return the ratio within which a change is negligible: the suite's, or its metrics' least."""
    if cells.suite.plan.margin is not None:
        return cells.suite.plan.margin
    metrics = {cell.primary.metric for cell in cells.cells if cell.primary}
    return min((MARGINS.get(metric, OTHER_MARGIN) for metric in metrics), default=OTHER_MARGIN)


def judged(cells: SuiteCells, effects: Sequence[Effect]) -> list[Effect]:
    """Judge a family of effects; as they are while runs are still to come."""
    if not effects or unfinished(cells):
        return list(effects)
    family = [seen_at_looks(cells, effect) for effect in effects]
    found = judge(family, margin_of(cells), looks=max(1, len(cells.suite.plan.looks)))
    return [replace(e, judgement=j) for e, j in zip(effects, found, strict=True)]


def seen_at_looks(cells: SuiteCells, effect: Effect) -> list[Pairs]:
    """Return what each look has seen of an effect, all of its pairs last.

    A suite that is looked at once has one. What was decided at a look has no pairs of later seeds.
    """
    plan = cells.suite.plan
    seeds = sorted({run.seed for run in plan.runs} - set(plan.spent))
    place = {seed: number for number, seed in enumerate(seeds, start=1)}
    reached = max((place[pair.seed] for pair in effect.paired), default=0)
    earlier = [
        evidence_of([pair for pair in effect.paired if place[pair.seed] <= look])
        for look in plan.looks
        if look < reached
    ]
    return [*earlier, effect.evidence]


def differences(cells: SuiteCells) -> list[tuple[CellRuns, str, Any, Any]]:
    """List the settings that a cell has otherwise than its baseline: name, with and without.

    Its protocol is among them, as ``primary metric``, and on which devices its runs were trained,
    where pairs were on unlike ones.
    """
    unlike_settings: list[tuple[CellRuns, str, Any, Any]] = []
    for cell, control in cells.controlled:
        mine, base = settings_of(cell), settings_of(control)
        for name in mine.keys() & base.keys():
            if mine[name] != base[name]:
                unlike_settings.append((cell, name, mine[name], base[name]))
        unlike_settings += [(cell, *row) for row in unlike_devices(compared(cells)[cell])]
    return sorted(unlike_settings, key=lambda row: (*row[0].labels, row[1]))


def unlike_devices(pairs: Sequence[Pair]) -> list[tuple[str, str, str]]:
    """Say of how many pairs the runs were trained on unlike devices, and on which."""
    devices = [
        tuple(r.record.device if r.record else None for r in (pair.treated, pair.control))
        for pair in pairs
    ]
    unlike = [(one, other) for one, other in devices if one and other and one != other]
    if not unlike:
        return []
    mine, base = (", ".join(sorted(set(names))) for names in zip(*unlike, strict=True))
    return [(f"device, in {len(unlike)} of {len(pairs)} pairs", mine, base)]


def settings_of(cell: CellRuns) -> dict[str, Any]:
    """Return what a cell is trained and measured with; empty before any run has begun."""
    if cell.record is None:
        return {}
    metric = {"primary metric": cell.primary.name} if cell.primary else {}
    return {**cell.record.spec.settings.model_dump(), **metric}


@dataclass(frozen=True)
class Shift:
    """What a trick changes in a metric that verdicts do not go by, on one data set.

    Attributes:
        tricks: Label of the trick.
        dataset: Label of the data set.
        metric: The metric.
        treated: Mean with the trick, over pairs that both survived.
        control: Mean without, over the same pairs.
        interval: 95 % interval over seeds of the difference.
        pairs: How many pairs there are.
        runs: Ids of all runs that went in.
    """

    tricks: str
    dataset: str
    metric: MetricInfo
    treated: float
    control: float
    interval: Interval | None
    pairs: int
    runs: tuple[str, ...]

    @property
    def difference(self) -> float:
        """With minus without."""
        return self.treated - self.control


def shifts(cells: SuiteCells) -> list[Shift]:
    """Return what tricks change in every other metric that has a direction, unadjusted."""
    metric_shifts = []
    for dataset in cells.datasets:
        for treatment in cells.treatments:
            pairs: list[Pair] = []
            metrics: dict[str, MetricInfo] = {}
            for cell in cells.of_dataset(dataset):
                if cell in compared(cells) and cells.treatment(cell) == treatment:
                    pairs += compared(cells)[cell]
                    metrics |= {metric.name: metric for metric in cell.metrics}
            for metric in metrics.values():
                if metric.better != "none" and not metric.primary:
                    shift = shift_of(treatment, dataset, metric, pairs)
                    metric_shifts += [shift] if shift is not None else []
    return metric_shifts


def shift_of(tricks: str, dataset: str, metric: MetricInfo, pairs: Sequence[Pair]) -> Shift | None:
    """Average a metric's differences within each seed, then over seeds; None without values."""
    by_seed: dict[int, list[tuple[float, float]]] = {}
    runs: list[str] = []
    for pair in pairs:
        values = pair.treated.last(metric.name), pair.control.last(metric.name)
        if pair.treated.failed or pair.control.failed or None in values:
            continue
        by_seed.setdefault(pair.seed, []).append(values)  # type: ignore[arg-type]
        runs += [pair.treated.planned.id, pair.control.planned.id]
    if not by_seed:
        return None
    means = np.array([np.mean(values, axis=0) for values in by_seed.values()])
    treated, control = means.mean(0)
    interval = t_interval(means[:, 0] - means[:, 1])
    count = len(runs) // 2
    return Shift(
        tricks, dataset, metric, float(treated), float(control), interval, count, tuple(runs)
    )


def cell_effects(cells: SuiteCells) -> list[tuple[CellRuns, Effect]]:
    """Return the effect of every trick in every cell that has a baseline; none is judged."""
    return [
        (cell, Effect(cells.treatment(cell), cell.dataset, _planned(cells, cell), tuple(pairs)))
        for cell, pairs in compared(cells).items()
    ]


def _grouped(cells: SuiteCells, *, by_dataset: bool) -> list[Effect]:
    places = {treatment: place for place, treatment in enumerate(cells.treatments)}
    ordered = sorted(compared(cells), key=lambda cell: places[cells.treatment(cell)])
    groups: dict[tuple[str, str | None], list[CellRuns]] = {}
    for cell in ordered:
        key = cells.treatment(cell), cell.dataset if by_dataset else None
        groups.setdefault(key, []).append(cell)
    return [
        Effect(
            *key,
            sum(_planned(cells, cell) for cell in group),
            tuple(pair for cell in group for pair in compared(cells)[cell]),
        )
        for key, group in groups.items()
    ]


@cached_per_suite
def trick_effects(cells: SuiteCells) -> list[Effect]:
    """Return the effect of every trick over all data sets, judged as one family."""
    return judged(cells, _grouped(cells, by_dataset=False))


def dataset_effects(cells: SuiteCells) -> list[Effect]:
    """Return the effect of every trick on each data set; none is judged."""
    return _grouped(cells, by_dataset=True)


@cached_per_suite
def contrast_effects(cells: SuiteCells) -> list[Effect]:
    """Return the contrasts that the suite declares, judged as a family of their own."""
    effects = []
    for first, second in cells.suite.plan.contrasts:
        both = [
            (cell, control)
            for cell in cells.cells
            if cell.tricks == first
            and (control := cells.cell(cell.dataset, cell.variant, second)) is not None
        ]
        pairs = [pair for cell, control in both for pair in unspent(cells, pairs_of(cell, control))]
        planned = sum(shared_seeds(cell, control) for cell, control in both)
        effects.append(Effect(f"{first} against {second}", None, planned, tuple(pairs)))
    return judged(cells, effects)


def shared_seeds(treated: CellRuns, control: CellRuns) -> int:
    """Count the pairs that a plan has of two cells."""
    seeds = {result.planned.seed for result in control.results}
    return sum(result.planned.seed in seeds for result in treated.results)


def _planned(cells: SuiteCells, treated: CellRuns) -> int:
    control = cells.control(treated)
    return 0 if control is None else shared_seeds(treated, control)
