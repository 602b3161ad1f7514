"""The strict YAML reader: YAML's surprises are refused, positions are right, nothing crashes it."""

from __future__ import annotations

import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harness.suite.strict_yaml import MAX_BYTES, MAX_DEPTH, Document, parse, place_text


def read(text: str) -> Document:
    return parse(text.encode())


def only_problem(text: str) -> tuple[str, str, int | None]:
    problems = read(text).problems
    assert len(problems) == 1, problems
    return problems[0].path, problems[0].message, problems[0].line


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        ("2e+3", 2000.0),
        (".5", 0.5),
        ("-1.5e-3", -1.5e-3),
        ("10", 10),
        ("+7", 7),
        ("0", 0),
        ("-0.0", 0.0),
        ("0.1", 0.1),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'no'", "no"),
        ('"010"', "010"),
        ("'10:30'", "10:30"),
        ("'1e-4'", "1e-4"),
        ("wgan-gp", "wgan-gp"),
        ("1.2.3", "1.2.3"),
        ("none", "none"),
        ("=", "="),
    ],
)
def test_scalars(text: str, value: Any) -> None:
    document = read(f"a: {text}")
    assert document.problems == ()
    found = document.value["a"]
    assert found == value
    assert str(found) == str(value)
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no", "true or false"),
        ("Yes", "true or false"),
        ("ON", "true or false"),
        ("off", "true or false"),
        ("010", "leading zero"),
        ("-007", "leading zero"),
        ("00", "leading zero"),
        ("0x1F", "decimal"),
        ("0o17", "decimal"),
        ("0b11", "decimal"),
        ("1_000", "without '_'"),
        ("10:30", "base 60"),
        ("1:30:00", "base 60"),
        ("190:20:30.15", "base 60"),
        ("2026-01-31", "date"),
        ("2026-01-31 10:00:00", "date"),
        (".nan", "finite"),
        ("NaN", "finite"),
        (".inf", "finite"),
        ("-.INF", "finite"),
        ("inf", "finite"),
        ("1e999", "too large"),
        ("1" * 30, "too large"),
        ("1" * 5000, "too long"),
        ("!!python/object:os.system x", "tag"),
        ("!!float 3", "tag"),
        ("!custom x", "tag"),
        ('"a\\0b"', "U+0000"),
        ('"\\ud800"', "U+D800"),
        ('"a\\u202Eb"', "RIGHT-TO-LEFT OVERRIDE"),
    ],
)
def test_surprises_are_refused_where_they_stand(text: str, words: str) -> None:
    path, message, line = only_problem(f"# comment\na:\n  - x\n  - {text}\n")
    assert (path, line) == ("a[1]", 4)
    assert words in message
    assert read(f"a:\n  - x\n  - {text}\n").is_rejected(("a", 1))


def test_every_value_has_its_line() -> None:
    document = read("a:\n  b: [1,\n      2]\n\n  c:\n    - {d: 3,\n       e: 4}\n")
    assert document.problems == ()
    assert document.value == {"a": {"b": [1, 2], "c": [{"d": 3, "e": 4}]}}
    assert document.line(("a", "b", 0)) == 2
    assert document.line(("a", "b", 1)) == 3
    assert document.line(("a", "c", 0, "d")) == 6
    assert document.line(("a", "c", 0, "e")) == 7
    assert document.line(("a", "missing", "deep")) == 1


def test_duplicate_keys_are_named_with_both_lines_and_the_first_counts() -> None:
    document = read("a:\n  b: 1\n  c: 2\n  b: 3\n")
    assert [(p.path, p.line) for p in document.problems] == [("a.b", 4)]
    assert "first in line 2" in document.problems[0].message
    assert document.value == {"a": {"b": 1, "c": 2}}
    assert read("a: 1\n\na: [2]\n").line(("a", 0)) == 1


def test_an_alias_bomb_is_refused_without_being_built() -> None:
    lines = ["a0: &a0 [lol, lol]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    start = time.perf_counter()
    problems = read("\n".join(lines)).problems
    assert time.perf_counter() - start < 5
    assert sum("alias" in p.message for p in problems) == 9 * 11
    assert sum("anchor" in p.message for p in problems) == 12


def test_all_problems_are_found_in_one_reading() -> None:
    document = read("a: 010\nb: no\nc: &x 1\nd: *x\ne: !!set {}\na: 3\n")
    assert [p.line for p in document.problems] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "? [", "a:\n "])
