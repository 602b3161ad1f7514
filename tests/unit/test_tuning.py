"""Tuning: what is searched, what is proposed, what is chosen, that nothing is lost, fresh seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.commands.options import RunOptions
from harness.commands.tune import TuneOptions, cells_of, check_cells, preview_tuning
from harness.engines.base import Assignment
from harness.errors import GanbenchError, StoreError
from harness.jobs.cohort import JobOptions, JobRequest
from harness.jobs.job import Job
from harness.planning.cohorts import make_cohorts
from harness.planning.cost_model import Measured
from harness.spec import RunSpec
from harness.store.folders import Store
from harness.store.reading import read_run
from harness.store.records import SuitePlan
from harness.suite.load import read_suite
from harness.suite.matrix import Matrix, expand
from harness.testing.specs import make_spec
from harness.tracking.base import Mirror
from harness.tuning.course import SEEDS, TunedCell
from harness.tuning.numbers import (
    DEFAULT,
    NOT_SEARCHED,
    RATIO,
    Numbers,
    Range,
    numbers_of,
    space_of,
    with_numbers,
)
from harness.tuning.study import Trial, best, propose
from harness.tuning.tune import Tuner
from tests.stores import planned_cell

OWN = {"lr_g": 2e-4, RATIO: 2.0}
RATES = {each.name: each for each in DEFAULT}


def trial(numbers: Numbers, score: float | None, *, failed: bool = False) -> Trial:
    return Trial(numbers, (math.inf if score is None else score,), (failed or score is None,))


def tuned(specs: Sequence[RunSpec], *params: str) -> TunedCell:
    ranges = [Range.parse(text) for text in params] or DEFAULT
    about = frozenset(spec.id for spec in specs)
    space = space_of(specs[0], [(each, about) for each in ranges])
    tricks = "+".join(t.id for t in specs[0].tricks) or "none"
    return TunedCell(planned_cell("ring8", specs[0].variant.id, tricks), tuple(specs), space)


class TestRange:
    """What ``--param`` takes."""

    @given(
        st.sampled_from(["lr_g", RATIO, "variant.penalty_weight", "label-smoothing.real_low"]),
        st.floats(1e-6, 1e3),
        st.floats(1.5, 1e3),
        st.booleans(),
    )
    def test_what_is_written_is_read(self, name: str, low: float, span: float, log: bool) -> None:
        ends = float(f"{low:g}"), float(f"{low * span:g}")
        assert Range.parse(str(Range(name, *ends, log))) == Range(name, *ends, log)

    def test_a_pattern_keeps_it_to_some_cells(self) -> None:
        found = Range.parse("lr_g=1e-5..1e-2:log@variant=wgan(boost=false)@dataset=ring8")
        assert found == Range(
            "lr_g", 1e-5, 1e-2, True, ("variant=wgan(boost=false)", "dataset=ring8")
        )

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("lr_g", "write NAME=LOW..HIGH"),
            ("lr_g=1", "write NAME=LOW..HIGH"),
            ("=1..2", "write NAME=LOW..HIGH"),
            ("lr_g=1..2..3", "write NAME=LOW..HIGH"),
            ("lr_g=a..b", "write NAME=LOW..HIGH"),
            ("lr_g=1..2:lin", "write NAME=LOW..HIGH"),
            ("lr_g=1..2@seed=1", "write NAME=LOW..HIGH"),
            ("lr_g=2..1", "the low end must be below"),
            ("lr_g=1..1", "the low end must be below"),
            ("lr_g=nan..1", "the low end must be below"),
            ("lr_g=1..inf", "the low end must be below"),
            ("lr_g=0..1:log", "begins above 0"),
            ("lr_g=1..2@variant=", "write key=value"),
        ],
    )
    def test_what_cannot_be_read_is_told(self, text: str, why: str) -> None:
        with pytest.raises(GanbenchError, match=why):
            Range.parse(text)

    @given(st.booleans(), st.floats(0, 1))
    def test_an_edge_is_a_twentieth_of_the_scale(self, log: bool, share: float) -> None:
        each = Range("lr_g", 1e-5, 1e-1, log)
        value = 1e-5 * 1e4**share if log else 1e-5 + share * (1e-1 - 1e-5)
        if min(abs(share - 0.05), abs(share - 0.95)) > 1e-6:
            assert each.at_edge(value) == (share < 0.05 or share > 0.95)
        assert each.at_edge(1e-6) and each.at_edge(1.0) and each.at_edge(0.0)


class TestNumbers:
    """A run's numbers by name."""

    def test_settings_options_and_the_ratio_have_names(self) -> None:
        spec = make_spec("ring8", "wgan-gp", ["feature-matching", ("update-ratio", {"d": 2})])
        found = numbers_of(spec)
        assert found["variant.penalty_weight"] == 10.0
        assert found["feature-matching.weight"] == 1.0
        assert found["update-ratio.d"] == 2
        assert found[RATIO] == 1.0
        assert found["batch"] == 8
        assert not found.keys() & NOT_SEARCHED.keys()
        assert all(not isinstance(value, bool) for value in found.values())

    def test_an_optimizer_without_a_decay_has_no_such_number(self) -> None:
        found = numbers_of(make_spec("ring8", "wgan"))
        assert "beta1" not in found and "beta2" in found

    @given(st.floats(1e-6, 1e-1), st.floats(0.1, 10), st.floats(0, 100))
    def test_what_is_changed_is_changed_and_nothing_else(
        self, lr_g: float, ratio: float, weight: float
    ) -> None:
        spec = make_spec("ring8", "wgan-gp", ["feature-matching"])
        numbers = {"lr_g": lr_g, RATIO: ratio, "variant.penalty_weight": weight}
        changed = with_numbers(spec, numbers)
        found = numbers_of(changed)
        assert found.pop(RATIO) == pytest.approx(ratio, rel=1e-3)
        assert found.pop("lr_d") == pytest.approx(lr_g * ratio, rel=1e-3)
        own = numbers_of(spec)
        assert found == {k: {**own, **numbers}[k] for k in found}

    def test_the_suites_own_numbers_give_the_suites_own_run(self) -> None:
        spec = make_spec("ring8", "wgan-gp", lr_g=3e-4, lr_d=7e-4)
        assert with_numbers(spec, numbers_of(spec)).id == spec.id

    def test_only_the_ratio_can_be_searched(self) -> None:
        spec = with_numbers(make_spec("ring8", lr_g=2e-4, lr_d=2e-4), {RATIO: 3.0})
        assert (spec.settings.lr_g, spec.settings.lr_d) == (2e-4, 6e-4)

    def test_a_refused_number_names_itself_and_why(self) -> None:
        with pytest.raises(GanbenchError, match=r"beta1 1 is refused: beta1 must be less than 1"):
            with_numbers(make_spec(), {"beta1": 1.0})
        spec = make_spec("ring8", "gan", ["label-smoothing"])
        with pytest.raises(GanbenchError, match=r"real_low 1\.5 is refused: the low end"):
            with_numbers(spec, {"label-smoothing.real_low": 1.5})


