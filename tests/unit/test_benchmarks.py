"""The benchmarks themselves: small, on a CPU, so that rows for a GPU are no dead code."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from harness.testing.cells import make_trainer
from harness.testing.specs import make_spec
from harness.training.trainer import Trainer
from tests.benchmarks import compiling, convolving, floors, overhead, starting, suite, training
from tests.benchmarks.__main__ import ROWS
from tests.benchmarks.racing import race
from tests.benchmarks.reference import gap, reference_loop
from tests.benchmarks.table import Row, default_file, machine, render, write

CPU = torch.device("cpu")
TINY = {"width": 4, "batch": 4, "latent": 4}


@pytest.mark.parametrize(
    ("dataset", "variant"),
    [
        ("ring8", "gan"),
        ("ring8", ("wgan-gp", {"penalty_weight": 0.1})),
        ("digits", "dcgan"),
        ("digits", ("wgan", {"boost": False, "clip": 0.02})),
        ("digits", "sngan"),
        ("digits", "lsgan"),
    ],
)
def test_the_reference_loop_reaches_the_same_losses(dataset: str, variant: str) -> None:
    spec = make_spec(dataset, variant, precision="float64", seed=3)
    trainer = make_trainer([spec, make_spec(dataset, variant, precision="float64", seed=4)])
    loop = reference_loop(spec, training.examples_of(dataset, 64), CPU)
    assert gap(trainer, loop, 4) < 1e-9


def test_a_loop_of_another_recipe_does_not() -> None:
    spec = make_spec("ring8", "lsgan", precision="float64")
    loop = reference_loop(make_spec("ring8", precision="float64"), make_data(), CPU)
    assert gap(make_trainer([spec]), loop, 2) > 0.01


def make_data() -> training.Examples:
    return training.examples_of("ring8", 0)


def test_the_reference_loop_knows_no_tricks() -> None:
    with pytest.raises(ValueError, match="no tricks"):
        reference_loop(make_spec(tricks=["label-smoothing"]), make_data(), CPU)


def test_it_reads_every_image_once_an_epoch_and_as_numbers() -> None:
    images = training.examples_of("digits", 24)
    loop = reference_loop(make_spec("digits", "dcgan"), images, CPU)
    seen = torch.cat([loop.source("discriminator").real for _ in range(3)])
    expected = images.values[:].float() / 127.5 - 1

    def order(values: torch.Tensor) -> torch.Tensor:
        return values.flatten(1).double().sum(1).sort().values

    torch.testing.assert_close(order(seen), order(expected), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("name", training.CASES)
def test_every_cohort_is_raced(name: str) -> None:
    case = training.CASES[name]
    tiny = replace(case, runs=2, settings={**case.settings, **TINY})
    row = training.measure(
        tiny, device="cpu", rounds=1, seconds=0.0, workers=(0,), examples=16, followed=1
    )
    assert len(row.values) == 1
    assert row.median > 0
    assert row.verdict in ("pass", "falls short")
    assert row.floor is not None
    assert 0 < row.floor < 1
    rates = row.figures["run_steps_per_second"]
    assert rates.keys() == {"cohort", "reference, 0 workers"}
    assert row.figures["ratio_in_own_seconds"] > 0
    json.dumps(row.as_json(), allow_nan=False)


def test_floors_of_a_fully_connected_step_by_hand() -> None:
    batch, width, latent = 8, 16, 4
    spec = make_spec("ring8", batch=batch, width=width, latent=latent)
    operations, moved = floors.count(make_trainer([spec]))
    G = [(latent, width), (width, width), (width, 2)]
    D = [(2, width), (width, width), (width, 1)]
    passes: list[tuple[int, int, int]] = []  # rows, inner and columns of each product

    def forward(layers: list[tuple[int, int]]) -> None:
        passes.extend((batch, a, b) for a, b in layers)

    def backward(layers: list[tuple[int, int]], *, weights: bool, first: bool) -> None:
        for position, (a, b) in enumerate(layers):
            if weights:
                passes.append((a, batch, b))
            if position or first:
                passes.append((batch, b, a))

    forward(G)  # D's update: a fake batch without gradient, real and fake through D and back
    for _ in range(2):
        forward(D)
        backward(D, weights=True, first=False)
    forward(G)  # G's: through D to G's weights
    forward(D)
    backward(D, weights=False, first=True)
    backward(G, weights=True, first=False)
    assert operations == sum(2 * n * m * k for n, m, k in passes)
    parameters = sum(a * b + b for a, b in [*G, *D])
    products = sum(n * m + m * k + n * k for n, m, k in passes)
    assert moved == pytest.approx(4 * (products + 6 * parameters), rel=0.1)


def test_floors_of_convolutions_do_not_depend_on_the_cohort() -> None:
    specs = [make_spec("digits", "wgan-gp", seed=seed, network="dcgan") for seed in range(3)]
    operations, moved = floors.count(make_trainer(specs[:1]))
    found = floors.floors(make_trainer(specs[:1]), 3)
    assert (found.operations, found.bytes) == (3 * operations, 3 * moved)
    assert found.seconds == max(found.operations / found.rate, found.bytes / found.bandwidth)
    assert 1e8 < found.rate < 1e16
    assert 1e8 < found.bandwidth < 1e15


def test_ways_that_do_not_train_the_same_are_not_raced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "gap", lambda *given: 0.5)
    tiny = replace(training.CASES["mlp"], runs=1, settings={**training.MLP, **TINY})
    with pytest.raises(ValueError, match=r"differ by 0\.5"):
        training.measure(tiny, rounds=1, seconds=0.0, workers=(0,))


def test_a_suite_is_measured_cohort_by_cohort() -> None:
    row = suite.measure("smoke", device="cpu", rounds=1, seconds=0.0, examples=64)
    assert row.figures["cohorts"] == 10
    assert row.figures["run_steps"] == 20 * 200
    assert row.values[0] > 0


def test_the_whole_loop_makes_as_many_steps_as_the_bare_one() -> None:
    case = replace(training.CASES["mlp"], runs=2, settings={**training.MLP, **TINY})
    row = overhead.measure(case, device="cpu", rounds=2, seconds=0.0)
    assert row.unit == "%"
    assert len(row.values) == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["dcgan-1", "dcgan-16", "dcgan-64", "resnet", "suite"])
def test_rows_of_a_gpu_are_skipped_without_one(name: str) -> None:
    assert ROWS[name]().verdict == "skipped (no GPU)"


def test_a_finished_suite_is_finished(tmp_path: Path) -> None:
    file = starting.finished_suite(tmp_path, 10)
    assert len(list((tmp_path / "finished" / "runs").glob("*/events.jsonl"))) == 10
    assert "seeds: 1" in file.read_text(encoding="utf-8")


def test_ways_are_timed_in_turn() -> None:
    order: list[str] = []
    ways = {name: (lambda name=name: order.append(name)) for name in "ab"}
    found = race(ways, 2, CPU, 0.0)
    assert {name: len(times) for name, times in found.items()} == {"a": 2, "b": 2}
    assert order[-4:] == ["a", "b", "b", "a"]


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (Row("r", 5, "×", [4.0, 5.0, 9.0]), "pass"),
        (Row("r", 5, "×", [4.0, 4.9, 9.0]), "falls short"),
        (Row("r", 2, "s", [1.0, 2.0, 9.0]), "pass"),
        (Row("r", 3, "%", [-1.0, 3.1, 9.0]), "falls short"),
        (Row("r", 3, "×", skipped="no GPU"), "skipped (no GPU)"),
    ],
)
def test_verdicts(row: Row, verdict: str) -> None:
    assert row.verdict == verdict
    assert row.as_json()["verdict"] == verdict


def test_table_and_file(tmp_path: Path) -> None:
    rows = [
        Row("one thing", 5, "×", [4.0, 6.0, 7.0], floor=0.25, figures={"runs": 3}),
        Row("another", 3, "×", skipped="no GPU"),
    ]
    written = io.StringIO()
    render(rows, Console(file=written, width=120))
    for word in ("one thing", "6.00×", "5.00× – 6.50×", "≥ 5 ×", "25%", "pass", "no GPU"):
        assert word in written.getvalue()
    file = tmp_path / "new" / "result.json"
    write(rows, file, 0.5)
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["machine"] == machine()
    assert found["load_before"] == 0.5
    assert found["rows"][0]["values"] == [4.0, 6.0, 7.0]
    assert found["rows"][0]["runs"] == 3
    assert "values" not in found["rows"][1]


def test_results_are_named_by_the_device() -> None:
    described = {"gpu": "NVIDIA H200", "cpu": "AMD EPYC", "cores": 2}
    assert default_file(described).name == "nvidia-h200.json"
    assert default_file({**described, "gpu": None}).name == "amd-epyc-2-cores.json"


@pytest.mark.parametrize("way", convolving.WAYS.values(), ids=convolving.WAYS)
def test_every_way_to_convolve_gives_the_same(way: convolving.Convolution) -> None:
    draws = torch.Generator().manual_seed(0)
    x = torch.rand(3, 2, 4, 8, 8, generator=draws, dtype=torch.float64).requires_grad_()
    weight = torch.rand(3, 5, 4, 4, 4, generator=draws, dtype=torch.float64).requires_grad_()
    torch.testing.assert_close(way(x, weight), convolving.stacked(x, weight))
    expected = convolving.once(convolving.stacked, x, weight)
    for found, gradient in zip(convolving.once(way, x, weight), expected, strict=True):
        torch.testing.assert_close(found, gradient)


@pytest.mark.parametrize("case", compiling.CASES, ids=lambda case: case.variant)
def test_what_is_compiled_is_what_was_recorded(case: training.Case) -> None:
    data = training.examples_of(case.dataset, 64)
    settings = {**case.settings, **TINY}
    specs = [make_spec(case.dataset, case.variant, seed=seed, **settings) for seed in range(2)]
    recorder = compiling.Kept()
    trainer = Trainer(specs, data, CPU, recorder)
    for _ in range(compiling.RECORDED_AFTER):
        trainer.train_step()
    assert len(recorder.tapes) == 2
    for tape, replay in recorder.tapes:
        module, given = tape.graph()
        before = [tensor.detach().clone() for tensor in trainer.tree.leaves()]
        replay()
        after = [tensor.detach().clone() for tensor in trainer.tree.leaves()]
        assert not all(map(torch.equal, before, after))
        with torch.no_grad():
            for tensor, was in zip(trainer.tree.leaves(), before, strict=True):
                tensor.copy_(was)
            module(*given)
        assert all(map(torch.equal, trainer.tree.leaves(), after))
