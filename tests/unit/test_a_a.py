"""The control experiment: nothing differs but the random numbers, and the report is silent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.store.reading import read_suite
from harness.testing.specs import make_spec
from reports.cells import group
from reports.effects import trick_effects


def test_a_replicate_is_the_same_training_with_other_numbers() -> None:
    specs = [make_spec("ring8", "gan", seed=3, replicate=r) for r in (0, 1, 2)]
    assert specs[0].random_seed == 3
    assert len({spec.random_seed for spec in specs}) == 3
    assert make_spec("ring8", "gan", seed=4, replicate=1).random_seed != specs[1].random_seed
    assert len({spec.id for spec in specs}) == 3
    assert "replicate" not in specs[0].settings.model_dump()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_is_claimed_where_nothing_differs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harness.cli", "run", "a-a", "--profile", "quick"]
    subprocess.run([*command, "--out", str(tmp_path / "r"), "--wandb", "disabled"], check=True)
    cells = group(read_suite(tmp_path / "r"))
    effects = trick_effects(cells)
    assert len(effects) == 5
    assert {effect.verdict for effect in effects} <= {"no evidence", "no difference"}
    values = [
        result.last(cell.primary.name)
        for cell in cells.cells
        if cell.primary
        for result in cell.finals
    ]
    assert len(values) == 60
    assert len(set(values)) == 60, "replicates that are copies prove nothing"