MATRIX = """
suite: mini
seeds: 2
datasets: [ring8]
variants: [gan, {id: wgan-gp, penalty_weight: 1}]
tricks: [none, label-smoothing, feature-matching]
settings: {steps: 10, batch: 8, width: 8, latent: 4, evaluate_every: 2, evaluation_samples: 64}
"""


def matrix() -> Matrix:
    return expand(read_suite(MATRIX.encode(), "mini.yaml"))


def spaces(*params: str) -> dict[tuple[str, str], Mapping[str, str]]:
    cells = cells_of(matrix(), params)
    return {
        (cell.specs[0].variant.id, cell.tricks): {n: str(r) for n, r in cell.searched.items()}
        for cell in cells
    }


class TestSpaces:
    """What is searched in which cell."""

    def test_both_rates_are_searched_unless_something_is_asked_for(self) -> None:
        found = spaces()
        assert len(found) == 5
        assert all(space.keys() == {"lr_g", RATIO} for space in found.values())

    def test_a_cell_is_searched_over_what_it_has(self) -> None:
        found = spaces("variant.penalty_weight=0.1..10:log", "label-smoothing.real_low=0.7..1")
        assert found["gan", "none"] == {}
        assert found["gan", "label-smoothing"].keys() == {"label-smoothing.real_low"}
        assert found["wgan-gp", "none"].keys() == {"variant.penalty_weight"}

    def test_of_several_ranges_the_last_that_fits_counts(self) -> None:
        found = spaces("lr_g=1e-5..1e-2:log", "lr_g=1e-4..1e-3:log@variant=wgan-gp@trick=none")
        assert found["wgan-gp", "none"] == {"lr_g": "lr_g=0.0001..0.001:log"}
        assert found["wgan-gp", "feature-matching"] == {"lr_g": "lr_g=1e-05..0.01:log"}
        assert found["gan", "none"] == {"lr_g": "lr_g=1e-05..0.01:log"}

    @pytest.mark.parametrize(
        ("param", "why"),
        [
            ("lrg=1..2", r"did you mean 'lr_g'\?\); there is batch, "),
            ("label-smoothing.real=0.7..1", "did you mean 'label-smoothing.real_low'"),
            ("variant.penalty_weight=1..2@variant=gan", "no such cell has such a number"),
            ("steps=10..20", "steps is not searched, because every trial trains as long"),
            ("evaluation_samples=10..20", "it decides how runs are measured"),
            ("lr_g=1..2@variant=wgan-gq", r"@ variant=wgan-gq: .* no such variant \(did you"),
            ("batch=4.5..8", "batch is a whole number"),
            ("lr_d=1..2", "--param lr_d and --param lr_d/lr_g exclude each other"),
        ],
    )
    def test_what_cannot_be_searched_is_told(self, param: str, why: str) -> None:
        with pytest.raises(GanbenchError, match=why):
            spaces("lr_d/lr_g=0.1..10:log", param)

    @pytest.mark.parametrize(
        ("param", "why"),
        [
            ("beta1=0..1", r"beta1 1 is refused: beta1 must be less than 1.*\(ring8 · gan"),
            ("label-smoothing.real_low=0.7..1.2", r"the low end of a range.*label-smoothing\)"),
            ("batch=8..100000", "more than the 50000 training examples"),
            ("variant.penalty_weight=-1..1", "at least 0, not -1"),
        ],
    )
    def test_an_end_that_a_cell_refuses_is_told_before_training(self, param: str, why: str) -> None:
        with pytest.raises(GanbenchError, match=why):
            check_cells(cells_of(matrix(), [param]), "cpu", ())

    def test_ends_that_exclude_each_other_are_told(self) -> None:
        ranges = ["label-smoothing.real_low=0.5..0.9", "label-smoothing.real_high=0.8..1"]
        with pytest.raises(GanbenchError, match=r"real_low 0\.9, label\S+real_high 0\.8 is"):
            check_cells(cells_of(matrix(), ranges), "cpu", ())

    def test_too_many_numbers_are_refused(self) -> None:
        names = ["lr_g", "lr_d", "beta1", "beta2", *(f"label-smoothing.{o}_{e}" for o in
                 ("real", "fake") for e in ("low", "high")), "width"]  # fmt: skip
        params = [f"{name}=1..2@trick=label-smoothing" for name in names]
        with pytest.raises(GanbenchError, match="9 numbers of one cell are too many; at most 8"):
            spaces(*params)