def test_deep_nesting_is_refused_quickly(opening: str) -> None:
    text = (opening * MAX_BYTES)[: MAX_BYTES - 1]
    if opening.startswith("a:"):
        text = "".join(f"{' ' * i}a:\n" for i in range(300))
    start = time.perf_counter()
    document = read(text)
    assert time.perf_counter() - start < 10
    assert not document.readable
    assert any(f"nested more than {MAX_DEPTH}" in p.message for p in document.problems)


def test_the_deepest_nesting_allowed_is_read() -> None:
    assert read("[" * MAX_DEPTH + "]" * MAX_DEPTH).problems == ()
    assert read("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2)).problems


@pytest.mark.parametrize(
    ("data", "words", "line"),
    [
        (b"", "empty", None),
        (b"# only a comment\n", "empty", None),
        (b"a: " + b"x" * MAX_BYTES, "larger than 128 KiB", None),
        (b"a: 1\nb: \xff\n", "UTF-8", 2),
        ("a: 1".encode("utf-16"), "UTF-8", 1),
        (b"a: 1\nb: x\0y\n", "U+0000", 2),
        (b"a: 1\nb: [1, 2\nc: 3\n", "not valid YAML", 3),
        (b"a: 1\n\tb: 2\n", "not valid YAML", 2),
        (b"a: 1\nb: c: d\n", "not valid YAML", 2),
        (b'a: "\\UFFFFFFFF"', "escape", None),
        (b"a: !x!y z\n", "not valid YAML", 1),
        (b"%YAML 3.0\n---\na: 1\n", "not valid YAML", 1),
    ],
)
def test_unreadable_files(data: bytes, words: str, line: int | None) -> None:
    document = parse(data)
    assert not document.readable
    assert len(document.problems) == 1
    assert words in document.problems[0].message
    assert document.problems[0].line == line


def test_a_second_document_is_refused() -> None:
    _, message, line = only_problem("a: 1\n---\nb: 2\n")
    assert "one suite" in message
    assert line == 2


def test_keys_are_names() -> None:
    document = read("on: 1\n1: 2\n? [a, b]\n: 3\n")
    assert document.value == {"on": 1, "1": 2}
    assert [(p.message, p.line) for p in document.problems] == [("a key must be a plain name", 3)]


@pytest.mark.parametrize("text", ["1_" * 30_000 + "x", "1:" * 30_000, "9" * 60_000 + "x"])
def test_no_pattern_is_slow(text: str) -> None:
    start = time.perf_counter()
    read(f"a: '{text}'\nb: {text}x")
    assert time.perf_counter() - start < 5


@given(st.text(max_size=200) | st.text(alphabet="[]{}:,-?&*!|>'\"%@` \n\tab01#~<=.\\", max_size=80))
def test_no_text_crashes_it(text: str) -> None:
    document = parse(text.encode("utf-8", "surrogatepass"))
    assert document.readable or document.problems


@given(st.binary(max_size=100))
def test_no_bytes_crash_it(data: bytes) -> None:
    document = parse(data)
    assert document.readable or document.problems


plain = st.recursive(
    st.booleans()
    | st.none()
    | st.integers(-(10**17), 10**17)
    | st.floats(-1e6, 1e6).map(lambda number: round(number, 3) + 0.0)
    | st.text(alphabet="abcxyzäß∂ :#-[]{}'\"\n019.", max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(alphabet="abcno_", min_size=1, max_size=6), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from("abcdef"), plain, min_size=1), st.booleans())
def test_what_pyyaml_writes_is_read_back(value: dict[str, Any], flow: bool) -> None:
    # PyYAML quotes every text that YAML 1.1 would take for something else: nothing is ambiguous.
    text = yaml.dump(value, default_flow_style=flow, allow_unicode=True)
    document = read(text)
    assert document.problems == ()
    assert document.value == value


def test_paths_are_written_as_people_do() -> None:
    assert place_text(()) == ""
    assert place_text(("tricks", 2, "d")) == "tricks[2].d"
    assert place_text(("a b", "c")) == "['a b'].c"
    assert len(place_text(("x" * 1000,))) < 70
