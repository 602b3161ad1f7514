"""What a report claims about tricks, on results whose truth is known."""

from __future__ import annotations

import gc
import json
import math
import re
import weakref
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from scipy import stats

from harness.store.reading import read_suite
from harness.store.records import SuitePlan
from reports.cells import SuiteCells, group
from reports.effects import Effect, compared, differences, shifts, trick_effects
from reports.sections import verdicts
from reports.sections.effect_tables import CLAIMED
from reports.sections.verdict_words import headline, least_change, sentence
from reports.statistics.ranks import sign_flip_p
from reports.tables import NO_BREAK, Table
from tests.stores import Fate, FateOf, Where, build_store


def effects_of(folder: Path, fate_of: FateOf, *, seeds: int = 5, **options: object) -> list[Effect]:
    root = build_store(folder / "r", fate_of=fate_of, seeds=seeds, **options)  # type: ignore[arg-type]
    return trick_effects(group(read_suite(root)))


PLAN = SuitePlan("mine", "", "0", (), source="./mine file.yaml", profile="cpu")


def noise(where: Where, scale: float = 0.1) -> float:
    text = f"{where.dataset}{where.variant}{where.tricks}{where.seed}"
    return math.exp(scale * np.random.default_rng(list(text.encode())).normal())


def test_a_trick_that_halves_the_distance_helps(tmp_path: Path) -> None:
    def fate(where: Where) -> Fate:
        return Fate("ok", noise(where) * (0.5 if where.tricks != "none" else 1.0))

    (effect,) = effects_of(tmp_path, fate)
    assert effect.verdict == "helps"
    assert (effect.pairs, effect.survivors, effect.seeds) == (20, 20, 5)
    assert effect.ratio == pytest.approx(0.5, rel=0.15)
    assert effect.interval is not None and effect.interval.low < 0.5 < effect.interval.high
    assert effect.better == 1.0


def test_a_trick_that_doubles_it_hurts(tmp_path: Path) -> None:
    def fate(where: Where) -> Fate:
        return Fate("ok", noise(where) * (2.0 if where.tricks != "none" else 1.0))

    (effect,) = effects_of(tmp_path, fate)
    assert effect.verdict == "hurts"


def test_the_ratio_averages_within_a_seed_first(tmp_path: Path) -> None:
    """Two cells whose effects differ, alike for each seed: nothing varies between seeds."""

    def fate(where: Where) -> Fate:
        if where.tricks == "none":
            return Fate("ok", 1.0)
        return Fate("ok", 0.5 if where.variant == "gan" else 2.0)

    (effect,) = effects_of(tmp_path, fate, datasets=("ring8",))
    assert effect.survivors_ratio == pytest.approx(1.0)
    assert effect.survivors_interval == pytest.approx((1.0, 1.0))
    assert effect.verdict == "no evidence"


def test_nothing_is_claimed_about_the_same_thing_under_another_name(tmp_path: Path) -> None:
    claims = 0
    for trial in range(12):
        tricks = ("none", *(f"same-{trial}-{i}" for i in range(4)))
        for effect in effects_of(
            tmp_path / str(trial),
            lambda where: Fate("ok", noise(where, 0.3)),
            datasets=("ring8",),
            tricks=tricks,
        ):
            claims += effect.verdict != "no evidence"
    assert claims <= 2  # of 12 families at a family-wise error of at most 5 %


def test_four_seeds_are_a_screening_whatever_they_show(tmp_path: Path) -> None:
    def fate(where: Where) -> Fate:
        return Fate("ok", 0.1 if where.tricks != "none" else 1.0)

    (effect,) = effects_of(tmp_path, fate, seeds=4)
    assert effect.verdict == "screening"


def test_one_cell_of_five_seeds_cannot_reach_significance(tmp_path: Path) -> None:
    def fate(where: Where) -> Fate:
        return Fate("ok", noise(where) * (0.1 if where.tricks != "none" else 1.0))

    (effect,) = effects_of(tmp_path, fate, datasets=("ring8",), variants=("gan",))
    assert effect.judgement is not None
    assert effect.judgement.p == pytest.approx(2 / 32 * 0.04 / 0.0125)
    assert effect.verdict == "no evidence"
    assert effect.interval == (0, math.inf)
    assert "rule out no ratio" in sentence(effect, "FD", PLAN)


