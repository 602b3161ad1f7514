"""What a suite declares beforehand: contrasts between tricks, and the margin that matters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.commands.begun import check_unchanged
from harness.errors import GanbenchError, SuiteError
from harness.store.folders import Store
from harness.store.plan import read_plan
from harness.suite.load import read_suite
from harness.suite.matrix import Matrix, expand
from tests.stores import build_store

HEAD = (
    "suite: mine\ndatasets: [ring8]\nvariants: [gan, wgan]\nseeds: 1\n"
    "tricks: [none, update-ratio, {id: update-ratio, d: 5}, dropout-g]\n"
)


def matrix(text: str, **options: Any) -> Matrix:
    return expand(read_suite((HEAD + text).encode(), "mine.yaml"), **options)


def problem(text: str, **options: Any) -> tuple[str, int | None, str]:
    with pytest.raises(SuiteError) as caught:
        matrix(text, **options)
    (found,) = caught.value.problems
    return found.path, found.line, found.message


def test_the_plan_holds_both(tmp_path: Path) -> None:
    text = "margin: 1.25\ncontrasts: [[update-ratio(d=5), dropout-g], [dropout-g, none]]\n"
    plan = matrix(text).plan
    assert plan.margin == 1.25
    assert plan.contrasts == (("update-ratio(d=5)", "dropout-g"), ("dropout-g", "none"))
    store = Store(tmp_path / "r")
    store.write_plan(plan)
    assert read_plan(tmp_path / "r") == plan
    assert (matrix("").plan.margin, matrix("").plan.contrasts) == (None, ())


def test_labels_with_commas_are_quoted_and_an_id_stands_for_its_only_combination() -> None:
    both = "include: [{trick: [[dropout-g, {id: update-ratio, d: 5}]]}]\ncontrasts: "
    expected = ("dropout-g + update-ratio(d=5)", "none")
    assert matrix(both + '[["dropout-g + update-ratio(d=5)", none]]\n').plan.contrasts == (
        expected,
    )
    assert matrix(both + "[[dropout-g + update-ratio, none]]\n").plan.contrasts == (expected,)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("contrasts: [[dropout-h, none]]\n", 6, "no cell that the suite runs has the tricks"),
        ("contrasts: [[dropout-h, none]]\n", 6, "did you mean 'dropout-g'"),
        ("contrasts: [[dropout-g, dropout-g]]\n", 6, "compares dropout-g with itself"),
        ("contrasts: [dropout-g]\n", 6, "must be two tricks as reports call them"),
        ("contrasts:\n- [dropout-g, none]\n- [dropout-g]\n", 8, "two tricks"),
        ("contrasts: dropout-g\n", 6, "must be a list"),
        (
            "exclude: [{variant: gan, trick: dropout-g}, {variant: wgan, trick: none}]\n"
            "contrasts: [[dropout-g, none]]\n",
            7,
            "no variant is run on one data set both with dropout-g and with none",
        ),
        ("margin: 0.8\n", 6, "above 1 and up to 100, such as 1.25, not 0.8"),
        ("margin: 1\n", 6, "above 1"),
        ("margin: wide\n", 6, "above 1"),
        ("margin: true\n", 6, "above 1"),
    ],
)
def test_what_is_wrong_names_its_line(text: str, line: int, words: str) -> None:
    _, found, message = problem(text)
    assert (found, words in message) == (line, True), message


def test_a_profile_may_have_others_or_none() -> None:
    text = (
        "contrasts: [[dropout-g, none]]\n"
        "profiles: {small: {tricks: [none], contrasts: []}, other: {tricks: [none]}, "
        "m: {margin: 2}}\n"
    )
    assert matrix(text, profile="small").plan.contrasts == ()
    assert matrix(text, profile="m").plan.margin == 2
    _, line, message = problem(text, profile="other")
    assert line == 6
    assert "give the profile contrasts of its own" in message


def test_they_are_declared_before_the_first_run(tmp_path: Path) -> None:
    root = build_store(tmp_path / "r", datasets=("ring8",), variants=("gan",), seeds=1)
    before, now = read_plan(root), matrix("contrasts: [[dropout-g, none]]\nmargin: 2\n").plan
    with pytest.raises(GanbenchError, match="begun with margin not given and contrasts not given"):
        check_unchanged(root, before, now)
    check_unchanged(root, before, matrix("").plan)
    check_unchanged(tmp_path / "empty", before, now)  # nothing has begun there
