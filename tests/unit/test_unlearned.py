"""Parts of a suite that have learnt nothing stand in a report's first lines, with the reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.store.events import Sign
from harness.store.reading import read_suite
from reports.build import compose
from reports.cells import group
from reports.sections.survival import lifetime
from reports.unlearned import learnt_nothing
from tests.stores import SETTINGS, Fate, FateOf, Where, build_store

DEAD = Fate("unlearned", 3.0, "share of modes found 0.12 is below 0.3, as at every evaluation")


def told(root: Path, fate_of: FateOf) -> tuple[str, ...]:
    build_store(root, fate_of=fate_of, tricks=("none", "label-smoothing", "lecam"), seeds=3)
    return learnt_nothing(group(read_suite(root)))


def test_nothing_is_said_where_all_learn(tmp_path):
    assert told(tmp_path, lambda where: Fate()) == ()


def test_a_data_set_without_any_learner(tmp_path):
    (sentence,) = told(tmp_path, lambda w: DEAD if w.dataset == "ring8" else Fate())
    assert sentence.startswith("On ring8 nothing has learnt anything, so ring8 says nothing")


def test_a_variant_that_learns_nothing(tmp_path):
    dead = [("ring8", "gan")]
    (sentence,) = told(tmp_path, lambda w: DEAD if (w.dataset, w.variant) in dead else Fate())
    assert sentence.startswith("On ring8 gan has learnt nothing, with or without any trick: ")


def test_comparisons_that_tie(tmp_path):
    def fate(where: Where) -> Fate:
        dead = (where.dataset, where.variant) == ("ring8", "gan") and where.tricks != "lecam"
        return DEAD if dead else Fate()

    (sentence,) = told(tmp_path, fate)
    assert sentence.startswith(
        "On ring8 gan has learnt nothing with label-smoothing, nor has what that is compared with"
    )
    assert "lecam" not in sentence


def test_an_effect_is_no_tie(tmp_path):
    """Where a trick alone makes a variant learn, or stops it, that is what the suite is for."""
    assert told(tmp_path / "a", lambda w: DEAD if w.tricks == "none" else Fate()) == ()
    assert told(tmp_path / "b", lambda w: DEAD if w.tricks == "lecam" else Fate()) == ()


def test_one_run_that_learns_is_enough(tmp_path):
    assert told(tmp_path, lambda w: DEAD if w.seed else Fate()) == ()


@pytest.mark.parametrize(
    ("fate", "words"),
    [
        # The store's curves fall by (1 − t)³ from 31 times the last value.
        (DEAD, "fell and then stood still"),
        (replace(DEAD, signs={"overpowered": Sign(1, 1)}), "D was right nearly always"),
        (
            replace(DEAD, signs={"overpowered": Sign(1), "vanishing_gradient": Sign(1)}),
            "G's gradient vanished while D told",
        ),
    ],
)
def test_the_probable_reason(tmp_path, fate, words):
    (sentence, _) = told(tmp_path, lambda w: fate)
    assert words in sentence


def test_too_few_steps_and_rates_that_do_not_suit(tmp_path, monkeypatch):
    few = replace_settings(evaluate_every=200)
    build_store(tmp_path / "few", fate_of=lambda w: DEAD, settings=few, seeds=2)
    (sentence, _) = learnt_nothing(group(read_suite(tmp_path / "few")))
    assert "still" in sentence
    monkeypatch.setattr(
        "reports.cells.Result.curve", lambda self, name: [(0, 9.0), (1, 5.0), (2, 2.0), (3, 1.0)]
    )
    (sentence, _) = learnt_nothing(group(read_suite(tmp_path / "few")))
    assert "still falling at the end: probably 400 steps are too few" in sentence
    monkeypatch.setattr(
        "reports.cells.Result.curve", lambda self, name: [(0, 9.0), (1, 8.9), (2, 8.8), (3, 8.8)]
    )
    (sentence, _) = learnt_nothing(group(read_suite(tmp_path / "few")))
    assert "After 400 steps the fd is where it began" in sentence


def replace_settings(**changed):
    return SETTINGS.model_copy(update=changed)


def test_it_stands_first_and_counts_as_a_failure(tmp_path):
    build_store(tmp_path, fate_of=lambda w: DEAD if w.variant == "gan" else Fate(), seeds=3)
    document = compose([tmp_path])
    assert [w for w in document.warnings if "gan has learnt nothing" in w]
    dead = [r for r in group(read_suite(tmp_path)).results if r.planned.variant == "gan"]
    assert dead and all(r.failed and r.final and lifetime(r) == 0 for r in dead)
