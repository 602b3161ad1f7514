"""What a trick does: paired comparison with the same cells without it, and a verdict.

**The unit is the training seed.** All cells of one seed share their data order, latents and first
weights, so their differences are not independent of each other; taking each as a repeat would
make intervals too narrow. Log-ratios are therefore first averaged over the cells of a seed, and
the t-interval is taken over seeds.

**Failures are never dropped.** A ratio of distances exists only where both runs of a pair survived,
so it is printed with how many did. Beside it stands a test that uses every pair: a failed run ranks
worse than any other, two failed runs tie, and the signed ranks of all pairs are tested twice: by
exact sign flips, and by Student's test of their means over seeds. The first assumes no law but
takes the pairs of a seed as independent; the second does not, but needs means that are near to
normal. The larger p-value counts, adjusted by Holm over all tricks of the table. Simulated suites
in which a seed moves or ruins all its cells at once show that neither can be left out.

**A claim needs three to agree**: the adjusted p-value below 0.05, the direction of the test that
gave it, and the seeds' interval, of the ratio or, for failures, of the failure rate. The test looks
at all pairs, failures included; the interval guards against cells of a seed that repeat each other.
Where a trick rescues failing runs and costs the others a little, test and ratio disagree, and only
the failures may be claimed.

**Only like is compared with like**: both runs of a pair are measured by the same protocol. Settings
that a suite gives to one of them alone are listed beside the effects.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from harness.store.records import MetricInfo
from reports.cells import CellRuns, Result, SuiteCells, cached_per_suite
from reports.statistics.intervals import Interval, paired_rate_change, t_interval, t_p
from reports.statistics.ranks import holm, probability_less, sign_flip_p, signed_ranks

ALPHA = 0.05
SEEDS_FOR_A_CLAIM = 5
Verdict = Literal["helps", "hurts", "fewer failures", "no evidence", "screening"]


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


@dataclass(frozen=True)
class Effect:
    """What a trick changes, over all pairs of some cells.

    Attributes:
        tricks: Label of the trick.
        dataset: Label of the data set; None where all are pooled.
        planned: Pairs that the suite plans.
        pairs: Pairs of which both runs are final.
        survivors: Pairs that the ratio is formed of.
        seeds: Seeds with at least one pair.
        ratio: Of geometric means of the primary metric, with over without; below 1 is better
            (inverted for metrics of which more is better). None without survivors.
        interval: 95 % interval of the ratio over seeds.
        better: Probability that a run with the trick beats one without, failures ranked worst.
        failures: Failed runs with the trick, and without.
        failure_change: Change of the failure rate, −1…1.
        failure_interval: Its 95 % interval over pairs.
        failure_over_seeds: Its 95 % interval over seeds, which a claim also needs.
        p: Of the signed ranks: the larger of the exact sign-flip test over pairs and Student's over
            seeds.
        lean: Sum of the signed ranks: negative where runs with the trick rank better.
        p_holm: Adjusted for all rows of its table.
        failure_p: Of the change in failures: the larger of McNemar's exact test over pairs and
            Student's over seeds.
        failure_p_holm: Adjusted likewise.
        runs: Ids of all runs that went in.
    """

    tricks: str
    dataset: str | None
    planned: int
    pairs: int
    survivors: int
    seeds: int
    ratio: float | None
    interval: Interval | None
    better: float | None
    failures: tuple[int, int]
    failure_change: float | None
    failure_interval: Interval | None
    failure_over_seeds: Interval | None
    p: float
    lean: float
    failure_p: float
    runs: tuple[str, ...]
    p_holm: float = 1.0
    failure_p_holm: float = 1.0

    @property
    def verdict(self) -> Verdict:
        """What may be claimed."""
        if self.seeds < SEEDS_FOR_A_CLAIM:
            return "screening"
        more = self.failures[0] - self.failures[1]
        ranks = self._side(self.p_holm, self.lean, self.interval, 1.0)
        failures = self._side(self.failure_p_holm, more, self.failure_over_seeds, 0.0)
        if failures > 0 or ranks > 0:
            return "hurts"
        if ranks < 0:
            return "helps"
        if failures < 0:
            return "fewer failures"
        return "no evidence"

    @staticmethod
    def _side(p: float, lean: float, interval: Interval | None, nothing: float) -> int:
        """Return 1 for a claim of more (which is worse), −1 of less, 0 for none."""
        if p >= ALPHA or interval is None:
            return 0
        worse, better = lean > 0 and interval.low > nothing, lean < 0 and interval.high < nothing
        return int(worse) - int(better)

    @property
    def smallest_p(self) -> float:
        """The smallest p-value that so many pairs could give."""
        return min(1.0, 2.0 ** (1 - self.pairs))


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
    controls = ((cell, cells.control(cell)) for cell in cells.cells)
    return {cell: pairs_of(cell, control) for cell, control in controls if control is not None}


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

    Source: Agarwal et al., NeurIPS 2021, section 4.3 (probability of improvement).
    """
    cells: dict[tuple[str, str], list[Pair]] = {}
    for pair in pairs:
        cells.setdefault(pair.cell, []).append(pair)
    shares = [
        probability_less([p.scores[0] for p in group], [p.scores[1] for p in group])
        for group in cells.values()
    ]
    known = [share for share in shares if share is not None]
    return float(np.mean(known)) if known else None


