"""Suite files: what is wrong with one is listed at once, with line, place and suggestion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import SuiteError
from harness.spec import Settings
from harness.suite.defaults import DEFAULTS
from harness.suite.load import built_in_suites, load_suite, read_suite
from harness.suite.matrix import expand
from harness.suite.model import Layer, Suite
from harness.suite.reading import MAX_LISTED

SUITE_KEYS, LAYER_KEYS = list(Suite.model_fields), list(Layer.model_fields)
HEAD = "suite: mine\ndatasets: [ring8]\nvariants: [gan]\n"
README = Path(__file__).parents[2] / "suites" / "README.md"


def problems(text: str | bytes) -> list[tuple[str, int | None, str]]:
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(SuiteError) as caught:
        read_suite(data, "mine.yaml")
    return [(p.path, p.line, p.message) for p in caught.value.problems]


def only_problem(text: str) -> tuple[str, int | None, str]:
    found = problems(text)
    assert len(found) == 1, found
    return found[0]


def test_all_problems_come_at_once_with_line_place_and_suggestion() -> None:
    text = """\
suite: ../x
sumary: hi
seeds: 010
datasets: [ring8, rng8, {id: digits, size: 3}]
variants: [gan, WGAN-GP, {id: wgan-gp, penalty_weight: -1}]
tricks:
  - none
  - label-smothing
  - {id: update-ratio, d: no, g: 1.5}
  - !!python/object:os.system x
settings: {steps: 1e3, lr_d: .nan, optimizer: adan, lr: 3,
  evaluate_every: "20"}
overrides:
  - {when: {dataset: ringo}, settings: {batch: 7}}
