"""Suites that go on until they are decided: looks, what they add, how they resume and end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from harness.commands import deciding
from harness.commands.deciding import first_look, looks_until, run_until_decided, seconds_of
from harness.commands.options import RunOptions
from harness.commands.run import run_suite
from harness.errors import ExitStatus, GanbenchError
from harness.planning.studies import spent_seeds
from harness.store.events import Attempt, Ending
from harness.store.folders import Store, begun_plan
from harness.store.log import EventLog
from harness.store.plan import read_plan
from harness.store.records import SuitePlan
from harness.suite.matrix import Matrix

SUITE = """
suite: tiny
summary: Which helps?
datasets: [ring8]
variants: [gan, lsgan]
tricks: [none, label-smoothing, dropout-g]
settings: {steps: 4, evaluate_every: 1, evaluation_samples: 16, width: 4, batch: 8}
"""


@dataclass(frozen=True)
class Stood:
    """A trick as a test wants it to stand."""

    tricks: str
    settled: bool
    cells: frozenset[tuple[str, str, str]]
    verdict: str = "no evidence"
    ratio: str = "× 1"
    need: str = ""


def cells_with(tricks: str) -> frozenset[tuple[str, str, str]]:
    return frozenset(("ring8", v, t) for v in ("gan", "lsgan") for t in ("none", tricks))


class Stage:
    """Stands in for training and for reports."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (root / "tiny.yaml").write_text(SUITE)
        self.options = RunOptions(str(root / "tiny.yaml"), out=root / "out", device="cpu")
        self.trained: list[Counter[str]] = []
        self.plans: list[SuitePlan] = []
        self.settles = {"label-smoothing": 5, "dropout-g": 20}
        self.code = ExitStatus.DONE
        monkeypatch.setattr(deciding, "run_suite", self.run_suite)

    def run_suite(self, matrix: Matrix, options: RunOptions) -> ExitStatus:
        assert {spec.id for spec in matrix.specs} == {run.id for run in matrix.plan.runs}
        assert matrix.selected == {run.id for run in matrix.plan.runs}
        self.plans.append(matrix.plan)
        self.trained.append(Counter(run.tricks for run in matrix.plan.runs))
        store = Store(self.options.folder("tiny"))
        store.write_plan(matrix.plan)
        if self.code == ExitStatus.DONE:
            for spec in matrix.specs:
                if not store.folder(spec).exists():
                    end(store, matrix, spec.id)
        return self.code

    def judge(self, folder: Path) -> list[Stood]:
        planned = Counter(run.tricks for run in read_plan(folder).runs)
        return [
            Stood(tricks, planned[tricks] >= 2 * seeds, cells_with(tricks))
            for tricks, seeds in self.settles.items()
        ]

    def run(self, most: int | None = None, budget: str | None = None) -> ExitStatus:
        return run_until_decided(self.options, self.judge, most=most, budget=budget)[1]


def end(store: Store, matrix: Matrix, run: str) -> None:
    """Write a run that has ended, as far as looks ask for it."""
    spec = next(spec for spec in matrix.specs if spec.id == run)
    with EventLog(store.create(spec) / "events.jsonl") as log:
        log.append(Attempt(attempt=1, resumed_from=0, cohort=(run,)))
        log.append(
            Ending(
                outcome="ok", step=4, onset=None, reason="", seconds=60.0, evaluation_seconds=0.0
            )
        )


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


def test_seeds_go_to_what_is_open(stage):
    assert stage.run() == ExitStatus.DONE
    # Two variants; the control has as many seeds as the last that is compared with it.
    assert stage.trained == [
        {"none": 10, "label-smoothing": 10, "dropout-g": 10},
        {"none": 20, "label-smoothing": 10, "dropout-g": 20},
        {"none": 40, "label-smoothing": 10, "dropout-g": 40},
    ]
    plan = read_plan(stage.options.folder("tiny"))
    assert plan.looks == (5, 10, 20, 40)
    assert [(look.seeds, list(look.settled)) for look in plan.taken] == [
        (5, ["label-smoothing"]),
        (10, []),
        (20, ["dropout-g"]),
    ]
    assert stage.plans[0].looks == plan.looks and not stage.plans[0].taken
    assert len({plan.fingerprint for plan in stage.plans}) == 3


def test_what_is_decided_trains_nothing_more(stage, capsys):
    stage.run()
    before = len(stage.trained)
    assert stage.run() == ExitStatus.DONE
    assert len(stage.trained) == before
    assert "nothing is open any more" in capsys.readouterr().out


def test_the_last_look_ends_it(stage, capsys):
    stage.settles["dropout-g"] = 1000
    assert stage.run(most=12) == ExitStatus.DONE
    assert [trained["dropout-g"] for trained in stage.trained] == [10, 20, 24]
    assert "1 trick not decided within 12 seeds" in capsys.readouterr().out
    assert stage.run() == ExitStatus.DONE
    assert len(stage.trained) == 3