def test_failures_rank_worst_and_are_not_averaged_away(tmp_path: Path) -> None:
    """Half of the treated runs die; the surviving ones look better. That must not help it."""

    def fate(where: Where) -> Fate:
        if where.tricks == "none":
            return Fate("ok", noise(where))
        dies = (where.seed + len(where.dataset + where.variant)) % 2 == 0
        return Fate("diverged") if dies else Fate("ok", 0.9 * noise(where))

    (effect,) = effects_of(tmp_path, fate)
    assert effect.failures == (10, 0)
    assert effect.survivors == 10
    assert effect.survivors_ratio is not None and effect.survivors_ratio < 1
    assert effect.verdict == "more failures"
    assert effect.better is not None and effect.better < 0.5


def test_fewer_failures_without_another_effect(tmp_path: Path) -> None:
    def fate(where: Where) -> Fate:
        if where.tricks == "none" and where.variant == "gan":
            return Fate("collapsed", 9.0)
        return Fate("ok", noise(where, 0.3))

    (effect,) = effects_of(tmp_path, fate, datasets=("ring8", "grid25", "digits"))
    assert effect.failures == (0, 15)
    assert effect.failure_interval is not None and effect.failure_interval.high < 0
    assert effect.judgement is not None
    assert effect.judgement.failure_claim == -1
    assert effect.verdict == "helps"  # half of the pairs rank better, and the others as before


def test_seeds_that_fail_as_a_whole_count_once(tmp_path: Path) -> None:
    """Two of five seeds fail in every cell: twelve failures of thirty, but two of five units."""

    def fate(where: Where) -> Fate:
        if where.tricks == "none" and where.seed in (1, 3):
            return Fate("collapsed", 9.0)
        return Fate("ok", noise(where, 0.3))

    (effect,) = effects_of(tmp_path, fate, datasets=("ring8", "grid25", "digits"))
    assert effect.failures == (0, 12)
    assert effect.judgement is not None
    assert effect.judgement.failure_p > 0.05
    assert sign_flip_p([-1.0] * 12) < 0.001  # what the pairs would say, taken as independent
    assert effect.verdict == "no evidence"


@pytest.mark.parametrize("cost", [1.04, 1.1])
def test_rescued_runs_are_not_held_against_the_rescuer(cost: float, tmp_path: Path) -> None:
    """Most runs collapse without the trick and none with it; the others get a little worse."""

    def fate(where: Where) -> Fate:
        if where.variant == "gan":
            return Fate("collapsed", 9.0) if where.tricks == "none" else Fate("ok", 1.0)
        return Fate("ok", noise(where, 0.001) * (cost if where.tricks != "none" else 1.0))

    (effect,) = effects_of(tmp_path, fate, datasets=("ring8", "grid25", "digits"))
    assert effect.survivors_interval is not None and effect.survivors_interval.low > 1
    assert effect.verdict == "fewer failures"
    assert effect.disagrees
    said = sentence(effect, "FD", PLAN)
    assert f"Fewer runs fail with it, but pairs that survive are worse: ×{NO_BREAK}1." in said


def test_survivors_do_not_speak_for_the_dead(tmp_path: Path) -> None:
    """With the trick three of five seeds die in every cell; the other two get better."""

    def fate(where: Where) -> Fate:
        if where.tricks == "none":
            return Fate("ok", noise(where, 0.01))
        return Fate("diverged") if where.seed < 3 else Fate("ok", 0.7 * noise(where, 0.01))

    (effect,) = effects_of(tmp_path, fate, datasets=("ring8", "grid25", "digits"))
    assert effect.survivors_interval is not None and effect.survivors_interval.high < 1
    assert effect.judgement is not None and effect.judgement.lean > 0
    assert effect.verdict == "no evidence"
    said = sentence(effect, "FD", PLAN)
    assert f"More runs fail with it, but pairs that survive are better: ×{NO_BREAK}0.6" in said


