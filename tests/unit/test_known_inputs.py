"""Inputs that went wrong when others tried the program, whole: suites, and a plugin of 0.1.0."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from harness.errors import ExitStatus
from harness.jobs.job import Job
from harness.planning.cohorts import make_cohorts, one_thread
from harness.registry import KINDS, load_plugin
from harness.spec import RunSpec
from harness.store.folders import Store
from harness.store.reading import read_run
from harness.store.records import REACHED_THE_END
from harness.suite.load import load_suite
from harness.suite.matrix import expand
from harness.testing import checks
from harness.testing.cells import CPU, make_trainer
from reports.build import compose
from reports.figures.style import CUT
from tests.figure_texts import drawn_figures

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

TEACH = """
suite: teach
summary: See vanishing gradients and collapse on one dimension and on a ring
seeds: 3
datasets: [{id: gauss1d, gaussians: 2}, ring8]
variants: [gan, gan-saturating, {id: wgan-gp, penalty_weight: 0.1}]
tricks: [none, {id: settings, lr_g: 1e-2, lr_d: 1e-2}]
settings: {steps: 500, batch: 128, width: 64, evaluation_samples: 1000}
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
        assert outcome.outcome in REACHED_THE_END
        assert outcome.step == 30


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


def trained(text: str, folder: Path) -> Path:
    """Train a whole suite as a command does, cohort by cohort; return its results folder."""
    path = folder / "suite.yaml"
    path.write_text(text)
    matrix = expand(load_suite(str(path)))
    store = Store(folder / "results")
    store.write_plan(matrix.plan)
    for cohort in make_cohorts(matrix.specs, "cpu"):
        assert Job(store, CPU).train(cohort.specs) == ExitStatus.DONE
    return store.root


@pytest.mark.slow
def test_figures_of_a_suite_for_teaching_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = trained(TEACH, tmp_path)
    with drawn_figures() as drawn, one_thread():
        figures = {figure.name: figure for figure in compose(root).figures()}
    # No text overlaps another, is cut off or labels two ticks: colour bars' neither.
    assert len(drawn) == 2 * len(figures)
    assert [fault for figure in drawn for fault in figure.faults()] == []
    # In the chapter about the optimal D, both rows of one variant are told apart.
    rows = [
        [one.text for one in figure.texts if one.text.startswith("wgan-gp")]
        for figure in drawn
        if any(one.text.startswith("x, at step") for one in figure.texts)
    ]
    assert len(rows) == 2
    assert all(len(labels) == len(set(labels)) == 2 for labels in rows)
    # So few seeds leave the interval of the only effect open on both sides, and arrows say so.
    assert figures["verdicts"].svg.count(f'id="{CUT}') == 2
    assert any("×4.0" in [one.text for one in figure.texts] for figure in drawn)


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
