"""The console: what it counts, estimates and prints, in terminals and in plain logs."""

from __future__ import annotations

import io
import math
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from harness.store.events import Attempt, Ending, EvaluationRow, LossRow, SampleFile
from harness.store.records import PlannedRun, SuitePlan, short_name
from harness.tracking.bars import REDRAWS_PER_SECOND
from harness.tracking.base import TrackedRun
from harness.tracking.console import ConsoleMirror
from harness.tracking.progress import Progress, describe, duration, number
from tests.event_logs import METRIC, begin, end, make_spec, make_store, train, write_events
from tests.stores import planned_cell

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def run_of(
    number: int,
    *,
    dataset: str = "ring8",
    variant: str = "gan",
    tricks: str = "none",
    steps: int = 100,
) -> TrackedRun:
    name = f"{number:012x}"
    planned = PlannedRun(name, name, planned_cell(dataset, variant, tricks), number)
    return TrackedRun(planned, Path("nowhere"), steps)


def plan_of(runs: Sequence[TrackedRun]) -> SuitePlan:
    return SuitePlan("stability", "?", "f00d", tuple(run.planned for run in runs))


def losses(step: int) -> LossRow:
    return LossRow(step=step, kimg=0.0, values={"d": 1.0})


def evaluation(step: int, value: float) -> EvaluationRow:
    return EvaluationRow(step=step, kimg=0.0, values={METRIC: value})


def outcome(name: str, step: int = 100, **more: Any) -> Ending:
    return Ending(outcome=name, step=step, **more)


class Stage:
    """A console mirror, its clock and its output."""

    def __init__(
        self, *, terminal: bool = False, width: int = 80, encoding: str = "utf-8", height: int = 40
    ) -> None:
        self.clock = Clock()
        self.bytes = io.BytesIO()
        # Not buffered, and strict: what the encoding lacks raises, as in an ASCII locale.
        file = io.TextIOWrapper(self.bytes, encoding=encoding, errors="strict", write_through=True)
        self.console = Console(
            file=file,
            force_terminal=terminal,
            width=width,
            height=height,
            color_system="standard" if terminal else None,
            legacy_windows=False,
            _environ={"TERM": "xterm"},
        )
        self.mirror = ConsoleMirror(self.console, clock=self.clock)
        self.encoding = encoding

    @property
    def output(self) -> str:
        return self.bytes.getvalue().decode(self.encoding)

    @property
    def lines(self) -> list[str]:
        return [ESCAPE.sub("", line).rstrip() for line in re.split(r"[\r\n]+", self.output)]

    def drawn(self) -> list[str]:
        """Draw the bars once, apart from the thread that does."""
        paper = Console(
            file=io.StringIO(), width=self.console.width, color_system=None, _environ={}
        )
        with paper.capture() as capture:
            paper.print(self.mirror._display.render())  # type: ignore[attr-defined]
        return [line.rstrip() for line in capture.get().splitlines()]

    def play(self, runs: Sequence[TrackedRun], last: dict[str, str]) -> None:
        """Train all runs as one cohort, 10 s long, to the outcomes given by seed or `ok`."""
        self.mirror.cohort_started("c", runs)
        for run in runs:
            for event in begin():
                self.mirror.event(run, event)
            self.mirror.event(run, evaluation(0, 4.2))
        for step in (50, 100):
            self.clock.now += 5
            for run in runs:
                self.mirror.event(run, losses(step))
                self.mirror.event(run, evaluation(step, 1.5 / step))
        for run in runs:
            name = last.get(str(run.planned.seed), "ok")
            reason = f"because of {name}" if name != "ok" else ""
            onset = 50 if name == "collapsed" else None
            self.mirror.event(run, outcome(name, onset=onset, reason=reason))
        self.mirror.cohort_ended("c", runs)


def test_plain_output_of_a_suite() -> None:
    stage = Stage()
    runs = [run_of(i, tricks="none" if i < 3 else "ema") for i in range(6)]
    stage.mirror.suite_started(plan_of(runs), runs, 4)
    stage.play(runs, {"1": "collapsed", "2": "diverged", "5": "crashed"})
    stage.mirror.suite_ended()
    assert stage.lines == [
        "stability: 6 runs to train, 4 done before",
        "4/10 runs, 10 s; about 7 s left",
        "10/10 runs, 10 s; ring8 · gan · none +1: 3 ok, 1 collapsed, 1 diverged, 1 crashed, "
        "fd 0.0150 (10 s)",
        "  crashed: ring8 · gan · ema · s5: because of crashed",
        "tricks       gan",
        "none    1✔ 1◐ 1✖",
        "ema        2✔ 1!",
        "stability: 6 runs in 10 s:  ✔ 3 ok  ◐ 1 collapsed  ✖ 1 diverged  ! 1 crashed",
        "1 run has no result; the same command goes on",
        "",
    ]