def test_only_like_is_compared_with_like(tmp_path: Path) -> None:
    root = build_store(tmp_path / "r", datasets=("ring8",), variants=("gan",))
    cells = group(read_suite(root))
    assert differences(cells) == []
    assert trick_effects(cells)[0].pairs == 5
    treated = cells.cell("ring8", "gan", "label-smoothing")
    assert treated is not None
    for result in treated.results:
        assert result.record is not None
        object.__setattr__(
            result.record,
            "spec",
            result.record.spec.model_copy(
                update={"settings": result.record.spec.settings.model_copy(update={"lr_d": 0.5})}
            ),
        )
    assert [(row[1], row[2]) for row in differences(cells)] == [("lr_d", 0.5)]
    assert trick_effects(cells)[0].pairs == 5
    object.__setattr__(treated.metrics[0], "name", "fd[data]@17/train")
    cells = group(cells.suite)  # what is compared with what is worked out once
    assert {row[1] for row in differences(cells)} == {"lr_d", "primary metric"}
    (effect,) = trick_effects(cells)
    assert (effect.pairs, effect.planned) == (0, 5)


def test_shifts_of_other_metrics_are_paired_means_over_seeds(tmp_path: Path) -> None:
    cells = group(read_suite(build_store(tmp_path / "r", datasets=("ring8",), seeds=3)))
    found = shifts(cells)
    assert found
    for shift in found:
        pairs = [
            (treated.last(shift.metric.name), control.last(shift.metric.name))
            for variant in cells.variants
            for treated, control in zip(
                cells.cell("ring8", variant, shift.tricks).results,  # type: ignore[union-attr]
                cells.cell("ring8", variant, "none").results,  # type: ignore[union-attr]
                strict=True,
            )
            if not (treated.failed or control.failed)
        ]
        assert shift.pairs == len(pairs) and len(shift.runs) == 2 * len(pairs)
        assert not shift.metric.primary
        if len(pairs) == 6:
            assert shift.treated == pytest.approx(np.mean([a for a, _ in pairs]))
            assert shift.difference == pytest.approx(np.mean([a - b for a, b in pairs]))


def test_two_failed_runs_tie(tmp_path: Path) -> None:
    (effect,) = effects_of(tmp_path, lambda where: Fate("collapsed", 5.0))
    assert (effect.ratio, effect.interval, effect.better) == (None, None, 0.5)
    assert effect.judgement is not None and effect.judgement.p == 1
    assert effect.verdict == "no evidence"


def test_unfinished_runs_are_no_results(tmp_path: Path) -> None:
    def fate(where: Where) -> Fate:
        return Fate({0: "missing", 1: None, 2: "crashed"}.get(where.seed, "ok"), 1.0)

    (effect,) = effects_of(tmp_path, fate)
    assert (effect.planned, effect.pairs, effect.seeds) == (20, 8, 2)
    assert effect.verdict is None


@pytest.mark.parametrize(
    ("status", "verdict"),
    [("missing", None), (None, None), ("preempted", None), ("crashed", "helps"), ("oom", "helps")],
)
def test_nothing_is_claimed_while_runs_are_to_come(
    status: str | None, verdict: str | None, tmp_path: Path
) -> None:
    """Who looks early must pay for it; a run that crashed is no look."""

    def fate(where: Where) -> Fate:
        if (where.dataset, where.variant, where.seed) == ("ring8", "gan", 6):
            return Fate(status)
        return Fate("ok", noise(where) * (0.5 if where.tricks != "none" else 1.0))

    root = build_store(tmp_path / "r", fate_of=fate, seeds=7)
    cells = group(read_suite(root))
    (effect,) = trick_effects(cells)
    assert effect.verdict == verdict
    assert effect.interval is not None and effect.interval.high < 1
    chapter = verdicts.build(cells)
    (table,) = (b for b in chapter.blocks if isinstance(b, Table) and b.name == "verdicts")
    assert ("Verdict" in [column.title for column in table.columns]) == (verdict is not None)
    assert bool(chapter.claims) == (verdict is not None)
    if verdict is None:
        assert chapter.headline == "Nothing is claimed yet: 2 planned runs are still to come."
        words = " ".join((*chapter.lead, *(str(block) for block in chapter.blocks)))
        assert not re.search(r"\b(helps|hurts|makes fewer|no evidence)\b", words)


