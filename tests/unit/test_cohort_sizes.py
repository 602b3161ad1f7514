"""How many runs train together: by measurement where it pays, else by the rule."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from harness.cli import app
from harness.planning import calibration
from harness.planning.calibration import (
    SIZES,
    Calibration,
    in_words,
    measure_kind,
    read,
)
from harness.planning.cohorts import LARGEST, cohort_key, make_cohorts, workload_of
from harness.planning.cost_model import START_SECONDS, CostCurve, Measured
from harness.planning.machine import free_memory
from harness.spec import RunSpec
from harness.testing.specs import make_spec

GIGABYTE = 2**30
CHEAP = CostCurve((1, 2, 4, 8), (4e-3, 4.2e-3, 4.6e-3, 5.4e-3), (100, 110, 130, 170))
"""A run more costs a twentieth of the first, and 10 bytes."""
DEAR = CostCurve((1, 2, 4, 8), (4e-3, 9e-3, 20e-3, 48e-3), (100, 110, 130, 170))
"""Together is slower than one by one."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def many(count: int, **given: Any) -> list[RunSpec]:
    return [make_spec(seed=seed, **{"steps": 20_000, **given}) for seed in range(count)]


def measured(curve: CostCurve, slots: int = 1, memory: int = GIGABYTE) -> Measured:
    return Measured({workload_of(many(1)[0]): curve}, slots, memory)


def sizes(specs: list[RunSpec], known: Measured | None, **given: Any) -> list[int]:
    cohorts = make_cohorts(specs, "cpu", measured=known, **given)
    return sorted(len(cohort.specs) for cohort in cohorts)


def seconds(sizes: tuple[int, ...], costs: tuple[float, ...], runs: int) -> float:
    """Return what one update of so many runs costs."""
    curve = CostCurve(sizes, costs, (1,) * len(sizes))
    return curve.model(1, GIGABYTE).seconds(runs) - START_SECONDS


class TestCurve:
    """What a cohort of any size costs."""

    @pytest.mark.parametrize(
        ("runs", "expected"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, 6.0), (6, 10.0)]
    )
    def test_on_straight_lines(self, runs: int, expected: float) -> None:
        assert seconds((1, 2, 4), (1.0, 2.0, 6.0), runs) == pytest.approx(expected)

    def test_one_size_says_that_nothing_is_gained(self) -> None:
        assert seconds((1,), (3.0,), 4) == pytest.approx(12.0)

    def test_never_less_than_the_least_that_was_measured(self) -> None:
        assert seconds((1, 2), (3.0, 1.0), 8) == pytest.approx(1.0)

    @pytest.mark.parametrize(
        ("memory", "expected"), [(10**9, 16), (170, 8), (169, 7), (121, 3), (5, 1)]
    )
    def test_memory_bounds_it(self, memory: int, expected: int) -> None:
        assert CHEAP.most(memory) == expected

    def test_memory_that_does_not_grow_bounds_nothing(self) -> None:
        assert CostCurve((1, 2), (1.0, 1.0), (100, 100)).most(1) == 4


