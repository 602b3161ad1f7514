"""What is recorded of a game on the line: densities and D's answer, by place."""

from __future__ import annotations

import math
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.datasets.base import Dataset, Examples, Kind, datasets
from harness.jobs.job import Job
from harness.metrics.line import CELLS, Line
from harness.networks.base import Judgement
from harness.networks.blueprint import Blueprint
from harness.parts import variants
from harness.spec import Split
from harness.store.events import LineFile
from harness.store.folders import Store
from harness.store.reading import read_run
from harness.testing.specs import make_spec
from harness.training.game import Game

CPU = torch.device("cpu")


class Normal(Dataset):
    """A thousand points of N(1, ½²)."""

    id = "normal"
    summary = source = "test"
    kind: ClassVar[Kind] = "points"
    shape: ClassVar[tuple[int, ...]] = (1,)

    def read(self, split: Split, root: Path | None = None) -> Examples:
        seed = ("train", "validation", "test").index(split)
        drawn = np.random.RandomState(seed).normal(1, 0.5, (1000, 1))
        return Examples(torch.from_numpy(drawn.astype(np.float32)), None)

    def density(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.exp(-2 * (x[:, 0] - 1) ** 2) / (0.5 * math.sqrt(2 * math.pi))


class Opaque(Dataset):
    """A line whose density is unknown."""

    id = "opaque"
    summary = source = "test"
    kind: ClassVar[Kind] = "points"
    shape: ClassVar[tuple[int, ...]] = (1,)


class Players(Game):
    """The part of a game that is asked; D(x) of run r has the logit (r + 1) x."""

    def __init__(self, variant: str = "gan", runs: int = 2, **plan: object) -> None:
        def D(x: Tensor, *, training: bool) -> Judgement:
            assert not training
            return Judgement(x[..., 0] * torch.arange(1, runs + 1)[:, None], {})

        D.theta = torch.zeros(runs, 1, dtype=torch.float64)  # type: ignore[attr-defined]
        D.runs = runs  # type: ignore[attr-defined]
        blueprint = Blueprint.plain("toy2d", 8, 4, (1,))
        for name, value in plan.items():
            object.__setattr__(blueprint.discriminator, name, value)
        self.G = self.D = D  # type: ignore[assignment]
        self.blueprint = blueprint
        self.variant = variants.get(variant)()


def line() -> Line:
    found = Line.of(Normal(), Normal().read("train"))
    assert found is not None
    return found


def test_the_grid_spans_the_data_with_a_margin() -> None:
    examples = torch.tensor([[-1.0], [0.5], [3.0]])
    grid = Line(Normal(), examples)
    assert grid.edges[[0, -1]].tolist() == [-2.0, 4.0]
    assert grid.x.shape == (CELLS,)
    assert grid.x[0] == pytest.approx(-2 + 3 / CELLS)
    assert grid.data[30] == Normal().density(grid.x[30:31, None])[0]


def test_data_without_a_line() -> None:
    assert Line.of(datasets.get("ring8")(), Examples(torch.zeros(3, 2), None)) is None
    assert Line.of(Opaque(), Examples(torch.zeros(3, 1), None)) is None


def test_a_density_is_counted_by_cell() -> None:
    grid = line()
    width = grid.edges[1] - grid.edges[0]
    inside = torch.tensor([grid.x[10], grid.x[10], grid.x[40]])
    samples = torch.stack([inside, torch.full((3,), 1e6)])[:, :, None]
    first, second = grid.profiles(samples, None)
    expected = np.zeros(CELLS)
    expected[10], expected[40] = 2 / (3 * width), 1 / (3 * width)
    np.testing.assert_allclose(first.generated, expected)
    assert first.generated.sum() * width == pytest.approx(1)
    assert second.generated.sum() == 0


def test_densities_of_the_same_law_agree() -> None:
    grid = line()
    width = grid.edges[1] - grid.edges[0]
    samples = torch.from_numpy(np.random.RandomState(5).normal(1, 0.5, (1, 200_000, 1)))
    (found,) = grid.profiles(samples, None)
    assert np.abs(found.generated - found.data).sum() * width / 2 < 0.01
    assert found.data.sum() * width == pytest.approx(1, abs=1e-3)


def test_the_answer_is_a_probability_where_the_objective_is_logistic() -> None:
    grid, samples = line(), torch.ones(2, 5, 1)
    for variant in ("gan", "wgan-gp"):
        answers = Players(variant).answers(grid.x[:, None])
        for run, found in enumerate(grid.profiles(samples, answers), start=1):
            logits = run * grid.x
            expected = 1 / (1 + np.exp(-logits)) if variant == "gan" else logits
            np.testing.assert_allclose(found.answer, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("variant", "classes", "share"),
    [
        ("gan", 1, True),
        ("dcgan-softmax", 2, True),
        ("lsgan", 1, True),
        ("sngan", 1, False),
        ("wgan-gp", 1, False),
        ("rsgan", 1, False),
        ("mad-gan", 5, False),
    ],
)
def test_whose_best_answer_is_the_datas_share(variant: str, classes: int, share: bool) -> None:
    assert Players(variant, classes=classes).estimates_share is share


@pytest.mark.parametrize("plan", [{"pack": 2}, {"condition": 3}, {"minibatch": (4, 2)}])
def test_no_answer_where_d_does_not_judge_one_example_alone(plan: dict[str, object]) -> None:
    grid = line()
    answers = Players(**plan).answers(grid.x[:, None])  # type: ignore[arg-type]
    assert answers is None
    assert [p.answer for p in grid.profiles(torch.ones(2, 5, 1), answers)] == [None, None]


def test_a_run_that_is_not_finite_does_not_stop_the_others() -> None:
    samples = torch.ones(2, 5, 1)
    samples[0, 2] = torch.nan
    assert line().profiles(samples, None)[1].generated.sum() > 0


@pytest.mark.parametrize("variant", ["gan", "lsgan", "wgan-gp"])
def test_a_job_records_every_evaluation(
    variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets.names()
    monkeypatch.setitem(datasets._classes, "normal", Normal)
    specs = [make_spec("normal", variant, seed=seed) for seed in range(2)]
    store = Store(tmp_path / "results")
    assert Job(store, CPU).train(specs) == 0
    for spec in specs:
        record = read_run(store.folder(spec))
        events = record.of_type(LineFile)
        assert [event.step for event in events] == [0, 10, 20]
        assert {event.share for event in events} == {variant != "wgan-gp"}
        profiles = [np.load(record.path / event.file) for event in events]
        assert all(
            set(held) == {"x", "data", "generated", "answer"}
            and all(held[name].shape == (CELLS,) for name in held)
            for held in profiles
        )
        assert not np.array_equal(profiles[0]["answer"], profiles[2]["answer"])
        np.testing.assert_array_equal(profiles[0]["data"], profiles[2]["data"])