def effect_of(tricks: str, dataset: str | None, pairs: Sequence[Pair], planned: int) -> Effect:
    """Summarise pairs into an effect, not yet adjusted for its family."""
    ratio, interval = ratio_over_seeds(pairs)
    ranks = signed_ranks([pair.difference for pair in pairs]).tolist()
    treated = [pair.treated.failed for pair in pairs]
    control = [pair.control.failed for pair in pairs]
    change = paired_rate_change(treated, control)
    flips = [float(a) - float(b) for a, b in zip(treated, control, strict=True)]
    return Effect(
        tricks=tricks,
        dataset=dataset,
        planned=planned,
        pairs=len(pairs),
        survivors=sum(pair.survived for pair in pairs),
        seeds=len({pair.seed for pair in pairs}),
        ratio=ratio,
        interval=interval,
        better=probability_better(pairs),
        failures=(sum(treated), sum(control)),
        failure_change=change[0] if change else None,
        failure_interval=change[1] if change else None,
        failure_over_seeds=t_interval(seed_means(pairs, flips)),
        p=float(max(sign_flip_p(ranks), t_p(seed_means(pairs, ranks)))),
        lean=sum(ranks),
        failure_p=float(max(sign_flip_p(flips), t_p(seed_means(pairs, flips)))),
        runs=tuple(r.planned.id for pair in pairs for r in (pair.treated, pair.control)),
    )


def adjusted(effects: Sequence[Effect]) -> list[Effect]:
    """Apply Holm over a family of effects, to each of the two tests."""
    ranks = holm([effect.p for effect in effects]).tolist()
    failures = holm([effect.failure_p for effect in effects]).tolist()
    return [
        replace(effect, p_holm=p, failure_p_holm=q)
        for effect, p, q in zip(effects, ranks, failures, strict=True)
    ]


def differences(cells: SuiteCells) -> list[tuple[CellRuns, str, Any, Any]]:
    """List the settings that a cell has otherwise than its baseline: name, with and without.

    Its protocol is among them, as ``primary metric``, and on which devices its runs were trained,
    where pairs were on unlike ones.
    """
    unlike_settings: list[tuple[CellRuns, str, Any, Any]] = []
    for cell in cells.cells:
        control = cells.control(cell)
        if control is None:
            continue
        mine, base = settings_of(cell), settings_of(control)
        for name in mine.keys() & base.keys():
            if mine[name] != base[name]:
                unlike_settings.append((cell, name, mine[name], base[name]))
        unlike_settings += [(cell, *row) for row in unlike_devices(compared(cells)[cell])]
    return sorted(
        unlike_settings, key=lambda row: (row[0].dataset, row[0].variant, row[0].tricks, row[1])
    )


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
    record = next((result.record for result in cell.results if result.record), None)
    if record is None:
        return {}
    metric = {"primary metric": cell.primary.name} if cell.primary else {}
    return {**record.spec.settings.model_dump(), **metric}


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
    """Return the effect of every trick in every cell that has a baseline, unadjusted."""
    return [
        (cell, effect_of(cells.treatment(cell), cell.dataset, pairs, _planned(cells, cell)))
        for cell, pairs in compared(cells).items()
    ]


def trick_effects(cells: SuiteCells, *, by_dataset: bool) -> list[Effect]:
    """Return the adjusted effect of every trick, over all data sets or on each."""
    places = {treatment: place for place, treatment in enumerate(cells.treatments)}
    ordered = sorted(compared(cells), key=lambda cell: places[cells.treatment(cell)])
    groups: dict[tuple[str, str | None], list[CellRuns]] = {}
    for cell in ordered:
        key = cells.treatment(cell), cell.dataset if by_dataset else None
        groups.setdefault(key, []).append(cell)
    return adjusted(
        [
            effect_of(
                *key,
                [pair for cell in group for pair in compared(cells)[cell]],
                sum(_planned(cells, cell) for cell in group),
            )
            for key, group in groups.items()
        ]
    )


def _planned(cells: SuiteCells, treated: CellRuns) -> int:
    control = cells.control(treated)
    if control is None:
        return 0
    seeds = {result.planned.seed for result in control.results}
    return sum(result.planned.seed in seeds for result in treated.results)