def test_a_second_suite_starts_from_nothing() -> None:
    """As tuning does: batch after batch on one console."""
    stage = Stage()
    for first in (0, 10):
        runs = [replace(run_of(first + i), note=f"batch {first}") for i in range(2)]
        stage.mirror.suite_started(plan_of(runs), runs, 0)
        stage.play(runs, {"0": "crashed", "10": "crashed"})
        stage.mirror.suite_ended()
    half = len(stage.lines) // 2
    again = [line.replace("batch 0", "batch 10") for line in stage.lines[:half]]
    assert stage.lines[half:-1] == again
    assert "crashed: ring8 · gan · none · batch 10:" in stage.output
    # Each trial has a line with its numbers and what came of them.
    assert "ring8 · gan · none · batch 10: ok, fd 4.20 → 0.0150" in stage.output


def test_a_trial_without_an_outcome_is_not_passed_over() -> None:
    stage = Stage()
    runs = [replace(run_of(0), note="trial 1 of 2"), replace(run_of(1), note="trial 2 of 2")]
    stage.mirror.suite_started(plan_of(runs), runs, 0)
    stage.mirror.cohort_started("c", runs)
    stage.mirror.cohort_ended("c", runs)
    stage.mirror.suite_ended()
    assert "0/2 runs, 0 s; ring8 · gan · none: no outcome (0 s)" in stage.output


def test_plain_status_is_throttled() -> None:
    stage = Stage()
    runs = [run_of(0, steps=100_000)]
    stage.mirror.suite_started(plan_of(runs), runs, 0)
    stage.mirror.cohort_started("c", runs)
    for step in range(1, 1001):
        stage.clock.now += 0.1
        stage.mirror.event(runs[0], losses(step))
    said = [line for line in stage.lines if "left" in line]
    assert len(said) in (9, 10)
    assert said[-1].startswith("0/1 runs, ")
    assert "about 2.8 h left" in said[0]


def test_nothing_to_do_is_one_line() -> None:
    for terminal in (False, True):
        stage = Stage(terminal=terminal)
        stage.mirror.suite_started(plan_of([run_of(0)]), [], 540)
        stage.mirror.suite_ended()
        assert stage.output == "stability: everything is done (540 runs)\n"


@given(st.text(max_size=30), st.text(max_size=30), st.sampled_from(["utf-8", "ascii", "latin-1"]))
def test_plain_output_has_no_control_characters_and_fits_every_encoding(
    label: str, reason: str, encoding: str
) -> None:
    stage = Stage(encoding=encoding)
    runs = [run_of(0, variant=label), run_of(1, tricks=label, dataset=label)]
    stage.mirror.suite_started(plan_of(runs), runs, 1)
    stage.mirror.cohort_started("c", runs)
    for run in runs:
        stage.mirror.event(run, outcome("crashed", reason=reason))
    stage.mirror.cohort_ended("c", runs)
    stage.mirror.suite_ended()
    assert all(c.isprintable() or c == "\n" for c in stage.output)


def test_markup_in_labels_is_text() -> None:
    stage = Stage()
    runs = [run_of(0, variant="[red]gan[/red]")]
    stage.mirror.suite_started(plan_of(runs), runs, 0)
    stage.play(runs, {})
    stage.mirror.suite_ended()
    assert stage.output.count("[red]gan[/red]") == 2


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_terminal_output_of_a_suite(width: int, encoding: str) -> None:
    threads = threading.active_count()
    stage = Stage(terminal=True, width=width, encoding=encoding)
    tricks = "feature-matching + spectral-norm(iterations=3)"
    runs = [run_of(i, variant="wgan-gp(penalty_weight=0.1)", tricks=tricks) for i in range(30)]
    stage.mirror.suite_started(plan_of(runs), runs, 0)
    stage.play(runs, {"7": "diverged", "8": "collapsed"})
    stage.mirror.suite_ended()
    deadline = time.monotonic() + 5
    while threading.active_count() > threads and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == threads
    assert all(cell_len(line) <= width for line in stage.lines)
    text = "\n".join(stage.lines)
    signs = "✔◐✖→" if encoding == "utf-8" else "+ox>"
    for sign, words in zip(signs, ("ok", "collapsed", "diverged"), strict=False):
        assert re.search(rf"^{re.escape(sign)} {words} +ring8 ", text, re.MULTILINE)
    assert len(re.findall(rf"fd 4\.20 {signs[3]} 0\.0150$", text, re.MULTILINE)) == 30
    assert "28" in stage.lines[-2]
    # The cursor is hidden while the bars are drawn, and shown again.
    assert stage.output.rfind("\x1b[?25h") > stage.output.rfind("\x1b[?25l") >= 0