class TestMakeCohorts:
    """Cohorts by measurement."""

    def test_all_together_where_that_is_cheap(self) -> None:
        assert sizes(many(8), measured(CHEAP)) == [8]

    def test_apart_where_it_is_not(self) -> None:
        assert sizes(many(4), measured(DEAR)) == [1, 1, 1, 1]

    def test_a_start_costs_more_than_a_little_slower_steps(self) -> None:
        assert sizes(many(4, steps=50), measured(DEAR)) == [4]

    def test_what_does_not_fit_is_split(self) -> None:
        assert sizes(many(8), measured(CHEAP, memory=120)) == [2, 3, 3]

    def test_no_slot_is_idle(self) -> None:
        flat = CostCurve((1, 8), (4e-3, 4.2e-3), (1, 1))
        assert sizes(many(8), measured(flat, slots=2)) == [8]  # halves last nearly as long
        steep = CostCurve((1, 2, 4, 8), (4e-3, 6e-3, 10e-3, 18e-3), (1, 1, 1, 1))
        assert sizes(many(8), measured(steep)) == [8]
        assert sizes(many(8), measured(steep, slots=2)) == [4, 4]
        assert sizes(many(8), measured(steep, slots=4)) == [2, 2, 2, 2]

    def test_equal_groups_are_split_together(self) -> None:
        specs = [s for width in (8, 9) for s in many(8, width=width)]
        steep = CostCurve((1, 2, 4, 8), (4e-3, 6e-3, 10e-3, 18e-3), (1, 1, 1, 1))
        known = Measured({workload_of(s): steep for s in specs}, 4, GIGABYTE)
        assert sizes(specs, known) == [4, 4, 4, 4]

    def test_a_thousand_runs_are_cut_in_a_moment(self) -> None:
        start = time.process_time()
        assert sum(sizes(many(1000), measured(CHEAP, slots=8))) == 1000
        assert time.process_time() - start < 5

    def test_no_more_is_split_than_slots_are_for(self) -> None:
        specs = [s for width in (8, 9, 10, 11) for s in many(8, width=width)]
        steep = CostCurve((1, 2, 4, 8), (4e-3, 6e-3, 10e-3, 18e-3), (1, 1, 1, 1))
        known = Measured({workload_of(s): steep for s in specs}, 2, GIGABYTE)
        assert sizes(specs, known) == [8, 8, 8, 8]

    def test_a_kind_without_a_measurement_follows_the_rule(self) -> None:
        largest = LARGEST["cpu", False]
        specs = many(largest + 1, width=9)
        assert sizes(specs, measured(DEAR, slots=8)) == sizes(specs, None)

    @pytest.mark.parametrize(("largest", "expected"), [(1, [1] * 4), (3, [2, 2]), (9, [4])])
    def test_what_is_settled_goes_before_measurement_and_rule(
        self, largest: int, expected: list[int]
    ) -> None:
        kind = workload_of(many(1)[0])
        assert sizes(many(4), Measured({kind: DEAR}, 4, GIGABYTE, largest)) == expected
        assert sizes(many(4), Measured({}, 4, 0, largest)) == expected

    def test_runs_that_trained_together_stay_together(self) -> None:
        specs = many(4)
        begun = {spec.id: tuple(s.id for s in specs) for spec in specs}
        assert sizes(specs, measured(DEAR, slots=4), begun=begun) == [4]
        assert sizes(specs, Measured({}, 4, 0, largest=1), begun=begun) == [4]

    @settings(max_examples=30)
    @given(
        st.integers(1, 30),
        st.integers(1, 6),
        st.lists(st.floats(1e-4, 1.0), min_size=4, max_size=4),
        st.integers(1, 400),
    )
    def test_every_run_is_in_one_cohort_of_its_like(
        self, count: int, slots: int, seconds: list[float], memory: int
    ) -> None:
        curve = CostCurve((1, 2, 4, 8), tuple(seconds), (100, 110, 130, 170))
        specs = many(count) + many(3, batch=9)
        cohorts = make_cohorts(specs, "cpu", measured=measured(curve, slots, memory))
        found = [spec.id for cohort in cohorts for spec in cohort.specs]
        assert sorted(found) == sorted(spec.id for spec in specs)
        for cohort in cohorts:
            assert len({cohort_key(spec) for spec in cohort.specs}) == 1
            if cohort.specs[0].settings.batch == 8:
                assert len(cohort.specs) <= curve.most(memory)


class Watch:
    """A measurement that was made beforehand, counted."""

    def __init__(self, curve: CostCurve | None = CHEAP) -> None:
        self.curve = curve
        self.asked: list[tuple[RunSpec, str]] = []

    def __call__(self, spec: RunSpec, device: str) -> CostCurve | None:
        """Count, and answer."""
        self.asked.append((spec, device))
        return self.curve


def calibrate(
    watch: Callable[[RunSpec, str], CostCurve | None], said: list[str] | None = None
) -> Calibration:
    lines = [] if said is None else said
    return Calibration(
        "cpu",
        ["cpu", "cpu"],
        announce=lines.append,
        measure=watch,
        free_memory=lambda device: GIGABYTE,
    )


