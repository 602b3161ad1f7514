"""Scores over several data sets: who is in, what failures score, and that intervals agree."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.store.reading import read_suite
from reports.cells import SuiteCells, group
from reports.comma_separated import render
from reports.document import Figure
from reports.sections.pooled import build, scale_of, scores_of
from reports.statistics.pooled import (
    performance_band,
    performance_profile,
    pooled_mean,
    pooled_mean_interval,
)
from reports.tables import Table
from tests.stores import Fate, FateOf, Where, build_store


def tasks() -> list[np.ndarray]:
    draw = np.random.default_rng(3)
    return [draw.normal(0.5, 0.1, 12), draw.normal(0.8, 0.2, 7)]


def drawn_one_by_one(
    statistic: Callable[[list[np.ndarray]], float], draws: int
) -> tuple[float, float]:
    """Return the percentile interval of a statistic by a plain loop."""
    generator = np.random.default_rng(1)
    values = [
        statistic([scores[generator.integers(len(scores), size=len(scores))] for scores in tasks()])
        for _ in range(draws)
    ]
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def test_drawing_all_at_once_gives_the_same_interval() -> None:
    at_once = pooled_mean_interval(tasks(), np.random.default_rng(0), draws=4000)
    assert at_once is not None
    assert tuple(at_once) == pytest.approx(drawn_one_by_one(pooled_mean, 4000), abs=0.006)
    assert pooled_mean_interval([np.array([1.0])], np.random.default_rng(0)) is None


def test_the_band_is_that_of_the_profile_at_each_threshold() -> None:
    limits = [0.3, 0.5, 0.7]
    low, high = performance_band(tasks(), limits, np.random.default_rng(0), draws=4000)
    for place, limit in enumerate(limits):
        expected = drawn_one_by_one(
            lambda drawn, limit=limit: float(performance_profile(drawn, [limit])[0]), 2000
        )
        assert (low[place], high[place]) == pytest.approx(expected, abs=0.04)


def cells_of(folder: Path, fate_of: FateOf, **options: object) -> SuiteCells:
    root = build_store(folder / "s", fate_of=fate_of, **options)  # type: ignore[arg-type]
    return group(read_suite(root))


def fate(where: Where) -> Fate:
    if where.variant == "gan" and where.seed == 0:
        return Fate("diverged")
    return Fate(value=0.5 if where.tricks != "none" else 1.0)


def test_a_score_is_between_untrained_and_real(tmp_path: Path) -> None:
    cells = cells_of(tmp_path, fate, seeds=3)
    cell = cells.cell("ring8", "gan", "none")
    scale = scale_of(cells.of_dataset("ring8"))
    assert cell is not None and scale is not None
    # A synthetic run starts at 31 times its last value; the median one of these at 0.5 or 1.
    assert scale.reference in (15.5, 31.0, 23.25) and scale.floor == 0.012
    good = math.log(scale.reference / 1.0) / math.log(scale.reference / 0.012)
    assert scores_of(cell, scale) == pytest.approx([0.0, good, good])


def test_the_table_ranks_and_counts_failures(tmp_path: Path) -> None:
    section = build(cells_of(tmp_path, fate, seeds=3))
    assert section is not None
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    rows = list(csv.DictReader(io.StringIO(render(table))))
    means = [float(row["Interquartile mean ↑"]) for row in rows]
    assert means == sorted(means, reverse=True) and len(rows) == 4
    assert (rows[0]["Variant"], rows[0]["Tricks"]) == ("wgan-gp", "label-smoothing")
    by_name = {(row["Variant"], row["Tricks"]): row for row in rows}
    assert float(by_name["gan", "none"]["Score 0 ↓"]) == pytest.approx(1 / 3)
    assert float(by_name["wgan-gp", "label-smoothing"]["P(better)"]) == 1.0
    assert {block.name for block in section.blocks if isinstance(block, Figure)} == {
        "pooled",
        "profiles",
    }


def covered(runs: int, generator: np.random.Generator) -> list[float]:
    """Simulate how often an interval holds the mean that all runs would have, task by task."""
    shares = []
    for means in (np.zeros(2), np.linspace(0, 4, 5)):
        truth = pooled_mean([generator.normal(mean, 1, 100_000) for mean in means])
        limits = [
            pooled_mean_interval([generator.normal(m, 1, runs) for m in means], generator, draws=99)
            for _ in range(150)
        ]
        shares.append(np.mean([one is not None and one.low <= truth <= one.high for one in limits]))
    return [100 * float(share) for share in shares]


def test_the_chapter_says_how_much_its_intervals_hold(tmp_path: Path) -> None:
    """Read what the chapter says, and simulate that: 150 trials err by 8 %."""
    section = build(cells_of(tmp_path, fate, seeds=2))
    assert section is not None
    (said,) = (text for text in section.lead if "simulations" in text)
    assert "too narrow: rather than in 95 %" in said
    found = re.findall(r"(\d+) to (\d+)\s%\sat (\d+) runs", said)
    assert len(found) > 2
    generator = np.random.default_rng(4)
    for low, high, runs in (found[0], found[-1]):
        assert int(low) < int(high) < 95
        assert all(
            int(low) - 8 <= share <= int(high) + 8 for share in covered(int(runs), generator)
        )


def test_what_lacks_a_data_set_is_named(tmp_path: Path) -> None:
    def lacking(where: Where) -> Fate:
        return Fate("missing") if (where.dataset, where.variant) == ("digits", "gan") else Fate()

    section = build(cells_of(tmp_path, lacking, seeds=2))
    assert section is not None
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    assert "Without runs on all of them: gan · none; gan · label-smoothing." in table.note


def test_one_data_set_is_not_pooled(tmp_path: Path) -> None:
    assert build(cells_of(tmp_path, fate, datasets=("ring8",), seeds=2)) is None
