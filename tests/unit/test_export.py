"""Proves that an exported generator is the trained one, where there is no ganbench."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import GanbenchError
from harness.jobs.job import Job
from harness.networks.base import build_generator
from harness.networks.dropout import StreamDropout
from harness.networks.spectral import normalize_spectrally
from harness.parts import Condition, Draws, Trick
from harness.parts.blueprint import blueprint_of
from harness.sampling.export import LOADERS, OwnDropout, export, exported, self_contained, usage
from harness.sampling.generator import TrainedGenerator, load_generator
from harness.store.folders import Store
from harness.testing.specs import make_spec

CPU = torch.device("cpu")
CONDITION = Condition(classes=3, categories=(2,), continuous=2)


class Conditional(nn.Module):
    """A generator with two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4 + CONDITION.size, 2)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        out: Tensor = self.inner(torch.cat([z, y], dim=1)).tanh()
        return out


class Nothing:
    """Draws no condition."""

    def condition(self, draws: Draws, labels: Tensor | None, count: int) -> None:
        return None


class Some:
    """Draws numbers of the condition's width; an export takes any."""

    def condition(self, draws: Draws, labels: Tensor | None, count: int) -> Tensor:
        return draws.uniform("y", count, CONDITION.size)


NONE, NOTHING = Condition(), Nothing()


class Uniform(Trick):
    """Latents from U(−1, 1)."""

    def latents(self, z: Tensor) -> Tensor:
        return (z / math.sqrt(2)).erf()


def trained(
    *tricks: tuple[str, dict[str, object]], spectral: bool = False, **plan: Any
) -> TrainedGenerator:
    """Make a DCGAN generator whose normalisation statistics are not those of a new one."""
    spec = make_spec("digits", "dcgan", tricks, width=4)
    blueprint = blueprint_of(spec)
    blueprint = replace(blueprint, generator=replace(blueprint.generator, **plan))
    torch.manual_seed(0)
    module = build_generator(blueprint)
    if spectral:
        normalize_spectrally(module)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None and layer.running_var is not None
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    module.eval().requires_grad_(False)
    return TrainedGenerator(
        spec, 7, module, blueprint.latent, blueprint.shape, Condition(), NOTHING
    )


def conditional() -> TrainedGenerator:
    torch.manual_seed(0)
    module = Conditional().eval().requires_grad_(False)
    return TrainedGenerator(make_spec("ring8"), 7, module, 4, (2,), CONDITION, Some())


GENERATORS = {
    "plain": trained(),
    "spectral": trained(spectral=True),
    "dropout": trained(("dropout-g", {"p": 0.3})),
    "noisy": trained(("dropout-g", {"p": 0.3, "at_test": True})),
    "conditional": conditional(),
    "uniform": replace(trained(), laws=(Uniform(),)),
    "several": trained(copies=3),
    "virtual": trained(normalization="virtual"),
}

