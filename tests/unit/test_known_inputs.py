"""Inputs that went wrong when others tried the program, whole: suites, and a plugin of 0.1.0."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from harness.errors import ExitStatus
from harness.jobs.job import Job
from harness.registry import KINDS, load_plugin
from harness.spec import RunSpec
from harness.store.folders import Store
from harness.store.reading import read_run
from harness.store.records import REACHED_THE_END
from harness.suite.load import load_suite
from harness.suite.matrix import expand
from harness.testing import checks
from harness.testing.cells import CPU, make_trainer

ALONE = """
suite: alone
summary: A run that trains alone, with a trick that keeps one number
seeds: 1
datasets: [digits]
variants: [dcgan]
tricks: [ada, lecam]
settings: {steps: 30, batch: 16, width: 4, evaluate_every: 10, evaluation_samples: 100}
"""

ORDER = """
suite: order
summary: A combination must be what its parts say, whatever their order
seeds: 2
datasets: [ring8]
variants: [lsgan]
tricks: [[historical-averaging, feature-matching], [feature-matching, historical-averaging]]
settings: {steps: 40, batch: 32, evaluate_every: 10, evaluation_samples: 100, precision: float64}
"""

ANNEALED = '''
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from harness.parts import PerRun, Trick, tricks
from harness.protocols import Batch, Game


@tricks.register("best-share", source="Sinha et al. 2020, arXiv:2002.06224, section 3")
class BestShare(Trick):
    """Let G learn from its best examples by D's answer only."""

    end: Annotated[float, PerRun()] = Field(default=0.5, gt=0, le=1, description="share at the end")

    def generator_objective(self, game: Game, batch: Batch, loss: Tensor) -> Tensor:
        logits = batch.judged_fake.logits
        answers = logits.flatten(2).mean(2) if logits.ndim > 2 else logits
        share = batch.number("best-share/progress", lambda _: game.progress)
        keep = torch.as_tensor(1 - share * (1 - self.end)).reshape(-1, 1) * answers.shape[1]
        kept = (answers.argsort(1, descending=True).argsort(1) < keep.floor()).to(answers.dtype)
        each = game.variant.fooling_loss(answers)
        return (each * kept).sum(1) / kept.sum(1)
'''


def specs_of(text: str, folder: Path) -> list[RunSpec]:
    """Expand a suite."""
    path = folder / "suite.yaml"
    path.write_text(text)
    return list(expand(load_suite(str(path))).specs)


def test_runs_that_train_alone_come_to_their_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = Store(tmp_path / "results")
    found = specs_of(ALONE, tmp_path)
    assert len(found) == 2
    for spec in found:
        assert Job(store, CPU).train([spec]) == ExitStatus.DONE
        outcome = read_run(store.folder(spec)).outcome
        assert outcome is not None
        assert outcome["outcome"] in REACHED_THE_END
        assert outcome["step"] == 30


def test_both_orders_of_a_pair_train_the_same_game(tmp_path: Path) -> None:
    one, other = (
        make_trainer([spec for spec in specs_of(ORDER, tmp_path) if spec.tricks[0].id == first])
        for first in ("historical-averaging", "feature-matching")
    )
    for _ in range(40):
        one.train_step()
        other.train_step()
    for player in ("G", "D"):
        pair = [getattr(trainer.game, player).theta for trainer in (one, other)]
        torch.testing.assert_close(*pair, rtol=1e-7, atol=1e-7)


@pytest.fixture
def annealed(tmp_path: Path) -> Iterator[None]:
    """Load the plugin; forget it afterwards."""
    path = tmp_path / "annealed_plugin.py"
    path.write_text(ANNEALED)
    load_plugin(str(path))
    yield
    KINDS["trick"].registry._classes.pop("best-share")
    del sys.modules["annealed_plugin"]


@pytest.mark.usefixtures("annealed")
def test_a_trick_that_is_annealed_by_progress_passes_the_kit() -> None:
    for check in checks("trick", "best-share", hosts=[("ring8", "gan")]):
        check()
