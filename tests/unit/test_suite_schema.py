"""The JSON Schema of suite files: it takes every suite that is right, and refuses what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import SuiteError
from harness.parts import tricks, variants
from harness.spec import Settings
from harness.suite.files import built_in_files
from harness.suite.load import read_suite
from harness.suite.matrix import expand
from harness.suite.model import Suite, suite_schema
from harness.suite.strict_yaml import parse

README = Path(__file__).parents[2] / "suites" / "README.md"
HEAD = "suite: mine\ndatasets: [ring8]\nvariants: [gan]\n"
SCHEMA = suite_schema()


def wrong(text: str | bytes) -> list[str]:
    """List where a file is refused, as paths."""
    data = text if isinstance(text, bytes) else text.encode()
    errors = jsonschema.Draft7Validator(SCHEMA).iter_errors(parse(data).value)
    return [".".join(map(str, error.absolute_path)) for error in errors]


def test_it_is_a_schema() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", sorted(built_in_files()))
def test_every_built_in_suite_is_taken(name: str) -> None:
    assert wrong(built_in_files()[name].read_bytes()) == []


def test_the_example_of_the_readme_is_taken() -> None:
    example = README.read_text().split("```yaml\n")[1].split("```")[0]
    assert example.startswith("# yaml-language-server: $schema=ganbench.schema.json\n")
    assert wrong(example) == []


@pytest.mark.parametrize(
    "lines",
    [
        "seeds: [0, 7]",
        "tricks: none",
        "tricks: [none, {id: update-ratio, d: 5}, [dropout-g, {id: settings, lr_g: 1e-2}]]",
        "tricks: {id: ema, decay: null, half_life: 1000}",
        "include: [{dataset: 'folder:photos', variant: {id: vae, sigma: 1}}]",
        "include: [{dataset: [{id: folder, path: photos}, {id: 'folder:a', size: 32}]}]",
        "exclude: [{trick: ['update-ratio(d=5)', none]}]",
        "settings: {network: dcgan, extractor: my-own, probes: [representation]}",
        "contrasts: []",
        "profiles: {cpu: {seeds: 3, margin: 1.1, contrasts: [[ema, none]]}}",
    ],
)
def test_what_is_right_is_taken(lines: str) -> None:
    assert wrong(HEAD + lines) == []


@pytest.mark.parametrize(
    ("lines", "path"),
    [
        ("sede: 3", ""),
        ("seeds: 0", "seeds"),
        ("seeds: [1, 1]", "seeds"),
        ("seeds: '3'", "seeds"),
        ("summary: [a]", "summary"),
        ("tricks: []", "tricks"),
        ("tricks: [label-smothing]", "tricks"),
        ("tricks: [{id: dropout-g, p: 3}]", "tricks"),
        ("tricks: [{id: dropout-g, q: 0.5}]", "tricks"),
        ("tricks: [[dropout-g, none]]", "tricks"),
        ("tricks: [{id: settings}]", "tricks"),
        ("tricks: [{id: feature-matching, norm: l3}]", "tricks"),
        ("settings: {steps: 0}", "settings.steps"),
        ("settings: {lr_g: '1e-4'}", "settings.lr_g"),
        ("settings: {network: dcgn}", "settings.network"),
        ("settings: {optimizer: adan}", "settings.optimizer"),
        ("settings: {lr: 3}", "settings"),
        ("overrides: [{settings: {steps: 3}}]", "overrides.0"),
        ("overrides: [{when: {}, settings: {steps: 3}}]", "overrides.0.when"),
        ("exclude: [{varient: gan}]", "exclude.0"),
        ("exclude: [gan]", "exclude.0"),
        ("include: [{dataset: folder}]", "include.0.dataset"),
        ("include: [{dataset: {id: folder}, variant: gan}]", "include.0.dataset"),
        ("include: [{dataset: {id: 'folder:a', path: b}, variant: gan}]", "include.0.dataset"),
        ("include: [{variant: wagn}]", "include.0.variant"),
        ("baseline: {variant: gan}", "baseline"),
        ("margin: 1", "margin"),
        ("contrasts: [[ema]]", "contrasts.0"),
        ("profiles: {cpu: {profiles: {}}}", "profiles.cpu"),
        ("profiles: {Cpu: {}}", "profiles"),
    ],
)
def test_what_is_wrong_is_refused_where_it_stands(lines: str, path: str) -> None:
    text = HEAD + lines
    with pytest.raises(SuiteError):
        expand(read_suite(text.encode(), "mine.yaml"))
    assert wrong(text) == [path]


@pytest.mark.parametrize(
    ("name", "fits"),
    [("a", True), ("0.b-c_d", True), ("x" * 64, True), ("x" * 65, False), ("A", False),
     ("-a", False), (".a", False), ("a/b", False), ("a b", False), ("''", False), ("é", False)],
)  # fmt: skip
def test_a_name_is_what_the_loader_takes(name: str, fits: bool) -> None:
    text = HEAD.replace("mine", name)
    assert wrong(text) == ([] if fits else ["suite"])
    if fits:
        read_suite(text.encode(), "mine.yaml")
    else:
        with pytest.raises(SuiteError, match=r"suite: .* is no name"):
            read_suite(text.encode(), "mine.yaml")


def test_keys_that_must_be_there() -> None:
    assert wrong("summary: x") == ["", "", ""]


def definition(name: str) -> Any:
    return SCHEMA["$defs"][name]


def test_an_editor_is_told_ids_options_ranges_and_defaults() -> None:
    assert list(Suite.model_fields) == list(SCHEMA["properties"])
    assert all(key["description"] for key in SCHEMA["properties"].values())
    ids, *mappings = definition("VariantEntry")["anyOf"]
    assert ids["enum"] == variants.names()
    assert ids["enumDescriptions"] == [variant.summary for variant in variants]
    by_id = {each["properties"]["id"]["const"]: each["properties"] for each in mappings}
    weight = by_id["wgan-gp"]["penalty_weight"]
    assert (weight["minimum"], weight["default"]) == (0, 10.0)
    assert "authors use 10" in weight["description"]
    assert definition("Tricks")["anyOf"][1]["enum"] == tricks.names()
    settings = definition("ChangedSettings")["properties"]
    assert list(settings) == list(Settings.model_fields)
    assert settings["steps"]["description"] == "rounds of the update schedule; default: 2000"
    assert {"dcgan", "dcgan32", "toy2d-norm"} < set(settings["network"]["enum"])


def test_the_command_prints_it(tmp_path: Path) -> None:
    printed = CliRunner().invoke(app, ["schema"])
    assert printed.exit_code == 0
    assert json.loads(printed.stdout) == SCHEMA


def test_parts_of_a_plugin_are_in_it(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from harness.parts import Trick, tricks\n\n\n"
        '@tricks.register("my-trick", source="here")\n'
        'class Mine(Trick):\n    """Does nothing."""\n\n    often: int = 3\n'
    )
    command = [sys.executable, "-m", "harness.cli", "schema", "--plugin", "mine.py"]
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    validator = jsonschema.Draft7Validator(json.loads(done.stdout))
    assert validator.is_valid(yaml.safe_load(HEAD + "tricks: [{id: my-trick, often: 4}]"))
    assert not validator.is_valid(yaml.safe_load(HEAD + "tricks: [{id: my-trick, seldom: 4}]"))
