"""Results as columns: runs, evaluations, losses, verdicts and trials of a suite that was read.

Tables of pyarrow, so that a report writes them without pandas; they come from the same records,
effects and sentences as the report's own tables.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from harness.store.columns import Numbers
from harness.store.events import EvaluationRow, LossRow
from harness.store.packed import Row
from harness.store.reading import ReportedRun
from harness.store.records import CellKey, Weights, short_name
from reports.cells import STATUSES, CellRuns, Result, SuiteCells
from reports.effects import Effect, contrast_effects, margin_of, trick_effects
from reports.frame_columns import Coded, coded, table_of
from reports.sections.modes import captured
from reports.sections.survival import lifetime
from reports.sections.tuning import value_of
from reports.sections.verdict_words import change, failures
from reports.sections.verdicts import claims_of, metric_word
from reports.statistics.claims import Verdict
from reports.tuned import Search, compare

CLAIMS: dict[Verdict, str] = {
    "helps": "quality",
    "hurts": "quality",
    "fewer failures": "failures",
    "more failures": "failures",
    "no difference": "equivalence",
    "no evidence": "none",
    "screening": "none",
}
"""Kind of each verdict."""
COMPARISONS = ("tricks", "contrasts", "defaults", "tuned")
Weighed = tuple[Weights, Callable[[ReportedRun], str]]
"""A field of events, and whose weights its numbers are of."""


def title(labels: CellKey) -> str:
    """Name a cell."""
    return " · ".join(labels)


def run_table(cells: SuiteCells) -> pa.Table:
    """Return a row for each planned run, in the order of cells and seeds."""
    suite = cells.suite
    by_cell = [(cell, cell_values(cell)) for cell in cells.cells]
    rows = [(cell, known, result) for cell, known in by_cell for result in cell.results]
    results = [result for _, _, result in rows]
    ends = [result.outcome for result in results]
    measured = [measures(cell, result) for cell, _, result in rows]
    share = [captured(result) for result in results]
    several = bool(suite.folders)
    return table_of(
        "runs",
        {
            "run": run_codes(cells),
            "suite": [suite.plan.suite] * len(rows),
            "dataset": [cell.dataset for cell, _, _ in rows],
            "variant": [cell.variant for cell, _, _ in rows],
            "tricks": [cell.tricks for cell, _, _ in rows],
            "cell": [title(cell.labels) for cell, _, _ in rows],
            "options": [known["options"] for _, known, _ in rows],
            "settings": [known["settings"] for _, known, _ in rows],
            "seed": [result.planned.seed for result in results],
            "folder": [suite.folder_of(r.planned.id) or None if several else None for r in results],
            "outcome": coded([result.status for result in results], STATUSES),
            "final": [result.final for result in results],
            "failed": [result.failed for result in results],
            "reason": [
                suite.corrupt.get(result.planned.id) if end is None else end.reason
                for result, end in zip(results, ends, strict=True)
            ],
            "steps": [known["steps"] for _, known, _ in rows],
            "step": [end and end.step for end in ends],
            "onset": [result.onset for result in results],
            "lasted": [lifetime(result) if result.final else None for result in results],
            "kimg": [end and end.kimg for end in ends],
            "seconds": [end and end.seconds for end in ends],
            "evaluation_seconds": [end and end.evaluation_seconds for end in ends],
            "peak_memory": [end and end.peak_memory for end in ends],
            "device": [result.record and result.record.device for result in results],
            "attempts": [len(r.record.attempts) if r.record else 0 for r in results],
            "metric": [cell.primary and cell.primary.name for cell, _, _ in rows],
            "better": [cell.primary and cell.primary.better for cell, _, _ in rows],
            **{name: [each[name] for each in measured] for name in MEASURED},
            "modes": [each and each[0] for each in share],
        },
    )


def cell_values(cell: CellRuns) -> dict[str, Any]:
    """Return what all runs of a cell have in common, as texts."""
    parts = {
        "dataset": cell.cell.dataset.options,
        "variant": cell.cell.variant.options,
        "tricks": {trick.id: trick.options for trick in cell.cell.tricks if trick.options},
    }
    settings = next((r.record.spec.settings for r in cell.results if r.record), None)
    return {
        "options": json.dumps({name: options for name, options in parts.items() if options}),
        "settings": settings and json.dumps(settings.model_dump(mode="json")),
        "steps": settings and settings.steps,
    }


MEASURED = ("primary", "primary_raw", "best", "best_step", "untrained")


def measures(cell: CellRuns, result: Result) -> dict[str, Any]:
    """Return what a run reached by its cell's primary metric."""
    record, primary = result.record, cell.primary
    if record is None or primary is None:
        return dict.fromkeys(MEASURED)
    series = record.series(EvaluationRow, primary.name)
    first = series.values[:1] if len(series.steps) and series.steps[0] == 0 else ()
    best = record.best(primary)
    values = (
        result.last(primary.name),
        result.last(primary.name, "raw"),
        best and best.value,
        best and best.step,
        *(first if len(first) else (None,)),
    )
    return dict(zip(MEASURED, values, strict=True))


