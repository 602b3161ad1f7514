"""Which runs are selected, and what names runs and suites: content, never order or spelling."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import GanbenchError
from harness.spec import RunSpec
from harness.store.folders import Store
from harness.store.plan import read_plan
from harness.suite.load import read_suite
from harness.suite.matrix import Matrix, expand, parse_only

HEAD = "suite: mine\ndatasets: [ring8]\nvariants: [gan]\nseeds: 1\n"


def matrix(text: str, **options: Any) -> Matrix:
    return expand(read_suite(text.encode(), "mine.yaml"), **options)


ONLY = (
    "suite: mine\ndatasets: [ring8, grid25]\nvariants: [gan, wgan-gp]\nseeds: 2\n"
    "tricks: [none, label-smoothing, {id: update-ratio, d: 3}, [dropout-g, feature-matching]]\n"
)


def selected(**only: list[str]) -> list[tuple[str, str, str, int]]:
    found = matrix(ONLY, only=only)
    assert found.plan == matrix(ONLY).plan
    assert len(found.specs) == len(found.plan.runs)
    return [
        (run.dataset, run.variant, run.tricks, run.seed)
        for run in found.plan.runs
        if run.id in found.selected
    ]


def test_only_selects_without_changing_the_plan() -> None:
    assert len(selected()) == 2 * 7 * 2
    assert {run[0] for run in selected(dataset=["ring8"])} == {"ring8"}
    assert len(selected(dataset=["ring8", "grid25"])) == 28
    assert selected(dataset=["ring8"], variant=["gan"], trick=["none"], seed=["1"]) == [
        ("ring8", "gan", "none", 1)
    ]
    assert {run[2] for run in selected(tricks=["update-ratio(d=3)"])} == {"update-ratio(d=3)"}
    assert {run[2] for run in selected(tricks=["update-ratio"])} == {"update-ratio(d=3)"}
    both = "dropout-g + feature-matching"
    assert {run[2] for run in selected(trick=["dropout-g"])} == {both}
    assert {run[2] for run in selected(tricks=["dropout-g+feature-matching"])} == {both}
    assert {run[2] for run in selected(tricks=["none", "label-smoothing"])} == {
        "none",
        "label-smoothing",
    }


def test_a_label_selects_what_is_called_so_and_nothing_else() -> None:
    text = (
        "suite: mine\ndatasets: [ring8]\nseeds: 1\n"
        "variants: [wgan-gp, {id: wgan-gp, penalty_weight: 1}]\n"
        "tricks: [none, dropout-g, {id: dropout-g, p: 0.2}, [dropout-g, feature-matching]]\n"
    )

    def chosen(**only: list[str]) -> set[tuple[str, str]]:
        found = matrix(text, only=only)
        return {(r.variant, r.tricks) for r in found.plan.runs if r.id in found.selected}

    assert chosen(variant=["wgan-gp"], tricks=["dropout-g"]) == {("wgan-gp", "dropout-g")}
    assert len(chosen(variant=["wgan-gp"], trick=["dropout-g"])) == 3
    for run in matrix(text).plan.runs:
        assert chosen(variant=[run.variant], tricks=[run.tricks]) == {(run.variant, run.tricks)}


def test_skipped_cells_of_the_selection() -> None:
    found = matrix(ONLY, only={"variant": ["wgan-gp"], "dataset": ["ring8"]})
    assert [(s.dataset, s.variant, s.tricks) for s in found.skipped] == [
        ("ring8", "wgan-gp", "label-smoothing")
    ]
    assert len(found.plan.skipped) == 2


@pytest.mark.parametrize(
    ("only", "words"),
    [
        ({"dataset": ["ring9"]}, "did you mean 'ring8'"),
        ({"dataset": ["digits"]}, "no such dataset"),
        ({"variant": ["wgan-pg"]}, "did you mean 'wgan-gp'"),
        ({"trick": ["dropoutg"]}, "did you mean 'dropout-g'"),
        ({"tricks": ["dropout-g"]}, "trick=dropout-g selects the combinations"),
        ({"seed": ["2"]}, "no such seed"),
        ({"seed": ["01"]}, "no such seed"),
        ({"datset": ["ring8"]}, "did you mean 'dataset'"),
        ({"variant": ["wgan-gp"], "trick": ["label-smoothing"]}, "no target that could be"),
    ],
)
def test_only_refuses_what_the_suite_has_not(only: dict[str, list[str]], words: str) -> None:
    with pytest.raises(GanbenchError, match="--only") as caught:
        matrix(ONLY, only=only)
    assert words in str(caught.value)


def test_only_is_read_from_the_command_line() -> None:
    assert parse_only([]) == {}
    assert parse_only(["dataset=ring8", "tricks=a=b", "trick=none", "dataset=digits"]) == {
        "dataset": ["ring8", "digits"],
        "tricks": ["a=b"],
        "trick": ["none"],
    }
    for argument, words in (
        ("dataset", "key=value"),
        ("dataset=", "key=value"),
        ("=x", "unknown key"),
        ("varient=x", "did you mean 'variant'"),
    ):
        with pytest.raises(GanbenchError, match=words):
            parse_only([argument])


FULL: dict[str, Any] = {
    "suite": "mine",
    "summary": "x",
    "seeds": [0, 4],
    "datasets": ["ring8", "digits"],
    "variants": ["gan", {"id": "wgan-gp", "penalty_weight": 0.1, "d_steps": 2}],
    "tricks": ["none", {"id": "label-smoothing", "real_low": 0.7, "real_high": 0.9}],
    "settings": {"steps": 100, "batch": 20, "lr_g": 0.001, "lr_d": 0.002},
    "overrides": [{"when": {"dataset": "ring8", "variant": "gan"}, "settings": {"steps": 50}}],
    "exclude": [{"dataset": "digits", "variant": "gan", "trick": "none"}],
    "profiles": {"cpu": {"seeds": 1}},
}


def shuffled(value: Any, order: random.Random) -> Any:
    if isinstance(value, dict):
        keys = order.sample(list(value), len(value))
        return {key: shuffled(value[key], order) for key in keys}
    return [shuffled(item, order) for item in value] if isinstance(value, list) else value


@given(st.integers(0, 10**6), st.booleans())
def test_the_order_of_keys_changes_nothing(seed: int, flow: bool) -> None:
    content = shuffled(FULL, random.Random(seed))
    text = yaml.safe_dump(content, sort_keys=False, default_flow_style=flow)
    assert matrix(text) == matrix(yaml.safe_dump(FULL))


@given(st.permutations(["ring8", "digits"]), st.permutations(FULL["variants"]))
def test_the_order_of_entries_changes_neither_ids_nor_fingerprint(
    datasets: list[Any], found_variants: list[Any]
) -> None:
    content = {**FULL, "datasets": datasets, "variants": found_variants}
    found, reference = matrix(yaml.safe_dump(content)), matrix(yaml.safe_dump(FULL))
    assert {spec.id for spec in found.specs} == {spec.id for spec in reference.specs}
    assert found.plan.fingerprint == reference.plan.fingerprint


def test_equal_numbers_give_equal_runs_however_they_are_written() -> None:
    ways = ("{lr_g: 1e-4}", "{lr_g: 0.0001}", "{lr_g: 1.0E-4}", "{lr_g: 10e-5}", "{lr_g: .0001}")
    assert len({matrix(HEAD + f"settings: {way}").specs[0].id for way in ways}) == 1
    zeros = ("{beta1: 0}", "{beta1: 0.0}", "{beta1: -0.0}")
    assert len({matrix(HEAD + f"settings: {way}").specs[0].id for way in zeros}) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"suite": "other"},
        {"seeds": [0]},
        {"settings": {"steps": 101}},
        {"exclude": [{"dataset": "digits", "variant": "gan"}]},
    ],
)
def test_the_fingerprint_names_the_content(change: dict[str, Any]) -> None:
    base = matrix(yaml.safe_dump(FULL)).plan.fingerprint
    assert matrix(yaml.safe_dump({**FULL, **change})).plan.fingerprint != base
    assert matrix(yaml.safe_dump({**FULL, "summary": "y"})).plan.fingerprint == base


def test_the_plan_survives_the_store(tmp_path: Path) -> None:
    found = matrix(yaml.safe_dump(FULL))
    store = Store(tmp_path / "mine")
    store.write_plan(found.plan)
    assert read_plan(tmp_path / "mine") == found.plan
    for spec in found.specs:
        path = store.create(spec)
        assert RunSpec.model_validate_json((path / "spec.json").read_bytes()).id == spec.id