def test_bars_show_suite_cohorts_and_what_is_left() -> None:
    stage = Stage(terminal=True, width=120)
    runs = [run_of(i, dataset="ring8" if i < 2 else "digits") for i in range(4)]
    stage.mirror.suite_started(plan_of(runs), runs, 6)
    stage.mirror.cohort_started("a", runs[:2])
    for run in runs[:2]:
        stage.mirror.event(run, begin()[1])
        stage.mirror.event(run, evaluation(0, 4.0))
    stage.clock.now += 8
    for run in runs[:2]:
        stage.mirror.event(run, losses(40))
    drawn = stage.drawn()
    stage.mirror.suite_ended()
    assert re.fullmatch(r"stability ━+[╸╺]?[ ━]+ 6/10 runs", drawn[1])
    # 8 s for 0.8 of 4 runs of equal cost.
    assert drawn[2].startswith("8 s, about 32 s left")
    assert re.fullmatch(r"ring8 · gan · none +2 runs ━+[╸╺]?[ ━]+ 40/100 +fd 4\.00", drawn[3])


def test_many_cohorts_do_not_overflow_a_low_terminal() -> None:
    stage = Stage(terminal=True, height=12)
    runs = [run_of(i) for i in range(100)]
    stage.mirror.suite_started(plan_of(runs), runs, 0)
    for run in runs:
        stage.mirror.cohort_started(run.planned.id, [run])
    drawn = stage.drawn()
    stage.mirror.suite_ended()
    assert len(drawn) < 12
    assert "and 94 more" in drawn[-1]


def test_redraws_are_few_and_events_are_cheap() -> None:
    stage = Stage(terminal=True)
    runs = [run_of(i, steps=1000) for i in range(30)]
    stage.mirror.suite_started(plan_of(runs), runs, 0)
    stage.mirror.cohort_started("c", runs)
    start = time.perf_counter()
    count = 0
    while time.perf_counter() - start < 1.0:
        count += 1
        stage.mirror.event(runs[count % 30], losses(count % 1000))
    stage.mirror.suite_ended()
    redraws = stage.output.count("stability ━")
    assert redraws <= 2 * REDRAWS_PER_SECOND + 2
    assert count > 2_000


def test_a_suite_that_is_interrupted_says_what_is_missing() -> None:
    stage = Stage(terminal=True)
    runs = [run_of(i) for i in range(3)]
    stage.mirror.suite_started(plan_of(runs), runs, 0)
    stage.mirror.cohort_started("c", runs)
    stage.mirror.event(runs[0], outcome("preempted", 30))
    stage.mirror.suite_ended()
    assert stage.lines[-3].startswith("stability: 1 of 3 runs in 0 s:  ◌ 1 preempted")
    assert stage.lines[-2] == "3 runs have no result; the same command goes on"


def test_many_variants_go_down_the_page() -> None:
    stage = Stage()
    names = [f"variant-of-a-long-name-{i}" for i in range(12)]
    cells = [(name, dataset) for name in names for dataset in ("ring8", "digits")]
    runs = [run_of(i, dataset=d, variant=v) for i, (v, d) in enumerate(cells)]
    stage.mirror.suite_started(plan_of(runs), runs, 0)
    stage.play(runs, {"3": "collapsed"})
    stage.mirror.suite_ended()
    head = stage.lines.index("variant                    ring8  digits")
    assert [line.split()[0] for line in stage.lines[head + 1 : head + 13]] == names
    assert stage.lines[head + 2].split()[1:] == ["1✔", "1◐"]


def test_an_outcome_that_is_tried_again_is_taken_back() -> None:
    clock = Clock()
    progress = Progress(clock)
    runs = [run_of(0)]
    progress.suite_started(plan_of(runs), runs, 0)
    progress.cohort_started("c", runs)
    progress.event(runs[0], outcome("crashed", 60))
    assert (progress.done, progress.share) == (1, 1.0)
    progress.event(runs[0], Attempt(attempt=2, resumed_from=40))
    assert (progress.done, progress.share) == (0, 0.4)
    progress.event(runs[0], outcome("ok"))
    assert progress.outcomes == {"ok": 1, "crashed": 0}


