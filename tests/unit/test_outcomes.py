"""Outcomes and warning signs from a run's own records."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.jobs.outcomes import Verdict, has_collapsed, judge, warning_signs
from harness.spec import PATIENCE, Settings
from harness.store.events import EvaluationRow, LossRow, Sign
from harness.testing.specs import make_spec

NAN = math.nan


def thresholds(diversity: float = 0.1, coverage: float = 0.5) -> Settings:
    return make_spec(collapse_diversity=diversity, collapse_coverage=coverage).settings


def evaluation(
    step: int, diversity: float = 1.0, coverage: float = 1.0, fd: float = 1.0
) -> EvaluationRow:
    return EvaluationRow(
        step=step, kimg=0.0, diversity=diversity, mode_coverage=coverage, values={"fd": fd}
    )


def course(*diversities: float) -> list[EvaluationRow]:
    """Make the evaluations of a run at steps 0, 10, 20 …"""
    return [evaluation(10 * i, diversity) for i, diversity in enumerate(diversities)]


class TestHasCollapsed:
    """One evaluation against the thresholds."""

    @pytest.mark.parametrize(
        ("diversity", "coverage", "reason"),
        [
            (1.0, 1.0, None),
            (0.1, 0.5, None),
            (0.0999, 1.0, "diversity 0.10 is below 0.1"),
            (0.0, 1.0, "diversity 0.00 is below 0.1"),
            (1.0, 0.375, "share of modes found 0.38 is below 0.5"),
            (0.0, 0.125, "share of modes found 0.12 is below 0.5"),
            (NAN, 1.0, "diversity nan is below 0.1"),
            (1.0, NAN, None),
            (0.05, NAN, "diversity 0.05 is below 0.1"),
        ],
    )
    def test_thresholds(self, diversity: float, coverage: float, reason: str | None) -> None:
        assert has_collapsed(evaluation(1, diversity, coverage), thresholds()) == reason

    def test_a_threshold_of_zero_is_never_missed(self) -> None:
        assert has_collapsed(evaluation(1, 0.0, 0.0), thresholds(0.0, 0.0)) is None


class TestJudge:
    """A run that reached its last step."""

    @pytest.mark.parametrize(
        ("diversities", "verdict"),
        [
            ([0, 1, 1, 1], Verdict("ok")),
            ([0, 1, 0, 0], Verdict("ok")),
            ([0, 0, 0, 0, 1], Verdict("ok")),
            ([0, 0, 0, 1, 0, 0], Verdict("ok")),
            (
                [0, 1, 0, 0, 0],
                Verdict("collapsed", 20, "diversity 0.00 is below 0.1, from step 20"),
            ),
            (
                [0, 0, 1, 0, 0, 0, 0],
                Verdict("collapsed", 30, "diversity 0.00 is below 0.1, from step 30"),
            ),
            (
                [1, 0, 0, 0],
                Verdict(
                    "unlearned", None, "diversity 0.00 is below 0.1, as at every evaluation"
                ),
            ),
            ([0, 0, 0], Verdict("ok")),
            ([], Verdict("ok")),
        ],
    )  # fmt: skip
    def test_verdicts(self, diversities: list[float], verdict: Verdict) -> None:
        assert judge(course(*diversities), thresholds()) == verdict

    def test_the_last_evaluation_gives_the_reason(self) -> None:
        evaluations = [evaluation(10, 0.01), evaluation(20, 0.02), evaluation(30, 1.0, 0.25)]
        found = judge(evaluations, thresholds())
        assert found.reason == "share of modes found 0.25 is below 0.5, as at every evaluation"

    def test_data_whose_classes_cannot_be_told_apart_do_not_collapse_for_it(self) -> None:
        evaluations = [evaluation(step, 1.0, NAN) for step in range(0, 60, 10)]
        assert judge(evaluations, thresholds()) == Verdict("ok")

    @given(st.lists(st.booleans(), max_size=12))
    def test_only_a_streak_at_the_end_counts(self, healthy: list[bool]) -> None:
        found = judge(course(1.0, *(1.0 if well else 0.0 for well in healthy)), thresholds())
        streak = 0
        while streak < len(healthy) and not healthy[-1 - streak]:
            streak += 1
        never = streak == len(healthy)
        name = "unlearned" if never else "collapsed"
        assert found.outcome == (name if streak >= PATIENCE else "ok")
        if found.outcome == "collapsed":
            assert found.onset == 10 * (len(healthy) - streak + 1)


def losses(*rows: tuple[float, float]) -> list[LossRow]:
    """Make ``losses`` records from G's gradient norm and D's accuracy on both kinds of data."""
    return [
        LossRow(
            step=5 * (i + 1),
            kimg=0.0,
            values={"g_grad_norm": norm, "d_accuracy_real": right, "d_accuracy_fake": right},
        )
        for i, (norm, right) in enumerate(rows)
    ]


class TestWarningSigns:
    """Signs of instability that are no outcome."""

    def signs(self, rows: list[tuple[float, float]], *curve: float) -> dict[str, Sign | float]:
        evaluations = [evaluation(10 * i, fd=value) for i, value in enumerate(curve)]
        return warning_signs(losses(*rows), evaluations, "fd")

    def test_a_quiet_run_has_none(self) -> None:
        assert self.signs([(1.0, 0.6)] * 8, 9.0, 3.0, 2.0, 2.4) == {}
        assert self.signs([]) == {}

    def test_a_gradient_that_vanishes_while_d_is_right(self) -> None:
        rows = [(1.0, 0.6)] * 5 + [(0.0009, 0.9), (0.0009, 0.96), (1e-9, 1.0)]
        assert self.signs(rows)["vanishing_gradient"] == Sign(35, 0.0009)

    @pytest.mark.parametrize("last", [(0.0011, 1.0), (1e-9, 0.95), (NAN, 1.0)])
    def test_a_gradient_that_does_not(self, last: tuple[float, float]) -> None:
        assert "vanishing_gradient" not in self.signs([(1.0, 0.6)] * 5 + [last])

    def test_the_early_median_ignores_what_is_not_finite(self) -> None:
        rows = [(NAN, 0.5), (math.inf, 0.5), (2.0, 0.5), (2.0, 0.5), (50.0, 0.5), (0.0015, 0.99)]
        assert self.signs(rows)["vanishing_gradient"] == Sign(30, 0.00075)
        assert self.signs([(NAN, 0.99)] * 6) == {"overpowered": Sign(5, 1.0)}

    @pytest.mark.parametrize(
        ("rights", "expected"),
        [
            ([0.96, 0.94, 1.0, 0.5], Sign(5, 0.5)),
            ([0.5] * 4 + [0.96, 1.0] + [0.9] * 2, Sign(25, 0.25)),
            ([0.96, 0.9, 0.96, 0.5, 0.96, 0.5, 0.5, 0.96], None),
            ([0.95] * 8, None),
            ([NAN] * 8, None),
        ],
    )
    def test_an_overpowered_generator(self, rights: list[float], expected: Sign | None) -> None:
        found = self.signs([(1.0, right) for right in rights])
        assert found == ({} if expected is None else {"overpowered": expected})

    @pytest.mark.parametrize(
        ("answers", "expected"),
        [
            ([0.5, 0.75, 0.5, 0.75, 0.5, 0.75], Sign(15, 4)),
            ([0.5, 0.45, 0.3, 0.4, 0.51, 0.4, 0.3, 0.5, 0.3], Sign(25, 4)),
            ([0.5, 0.75, 0.5, 0.75, 0.5], None),
            ([0.5, 0.69, 0.5] * 10, None),
            ([0.1, 0.3, 0.5, 0.7, 0.9], None),
            ([0.5, 0.75, NAN, 0.5, 0.75, 0.5, NAN, 0.75], Sign(20, 4)),
            ([], None),
        ],
    )
    def test_an_oscillation(self, answers: list[float], expected: Sign | None) -> None:
        rows = losses(*[(1.0, 0.6)] * len(answers))
        for row, answer in zip(rows, answers, strict=True):
            row.values.update({"d_fake": answer, "saturation": 0.0})
        found = {} if expected is None else {"oscillation": expected}
        assert warning_signs(rows, [], "fd") == found
        for row in rows:  # a raw answer has to swing twice as far
            del row.values["saturation"]
        assert warning_signs(rows, [], "fd") == {}
        for row in rows:
            row.values["d_fake"] *= 2
        assert warning_signs(rows, [], "fd") == found
        for row in rows:  # a critic's answer has no scale
            row.values.update({"d_accuracy_real": NAN, "d_accuracy_fake": NAN})
        assert warning_signs(rows, [], "fd") == {}

    def test_accuracy_is_the_mean_of_both_kinds(self) -> None:
        rows = losses((1.0, 1.0))
        rows[0].values["d_accuracy_fake"] = 0.89
        assert warning_signs(rows, [], "fd") == {}

    @pytest.mark.parametrize(
        ("curve", "ratio"),
        [
            ((9.0, 2.0, 2.5), None),
            ((9.0, 2.0, 2.6), 1.3),
            ((9.0, 2.0, 8.0, 2.0), None),
            ((1.0, 4.0, 4.0), None),
            ((9.0, NAN, 2.0, 6.0), 3.0),
            ((9.0, 2.0, NAN), None),
            ((9.0, NAN, NAN), None),
            ((9.0, 0.0, 3.0), None),
            ((9.0, -0.1, 3.0), None),
            ((), None),
        ],
    )
    def test_a_blow_up(self, curve: tuple[float, ...], ratio: float | None) -> None:
        # The first value is that of the untrained generator, which does not count.
        found = self.signs([], *curve)
        assert list(found) == ([] if ratio is None else ["blow_up"])
        assert [sign.size for sign in found.values()] == (
            [] if ratio is None else [pytest.approx(ratio)]
        )

    def test_a_rise_by_less_than_a_floor_is_none(self) -> None:
        evaluations = [evaluation(10 * i, fd=fd) for i, fd in enumerate((9.0, 1.0, 1.5))]
        assert "blow_up" in warning_signs([], evaluations, "fd", 0.4)
        assert warning_signs([], evaluations, "fd", 0.6) == {}

    def test_a_blow_up_begins_after_the_best(self) -> None:
        assert self.signs([], 9.0, 5.0, 2.0, 3.0, 4.0)["blow_up"] == Sign(20, 2.0)

    def test_a_metric_that_was_not_measured_says_nothing(self) -> None:
        assert warning_signs([], [evaluation(10), evaluation(20)], "other") == {}