def source(found: Calibration) -> str:
    (words,) = found.sources.values()
    return words


class TestCalibration:
    """What is measured, and when."""

    def test_once_for_all_and_never_again(self) -> None:
        said: list[str] = []
        watch = Watch()
        first = calibrate(watch, said)
        found = first.measure_missing(many(8))
        assert found.curves == {workload_of(many(1)[0]): CHEAP}
        assert (found.slots, found.memory) == (2, int(GIGABYTE * 0.7 / 2))
        assert source(first) == "measured now"
        assert "toy2d-norm 8, batch 8 of 2: up to 8" in said[0]
        second = calibrate(watch)
        assert second.measure_missing(many(8)) == second.cached(many(8)) == found
        assert source(second) == "measured before"
        assert [device for _, device in watch.asked] == ["cpu"]

    def test_the_plainest_run_of_a_kind_is_measured(self) -> None:
        watch = Watch()
        plain = many(3)
        calibrate(watch).measure_missing(
            [
                *many(3, variant="wgan-gp", network="toy2d-norm"),
                *many(3, tricks=["label-smoothing"]),
                *plain,
            ]
        )
        ((spec, _),) = watch.asked
        assert spec in plain

    def test_a_preview_measures_nothing(self) -> None:
        watch = Watch()
        preview = calibrate(watch)
        assert preview.cached(many(8)).curves == {}
        assert source(preview) == "the rule until it is measured"
        assert not watch.asked

    @pytest.mark.parametrize(
        ("specs", "reason"),
        [
            (many(8, steps=200), "too little work to measure first"),
            ([make_spec(steps=10**6)], "no two runs could train together"),
        ],
    )
    def test_not_where_it_would_not_pay(self, specs: list[RunSpec], reason: str) -> None:
        watch = Watch()
        found = calibrate(watch)
        assert found.measure_missing(specs).curves == {}
        assert source(found) == f"the rule: {reason}"
        assert not watch.asked

    def test_nothing_is_measured_where_the_size_is_settled(self) -> None:
        watch = Watch()
        found = calibrate(watch)
        found.largest = 3
        assert found.measure_missing(many(8)) == found.cached(many(8)) == Measured({}, 2, 0, 3)
        assert source(found) == "--cohort 3"
        assert not watch.asked

    def test_what_cannot_be_measured_follows_the_rule(self) -> None:
        said: list[str] = []
        found = calibrate(Watch(None), said)
        assert found.measure_missing(many(8)).curves == {}
        assert source(found) == "the rule: it could not be measured"
        assert said == [
            "toy2d-norm 8, batch 8 of 2 could not be measured: cohorts are cut by the rule"
        ]

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{",
            "[]",
            '{"sizes": [1, 2], "seconds": [1.0], "peak": [1, 1]}',
            '{"sizes": [], "seconds": [], "peak": []}',
            '{"sizes": [2, 1], "seconds": [1.0, 1.0], "peak": [1, 1]}',
            '{"sizes": [1], "seconds": [NaN], "peak": [1]}',
            '{"sizes": [1], "seconds": [-1.0], "peak": [1]}',
            '{"sizes": ["a"], "seconds": [1.0], "peak": [1]}',
        ],
    )
    def test_a_damaged_cache_is_written_again(self, tmp_path: Path, text: str) -> None:
        watch = Watch()
        calibrate(watch).measure_missing(many(8))
        (file,) = (tmp_path / "cache" / "ganbench" / "cohorts").iterdir()
        file.write_text(text, encoding="utf-8")
        assert read(file) is None
        calibrate(watch).measure_missing(many(8))
        assert len(watch.asked) == 2
        assert read(file) == CHEAP

    @pytest.mark.parametrize("what", ["VERSION", "RESULTS_VERSION", "hardware", "version"])
    def test_another_version_or_machine_is_measured_anew(
        self, what: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        watch = Watch()
        calibrate(watch).measure_missing(many(8))
        other: Any = "other" if what.isupper() else lambda name: "other"
        monkeypatch.setattr(calibration, what, other)
        calibrate(watch).measure_missing(many(8))
        assert len(watch.asked) == 2

    def test_a_cache_that_cannot_be_written_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        said: list[str] = []
        assert calibrate(Watch(), said).measure_missing(many(8)).curves
        assert said[1].startswith("it will be measured again: ")


class TestMeasuring:
    """The measurement itself."""

    @pytest.mark.parametrize(
        "spec",
        [
            make_spec(),
            make_spec("digits", "infogan"),
            make_spec(variant=("wgan", {"boost": True}), tricks=[("update-ratio", {"d": 2})]),
        ],
        ids=["points", "images", "schedule"],
    )
    def test_sizes_ascend(self, spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(calibration, "EACH_SECONDS", 0.0)
        monkeypatch.setitem(SIZES, "cpu", (1, 2, 4))
        monkeypatch.setattr(calibration, "BUDGET_SECONDS", 60.0)
        curve = measure_kind(spec, "cpu")
        assert curve is not None
        assert curve.sizes == (1, 2, 4)
        assert all(0 < seconds < 10 for seconds in curve.seconds)
        assert list(curve.peak) == sorted(curve.peak)

    def test_it_ends_when_the_time_is_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(calibration, "BUDGET_SECONDS", 1e-9)
        curve = measure_kind(make_spec(), "cpu")
        assert curve is not None
        assert curve.sizes == (1,)

    def test_only_replayed_updates_are_timed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(calibration, "EACH_SECONDS", 0.0)
        cpu = calibration.torch.device("cpu")
        spec = make_spec()
        recorder = calibration.recorder_for(cpu)
        trainer = calibration.Trainer([spec], calibration.examples_like(spec), cpu, recorder)
        run_as_they_are: list[int] = []
        loss = trainer.game.discriminator_loss

        def watched(batch: Any) -> Any:
            run_as_they_are.append(trainer.step)
            return loss(batch)

        monkeypatch.setattr(trainer.game, "discriminator_loss", watched)
        assert calibration.update_seconds(trainer) > 0
        assert trainer.step == calibration.WARM_UPS["cpu"] + 1
        assert max(run_as_they_are) < calibration.WARM_UPS["cpu"]

    def test_it_ends_when_the_memory_is_full(self, monkeypatch: pytest.MonkeyPatch) -> None:
        inner = calibration.Trainer

        def full(specs: list[RunSpec], *rest: Any) -> Any:
            if len(specs) > 2:
                raise calibration.torch.OutOfMemoryError
            return inner(specs, *rest)

        monkeypatch.setattr(calibration, "Trainer", full)
        curve = measure_kind(make_spec(), "cpu")
        assert curve is not None
        assert curve.sizes[-1] <= 2

    def test_free_memory_is_that_of_a_computer(self) -> None:
        assert 2**20 < free_memory("cpu") < 2**50

    def test_kinds_in_words(self) -> None:
        assert in_words(workload_of(make_spec())) == "toy2d-norm 8, batch 8 of 2"
        patch = make_spec("digits", "dcgan", ["patchgan"])
        assert "and" in in_words(workload_of(patch))


def test_a_preview_shows_a_settled_size(tmp_path: Path) -> None:
    shown = CliRunner().invoke(
        app, ["run", "smoke", "--dry-run", "--cohort", "1", "--out", str(tmp_path / "out")]
    )
    assert shown.exit_code == 0, shown.output
    words = " ".join(shown.output.split())
    assert "toy2d-norm 64, batch 64 of 2 10 1 --cohort 1" in words
    assert "20 cohorts of 1 runs" in words


def test_a_preview_says_what_the_choice_rests_on(tmp_path: Path) -> None:
    shown = CliRunner().invoke(
        app, ["run", "smoke", "--dry-run", "--device", "cpu", "--out", str(tmp_path / "out")]
    )
    assert shown.exit_code == 0, shown.output
    words = " ".join(shown.output.split())
    assert "the rule: too little work to" in words
    assert "toy2d-norm 64, batch 64 of 2" in words
    assert not (tmp_path / "cache").exists()
