"""Tuning: what is proposed, what failures teach, that nothing is lost, and fresh seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from harness.engines.base import Assignment
from harness.errors import GanbenchError, StoreError
from harness.jobs.cohort import JobOptions, read_job
from harness.jobs.job import Job
from harness.planning.cost_curves import Measured
from harness.store.folders import Store
from harness.store.reading import read_run
from harness.store.records import SuitePlan
from harness.testing.specs import make_spec
from harness.tracking.base import Mirror
from harness.tuning.study import Rates, Trial, best, propose
from harness.tuning.tune import TUNING_SEED, TunedCell, Tuner, trial_spec

DEFAULT = Rates(2e-4, 4e-4)


def test_the_default_comes_first_and_nothing_is_proposed_twice() -> None:
    first = propose([], DEFAULT, 6, "tpe", seed=0)
    assert first[0] == DEFAULT
    assert len(set(first)) == 6
    assert all(1e-6 <= r.lr_g <= 1e-1 and 0.099 <= r.lr_d / r.lr_g <= 10.01 for r in first)


def test_the_same_trials_give_the_same_proposals() -> None:
    trials = [Trial(rates, 1.0 + i) for i, rates in enumerate(propose([], DEFAULT, 9, "tpe", 0))]
    assert propose(trials, DEFAULT, 4, "tpe", 0) == propose(trials, DEFAULT, 4, "tpe", 0)
    assert propose(trials, DEFAULT, 4, "tpe", 1) != propose(trials, DEFAULT, 4, "tpe", 0)
    assert propose(trials, DEFAULT, 4, "random", 0) != propose(trials, DEFAULT, 4, "tpe", 0)


def test_a_failure_is_told_as_the_worst_value_and_never_as_nan() -> None:
    assert Trial(DEFAULT, None).told == math.inf
    assert Trial(DEFAULT, math.nan).told == math.inf
    assert Trial(DEFAULT, math.inf).told == math.inf
    assert Trial(DEFAULT, 0.0).told < Trial(DEFAULT, 1e-3).told < Trial(DEFAULT, 10.0).told


def test_tpe_learns_the_cliff() -> None:
    """Everything above 1e-3 diverges: later proposals must go there less than random ones do."""

    def value(rates: Rates) -> float | None:
        return None if rates.lr_g > 1e-3 else abs(math.log10(rates.lr_g) + 4)

    shares = {}
    for sampler in ("tpe", "random"):
        trials: list[Trial] = []
        while len(trials) < 60:
            batch = propose(trials, DEFAULT, 5, sampler, seed=3)
            trials += [Trial(rates, value(rates)) for rates in batch]
        shares[sampler] = sum(trial.value is None for trial in trials[20:]) / 40
    assert shares["tpe"] < 0.2 < shares["random"]


def test_the_best_are_finite_and_sorted() -> None:
    trials = [Trial(DEFAULT, v) for v in (3.0, None, math.nan, 1.0, 2.0, 5.0)]
    assert [trial.value for trial in best(trials, 3)] == [1.0, 2.0, 3.0]


def test_a_collapsed_trial_teaches_but_never_wins() -> None:
    collapsed = Trial(DEFAULT, 0.5, collapsed=True)
    assert collapsed.told == math.log(0.5)
    assert best([Trial(DEFAULT, 1.0), collapsed, Trial(DEFAULT, 2.0)], 3) == [
        Trial(DEFAULT, 1.0),
        Trial(DEFAULT, 2.0),
    ]


def test_what_is_reported_is_never_tuned_on() -> None:
    specs = tuple(make_spec("ring8", seed=seed, reference="validation") for seed in range(2))
    with pytest.raises(GanbenchError, match="ring8 × gan × none is reported against the validat"):
        trial_spec(TunedCell("ring8", "gan", "none", specs), DEFAULT)


def test_an_unknown_sampler_is_refused() -> None:
    with pytest.raises(GanbenchError, match="choose tpe or random"):
        propose([], DEFAULT, 2, "cma", 0)


class InProcess:
    """An engine that trains in this process and counts what it trained."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.trained: list[str] = []
        self.stop_after = stop_after

    def run(self, assignments: Sequence[Assignment], mirror: Mirror) -> int:
        for assignment in assignments:
            if self.stop_after is not None and len(self.trained) >= self.stop_after:
                return 75
            specs, options = read_job(assignment.file)
            self.trained += [spec.id for spec in specs]
            assert Job(Store(options.store), torch.device("cpu")).train(specs) == 0
        return 0


PLAN = SuitePlan("tiny", "", "f00d", ())


