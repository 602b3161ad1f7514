"""What ``ganbench list networks`` counts, against modules that were really built."""

import json
import subprocess
import sys
from textwrap import dedent

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from harness.cli import app
from harness.commands.listing import catalog, layers, size_text
from harness.errors import GanbenchError, UnknownNameError
from harness.networks.base import build_discriminator, build_generator, networks
from harness.networks.blueprint import Blueprint
from harness.networks.summary import SHAPES, Operations, summarize
from harness.planning.cohorts import parameters
from harness.testing.specs import make_spec

SMALL = ("toy2d", "mlp-small", "dcgan16", "dcgan64", "r3gan16", "mlp-s1", "maxout")


@pytest.mark.parametrize("name", SMALL)
def test_counts_are_those_of_built_networks(name: str) -> None:
    found = summarize(networks.get(name))
    assert found is not None
    plan = Blueprint.plain(name, found.width, found.latent, found.shape)
    for build, listed in (
        (build_generator, found.generator_parameters),
        (build_discriminator, found.discriminator_parameters),
    ):
        assert sum(p.numel() for p in build(plan).parameters()) == listed


@pytest.mark.parametrize("name", networks.names())
def test_every_family_is_described(name: str) -> None:
    family, found = networks.get(name), summarize(networks.get(name))
    assert found is not None
    assert found.shape in SHAPES
    assert (found.width, found.latent) == (family.default_width, family.default_latent)
    assert (found.generator is None) == (not family.has_generator)
    assert found.discriminator_parameters > 1000
    if found.generator is not None:
        outputs = [layer.output for layer in found.generator if layer.output is not None]
        # An MLP's images leave its last layer flat.
        assert outputs[-1] in (found.shape, (3 * 32 * 32,), (2,))


@pytest.mark.parametrize("name", networks.names())
def test_operations_are_those_that_pytorch_counts(name: str) -> None:
    family = networks.get(name)
    shape = next(shape for shape in SHAPES if family().misfit(shape) is None)
    plan = Blueprint.plain(name, min(family.default_width, 16), family.default_latent, shape)
    players = [(build_discriminator, shape), (build_generator, (family.default_latent,))]
    for build, taken in players[: 1 + family.has_generator]:
        module, examples = build(plan).eval(), torch.zeros(2, *taken)
        with FlopCounterMode(display=False) as theirs, torch.no_grad():
            module(examples)
        with Operations() as ours, torch.no_grad():
            module(examples)
        assert ours.counted == theirs.get_total_flops() > 0


def test_operations_are_counted_without_the_compiler() -> None:
    code = """
        import sys
        from harness.planning.cohorts import work_of
        from harness.testing.specs import make_spec
        assert work_of(make_spec("digits", "dcgan")).flops
        assert work_of(make_spec("ring8", "gan")).flops
        sys.exit("torch._dynamo" in sys.modules)
    """
    assert subprocess.run([sys.executable, "-c", dedent(code)], check=False).returncode == 0


def test_layers_come_in_order_with_their_shapes() -> None:
    found = layers("dcgan64")
    assert [
        (layer["name"], layer["output"], layer["parameters"])
        for layer in found["discriminator"]
        if layer["kind"] in ("Conv2d", "Linear")
    ] == [
        ("hidden.hidden1.0", (64, 32, 32), 3 * 64 * 16),
        ("hidden.hidden2.0", (128, 16, 16), 64 * 128 * 16),
        ("hidden.hidden3.0", (256, 8, 8), 128 * 256 * 16),
        ("hidden.hidden4.0", (512, 4, 4), 256 * 512 * 16),
        ("head.output", (1,), 512 * 16),
    ]
    for role in ("generator", "discriminator"):
        total = sum(layer["parameters"] for layer in found[role])
        assert total == found[f"{role}_parameters"]


def test_parameters_of_a_layer_with_children_are_its_own() -> None:
    found = {layer["name"]: layer for layer in layers("r3gan16")["generator"]}
    assert found["hidden.hidden1.0"]["parameters"] == 16 * 32
    assert found["hidden.hidden1.0.weigh"]["parameters"] == 64 * 32


def test_the_list_counts_every_family() -> None:
    entries = {entry["id"]: entry for entry in catalog("networks")}
    assert entries.keys() == set(networks.names())
    found = entries["dcgan64"]
    assert (found["generator_parameters"], found["discriminator_parameters"]) == (
        3_576_704,
        2_765_696,
    )
    assert found["shape"] == [3, 64, 64]
    assert "G 3,576,704 and D 2,765,696 parameters" in size_text(found)
    assert entries["patch"]["generator_parameters"] is None
    assert size_text(entries["patch"]).startswith("D ")


def test_a_runs_own_parameters_are_counted_with_its_parts() -> None:
    plain = parameters(make_spec("digits", "dcgan"))
    patched = parameters(make_spec("digits", "dcgan", ["patchgan"]))
    assert plain[0] == patched[0]
    assert plain[1] != patched[1]


class TestCommand:
    """``ganbench list networks``."""

    def test_json(self) -> None:
        found = CliRunner().invoke(app, ["list", "networks", "--json"])
        assert found.exit_code == 0
        assert all("discriminator_parameters" in entry for entry in json.loads(found.stdout))

    def test_layers(self) -> None:
        found = CliRunner().invoke(app, ["list", "networks", "--layers", "dcgan64"])
        assert found.exit_code == 0
        assert "2,765,696" in found.stdout
        assert "head.output" in found.stdout
        found = CliRunner().invoke(app, ["list", "networks", "--layers", "patch", "--json"])
        assert json.loads(found.stdout)["generator"] is None

    def test_bad_input(self) -> None:
        found = CliRunner().invoke(app, ["list", "tricks", "--layers", "dcgan64"])
        assert isinstance(found.exception, GanbenchError)
        found = CliRunner().invoke(app, ["list", "networks", "--layers", "dcgan6"])
        assert isinstance(found.exception, UnknownNameError)
