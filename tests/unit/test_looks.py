"""What reports make of looks, and of seeds that have been judged before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.store.folders import Store
from harness.store.plan import read_plan
from harness.store.reading import read_suite
from harness.store.records import SuitePlan
from reports.build import compose
from reports.cells import SuiteCells, group
from reports.effects import compared, seen_at_looks, trick_effects
from reports.looks import UNDECIDABLE, standings
from reports.sections.verdict_words import sentence
from reports.statistics.claims import judge
from tests.stores import Fate, Where, build_store

EFFECT = {"none": 1.0, "label-smoothing": 0.5, "lecam": 1.0}


def store(root: Path, seeds: int, change: Callable[[SuitePlan], SuitePlan]) -> SuiteCells:
    build_store(
        root, datasets=("ring8",), variants=("gan", "lsgan"), tricks=tuple(EFFECT), seeds=seeds,
        fate_of=lambda w: Fate("ok", EFFECT[w.tricks] * noise(w)),
    )  # fmt: skip
    Store(root).write_plan(change(read_plan(root)))
    return group(read_suite(root))


def noise(where: Where) -> float:
    parts = [len(where.variant), len(where.tricks), where.seed]
    return float(np.exp(np.random.default_rng(parts).normal(0, 0.2)))


def test_one_look_where_none_was_declared(tmp_path):
    cells = store(tmp_path, 10, lambda plan: plan)
    assert {len(seen_at_looks(cells, effect)) for effect in trick_effects(cells)} == {1}


def test_each_look_has_seen_its_seeds(tmp_path):
    cells = store(tmp_path, 10, lambda plan: replace(plan, looks=(5, 10, 20)))
    effects = trick_effects(cells)
    seen = [seen_at_looks(cells, effect) for effect in effects]
    assert [[pairs.seed_count for pairs in looks] for looks in seen] == [[5, 10], [5, 10]]
    margin = effects[0].judgement.margin if effects[0].judgement else 0.0
    assert [e.judgement for e in effects] == judge(seen, margin, looks=3)
    once = trick_effects(store(tmp_path / "once", 10, lambda plan: plan))
    for looks, one in zip(effects, once, strict=True):
        assert looks.judgement is not None and one.judgement is not None
        assert looks.judgement.confidence > one.judgement.confidence


def test_what_is_decided_keeps_its_looks(tmp_path):
    """Later seeds of the controls are not paired with it, and its last look is its own."""

    def cut(plan: SuitePlan) -> SuitePlan:
        early = [r for r in plan.runs if r.tricks != "label-smoothing" or r.seed < 5]
        return replace(plan, runs=tuple(early), looks=(5, 10, 20))

    cells = store(tmp_path, 10, cut)
    counts = {
        e.tricks: [pairs.seed_count for pairs in seen_at_looks(cells, e)]
        for e in trick_effects(cells)
    }
    assert counts == {"label-smoothing": [5], "lecam": [5, 10]}


def test_spent_seeds_are_in_no_verdict(tmp_path):
    cells = store(tmp_path, 10, lambda plan: replace(plan, spent=(0, 1, 2, 3, 4)))
    assert {p.seed for pairs in compared(cells).values() for p in pairs} == {5, 6, 7, 8, 9}
    assert all(effect.seeds == 5 for effect in trick_effects(cells))
    said = " ".join(compose([tmp_path]).sections[0].lead)
    assert "5 of the seeds had been judged before" in said


def test_the_report_says_that_it_looks_more_than_once(tmp_path):
    store(tmp_path, 10, lambda plan: replace(plan, looks=(5, 10, 20, 40)))
    said = " ".join(compose([tmp_path]).sections[0].lead)
    assert "looked at after 5, 10, 20, 40 seeds" in said
    assert "intervals have 98.75 %" in said


def test_standings(tmp_path):
    store(tmp_path, 10, lambda plan: replace(plan, looks=(5, 10, 20, 40)))
    stood = {standing.tricks: standing for standing in standings(tmp_path)}
    helps, nothing = stood["label-smoothing"], stood["lecam"]
    assert (helps.verdict, helps.settled, helps.need) == ("helps", True, "")
    assert helps.cells == {
        ("ring8", v, t) for v in ("gan", "lsgan") for t in ("none", "label-smoothing")
    }
    assert not nothing.settled and nothing.verdict == "no evidence" and " to " in nothing.need


def test_what_needs_more_than_there_may_be_is_given_up(tmp_path):
    def tight(plan: SuitePlan) -> SuitePlan:
        return replace(plan, looks=(5, 10, 20), margin=1.01)

    store(tmp_path, 10, tight)
    stood = {standing.tricks: standing for standing in standings(tmp_path)}
    assert stood["lecam"].settled and stood["lecam"].verdict == UNDECIDABLE


@pytest.mark.parametrize("looks", [(), (5, 10, 20, 40)])
def test_a_report_that_found_no_evidence_says_what_would_decide(looks, tmp_path):
    cells = store(tmp_path, 10, lambda plan: replace(plan, looks=looks))
    (effect,) = [e for e in trick_effects(cells) if e.tricks == "lecam"]
    text = sentence(effect, "FD", cells.suite.plan)
    if looks:
        assert "this study ends at 40" in text and "ganbench run" not in text
    else:
        assert "`ganbench run synthetic --until-decided --max-seeds" in text


def test_a_control_near_the_floor_is_marked(tmp_path):
    """The floor of these stores is .012."""
    low = Fate("ok", 0.02)
    build_store(
        tmp_path, datasets=("ring8",), variants=("gan", "lsgan"), seeds=5,
        fate_of=lambda where: low if where.variant == "gan" else Fate("ok", 0.05),
    )  # fmt: skip
    said = " ".join(compose([tmp_path]).sections[0].lead)
    assert "under 3 floors from real data: gan on ring8 (1.67 floors)." in said