def test_a_look_that_was_cut_off_goes_on(stage):
    """As declared, with the seeds that it had been given."""
    codes = iter([ExitStatus.DONE, ExitStatus.INTERRUPTED])
    train = stage.run_suite

    def interrupted(matrix, options):
        stage.code = next(codes, ExitStatus.DONE)
        return train(matrix, options)

    deciding.run_suite = interrupted  # the fixture's patch takes it back
    assert stage.run() == ExitStatus.INTERRUPTED
    assert stage.run() == ExitStatus.DONE
    assert [trained["dropout-g"] for trained in stage.trained] == [10, 20, 20, 40]
    assert [look.seeds for look in read_plan(stage.options.folder("tiny")).taken] == [5, 10, 20]


def test_looks_stay_as_declared(stage):
    stage.run(most=12)
    with pytest.raises(GanbenchError, match=r"looks at 5, 10, 12 seeds.*--max-seeds 12"):
        stage.run(most=40)


def test_a_plain_run_does_not_end_a_study(stage):
    stage.run(most=5)
    from harness.commands.expansion import expanded

    with pytest.raises(GanbenchError, match="go on with --until-decided"):
        run_suite(expanded(stage.options), stage.options)


def test_a_budget_begins_no_look_that_it_cannot_pay(stage, capsys):
    # A run takes a minute: five more seeds of four cells are twenty, on all processes.
    stage.options = replace(stage.options, jobs=1)
    assert stage.run(budget="15m") == ExitStatus.DONE
    assert len(stage.trained) == 1
    assert "20 min" in capsys.readouterr().out
    assert stage.run(budget="30m") == ExitStatus.DONE
    assert [trained["dropout-g"] for trained in stage.trained] == [10, 20]


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("45s", 45)]
)
def test_times(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "-1h", "0m", "two hours", "30m1h"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(GanbenchError, match="--budget"):
        seconds_of(text)


def test_looks_end_at_the_most():
    assert looks_until(40) == (5, 10, 20, 40)
    assert looks_until(12) == (5, 10, 12)
    assert looks_until(5) == (5,)
    assert looks_until(100) == (5, 10, 20, 40, 100)
    with pytest.raises(GanbenchError, match="under 5 seeds nothing can be claimed"):
        looks_until(4)


@pytest.mark.parametrize("more", [{"seeds": 7}, {"only": ("seed=1",)}])
def test_seeds_and_cells_are_not_chosen_by_hand(stage, more):
    stage.options = replace(stage.options, **more)
    with pytest.raises(GanbenchError, match="leave --seeds and --only out"):
        stage.run()


def finish(stage: Stage, seeds: int, ended: Callable[[int], bool] = lambda seed: True) -> None:
    """Leave a suite that was run without looks."""
    from harness.commands.expansion import expanded

    matrix = expanded(replace(stage.options, seeds=seeds))
    store = Store(stage.options.folder("tiny"))
    store.write_plan(matrix.plan)
    for spec in matrix.specs:
        if ended(spec.seed):
            end(store, matrix, spec.id)


class TestSpentSeeds:
    """Seeds that have been judged are not judged again beside new ones."""

    def spent(self, stage: Stage, seeds: int) -> set[int]:
        from harness.commands.expansion import expanded

        folder = stage.options.folder("tiny")
        runs = expanded(replace(stage.options, seeds=seeds)).plan.runs
        return spent_seeds(folder, begun_plan(folder), runs)

    def test_of_a_suite_that_was_finished(self, stage):
        finish(stage, 5)
        assert self.spent(stage, 8) == {0, 1, 2, 3, 4}
        assert self.spent(stage, 5) == set()

    def test_none_where_nothing_could_be_claimed(self, stage):
        finish(stage, 4)
        assert self.spent(stage, 8) == set()

    def test_none_while_runs_were_still_to_come(self, stage):
        finish(stage, 6, ended=lambda seed: seed < 5)
        assert self.spent(stage, 8) == set()

    def test_they_stay_spent(self, stage):
        finish(stage, 5)
        store = Store(stage.options.folder("tiny"))
        plan = begun_plan(store.root)
        finish_more = replace(stage.options, seeds=11)
        from harness.commands.expansion import expanded

        matrix = expanded(finish_more)
        store.write_plan(replace(matrix.plan, spent=tuple(range(5))))
        for spec in matrix.specs:
            if spec.seed >= 5:
                end(store, matrix, spec.id)
        assert plan is not None
        assert self.spent(stage, 11) == set(range(5))
        assert self.spent(stage, 20) == set(range(11))
        assert self.spent(stage, 5) == set()

    def test_a_study_that_begins_later_takes_new_seeds(self, stage):
        finish(stage, 5)
        assert stage.run(most=5) == ExitStatus.DONE
        plan = read_plan(stage.options.folder("tiny"))
        assert plan.spent == (0, 1, 2, 3, 4)
        assert {run.seed for run in plan.runs} == set(range(10))


def test_a_preview_shows_the_first_look(stage):
    assert Counter(run.tricks for run in first_look(stage.options, None).plan.runs) == {
        "none": 10, "label-smoothing": 10, "dropout-g": 10,
    }  # fmt: skip
    assert not stage.options.folder("tiny").exists()
