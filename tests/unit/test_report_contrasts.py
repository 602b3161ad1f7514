"""What else the first chapter says: contrasts, equal cost, power, cells that never learn."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.store.reading import read_suite
from reports import cells as cells_module
from reports.cells import Result, SuiteCells, group
from reports.effects import (
    contrast_effects,
    dataset_effects,
    margin_of,
    pairs_of,
    probability_better,
    trick_effects,
    without_learning,
)
from reports.equal_cost import at_equal_cost, equally, score_at
from reports.sections import verdicts
from reports.sections.verdict_words import command, headline, sentence
from reports.tables import Table
from tests.stores import Fate, FateOf, Where, build_store


def noise(where: Where, scale: float = 0.1) -> float:
    text = f"{where.dataset}{where.variant}{where.tricks}{where.seed}"
    return math.exp(scale * np.random.default_rng(list(text.encode())).normal())


def suite(folder: Path, fate_of: FateOf, plan: dict[str, Any], **options: Any) -> SuiteCells:
    root = build_store(folder / "r", fate_of=fate_of, **options)
    file = root / "suite.json"
    file.write_text(json.dumps(json.loads(file.read_bytes()) | plan))
    return group(read_suite(root))


def table(cells: SuiteCells, name: str) -> Table:
    blocks = verdicts.build(cells).blocks
    return next(b for b in blocks if isinstance(b, Table) and b.name == name)


class TestContrasts:
    TRICKS = ("none", "ema", "ttur")

    @staticmethod
    def fate(where: Where) -> Fate:
        return Fate("ok", noise(where) * {"ema": 0.5, "ttur": 0.9}.get(where.tricks, 1.0))

    def test_the_first_is_compared_with_the_second(self, tmp_path: Path) -> None:
        plan = {"contrasts": [["ema", "ttur"], ["none", "ema"]]}
        cells = suite(tmp_path, self.fate, plan, tricks=self.TRICKS, seeds=6)
        better, worse = contrast_effects(cells)
        assert (better.tricks, better.verdict, better.pairs) == ("ema against ttur", "helps", 24)
        assert (worse.tricks, worse.verdict) == ("none against ema", "hurts")
        assert better.ratio == pytest.approx(0.5 / 0.9, rel=0.1)
        assert [c.subject for c in verdicts.build(cells).claims][-2:] == [
            "ema against ttur", "none against ema",
        ]  # fmt: skip
        assert [row[1].value for row in table(cells, "contrasts").rows] == ["helps", "hurts"]

    def test_they_are_a_family_of_their_own(self, tmp_path: Path) -> None:
        alone = suite(tmp_path / "a", self.fate, {}, tricks=self.TRICKS, seeds=6)
        both = suite(
            tmp_path / "b", self.fate, {"contrasts": [["ema", "ttur"]]}, tricks=self.TRICKS, seeds=6
        )
        assert [e.judgement for e in trick_effects(alone)] == [
            e.judgement for e in trick_effects(both)
        ]
        (contrast,) = contrast_effects(both)
        assert contrast.judgement is not None and contrast.judgement.tests == 1

    def test_without_any_there_is_no_table(self, tmp_path: Path) -> None:
        cells = suite(tmp_path, self.fate, {}, tricks=self.TRICKS, seeds=2)
        assert contrast_effects(cells) == []
        assert "contrasts" not in [
            b.name for b in verdicts.build(cells).blocks if isinstance(b, Table)
        ]


class TestMargin:
    def test_the_suite_says_it_or_its_metrics_do(self, tmp_path: Path) -> None:
        cells = suite(tmp_path / "a", lambda w: Fate("ok", noise(w)), {}, seeds=2)
        assert margin_of(cells) == 1.25
        mine = suite(tmp_path / "b", lambda w: Fate("ok", noise(w)), {"margin": 3.0}, seeds=2)
        assert margin_of(mine) == 3.0
        for cell in cells.cells:
            object.__setattr__(cell.primary, "metric", "energy")
        assert margin_of(cells) == 1.5
        object.__setattr__(cells.cells[0].primary, "metric", "frechet")
        assert margin_of(cells) == 1.25  # of several, the least

    def test_inside_it_a_claim_says_so_and_silence_is_no_difference(self, tmp_path: Path) -> None:
        def fate(where: Where) -> Fate:
            return Fate("ok", noise(where, 0.03) * (0.9 if where.tricks == "ema" else 1.0))

        cells = suite(tmp_path, fate, {"margin": 1.5}, tricks=("none", "ema", "ttur"), seeds=10)
        ema, ttur = trick_effects(cells)
        assert (ema.verdict, ttur.verdict) == ("helps", "no difference")
        claims = {claim.subject: claim for claim in verdicts.build(cells).claims}
        assert claims["ema"].predicate == "helps, by less than the margin"
        assert claims["ttur"].predicate == "makes no difference that matters"
        assert "The smallest margin that would pass is" in claims["ttur"].sentence
        assert headline([ema, ttur]) == "ema helps; ttur makes no difference."


def test_no_evidence_says_what_it_rules_out_and_what_would_decide(tmp_path: Path) -> None:
    plan = {"profile": "cpu", "source": "mine.yaml"}
    cells = suite(tmp_path, lambda w: Fate("ok", noise(w, 1.2)), plan, seeds=7)
    (effect,) = trick_effects(cells)
    assert effect.verdict == "no evidence" and effect.judgement is not None
    needed = effect.judgement.seeds_to_decide
    assert needed is not None
    said = sentence(effect, "FD", cells.suite.plan)
    assert "This rules out ratios below" in said and "and above" in said
    assert f"Some {needed[0]} to {needed[1]} new seeds would decide" in said
    words = "ganbench run mine.yaml --until-decided --profile cpu --max-seeds"
    assert f"`{words} {needed[1]}`" in said
    assert command(cells.suite.plan, 20) == f"{words} 20"
    assert command(cells.suite.plan, 5000) == f"{words} 1000"  # the most that it takes


def test_single_data_sets_have_intervals_and_no_verdicts(tmp_path: Path) -> None:
    cells = suite(
        tmp_path,
        lambda w: Fate("ok", noise(w) * (0.5 if w.tricks != "none" else 1.0)),
        {},
        seeds=7,
    )
    effects = dataset_effects(cells)
    assert [effect.dataset for effect in effects] == ["ring8", "digits"]
    assert all(e.judgement is None and e.interval and e.interval.high < 1 for e in effects)
    shown = table(cells, "effects-by-dataset")
    assert "Verdict" not in [column.title for column in shown.columns]


class TestEqualCost:
    def cells(self, folder: Path) -> SuiteCells:
        """With the trick, D makes twice the updates and runs take three times as long."""

        def fate(where: Where) -> Fate:
            return Fate("ok", noise(where), seconds=30.0 if where.tricks != "none" else 10.0)

        cells = suite(folder, fate, {}, datasets=("ring8",), seeds=6)
        for cell in cells.cells:
            for result in cell.results:
                if cell.tricks != "none":
                    updates = {"d": 2 * result.outcome.updates["d"]}
                    result.__dict__["outcome"] = replace(result.outcome, updates=updates)
        return cells

    def test_the_dearer_run_is_read_earlier(self, tmp_path: Path) -> None:
        cells = self.cells(tmp_path)
        ((effect, kinds),) = at_equal_cost(cells)
        by_kind = {one.kind: one for one in kinds}
        assert by_kind["updates"].spent == pytest.approx(2)
        assert by_kind["examples"].spent == pytest.approx(1)
        assert by_kind["seconds"].spent == pytest.approx(3)
        for mine, at in zip(effect.paired, by_kind["examples"].effect.paired, strict=True):
            assert at.scores == pytest.approx(mine.scores)
        for mine, at in zip(effect.paired, by_kind["updates"].effect.paired, strict=True):
            # Evaluations are at fifths of the training: the half is midway between two of them.
            assert at.scores[1] == pytest.approx(mine.scores[1])
            points = dict(mine.treated.curve("fd[data]@500/test"))
            second, third = sorted(points.values(), reverse=True)[2:4]
            assert at.scores[0] == pytest.approx((math.log(second) + math.log(third)) / 2)
        assert by_kind["examples"].effect is effect
        assert by_kind["updates"].effect.judgement is None
        shown = table(cells, "equal-cost")
        assert shown.rows[0][3].value == pytest.approx(2)
        assert shown.rows[0][2].interval == by_kind["updates"].effect.interval

    def test_failures_stay_failures_and_unknown_costs_are_left_out(self, tmp_path: Path) -> None:
        def fate(where: Where) -> Fate:
            dead = where.tricks != "none" and where.seed == 0
            device = "cuda" if where.seed == 1 and where.tricks != "none" else "cpu"
            return Fate("diverged" if dead else "ok", noise(where), device=device)

        cells = suite(tmp_path, fate, {}, datasets=("ring8",), variants=("gan",), seeds=3)
        ((effect, kinds),) = at_equal_cost(cells)
        seconds = next(one for one in kinds if one.kind == "seconds")
        assert [pair.seed for pair in seconds.effect.paired] == [0, 2]
        assert seconds.effect.paired[0].scores[0] == math.inf
        assert kinds[0].spent == pytest.approx(1)  # a run that broke off spent less, and is no pair
        pair = effect.paired[2]
        pair.control.__dict__["outcome"] = replace(pair.control.outcome, updates=None)
        primary = cells.cells[0].primary
        assert equally(pair, primary, "updates") is None
        assert equally(pair, primary, "examples") is not None

    def test_more_may_be_better(self, tmp_path: Path) -> None:
        cells = self.cells(tmp_path)
        cell = cells.cells[0]
        assert cell.primary is not None
        score = score_at(cell.results[0], cell.primary, 0.5)
        object.__setattr__(cell.primary, "better", "higher")
        assert score_at(cell.results[0], cell.primary, 0.5) == pytest.approx(-(score or 0))


class TestPower:
    def test_every_report_of_five_seeds_says_what_it_sees(self, tmp_path: Path) -> None:
        cells = suite(tmp_path / "a", lambda w: Fate("ok", noise(w, 0.2)), {}, seeds=5)
        rows = table(cells, "power").rows
        shares = [[entry.value for entry in row[1:]] for row in rows]
        for trick in np.array(shares, dtype=float).T:
            assert (np.diff(trick) >= 0).all() and trick[0] >= 0 and trick[-1] <= 1
        assert any("This design sees an effect of" in text for text in verdicts.build(cells).lead)
        again = suite(tmp_path / "b", lambda w: Fate("ok", noise(w, 0.2)), {}, seeds=5)
        assert table(again, "power").rows == rows

    def test_the_trick_of_which_least_is_seen_is_named(self, tmp_path: Path) -> None:
        """Where all runs of a trick fail, no pair is left that could show a ratio."""

        def fate(where: Where) -> Fate:
            lost = where.tricks == "lecam" and where.seed
            return Fate("collapsed" if lost else "ok", noise(where, 0.2))

        cells = suite(tmp_path, fate, {}, tricks=("none", "ema", "lecam"), seeds=7)
        (said,) = (text for text in verdicts.build(cells).lead if "This design" in text)
        assert "averaged over the tricks. It sees least of lecam: " in said
        assert [column.title for column in table(cells, "power").columns] == [
            "Effect", "ema", "lecam",
        ]  # fmt: skip

    def test_fewer_seeds_say_nothing(self, tmp_path: Path) -> None:
        cells = suite(tmp_path, lambda w: Fate("ok", noise(w)), {}, seeds=4)
        assert "power" not in [b.name for b in verdicts.build(cells).blocks if isinstance(b, Table)]


def test_cells_that_never_learn_are_listed_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells_module, "FAILURES", tuple({*cells_module.FAILURES, "unlearned"}))

    def fate(where: Where) -> Fate:
        if where.variant == "wgan-gp":
            return Fate("unlearned", 9.0)
        return Fate("ok", noise(where) * (0.5 if where.tricks != "none" else 1.0))

    cells = suite(tmp_path, fate, {}, datasets=("ring8",), seeds=6)
    (effect,) = trick_effects(cells)
    assert effect.failures == (6, 6)
    assert without_learning(effect.paired) == [("ring8", "wgan-gp")]
    assert effect.better == 1.0
    lead = " ".join(verdicts.build(cells).lead)
    assert "does anything ever learn in: wgan-gp on ring8 (label-smoothing)" in lead
    # One run that learnt makes the cell say something.
    treated, control = (cells.cell("ring8", "wgan-gp", t) for t in ("label-smoothing", "none"))
    assert treated is not None and control is not None
    pairs = pairs_of(treated, control)
    object.__setattr__(pairs[0].treated, "status", "collapsed")
    assert without_learning(pairs) == []
    assert probability_better(pairs) == 0.5
    assert isinstance(pairs[0].treated, Result)