ELSEWHERE = """
import sys
sys.modules["harness"] = None  # an import of it raises
import torch
from safetensors.torch import load_file, save_file
made = {}
for name, line in LINES.items():
    exec("\\n".join(line[:2]))
    for count in (1, 5):
        inputs = load_file(f"{name.partition('.')[0]}.inputs")
        torch.manual_seed(count)
        made[f"{name}/{count}"] = G(*(inputs[k][:count] for k in sorted(inputs, reverse=True)))
    exec(line[2])
    made[f"{name}/usage"] = x
save_file(made, "made")
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """Load and sample every exported generator in a process that has PyTorch only."""
    folder = tmp_path_factory.mktemp("elsewhere")
    lines = {}
    for name, G in GENERATORS.items():
        z, y = G.inputs(3, 5)
        inputs = {"z": z} | ({} if y is None else {"y": y})
        save_file({key: value.clone() for key, value in inputs.items()}, folder / f"{name}.inputs")
        for suffix in LOADERS:
            (folder / f"{name}{suffix}").write_bytes(exported(G, suffix, {"run": "x"})[0])
            lines[f"{name}{suffix}"] = usage(G, Path(f"{name}{suffix}"))
    done = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-c", f"LINES = {lines!r}\n{ELSEWHERE}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return load_file(folder / "made")


@pytest.mark.parametrize("suffix", LOADERS)
@pytest.mark.parametrize("name", GENERATORS)
def test_samples_are_the_same_elsewhere(
    name: str, suffix: str, elsewhere: dict[str, Tensor]
) -> None:
    G = GENERATORS[name]
    for count in (1, 5):
        z, y = G.inputs(3, count)
        if name == "noisy":
            # It draws from PyTorch's own generator, which the other process has set like this one.
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(count)
                expected = self_contained(G)[0](z)
        else:
            expected = G(z, y, seed=0)
        made = elsewhere[f"{name}{suffix}/{count}"]
        torch.testing.assert_close(made, expected, atol=1e-6, rtol=0)
    assert elsewhere[f"{name}{suffix}/usage"].shape == (64, *G.shape)


def test_statistics_matter_in_these_generators() -> None:
    """Were normalisation exported in training mode, the comparison above would see it."""
    G = GENERATORS["plain"]
    z, _ = G.inputs(3, 5)
    wrong = self_contained(G)[0].train()(z)
    assert float((wrong - G(z, None, seed=0)).abs().max()) > 0.01


def test_its_own_dropout_drops_like_the_trained_one() -> None:
    x = torch.randn(50, 7)
    torch.manual_seed(1)
    found = OwnDropout(0.3)(x)
    torch.manual_seed(1)
    layer = StreamDropout(0.3, at_test=True).eval()
    layer.noise = torch.rand_like(x)
    assert found.equal(layer(x))
    assert 0.2 < float((found == 0).float().mean()) < 0.4


def test_dropout_at_test_is_fresh_in_every_call(tmp_path: Path) -> None:
    data, is_random = exported(GENERATORS["noisy"], ".pt2", {})
    assert is_random
    (tmp_path / "g.pt2").write_bytes(data)
    G = torch.export.load(tmp_path / "g.pt2").module()
    z, _ = GENERATORS["noisy"].inputs(0, 4)
    assert not torch.allclose(G(z), G(z))
    assert not exported(GENERATORS["dropout"], ".pt2", {})[1]


class Fickle(nn.Module):
    """Does otherwise for a batch of two, which is what a trace looks at."""

    def forward(self, z: Tensor) -> Tensor:
        """Return z, or twice z."""
        return z if len(z) == 2 else 2 * z


def test_what_is_not_the_same_is_not_exported() -> None:
    G = TrainedGenerator(make_spec("ring8"), 7, Fickle().eval(), 2, (2,), Condition(), NOTHING)
    with pytest.raises(GanbenchError, match="cannot be exported: what is loaded again makes other"):
        exported(G, ".pt", {})


def test_three_lines() -> None:
    assert usage(GENERATORS["plain"], Path("out/g.pt2")) == [
        "import torch",
        'G = torch.export.load("out/g.pt2").module()',
        "x = G(torch.randn(64, 4))  # (64, 1, 16, 16) in [−1, 1]",
    ]
    assert usage(GENERATORS["conditional"], Path("g.pt"))[1:] == [
        'G = torch.jit.load("g.pt")',
        "x = G(torch.randn(64, 4), torch.cat([torch.eye(3)[torch.randint(3, (64,))], "
        "torch.eye(2)[torch.randint(2, (64,))], torch.rand(64, 2) * 2 - 1], dim=1))  # (64, 2)",
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = make_spec("ring8", "gan", steps=10, precision="float64")
    store = Store(tmp_path_factory.mktemp("export") / "store")
    assert Job(store, CPU).train([spec]) == 0
    return store.folder(spec)


class TestCommand:
    def test_prints_lines_that_run(self, run: Path, tmp_path: Path) -> None:
        file = tmp_path / "new" / "g.pt2"
        done = CliRunner().invoke(app, ["export", str(run), "-o", str(file)])
        assert done.exit_code == 0, done.output
        *_, first, second, third = done.output.splitlines()
        found: dict[str, Tensor] = {}
        exec("\n".join([first, second, third]), found)
        assert found["x"].shape == (64, 2)
        assert found["x"].dtype == torch.float64
        G = load_generator(run)
        z, _ = G.inputs(9, 6)
        assert "dtype=torch.float64" in third
        torch.testing.assert_close(
            found["G"](z), G(z, None, seed=0), atol=1e-12, rtol=0  # type: ignore[operator]
        )  # fmt: skip

    def test_the_file_says_where_it_is_from(self, run: Path, tmp_path: Path) -> None:
        written = export(run, tmp_path / "g.pt2", force=False)
        extra = {"ganbench.json": ""}
        torch.export.load(tmp_path / "g.pt2", extra_files=extra)
        assert f'"run": "{written["run"]}", "step": 10' in extra["ganbench.json"]
        assert written["inputs"] == {"z": [4]} and written["output"] == [2]

    def test_is_small(self, run: Path, tmp_path: Path) -> None:
        """Weights and a description: no latents, no discriminator, no optimiser."""
        export(run, tmp_path / "g.pt2", force=False)
        weights = sum(p.numel() * 8 for p in load_generator(run).module.parameters())
        assert (tmp_path / "g.pt2").stat().st_size < weights + 40_000

    def test_refusals(self, run: Path, tmp_path: Path) -> None:
        with pytest.raises(GanbenchError, match=r"has to end with \.pt2 or \.pt"):
            export(run, tmp_path / "g.onnx", force=False)
        (tmp_path / "g.pt2").write_bytes(b"mine")
        with pytest.raises(GanbenchError, match="is there already"):
            export(run, tmp_path / "g.pt2", force=False)
        assert (tmp_path / "g.pt2").read_bytes() == b"mine"