def run_codes(cells: SuiteCells) -> Coded:
    """Number the runs; the same numbers stand in all frames."""
    ids = [result.planned.id for result in cells.results]
    return Coded(np.arange(len(ids)), ids)


def evaluation_table(cells: SuiteCells) -> pa.Table:
    """Return a row for each number of each evaluation, step 0 included."""
    places: tuple[Weighed, ...] = (("values", measured_weights), ("raw", lambda record: "raw"))
    run, step, kimg, name, weights, value = long(cells, EvaluationRow, places)
    short = coded(short_name(each) for each in name.categories)
    metric = Coded(short.codes[name.codes], short.categories)
    columns = (run, step, kimg, metric, name, weights, value)
    names = ("run", "step", "kimg", "metric", "protocol", "weights", "value")
    return table_of("evaluations", dict(zip(names, columns, strict=True)))


def measured_weights(record: ReportedRun) -> str:
    """Say whose weights the numbers of a run's evaluations are of."""
    return record.provenance.weights if record.provenance else "raw"


def loss_table(cells: SuiteCells) -> pa.Table:
    """Return a row for each number that training told of itself."""
    run, step, kimg, series, _, value = long(cells, LossRow, (("values", lambda record: ""),))
    values = {"run": run, "step": step, "kimg": kimg, "series": series, "value": value}
    return table_of("losses", values)


def long(
    cells: SuiteCells, kind: type[Row], places: Sequence[Weighed]
) -> tuple[Coded, Any, Any, Coded, Coded, Any]:
    """Lay all numbers of all events of a class below each other.

    Returns:
        Columns: run, step, kimg, name, weights and value.
    """
    names: dict[str, int] = {}
    weights: dict[str, int] = {}
    known: dict[tuple[str, ...], Any] = {}
    runs, kinds, rows, columns, parts = [], [], [], [], []
    for number, result in enumerate(cells.results):
        for place, weights_of in places if result.record else ():
            assert result.record is not None  # noqa: S101 - said in the line above
            numbers = result.record.numbers(kind, place)
            if not numbers.values.size:
                continue
            if numbers.names not in known:
                codes = [names.setdefault(name, len(names)) for name in numbers.names]
                known[numbers.names] = np.array(codes, np.int16)
            runs.append(number)
            kinds.append(weights.setdefault(weights_of(result.record), len(weights)))
            rows.append(numbers.values.size)
            columns.append(np.tile(known[numbers.names], len(numbers.steps)))
            parts.append(numbers)
    ids = [result.planned.id for result in cells.results]
    return (
        Coded(np.repeat(np.array(runs, np.int32), rows), ids),
        joined(np.repeat(each.steps.astype(np.int64), len(each.names)) for each in parts),
        joined(np.repeat(each.kimg, len(each.names)) for each in parts),
        Coded(joined(columns).astype(np.int16), [*names]),
        Coded(np.repeat(np.array(kinds, np.int8), rows), [*weights]),
        joined(flat(each) for each in parts),
    )


def flat(numbers: Numbers) -> Any:
    """Return the numbers of events one after the other."""
    return numbers.values.ravel()