def test_pairs_need_the_same_cell_and_seed(tmp_path: Path) -> None:
    def fate(where: Where) -> Fate:
        lost = where.seed == (0 if where.tricks == "none" else 1)
        return Fate("missing" if lost else "ok", 1.0)

    (effect,) = effects_of(tmp_path, fate)
    assert effect.pairs == 12


class TestBaseline:
    """A suite that names one cell which all others are compared with."""

    IDS: ClassVar[dict[str, str]] = {
        "smoothing + half": "smoothing + dropout-g(p=0.5)",
        "smoothing + tenth": "smoothing + dropout-g(p=0.1)",
        "half": "dropout-g(p=0.5)",
        "none": "none",
    }
    TRICKS = tuple(IDS.values())

    def cells(self, folder: Path, fate_of: FateOf) -> SuiteCells:
        root = build_store(
            folder / "r",
            fate_of=fate_of,
            seeds=10,
            datasets=("ring8",),
            variants=("gan", "wgan"),
            tricks=tuple(self.IDS),
            labels=self.IDS,
        )
        plan = json.loads((root / "suite.json").read_bytes())
        plan["baseline"] = ["gan", self.TRICKS[0]]
        (root / "suite.json").write_text(json.dumps(plan))
        return group(read_suite(root))

    @staticmethod
    def fate(where: Where) -> Fate:
        """Let everything fail but what leaves the smoothing out."""
        if "smoothing" in where.tricks:
            return Fate("collapsed", 9.0)
        return Fate("ok", noise(where))

    def test_a_cell_is_named_by_what_it_changes(self, tmp_path: Path) -> None:
        cells = self.cells(tmp_path, self.fate)
        named = {(c.variant, c.tricks): cells.treatment(c) for c in cells.cells}
        assert [named["gan", tricks] for tricks in self.TRICKS] == [
            "baseline",
            "dropout-g(p=0.1)",
            "without smoothing",
            "without smoothing, without dropout-g(p=0.5)",
        ]
        assert named["wgan", self.TRICKS[0]] == "wgan"
        assert named["wgan", self.TRICKS[2]] == "wgan, without smoothing"
        changes = {cells.treatment(c): len(cells.changes(c) or ()) for c in cells.cells}
        assert changes["dropout-g(p=0.1)"] == changes["without smoothing"] == 1
        assert [cells.control(c) is None for c in cells.cells].count(True) == 1

    def test_the_least_change_that_repairs_it_is_named(self, tmp_path: Path) -> None:
        cells = self.cells(tmp_path, self.fate)
        effects = trick_effects(cells)
        assert len(effects) == 7
        found = {effect.tricks: effect.verdict for effect in effects}
        assert found["without smoothing"] == "helps"
        assert found["dropout-g(p=0.1)"] == found["wgan"] == "no evidence"
        said = least_change(cells, effects)
        assert "is one change: without smoothing (0 of 10 fail, 10 without the change)." in said

    def test_where_nothing_repairs_it_that_is_said(self, tmp_path: Path) -> None:
        cells = self.cells(tmp_path, lambda where: Fate("collapsed", 9.0))
        effects = trick_effects(cells)
        assert least_change(cells, effects).startswith("No change is shown to do better")