class TestProposals:
    """What is tried."""

    def test_the_default_comes_first_and_nothing_is_proposed_twice(self) -> None:
        for sampler in ("sobol", "tpe"):
            first = propose(RATES, OWN, [], 10, sampler)
            assert first[0] == OWN
            assert len({tuple(point.values()) for point in first}) == 10
            assert all(1e-5 <= p["lr_g"] <= 1e-2 and 0.1 <= p[RATIO] <= 10 for p in first)

    def test_a_sobol_list_fills_the_space(self) -> None:
        points = propose(RATES, OWN, [], 9, "sobol")[1:]
        for name, each in RATES.items():
            places = sorted(each.place(point[name]) for point in points)
            # One point in each eighth of the range.
            assert [int(place * 8) for place in places] == list(range(8))

    def test_cells_share_the_list_in_the_numbers_that_both_have(self) -> None:
        weight = Range("variant.penalty_weight", 0.1, 100, log=True)
        mine = propose({**RATES, weight.name: weight}, {**OWN, weight.name: 10.0}, [], 10, "sobol")
        other = propose({**RATES, weight.name: None}, {"lr_g": 1.0, RATIO: 1.0}, [], 10, "sobol")
        shared = [{name: point[name] for name in RATES} for point in mine]
        assert shared[1:] == other[1:]
        assert other[0] == {"lr_g": 1.0, RATIO: 1.0}

    def test_a_longer_list_begins_with_the_shorter_one(self) -> None:
        whole = propose(RATES, OWN, [], 12, "sobol")
        begun = [trial(numbers, None) for numbers in whole[:7]]
        assert propose(RATES, OWN, begun, 5, "sobol") == whole[7:]

    def test_a_sobol_list_looks_at_no_result(self) -> None:
        first = propose(RATES, OWN, [], 4, "sobol")
        good, bad = ([trial(n, score) for n in first] for score in (0.0, None))
        assert propose(RATES, OWN, good, 4, "sobol") == propose(RATES, OWN, bad, 4, "sobol")

    def test_whole_numbers_stay_whole(self) -> None:
        space = {"width": Range("width", 4, 64, log=True)}
        points = propose(space, {"width": 8}, [], 20, "sobol")
        assert all(isinstance(p["width"], int) and 4 <= p["width"] <= 64 for p in points)
        assert len({p["width"] for p in points}) > 8

    def test_the_same_trials_give_the_same_proposals(self) -> None:
        trials = [trial(n, float(i)) for i, n in enumerate(propose(RATES, OWN, [], 9, "tpe"))]
        assert propose(RATES, OWN, trials, 4, "tpe") == propose(RATES, OWN, trials, 4, "tpe")
        assert propose(RATES, OWN, trials[:8], 4, "tpe") != propose(RATES, OWN, trials, 4, "tpe")

    def test_a_default_outside_the_range_is_tried_all_the_same(self) -> None:
        far = {"lr_g": 1.0, RATIO: 100.0}
        assert propose(RATES, far, [], 3, "tpe")[0] == far
        assert len(propose(RATES, far, [trial(far, 1.0)], 3, "tpe")) == 3

    @pytest.mark.slow
    def test_tpe_learns_the_cliff(self) -> None:
        """Everything above 1e-3 diverges: later proposals must seldom go there, Sobol's do."""
        shares = {}
        for sampler in ("tpe", "sobol"):
            trials: list[Trial] = []
            while len(trials) < 60:
                for numbers in propose(RATES, OWN, trials, 5, sampler):
                    rate = numbers["lr_g"]
                    score = None if rate > 1e-3 else abs(math.log10(rate) + 4)
                    trials.append(trial(numbers, score))
            shares[sampler] = sum(any(each.failed) for each in trials[20:]) / 40
        assert shares["tpe"] < 0.2 < shares["sobol"]

    def test_an_unknown_sampler_is_refused(self) -> None:
        with pytest.raises(GanbenchError, match="choose sobol or tpe"):
            propose(RATES, OWN, [], 2, "random")
        with pytest.raises(GanbenchError, match="--sampler random: there is sobol and tpe"):
            TuneOptions(10, sampler="random")
        with pytest.raises(GanbenchError, match="--batch is for --sampler tpe"):
            TuneOptions(10, batch=4)