def joined(arrays: Iterable[Any]) -> Any:
    """Lay arrays below each other, or return an empty one."""
    listed = list(arrays)
    return np.concatenate(listed) if listed else np.zeros(0)


def verdict_table(cells: SuiteCells, searches: Sequence[Search]) -> pa.Table:
    """Return a row for each effect of which a claim is made, or will be."""
    rows = [*verdict_rows(cells, searches)]
    names = list(rows[0]) if rows else None
    if names is None:
        from reports.frame_columns import FRAMES

        names = [column.name for column in FRAMES["verdicts"]]
    values: dict[str, Any] = {name: [row[name] for row in rows] for name in names}
    values["comparison"] = coded(values["comparison"], COMPARISONS)
    values["verdict"] = coded(values["verdict"], CLAIMS)
    values["claim"] = coded(values["claim"], CLAIMS.values())
    return table_of("verdicts", values)


def verdict_rows(cells: SuiteCells, searches: Sequence[Search]) -> Iterator[dict[str, Any]]:
    """Write every family that claims, row by row."""
    word, margin = metric_word(cells), margin_of(cells)
    for comparison, effects in (
        ("tricks", trick_effects(cells)),
        ("contrasts", contrast_effects(cells)),
    ):
        claims = claims_of(cells, effects, word)
        words = {c.subject: f"{c.subject} {c.predicate}: {c.sentence}" for c in claims}
        for effect in effects:
            yield verdict_row(effect, comparison, margin, words.get(effect.tricks))
    compared = compare(cells, searches).effects if searches else ()
    for place, comparison in enumerate(COMPARISONS[2:]):
        for pair in compared:
            told = f"{change(pair[place], word)}; {failures(pair[place])}"
            yield verdict_row(pair[place], comparison, margin, told)


def verdict_row(
    effect: Effect, comparison: str, margin: float, words: str | None
) -> dict[str, Any]:
    """Write one effect, and what was judged of it."""
    judged, interval, rates = effect.judgement, effect.interval, effect.failure_interval
    needed = None if judged is None or judged.decided else judged.seeds_to_decide
    tested = judged if judged and effect.pairs else None
    return {
        "trick": effect.tricks,
        "comparison": comparison,
        "verdict": effect.verdict,
        "claim": CLAIMS[effect.verdict] if effect.verdict else None,
        "estimate": effect.ratio,
        "low": interval and interval.low,
        "high": interval and interval.high,
        "level": judged and judged.confidence,
        "p": tested and tested.single_p,
        "p_adjusted": tested and tested.p,
        "pairs": effect.pairs,
        "planned": effect.planned,
        "seeds": effect.seeds,
        "failures": effect.failures[0],
        "control_failures": effect.failures[1],
        "failure_change": effect.failure_change,
        "failure_low": rates and rates.low,
        "failure_high": rates and rates.high,
        "failure_p": tested and tested.single_failure_p,
        "failure_p_adjusted": tested and tested.failure_p,
        "margin": margin,
        "smallest_margin": tested and tested.smallest_margin,
        "seeds_least": needed and needed[0],
        "seeds_most": needed and needed[1],
        "words": words,
    }


def trial_table(searches: Sequence[Search]) -> pa.Table:
    """Return a row for each trial of each cell that was searched."""
    rows = [(search, trial) for search in searches for trial in search.trials]
    return table_of(
        "trials",
        {
            "dataset": [search.cell[0] for search, _ in rows],
            "variant": [search.cell[1] for search, _ in rows],
            "tricks": [search.cell[2] for search, _ in rows],
            "cell": [title(search.cell) for search, _ in rows],
            "trial": [int(trial["number"]) for _, trial in rows],
            "parameters": [json.dumps(trial["params"]) for _, trial in rows],
            "seed": [int(trial["seed"]) for _, trial in rows],
            "metric": [search.metric for search, _ in rows],
            "value": [math.nan if (v := value_of(trial)) is None else v for _, trial in rows],
            "outcome": coded([str(trial["outcome"]) for _, trial in rows], STATUSES),
            "run": [str(trial["run"]) for _, trial in rows],
        },
    )