"""
    expected = [
        ("suite", 1, "is no name"),
        ("sumary", 2, "unknown key 'sumary' (did you mean 'summary'?)"),
        ("seeds", 3, "leading zero"),
        ("datasets[1]", 4, "unknown dataset 'rng8' (did you mean 'ring8'?)"),
        ("datasets[2].size", 4, "unknown option of digits 'size'"),
        ("variants[1]", 5, "(did you mean 'wgan-gp'?)"),
        ("variants[2].penalty_weight", 5, "must be at least 0, not -1"),
        ("tricks[1]", 8, "unknown trick 'label-smothing' (did you mean 'label-smoothing'?)"),
        ("tricks[2].d", 9, "write true or false"),
        ("tricks[2].g", 9, "must be a whole number, not 1.5"),
        ("tricks[3]", 10, "tag"),
        ("settings.lr", 11, "unknown setting 'lr' (did you mean 'lr_g'?)"),
        ("settings.lr_d", 11, "not a finite number"),
        ("settings.optimizer", 11, "must be 'adam', 'rmsprop' or 'sgd', not 'adan'"),
        ("settings.steps", 11, "must be a whole number, not 1000.0"),
        ("settings.evaluate_every", 12, "not '20' (remove the quotes)"),
        ("overrides[0].when.dataset", 14, "'ringo' (did you mean 'ring8'?)"),
    ]
    found = problems(text)
    assert [(path, line) for path, line, _ in found] == [(p, n) for p, n, _ in expected]
    for (_, _, message), (_, _, words) in zip(found, expected, strict=True):
        assert words in message


def test_the_message_names_file_line_and_place() -> None:
    with pytest.raises(SuiteError) as caught:
        read_suite(f"{HEAD}tricks:\n  - {{id: update-ratio, d: 0}}\n".encode(), "mine.yaml")
    assert str(caught.value) == (
        "mine.yaml: 1 problem\n  mine.yaml:5: tricks[0].d: must be at least 1, not 0"
    )


@pytest.mark.parametrize(
    ("lines", "path", "words"),
    [
        ("seeds: 0", "seeds", "whole number from 1"),
        ("seeds: -3", "seeds", "whole number from 1"),
        ("seeds: true", "seeds", "not true"),
        ("seeds: 1.5", "seeds", "not 1.5"),
        ("seeds: []", "seeds", "empty"),
        ("seeds: [1, 1]", "seeds[1]", "twice"),
        ("seeds: [1, -1]", "seeds[1]", "from 0"),
        ("seeds: [1, 2147483648]", "seeds[1]", "from 0"),
        ("seeds: 1000000000000", "seeds", "whole number from 1"),
        ("tricks: []", "tricks", "empty"),
        ("tricks: [[]]", "tricks[0]", "empty"),
        ("tricks:", "tricks", "must be an id"),
        ("tricks: [3]", "tricks[0]", "not 3"),
        ("tricks: [{d: 3}]", "tricks[0]", "without id"),
        ("tricks: [[dropout-g, none]]", "tricks[0][1]", "stands alone"),
        ("tricks: [{id: none, p: 1}]", "tricks[0].id", "stands alone"),
        ("tricks: [nne]", "tricks[0]", "did you mean"),
        ("tricks: [[dropout-g, {id: update-ratio, k: 3}]]", "tricks[0][1].k", "unknown option"),
        ("tricks: [dropout-g, {id: dropout-g, p: 0.5}]", "tricks[1]", "equals tricks[0] in line 4"),
        ("tricks: [{id: dropout-g, at_test: 'no'}]", "tricks[0].at_test", "must be true or false"),
        ("tricks: [{id: dropout-g, layers: hidden1}]", "tricks[0].layers", "must be a list"),
        ("tricks: [{id: feature-matching, norm: l3}]", "tricks[0].norm", "did you mean 'l2'?"),
        (
            "tricks: [{id: label-smoothing, real_low: 1, real_high: 0.5}]",
            "tricks[0]",
            "low end of a range lies above",
        ),
        ("settings:", "settings", "must be a mapping, not nothing"),
        ("settings: [1]", "settings", "must be a mapping, not a list"),
        ("settings: {steps: 0}", "settings.steps", "must be greater than 0"),
        ("settings: {steps: null}", "settings.steps", "not nothing"),
        ("settings: {beta1: 1}", "settings.beta1", "must be less than 1"),
        ("settings: {lr_g: '1e-4'}", "settings.lr_g", "remove the quotes"),
        ("settings: {network: ../x}", "settings.network", "no name"),
        ("settings: {id: 3}", "settings.id", "unknown setting"),
        ("overrides: {when: 1}", "overrides", "must be a list"),
        ("overrides: [{settings: {steps: 3}}]", "overrides[0].when", "is missing"),
        ("overrides: [{when: {dataset: ring8}}]", "overrides[0].settings", "is missing"),
        ("overrides: [{when: {}, settings: {}}]", "overrides[0].when", "must name"),
        ("overrides: [{when: {dataset: 3}, settings: {}}]", "overrides[0].when.dataset", "text"),
        ("exclude: [{varient: gan}]", "exclude[0].varient", "did you mean 'variant'?"),
        ("exclude: [{}]", "exclude[0]", "must name"),
        ("exclude: [gan]", "exclude[0]", "must be a mapping"),
        ("exclude: [{variant: [gan, wgan]}]", "exclude[0].variant[1]", "no variant of this suite"),
        ("exclude: [{trick: dropout-g}]", "exclude[0].trick", "no trick of this suite"),
        ("include: [{}]", "include[0]", "must name"),
        ("include: [{variant: wagn}]", "include[0].variant", "unknown variant 'wagn'"),
        ("include: [{trick: {id: dropout-g, p: 2}}]", "include[0].trick.p", "must be less than 1"),
        ("profiles: {cpu: {step: 3}}", "profiles.cpu.step", "unknown key 'step'"),
        ("profiles: {cpu: {settings: {steps: x}}}", "profiles.cpu.settings.steps", "whole number"),
        ("profiles: {Cpu: {}}", "profiles.Cpu", "is no name"),
        ("profiles: {cpu: {profiles: {}}}", "profiles.cpu.profiles", "unknown key"),
        ("summary: [a]", "summary", "must be text"),
        ("summary: 3", "summary", "must be text"),
    ],
)
def test_what_is_wrong(lines: str, path: str, words: str) -> None:
    found_path, line, message = only_problem(HEAD + lines)
    assert (found_path, line) == (path, 4)
    assert words in message


@pytest.mark.parametrize("text", ["[1]", "3", "text", "~"])
def test_a_suite_is_a_mapping(text: str) -> None:
    path, line, message = only_problem(text)
    assert (path, line) == ("", 1)
    assert "must be a mapping" in message


def test_required_keys() -> None:
    assert {path for path, _, _ in problems("summary: x")} == {"suite", "datasets", "variants"}


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "/abs",
        "'a\\0b'",
        "a" * 300,
        "-rf",
        "''",
        "..",
        "'con fig'",
        "Gan",
        "3",
        "a/b",
        "gаn",
    ],
)
def test_hostile_names_are_refused_everywhere(name: str) -> None:
    text = f"suite: {name}\ndatasets: [{name}]\nvariants: [{{id: {name}}}]\ntricks: [{name}]\n"
    places = ["suite", "datasets[0]", "variants[0].id", "tricks[0]"]
    assert [path for path, _, _ in problems(text)] == places
    assert all(len(message) < 250 for _, _, message in problems(text))


def test_letters_that_only_look_alike_are_named() -> None:
    _, _, message = only_problem("suite: gаn\ndatasets: [ring8]\nvariants: [gan]\n")
    assert "CYRILLIC SMALL LETTER A" in message
    _, _, message = only_problem(HEAD + "sеeds: 3")
    assert "CYRILLIC SMALL LETTER IE" in message


def test_a_nul_in_a_name_is_refused() -> None:
    assert problems('suite: "a\\0b"\ndatasets: [ring8]\nvariants: [gan]\n') == [
        ("suite", 1, "holds U+0000 (not a printable character); remove it")
    ]


def test_one_mistake_is_one_problem() -> None:
    text = HEAD + "tricks: [{id: dropout-g, p: 3}]\nexclude: [{trick: dropout-g}]\n"
    assert [path for path, _, _ in problems(text)] == ["tricks[0].p"]


def test_problems_of_the_cells_are_listed_with_those_of_the_file() -> None:
    text = "suite: X\ndatasets: [digits]\nvariants: [gan]\nsettings: {batch: 5000}\n"
    assert [(path, line) for path, line, _ in problems(text)] == [
        ("suite", 1),
        ("settings.batch", 4),
    ]


def test_a_flood_of_problems_is_cut() -> None:
    found = problems(HEAD + "tricks: [" + ", ".join(f"x{i}" for i in range(1000)) + "]")
    assert len(found) == MAX_LISTED + 1
    assert "1,000 problems" in found[0][2]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("smok", "did you mean 'smoke'?"),
        ("no-such-thing-at-all", "smoke"),
        ("", "not a built-in suite"),
        ("./absent.yaml", "does not exist"),
        ("a\0b.yaml", "does not exist"),
        ("/dev/zero", "no regular file"),
        ("/", "no regular file"),
        ("./" + "a" * 300 + ".yaml", "cannot be read"),
    ],
)
def test_files_that_are_not_there(source: str, words: str) -> None:
    with pytest.raises(SuiteError, match="1 problem") as caught:
        load_suite(source)
    assert words in str(caught.value)


def test_a_file_is_read_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(HEAD + "summary: >\n  Two\n  lines\n")
    suite = load_suite(str(file))
    assert (suite.name, suite.summary, suite.source) == ("mine", "Two lines", str(file))


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(HEAD + "#" * 300_000)
    with pytest.raises(SuiteError, match="larger than"):
        load_suite(str(file))


@pytest.mark.parametrize("entry", built_in_suites(), ids=lambda entry: entry["id"])
def test_built_in_suites_are_valid_with_every_profile(entry: dict[str, Any]) -> None:
    suite = load_suite(entry["id"])
    assert suite.name == entry["id"]
    assert suite.summary == entry["summary"] != ""
    for profile in (None, *suite.profiles):
        assert expand(suite, profile=profile).specs


def test_the_readme_tells_every_key_and_default() -> None:
    text = README.read_text()
    assert list(DEFAULTS) == list(Settings.model_fields)
    for name, default in DEFAULTS.items():
        assert f"| `{name}` | {default.text} |" in text
    example = text.split("```yaml\n")[1].split("```")[0]
    assert set(yaml.safe_load(example)) == set(SUITE_KEYS)
    assert set(LAYER_KEYS) < set(SUITE_KEYS)
    assert expand(read_suite(example.encode(), "README.md")).specs


keys = st.sampled_from([*SUITE_KEYS, "id", "when", "dataset", "steps", "batch", "lr_g", "odd", "d"])
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-3, 10**20)
    | st.floats()
    | st.sampled_from(["none", "gan", "ring8", "digits", "update-ratio", "mine", "no", "Ω", "a b"])
    | st.text(max_size=5)
)
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner), max_leaves=15
)


@given(st.dictionaries(keys, trees))
def test_no_content_raises_anything_else(value: dict[str, Any]) -> None:
    content = {"suite": "mine", "datasets": ["ring8"], "variants": ["gan"], **value}
    try:
        expand(read_suite(yaml.safe_dump(content).encode(), "mine.yaml"))
    except SuiteError as error:
        assert error.problems


@given(st.text(max_size=100))
def test_no_text_raises_anything_else(text: str) -> None:
    with pytest.raises(SuiteError):
        read_suite(text.encode("utf-8", "surrogatepass"), "mine.yaml")