class TestSharedTricks:
    """Where all cells of a variant have tricks in common, the one with no others is compared."""

    def cells(self, folder: Path, tricks: tuple[str, ...]) -> SuiteCells:
        def fate(where: Where) -> Fate:
            return Fate("ok", noise(where) * (0.5 if "packing" in where.tricks else 1.0))

        root = build_store(folder / "r", datasets=("ring8",), tricks=tricks, fate_of=fate)
        return group(read_suite(root))

    def test_only_what_is_more_is_the_treatment(self, tmp_path: Path) -> None:
        cells = self.cells(tmp_path, ("latent", "latent + packing", "ema + latent"))
        assert cells.treatments == ["packing", "ema"]
        packing, ema = trick_effects(cells)
        assert (packing.tricks, packing.verdict, packing.pairs) == ("packing", "helps", 10)
        assert packing.ratio == pytest.approx(0.5, rel=0.15)
        assert ema.verdict == "no evidence"

    def test_the_cell_without_tricks_goes_first(self, tmp_path: Path) -> None:
        cells = self.cells(tmp_path, ("latent", "none", "latent + packing"))
        assert sorted(cells.treatments) == ["latent", "latent + packing"]

    def test_without_anything_in_common_nothing_is_compared(self, tmp_path: Path) -> None:
        cells = self.cells(tmp_path, ("latent", "packing"))
        assert trick_effects(cells) == []


def claimed(folder: Path, ratios: dict[str, float], seeds: int = 6) -> str:
    def fate(where: Where) -> Fate:
        scatter = 1.0 if where.tricks == "wild" else 0.02
        return Fate("ok", noise(where, scatter) * ratios.get(where.tricks, 1.0))

    root = build_store(folder / "r", fate_of=fate, tricks=("none", *ratios), seeds=seeds)
    return headline(trick_effects(group(read_suite(root))))


def test_the_first_sentence_names_what_helps_and_what_hurts(tmp_path: Path) -> None:
    assert claimed(tmp_path / "a", {"good": 0.5, "fine": 0.6, "bad": 2.0}) == (
        "good and fine help; bad hurts."
    )
    assert claimed(tmp_path / "b", {"bad": 2.0, "nothing": 1.0, "wild": 1.0}, seeds=7) == (
        "Nothing is shown to help; bad hurts; nothing makes no difference; of 1 more there is no "
        "evidence either way."
    )
    assert claimed(tmp_path / "c", {"good": 0.5}, seeds=2).startswith("Only a screening")
    many = {f"good-{place}": 0.5 for place in range(5)}
    assert claimed(tmp_path / "d", many).startswith("5 of 5 help")


def test_what_is_compared_is_worked_out_once_for_each_suite(tmp_path: Path) -> None:
    root = build_store(tmp_path / "r", datasets=("ring8",), variants=("gan",), seeds=2)
    cells = group(read_suite(root))
    assert compared(cells) is compared(cells)
    other = group(cells.suite)
    assert compared(other) is not compared(cells)
    assert [cell.tricks for cell in compared(other)] == [cell.tricks for cell in compared(cells)]
    gone = weakref.ref(other)
    del other
    gc.collect()
    assert gone() is None


def test_the_p_of_failures_is_what_its_column_says(tmp_path: Path) -> None:
    """The larger of McNemar's exact test over pairs and Student's over seeds, times the table."""

    def fate(where: Where) -> Fate:
        failed = where.tricks == "none" and (where.seed < 3 or where.variant == "gan")
        return Fate("collapsed" if failed else "ok", noise(where))

    effects = effects_of(tmp_path, fate, tricks=("none", "ema", "ttur"), datasets=("ring8",))
    # Of ten pairs eight differ, all in one direction; seeds fail half or wholly.
    mcnemar = stats.binomtest(0, 8).pvalue
    student = stats.ttest_1samp([-1, -1, -1, -0.5, -0.5], 0).pvalue
    for effect in effects:
        assert effect.failures == (0, 8)
        assert effect.judgement is not None
        assert effect.judgement.failure_p == pytest.approx(2 * max(mcnemar, student))
    (column,) = [column for column in CLAIMED if column.title == "p failures (Holm)"]
    assert all(word in column.meaning for word in ("larger", "McNemar", "Student", "adjusted"))