class TestChoice:
    """What wins."""

    def test_the_mean_decides_and_a_failure_is_worst(self) -> None:
        trials = [
            Trial(OWN, (0.0, 0.0, 3.0), (False, False, False)),
            Trial(OWN, (-9.0, -9.0, -9.0), (False, False, True)),
            Trial(OWN, (0.5, 0.5, 0.5), (False, False, False)),
            Trial(OWN, (math.inf, 0.0, 0.0), (True, False, False)),
        ]
        assert best(trials, 4) == [2, 0, 1, 3]

    def test_where_all_failed_their_scores_decide_and_then_the_order(self) -> None:
        trials = [trial(OWN, s, failed=True) for s in (None, 5.0, 1.0, None)]
        assert best(trials, 4) == [2, 1, 0, 3]

    def test_a_failure_is_told_as_the_worst_value_and_never_as_nan(self) -> None:
        assert trial(OWN, None).mean == math.inf
        assert trial(OWN, 1.0, failed=True).mean == math.inf
        assert trial(OWN, 1.0).mean == 1.0


def test_what_is_reported_is_never_tuned_on() -> None:
    specs = tuple(make_spec("ring8", seed=seed, reference="validation") for seed in range(2))
    with pytest.raises(GanbenchError, match="ring8 · gan · none is reported against the validat"):
        tuned(specs).trial(OWN)
    with pytest.raises(GanbenchError, match="which are those of trials"):
        tuned([make_spec("ring8", seed=SEEDS[1])]).trial(OWN)


