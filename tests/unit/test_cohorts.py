"""Grouping runs into cohorts, and what they cost."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.jobs.cohort import Cohort
from harness.parts import Schedule, tricks, variants
from harness.planning import cohorts as plan
from harness.planning.cohorts import (
    LARGEST,
    cohort_key,
    cohort_seconds,
    is_convolutional,
    make_cohorts,
    measure_rate,
    updates,
    work_of,
)
from harness.planning.cost_model import makespan
from harness.spec import RunSpec
from harness.testing.specs import make_spec

SAME = {"seed": 1}


class TestStructure:
    """What keeps runs from training together."""

    @pytest.mark.parametrize(
        "change",
        [
            {"seed": 9},
            {"lr_g": 0.5},
            {"lr_d": 0.5},
            {"beta1": 0.1},
            {"beta2": 0.1},
            {"variant": ("wgan-gp", {"penalty_weight": 0.1})},
            {"tricks": [("feature-matching", {"weight": 3.0})]},
        ],
    )
    def test_seeds_and_scalars_do_not(self, change: dict[str, Any]) -> None:
        base = {"variant": "wgan-gp", "tricks": ["feature-matching"]}
        ours, theirs = make_spec(**base), make_spec(**{**base, **change})
        assert ours.id != theirs.id
        assert cohort_key(ours) == cohort_key(theirs)

    @pytest.mark.parametrize(
        "change",
        [
            {"dataset": "grid25"},
            {"variant": "lsgan"},
            {"variant": ("wgan-gp", {"d_steps": 1})},
            {"tricks": []},
            {"tricks": [("feature-matching", {"norm": "l1"})]},
            {"tricks": [("feature-matching", {"mode": "add"})]},
            {"tricks": ["feature-matching", "dropout-g"]},
            {"steps": 21},
            {"batch": 9},
            {"latent": 5},
            {"width": 9},
            {"optimizer": "sgd"},
            {"precision": "float64"},
            {"log_every": 2},
            {"evaluate_every": 5},
            {"evaluation_samples": 65},
            {"reference": "test"},
            {"collapse_diversity": 0.2},
        ],
    )
    def test_everything_else_does(self, change: dict[str, Any]) -> None:
        base = {"variant": "wgan-gp", "tricks": ["feature-matching"]}
        assert cohort_key(make_spec(**base)) != cohort_key(make_spec(**{**base, **change}))

    def test_the_order_of_tricks_matters(self) -> None:
        pair = ["feature-matching", "dropout-g"]
        assert cohort_key(make_spec(tricks=pair)) != cohort_key(make_spec(tricks=pair[::-1]))

    def test_scalars_are_those_that_the_parts_declare(self) -> None:
        declared = {
            part.id: part.scalar_fields()
            for registry in (variants, tricks)
            for part in registry
            if part.scalar_fields()
        }
        expected = {
            "wgan": ["clip"],
            "wgan-gp": ["penalty_weight"],
            "feature-matching": ["weight"],
            "label-smoothing": ["real_low", "real_high", "fake_low", "fake_high"],
        }
        assert expected.items() <= declared.items()
        assert not declared.keys() & {"update-ratio", "dropout-g", "patchgan", "gan", "sngan"}

    def test_it_leaves_the_spec_alone(self) -> None:
        spec = make_spec("ring8", "wgan-gp")
        before = spec.model_dump_json()
        cohort_key(spec)
        assert spec.model_dump_json() == before


def many(count: int, **settings: Any) -> list[RunSpec]:
    return [make_spec(seed=seed, **settings) for seed in range(count)]


class TestMakeCohorts:
    """Runs into cohorts."""

    @given(st.integers(1, 40), st.integers(0, 12))
    def test_every_run_is_in_one_cohort_of_its_like(self, first: int, second: int) -> None:
        specs = many(first) + many(second, width=9)
        cohorts = make_cohorts(specs, "cpu")
        found = [spec.id for cohort in cohorts for spec in cohort.specs]
        assert sorted(found) == sorted(spec.id for spec in specs)
        for cohort in cohorts:
            assert len({cohort_key(spec) for spec in cohort.specs}) == 1
            assert len(cohort.specs) <= LARGEST["cpu", False]
        for width in (8, 9):
            sizes = [len(c.specs) for c in cohorts if c.specs[0].settings.width == width]
            assert not sizes or max(sizes) - min(sizes) <= 1

    @pytest.mark.parametrize(
        ("cell", "convolutional"),
        [
            ({"dataset": "ring8", "variant": "gan"}, False),
            ({"dataset": "digits", "variant": "gan"}, False),
            ({"dataset": "digits", "variant": "dcgan"}, True),
            ({"dataset": "digits", "variant": "gan", "tricks": ["patchgan"]}, True),
        ],
    )
    @pytest.mark.parametrize("device", ["cpu", "cuda"])
    def test_size_follows_device_and_networks(
        self, cell: dict[str, Any], convolutional: bool, device: str
    ) -> None:
        specs = many(130, **cell)
        assert is_convolutional(specs[0]) == convolutional
        largest = LARGEST[device, convolutional]
        sizes = [len(cohort.specs) for cohort in make_cohorts(specs, device)]
        assert sum(sizes) == 130
        assert max(sizes) <= largest
        assert len(sizes) == -(-130 // largest)

    def test_the_most_expensive_comes_first(self) -> None:
        specs = many(2, steps=10) + many(2, steps=1000) + many(2, steps=100)
        steps = [cohort.specs[0].settings.steps for cohort in make_cohorts(specs, "cpu")]
        assert steps == [1000, 100, 10]

    def test_runs_that_trained_together_go_on_together_and_without_others(self) -> None:
        a, b, c, d, e = many(5)
        begun = {run.id: (a.id, c.id, "diverged") for run in (a, c)} | {d.id: (d.id,)}
        cohorts = make_cohorts([a, b, c, d, e], "cpu", begun)
        found = sorted(tuple(spec.seed for spec in cohort.specs) for cohort in cohorts)
        assert found == [(0, 2), (1, 4), (3,)]

    def test_nothing_makes_no_cohorts(self) -> None:
        assert make_cohorts([], "cpu") == []

    def test_a_cohorts_name_is_that_of_its_runs(self) -> None:
        names = {Cohort(tuple(many(count))).name for count in (1, 2, 3)}
        assert len(names) == 3
        assert Cohort(tuple(many(2))).name == Cohort(tuple(many(2))).name


class TestUpdates:
    """How often each player is updated."""

    @pytest.mark.parametrize(
        ("variant", "laid_over", "expected"),
        [
            ("gan", [], (20, 20)),
            ("gan", [("update-ratio", {"d": 3, "g": 2})], (60, 40)),
            ("wgan-gp", [], (100, 20)),
            ("wgan-gp", [("update-ratio", {"d": 1, "g": 1})], (20, 20)),
            (("wgan", {"boost": False}), [], (100, 20)),
            (("wgan", {"boost": True}), [], (2000, 20)),
            (("wgan", {"boost": True}), [("update-ratio", {"d": 2, "g": 1})], (40, 20)),
        ],
    )
    def test_counts(self, variant: Any, laid_over: list[Any], expected: tuple[int, int]) -> None:
        assert updates(make_spec("ring8", variant, laid_over)) == expected

    @given(st.builds(Schedule, *(st.integers(1, 9) for _ in range(2)), *(st.integers(0, 9),) * 3))
    def test_a_boost_changes_only_the_steps_it_names(self, schedule: Schedule) -> None:
        for step in range(30):
            first = step < schedule.boost_first
            every = schedule.boost_every and step % schedule.boost_every == 0
            boosted = schedule.boost and (first or every)
            d = schedule.boost if boosted else schedule.d
            assert schedule.updates(step) == (d, schedule.g)


class TestWork:
    """Operations and seconds."""

    def test_a_fully_connected_run_by_hand(self) -> None:
        work = work_of(make_spec("ring8", "gan", batch=8, latent=4, width=8, steps=20))
        g_pass = 2 * 8 * (4 * 8 + 8 * 8 + 8 * 2)
        d_pass = 2 * 8 * (2 * 8 + 8 * 8 + 8 * 1)
        assert (work.d_updates, work.g_updates) == (20, 20)
        assert work.flops == 20 * (g_pass + 6 * d_pass) + 20 * (3 * g_pass + 2 * d_pass)

    def test_more_updates_cost_more(self) -> None:
        once = work_of(make_spec("ring8", "gan"))
        twice = work_of(make_spec("ring8", "gan", [("update-ratio", {"d": 2, "g": 2})]))
        assert twice.flops == 2 * once.flops

    def test_dropout_costs_nothing_and_asks_for_no_noise(self) -> None:
        plain = work_of(make_spec("digits", "dcgan"))
        dropped = work_of(make_spec("digits", "dcgan", [("dropout-g", {"at_test": True})]))
        assert dropped.flops == plain.flops

    def test_wider_networks_cost_more(self) -> None:
        work = work_of(make_spec("digits", "sngan", width=7))
        assert work.flops > work_of(make_spec("digits", "sngan", width=6)).flops

    def test_seconds(self) -> None:
        cohort = Cohort(tuple(many(3)))
        work = work_of(cohort.specs[0])
        expected = 3 * work.flops / 1e9 + 40 * plan.STEP_OVERHEAD
        assert cohort_seconds(cohort, 1e9) == pytest.approx(expected)

    def test_the_rate_is_that_of_a_computer(self) -> None:
        assert 1e7 < measure_rate() < 1e14
        assert measure_rate() == measure_rate()


class TestMakespan:
    """When the last job ends."""

    @pytest.mark.parametrize(
        ("seconds", "slots", "expected"),
        [
            ([], 2, 0.0),
            ([3.0], 2, 3.0),
            ([3.0, 2.0, 1.0], 1, 6.0),
            ([3.0, 2.0, 1.0], 2, 3.0),
            ([1.0, 1.0, 4.0], 2, 5.0),
            ([5.0, 4.0, 3.0, 3.0], 2, 8.0),
        ],
    )
    def test_jobs_go_to_the_slot_that_is_free_first(
        self, seconds: Sequence[float], slots: int, expected: float
    ) -> None:
        assert makespan(seconds, slots) == expected

    @given(st.lists(st.floats(0, 100), max_size=20), st.integers(1, 5))
    def test_bounds(self, seconds: list[float], slots: int) -> None:
        found = makespan(seconds, slots)
        least = max([sum(seconds) / slots, *seconds], default=0.0)
        assert least - 1e-9 <= found <= least * 2 + 1e-9


@given(
    st.builds(
        Schedule,
        d=st.integers(1, 5),
        g=st.integers(1, 3),
        boost=st.integers(0, 7),
        boost_first=st.integers(0, 12),
        boost_every=st.integers(0, 6),
    ),
    st.integers(0, 40),
)
def test_updates_in_total_are_those_of_each_step(schedule: Schedule, steps: int) -> None:
    each = [schedule.updates(step) for step in range(steps)]
    assert schedule.totals(steps) == (sum(d for d, _ in each), sum(g for _, g in each))