def cell() -> TunedCell:
    specs = tuple(make_spec("ring8", seed=seed, steps=10) for seed in range(2))
    return TunedCell("ring8", "gan", "none", specs)


def tuner(folder: Path, engine: InProcess) -> Tuner:
    return Tuner(folder, PLAN, engine, Mirror(), "cpu", JobOptions(folder))


def test_trials_train_together_as_measured(tmp_path: Path) -> None:
    engine = InProcess()
    tuned = tuner(tmp_path, engine)
    tuned.measured = lambda specs: Measured({}, 1, 0, largest=1)
    assert tuned.tune([cell()], trials=2, batch=2) == 0
    cohorts = [read_job(file)[0] for file in (tuned.store.root / "cohorts").iterdir()]
    assert {len(cohort) for cohort in cohorts} == {1}


def test_a_cell_is_tuned_reported_on_fresh_seeds_and_resumed(tmp_path: Path) -> None:
    engine = InProcess()
    target = cell()
    # The suite has one of the default's runs already; it is not trained again.
    assert Job(Store(tmp_path), torch.device("cpu")).train(target.specs[:1]) == 0
    assert tuner(tmp_path, engine).tune([target], trials=6, batch=4) == 0
    summary = json.loads((tmp_path / "tuning" / target.name / "summary.json").read_text())
    assert [trial["number"] for trial in summary["trials"]] == list(range(6))
    assert summary["trials"][0]["params"] == {"lr_g": 2e-4, "lr_d": 2e-4}
    assert summary["metric"].endswith("/validation")
    assert summary["reported_metric"].endswith("/train")
    assert summary["metric"] == "energy[data]@64/validation"
    assert len(summary["best"]) == 3
    for setting in [summary["default"], *summary["best"]]:
        assert sorted(run["seed"] for run in setting["fresh"]) == [0, 1]
    store = Store(tmp_path / "tuning")
    for spec in target.specs:
        assert store.folder(spec).exists() == (spec.seed == 1)
    trial = summary["trials"][1]["run"]
    record = read_run(next((tmp_path / "tuning" / "runs").glob(f"*-{trial}")))
    assert record.spec.seed == TUNING_SEED
    assert record.spec.settings.reference == "validation"
    # Again: nothing to train, the same summary.
    again = InProcess()
    assert tuner(tmp_path, again).tune([target], trials=6, batch=4) == 0
    assert again.trained == []
    assert summary == json.loads((tmp_path / "tuning" / target.name / "summary.json").read_text())


def test_interrupted_tuning_proposes_the_same_as_uninterrupted(tmp_path: Path) -> None:
    target = cell()
    assert tuner(tmp_path / "whole", InProcess()).tune([target], trials=6, batch=3) == 0
    broken = tmp_path / "broken"
    assert tuner(broken, InProcess(stop_after=3)).tune([target], trials=6, batch=3) == 75
    assert not (broken / "tuning" / target.name / "summary.json").exists()
    assert tuner(broken, InProcess()).tune([target], trials=6, batch=3) == 0
    summaries = [
        json.loads((root / "tuning" / target.name / "summary.json").read_text())
        for root in (tmp_path / "whole", broken)
    ]
    assert summaries[0] == summaries[1]


def test_trials_of_another_sampler_are_not_mixed_in(tmp_path: Path) -> None:
    engine = InProcess()
    assert tuner(tmp_path, engine).tune([cell()], trials=2, batch=2) == 0
    other = tuner(tmp_path, engine)
    other.sampler = "random"
    with pytest.raises(StoreError, match="were proposed by tpe; go on with --sampler tpe"):
        other.tune([cell()], trials=3, batch=2)


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"schema": 1, "sampler": "tpe", "specs": [{}]}']
)
def test_damaged_trials_are_told_in_one_line(content: str, tmp_path: Path) -> None:
    one = tuner(tmp_path, InProcess())
    folder = one.store.root / cell().name
    folder.mkdir()
    (folder / "trials.json").write_text(content)
    with pytest.raises(StoreError, match=r"trials.json is damaged \(\w+\); delete it"):
        one.tune([cell()], trials=2, batch=2)


def test_a_damaged_plan_of_tuning_is_written_again(tmp_path: Path) -> None:
    one = tuner(tmp_path, InProcess())
    (one.store.root / "suite.json").write_text("{")
    assert tuner(tmp_path, InProcess()).tune([cell()], trials=2, batch=2) == 0
    found = one.on_fresh_seeds(cell())
    assert [len(values) for _, _, values in found] == [2] * len(found)
    assert found[0][1] == cell().default
    names = [part for name, _, _ in found for part in name.split(" = ")]
    assert names[0] == "default" and sorted(names[1:]) == ["best 1", "best 2"]