def test_a_resumed_run_is_compared_with_what_its_first_attempt_measured(tmp_path: Path) -> None:
    _, (run,) = make_store(tmp_path / "results", [make_spec()])
    before = [
        replace(e, values={METRIC: 7.5}) if isinstance(e, EvaluationRow) and e.step == 0 else e
        for e in train(run.path, 0, 20)
    ]
    after = [*begin(2, 20), *train(run.path, 25, 40), *end()]
    write_events(run.path, [*begin(), *before, *after])
    progress = Progress(Clock())
    progress.suite_started(plan_of([run]), [run], 0)
    progress.cohort_started("c", [run])
    ended = [progress.event(run, event) for event in after][-1]
    assert ended is not None
    assert (ended.untrained, ended.value) == (7.5, 0.2)


def test_the_estimate_goes_by_planned_cost() -> None:
    clock = Clock()
    progress = Progress(clock)
    runs = [replace(run_of(0), cost=9.0), replace(run_of(1), cost=3.0)]
    progress.suite_started(plan_of(runs), runs, 0)
    assert progress.remaining() is None
    progress.cohort_started("a", runs)
    clock.now += 20
    assert progress.remaining() is None
    progress.event(runs[0], losses(50))
    # A cost of 4.5 took 20 s; 4.5 and 3 are to go.
    assert progress.remaining() == pytest.approx(20 * 7.5 / 4.5)
    progress.event(runs[0], outcome("diverged", 50))
    assert progress.remaining() == pytest.approx(20 * 3 / 9)


def test_the_estimate_does_not_count_what_an_earlier_attempt_did() -> None:
    clock = Clock()
    progress = Progress(clock)
    run = run_of(0)
    progress.suite_started(plan_of([run]), [run], 0)
    progress.event(run, begin(2, 60)[0])
    clock.now += 10
    assert progress.remaining() is None
    progress.event(run, losses(80))
    assert progress.remaining() == pytest.approx(10)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 5),
            st.sampled_from(["losses", "attempt", "evaluation", "outcome", "samples", "start"]),
            st.integers(0, 100),
            st.sampled_from(["ok", "collapsed", "unlearned", "diverged", "crashed"]),
            st.floats(allow_nan=True, allow_infinity=True),
        ),
        max_size=60,
    )
)
def test_counts_stay_consistent_whatever_happens(
    story: list[tuple[int, str, int, str, float]],
) -> None:
    clock = Clock()
    progress = Progress(clock)
    runs = [run_of(i, dataset="ring8" if i % 2 else "digits") for i in range(6)]
    progress.suite_started(plan_of(runs), runs, 3)
    for run in runs:
        progress.event(run, begin()[1])
    for index, kind, step, name, value in story:
        clock.now += 1
        run = runs[index]
        if kind == "start":
            progress.cohort_started(str(index), [run])
            continue
        events = {
            "losses": losses(step),
            "attempt": Attempt(attempt=2, resumed_from=step),
            "evaluation": evaluation(step, value),
            "outcome": outcome(name, step),
            "samples": SampleFile(step=step, file=""),
        }
        progress.event(run, events[kind])
        assert 3 <= progress.done <= progress.total == 9
        assert 3 / 9 <= progress.share <= 1
        assert all(count >= 0 for count in progress.outcomes.values())
        estimate = progress.remaining()
        assert estimate is None or 0 <= estimate < math.inf
        for cohort in progress.cohorts.values():
            assert cohort.median is None or not math.isnan(cohort.median[1])


def test_words() -> None:
    assert describe([run_of(0), run_of(1)]) == "ring8 · gan · none"
    assert describe([run_of(0), run_of(1, tricks="ema")]) == "ring8 · gan · none +1"
    assert [duration(s) for s in (4.2, 89, 91, 5399, 5401)] == [
        "4 s",
        "89 s",
        "2 min",
        "90 min",
        "1.5 h",
    ]
    assert [number(v) for v in (0.0, 4.2, 123.4, 1e-5, 1e7, math.inf, math.nan, None)] == [
        "0.00",
        "4.20",
        "123",
        "1.0e-05",
        "1.0e+07",
        "inf",
        "NaN",
        "?",
    ]
    assert short_name("fd[digits-cnn@1a2b]@1000/test") == "fd"
    assert short_name("cs@500") == "cs"
