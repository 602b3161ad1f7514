"""Canonical JSON, ids and typed numbers: equal content has equal names, for ever."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.spec import (
    ID_LENGTH,
    NAME_PATTERN,
    DatasetSpec,
    PartSpec,
    RunSpec,
    Settings,
    canonical_json,
    content_id,
    decode_numbers,
    encode_number,
)
from harness.store.fields import as_json, beyond

SETTINGS: dict[str, Any] = {
    "steps": 2000,
    "batch": 64,
    "latent": 16,
    "network": "toy2d",
    "width": 128,
    "optimizer": "adam",
    "lr_g": 2e-4,
    "lr_d": 2e-4,
    "beta1": 0.5,
    "beta2": 0.999,
    "precision": "float32",
    "log_every": 50,
    "evaluate_every": 200,
    "evaluation_samples": 2500,
    "extractor": "data",
    "reference": "train",
    "collapse_diversity": 0.1,
    "collapse_coverage": 0.5,
}
GOLDEN = RunSpec(
    results_version=1,
    dataset=DatasetSpec(id="ring8", fingerprint="0123456789ab", shape=(2,)),
    variant=PartSpec(id="wgan-gp", options={"d_steps": 5, "penalty_weight": 10.0}),
    tricks=(PartSpec(id="update-ratio", options={"d": 5, "g": 1}),),
    settings=Settings(**SETTINGS),
    metrics="ba9876543210",
    seed=3,
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)
floats_anywhere = st.recursive(
    st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5).filter(lambda k: k != "nonfinite"), inner, max_size=4)
    ),
    max_leaves=12,
)


def shuffled(value: Any, random: Any) -> Any:
    """Rebuild a value with the keys of all its mappings in another order."""
    if isinstance(value, dict):
        keys = list(value)
        random.shuffle(keys)
        return {key: shuffled(value[key], random) for key in keys}
    return [shuffled(item, random) for item in value] if isinstance(value, list) else value


def test_the_id_of_a_run_never_changes() -> None:
    assert GOLDEN.id == "6d31c1fb2f38"
    assert GOLDEN.slug == "ring8-wgan-gp-update-ratio-s3-6d31c1fb2f38"


@given(values, st.randoms())
def test_canonical_json_ignores_the_order_of_keys(value: Any, random: Any) -> None:
    assert canonical_json(shuffled(value, random)) == canonical_json(value)


@given(values)
def test_canonical_json_keeps_every_value_and_is_ascii(value: Any) -> None:
    text = canonical_json(value)
    assert text.isascii()
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_canonical_json_refuses_what_json_has_not(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": [number]})


def test_whole_floats_and_integers_differ() -> None:
    assert canonical_json([1.0, 1]) == "[1.0,1]"


@given(values)
def test_a_content_id_is_short_hexadecimal(value: Any) -> None:
    assert re.fullmatch(rf"[0-9a-f]{{{ID_LENGTH}}}", content_id(value))


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 4},
        {"metrics": "other"},
        {"results_version": 2},
        {"tricks": ()},
        {"dataset": DatasetSpec(id="ring8", fingerprint="other", shape=(2,))},
        {"variant": PartSpec(id="wgan-gp", options={"d_steps": 5, "penalty_weight": 0.1})},
        *({"settings": Settings(**{**SETTINGS, key: value})} for key, value in (
            ("steps", 2001), ("lr_g", 3e-4), ("precision", "float64"), ("reference", "test"),
        )),
    ],
)  # fmt: skip
def test_every_part_of_a_spec_is_part_of_its_id(change: dict[str, Any]) -> None:
    assert GOLDEN.model_copy(update=change).id != GOLDEN.id


def test_a_spec_survives_json_with_its_id() -> None:
    again = RunSpec.model_validate_json(GOLDEN.model_dump_json(indent=1))
    assert again == GOLDEN
    assert again.id == GOLDEN.id


@pytest.mark.parametrize(
    "name", ["../x", "/abs", "a\0b", "a" * 65, "-rf", "", ".", "..", "Gan", "gаn", "gan\n", "a/b"]
)
def test_no_hostile_name_gets_into_a_spec(name: str) -> None:
    with pytest.raises(ValidationError):
        PartSpec(id=name)


@given(
    st.from_regex(NAME_PATTERN, fullmatch=True), st.lists(st.from_regex(NAME_PATTERN), max_size=5)
)
def test_a_slug_is_one_safe_file_name(name: str, tricks: list[str]) -> None:
    parts = tuple(PartSpec(id=trick.strip()) for trick in tricks)
    spec = GOLDEN.model_copy(
        update={
            "dataset": DatasetSpec(id=name.strip(), fingerprint="x", shape=(2,)),
            "tricks": parts,
        }
    )
    assert re.fullmatch(r"[a-z0-9][a-zA-Z0-9._-]*", spec.slug)
    assert spec.slug.endswith(spec.id)
    assert len(spec.slug) < 128


@pytest.mark.parametrize("key", ["lr_g", "beta1", "collapse_diversity"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_settings_refuse_numbers_that_are_not_finite(key: str, value: float) -> None:
    with pytest.raises(ValidationError):
        Settings(**{**SETTINGS, key: value})


def test_specs_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        GOLDEN.seed = 7


@pytest.mark.parametrize(
    ("number", "stored"),
    [
        (1.5, 1.5),
        (math.nan, {"nonfinite": "nan"}),
        (math.inf, {"nonfinite": "inf"}),
        (-math.inf, {"nonfinite": "-inf"}),
    ],
)
def test_numbers_that_json_has_not_are_stored_typed(number: float, stored: Any) -> None:
    assert encode_number(number) == stored
    again = decode_numbers(stored)
    assert again == number or (math.isnan(again) and math.isnan(number))


@given(floats_anywhere)
def test_numbers_survive_strict_json(value: Any) -> None:
    text = json.dumps(as_json(value), allow_nan=False)
    again = decode_numbers(json.loads(text))
    assert repr(again) == repr(bounded(value))


def bounded(value: Any) -> Any:
    """Return what is kept of a value: a number that nobody can compute with is infinite."""
    if isinstance(value, dict):
        return {key: bounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [bounded(item) for item in value]
    return beyond(value) if isinstance(value, float) else value