class InProcess:
    """An engine that trains in this process and counts what it trained."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.trained: list[str] = []
        self.stop_after = stop_after

    def run(self, assignments: Sequence[Assignment], mirror: Mirror) -> int:
        for assignment in assignments:
            if self.stop_after is not None and len(self.trained) >= self.stop_after:
                return 75
            request = JobRequest.read(assignment.file)
            specs = request.specs
            self.trained += [spec.id for spec in specs]
            assert Job(Store(request.store), torch.device("cpu")).train(specs) == 0
        return 0


PLAN = SuitePlan("tiny", "", "f00d", ())


def cell(*params: str, tricks: Sequence[str] = ()) -> TunedCell:
    return tuned([make_spec("ring8", "gan", tricks, seed=s, steps=10) for s in range(2)], *params)


def tuner(folder: Path, engine: InProcess) -> Tuner:
    return Tuner(folder, PLAN, engine, Mirror(), "cpu", JobOptions())


def summary_of(folder: Path, target: TunedCell) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(
        (folder / "tuning" / target.name / "summary.json").read_text()
    )
    return read


def test_trials_train_together_as_measured(tmp_path: Path) -> None:
    engine = InProcess()
    tuned = tuner(tmp_path, engine)
    tuned.measured = lambda specs: Measured({}, 1, 0, largest=1)
    assert tuned.tune([cell()], trials=2) == 0
    cohorts = [JobRequest.read(file).specs for file in (tuned.store.root / "cohorts").iterdir()]
    assert {len(cohort) for cohort in cohorts} == {1}


def test_trials_that_differ_in_scalars_train_as_one_cohort(tmp_path: Path) -> None:
    specs = [make_spec("ring8", "wgan-gp", ["feature-matching"], seed=s, steps=10) for s in (0, 1)]
    params = ["lr_g=1e-4..1e-2:log", "beta1=0..0.9", "feature-matching.weight=0.1..10:log"]
    target = tuned(specs, *params, "variant.penalty_weight=0.1..10:log")
    settings = propose(target.space, target.default, [], 8, "sobol")
    assert len(make_cohorts([target.trial(numbers) for numbers in settings], "cpu")) == 1
    other = tuned(specs, "width=4..64")
    settings = propose(other.space, other.default, [], 4, "sobol")
    assert len(make_cohorts([other.trial(numbers) for numbers in settings], "cpu")) == 4


def test_a_cell_gets_trials_more_seeds_of_the_best_and_fresh_seeds(tmp_path: Path) -> None:
    engine = InProcess()
    target = cell()
    # The suite has one of the default's runs already; it is not trained again.
    assert Job(Store(tmp_path), torch.device("cpu")).train(target.specs[:1]) == 0
    assert tuner(tmp_path, engine).tune([target], trials=10) == 0
    found = summary_of(tmp_path, target)
    trials = found["trials"]
    assert len(trials) == 16
    by_number = [[t for t in trials if t["number"] == number] for number in range(10)]
    assert sorted(map(len, by_number)) == [1] * 7 + [3] * 3
    assert all([t["seed"] for t in group] == list(SEEDS[: len(group)]) for group in by_number)
    assert trials[0]["params"] == {"lr_g": 2e-4, RATIO: 1.0}
    # The finalists are the three that began best, the choice has the best mean of them.
    firsts = sorted(range(10), key=lambda number: by_number[number][0]["value"])[:3]
    assert all(t["outcome"] == "ok" for t in trials)
    assert {n for n in range(10) if len(by_number[n]) == 3} == set(firsts)
    means = {n: sum(math.log(t["value"]) for t in by_number[n]) for n in firsts}
    assert found["chosen"]["params"] == by_number[min(means, key=lambda n: means[n])][0]["params"]
    metric, judged = found["metric"], found["reported_metric"]
    assert metric.endswith("/validation") and judged.endswith("/train")
    assert metric.removesuffix("validation") == judged.removesuffix("train")
    for setting in (found["default"], found["chosen"]):
        assert sorted(run["seed"] for run in setting["fresh"]) == [0, 1]
    store = Store(tmp_path / "tuning")
    for spec in target.specs:
        assert store.folder(spec).exists() == (spec.seed == 1)
    record = read_run(next((tmp_path / "tuning" / "runs").glob(f"*-{trials[1]['run']}")))
    assert record.spec.seed == SEEDS[0]
    assert record.spec.settings.reference == "validation"
    # Again: nothing to train, the same summary.
    again = InProcess()
    assert tuner(tmp_path, again).tune([target], trials=10) == 0
    assert again.trained == []
    assert found == summary_of(tmp_path, target)


def test_a_trick_and_its_control_are_tried_alike(tmp_path: Path) -> None:
    cells = [cell(), cell(tricks=["feature-matching"])]
    assert tuner(tmp_path, InProcess()).tune(cells, trials=4) == 0
    control, treated = (summary_of(tmp_path, each)["trials"] for each in cells)
    firsts = [
        [(t["number"], t["params"], t["seed"]) for t in trials if t["seed"] == SEEDS[0]]
        for trials in (control, treated)
    ]
    assert firsts[0] == firsts[1] and len(firsts[0]) == 4


def test_options_of_variants_and_tricks_are_searched(tmp_path: Path) -> None:
    target = cell("label-smoothing.real_low=0.7..0.9", tricks=["label-smoothing"])
    assert tuner(tmp_path, InProcess()).tune([target], trials=4) == 0
    found = summary_of(tmp_path, target)
    assert found["space"] == {"label-smoothing.real_low": {"low": 0.7, "high": 0.9, "log": False}}
    for each in found["trials"]:
        (value,) = each["params"].values()
        (folder,) = (tmp_path / "tuning" / "runs").glob(f"*-{each['run']}")
        assert read_run(folder).spec.tricks[0].options["real_low"] == value


def test_a_cell_without_such_a_number_stays_as_it_is(tmp_path: Path) -> None:
    about = frozenset(spec.id for spec in cell().specs)
    one = Range.parse("variant.penalty_weight=0.1..10:log")
    target = replace(cell(), space=space_of(cell().specs[0], [(one, about)]))
    engine = InProcess()
    assert tuner(tmp_path, engine).tune([target], trials=10) == 0
    found = summary_of(tmp_path, target)
    assert (found["trials"], found["space"]) == ([], {})
    assert found["chosen"]["fresh"] == found["default"]["fresh"]
    assert len(engine.trained) == 2


@pytest.mark.parametrize("sampler", ["sobol", "tpe"])
def test_interrupted_tuning_tries_the_same_as_uninterrupted(tmp_path: Path, sampler: str) -> None:
    target = cell()

    def tune(folder: Path, stop_after: int | None = None) -> int:
        one = tuner(folder, InProcess(stop_after))
        one.sampler = sampler
        one.measured = lambda specs: Measured({}, 1, 0, largest=3)
        return one.tune([target], trials=4, batch=3)

    assert tune(tmp_path / "whole") == 0
    broken = tmp_path / "broken"
    for stop_after in (1, 3, 1):
        assert tune(broken, stop_after) == 75
        assert not (broken / "tuning" / target.name / "summary.json").exists()
    assert tune(broken) == 0
    assert summary_of(tmp_path / "whole", target) == summary_of(broken, target)


def test_more_trials_go_on_from_those_before(tmp_path: Path) -> None:
    target = cell()
    assert tuner(tmp_path, InProcess()).tune([target], trials=3) == 0
    before = summary_of(tmp_path, target)["trials"]
    more = InProcess()
    assert tuner(tmp_path, more).tune([target], trials=6) == 0
    firsts = [t for t in summary_of(tmp_path, target)["trials"] if t["seed"] == SEEDS[0]]
    assert firsts[:3] == [t for t in before if t["seed"] == SEEDS[0]]
    assert not {t["run"] for t in before} & set(more.trained)
    # Fewer again: the same as at first.
    fewer = InProcess()
    assert tuner(tmp_path, fewer).tune([target], trials=3) == 0
    assert fewer.trained == [] and summary_of(tmp_path, target)["trials"] == before


def test_trials_of_another_search_are_not_mixed_in(tmp_path: Path) -> None:
    engine = InProcess()
    assert tuner(tmp_path, engine).tune([cell()], trials=2) == 0
    other = tuner(tmp_path, engine)
    other.sampler = "tpe"
    remedy = (
        r"go on with --sampler sobol --param lr_g=1e-05..0.01:log --param lr_d/lr_g=0.1..10:log"
    )
    with pytest.raises(StoreError, match=remedy):
        other.tune([cell()], trials=3)
    with pytest.raises(StoreError, match=remedy):
        tuner(tmp_path, engine).tune([cell("lr_g=1e-4..1e-2:log")], trials=3)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        '{"schema": 2, "sampler": "sobol", "space": 3, "settings": []}',
        '{"schema": 2, "sampler": "sobol", "space": SPACE, "settings": [{}]}',
        '{"schema": 2, "sampler": "sobol", "space": SPACE, "settings": [{"lr_g": "a"}]}',
        '{"schema": 2, "sampler": "sobol", "space": SPACE, "settings": 3}',
    ],
)
def test_damaged_trials_are_told_in_one_line(content: str, tmp_path: Path) -> None:
    one = tuner(tmp_path, InProcess())
    folder = one.store.root / cell().name
    folder.mkdir()
    space = json.dumps([str(each) for each in DEFAULT])
    (folder / "trials.json").write_text(content.replace("SPACE", space))
    with pytest.raises(StoreError, match=r"trials.json is damaged \(\w+\); delete it"):
        one.tune([cell()], trials=2)


def test_trials_of_an_older_version_are_refused(tmp_path: Path) -> None:
    one = tuner(tmp_path, InProcess())
    folder = one.store.root / cell().name
    folder.mkdir()
    (folder / "trials.json").write_text('{"schema": 1, "sampler": "tpe", "specs": []}')
    with pytest.raises(StoreError, match=r"another version of ganbench.*delete .*tuning to tune"):
        one.tune([cell()], trials=2)


def test_a_damaged_plan_of_tuning_is_written_again(tmp_path: Path) -> None:
    one = tuner(tmp_path, InProcess())
    (one.store.root / "suite.json").write_text("{")
    assert tuner(tmp_path, InProcess()).tune([cell()], trials=2) == 0
    assert len(summary_of(tmp_path, cell())["chosen"]["fresh"]) == 2


def test_a_dry_run_tells_all_runs_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = RunOptions("mini.yaml", tmp_path / "out", device="cpu", jobs=2)
    search = TuneOptions(4, ("variant.penalty_weight=0.1..10:log",))
    preview_tuning(matrix(), options, search)
    said = capsys.readouterr().out
    # Two cells of wgan-gp are searched; the three of gan only have the runs of the suite.
    assert "trials: 8 runs in 2 cohorts" in said
    assert "the best again: 12 runs in 2 cohorts" in said
    assert "fresh seeds: 14 runs in " in said
    assert "cost: 340 run-steps on 2 × cpu, about " in said
    assert not (tmp_path / "out").exists()


def test_a_dry_run_counts_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = cells_of(matrix(), [])
    assert tuner(tmp_path, InProcess()).tune(cells[:1], trials=4) == 0
    options = RunOptions("mini.yaml", tmp_path, device="cpu", jobs=2)
    preview_tuning(matrix(), options, TuneOptions(4))
    said = capsys.readouterr().out
    assert "trials: 16 runs" in said
    assert "the best again: 24 runs" in said
    assert "fresh seeds: 16 runs" in said
