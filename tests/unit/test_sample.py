"""Proves that samples are those of the run's own evaluations, and what sheets show of them."""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from typer.testing import CliRunner

from harness.cli import app
from harness.datasets.base import Examples, to_bytes
from harness.errors import GanbenchError, StoreError
from harness.jobs import training_loop
from harness.jobs.job import Job
from harness.networks.base import build_generator
from harness.networks.blueprint import Blueprint
from harness.networks.multiple import Generators
from harness.parts import Condition, Draws, variants
from harness.sampling.codes import code_names, parse_classes, parse_code, sweep
from harness.sampling.generator import CHUNK, TrainedGenerator, load_generator
from harness.sampling.latents import parse_arithmetic, slerp, total
from harness.sampling.pictures import CELL, GAP, Tile, draw_points, draw_sheet
from harness.sampling.sheets import Request, Sheet, sample
from harness.store.folders import Store
from harness.store.reading import read_run
from harness.testing.specs import make_spec
from harness.training.checkpoint import find_checkpoints, last_state, save_checkpoint
from harness.training.trainer import Trainer
from harness.variants.gan import GAN

CPU = torch.device("cpu")
SPECS = {
    "images": make_spec("digits", "dcgan", seed=3, steps=10, evaluate_every=5, width=4),
    "noisy": make_spec(
        "digits", "dcgan", [("dropout-g", {"at_test": True})], seed=3, steps=10, width=4
    ),
    "points": make_spec("ring8", "gan", seed=1, steps=10),
    "exact": make_spec("digits", "gan", seed=3, steps=10, width=4, precision="float64"),
    "classes": make_spec("digits", "cgan", seed=3, steps=10, width=4),
    "codes": make_spec("digits", "infogan", seed=3, steps=10, width=4),
    "several": make_spec("digits", "mad-gan", ["ema", "latent"], seed=3, steps=10, width=4),
    "virtual": make_spec("digits", "dcgan", ["virtual-batch-norm"], seed=3, steps=10, width=4),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Train one small run of each kind."""
    store = Store(tmp_path_factory.mktemp("runs") / "store")
    for spec in SPECS.values():
        assert Job(store, CPU).train([spec]) == 0
    return {name: store.folder(spec) for name, spec in SPECS.items()}


def pixels(data: bytes | Path) -> np.ndarray:
    source = io.BytesIO(data) if isinstance(data, bytes) else data
    with Image.open(source) as image:
        return np.asarray(image)


def cut(sheet: np.ndarray, row: int, column: int, *, caption: int = 0, margin: int = 0) -> Tensor:
    """Cut a 16×16 cell out of a sheet and undo its enlargement."""
    size, scale = CELL + GAP, CELL // 16
    top = GAP + row * (size + caption) + caption
    left = margin + GAP + column * size
    cell = sheet[top : top + CELL, left : left + CELL]
    assert (np.repeat(np.repeat(cell[::scale, ::scale], scale, 0), scale, 1) == cell).all()
    return torch.from_numpy(cell[::scale, ::scale, 0].copy())


class TestSlerp:
    def test_follows_the_great_arc(self) -> None:
        """Points at 0°, 30°, 60°, 90° of a circle of radius 3, worked out by trigonometry."""
        a = torch.tensor([[3.0, 0.0]], dtype=torch.float64)
        b = torch.tensor([[0.0, 3.0]], dtype=torch.float64)
        expected = [
            [3 * math.cos(k * math.pi / 6), 3 * math.sin(k * math.pi / 6)] for k in range(4)
        ]
        torch.testing.assert_close(
            slerp(a, b, 4)[0], torch.tensor(expected, dtype=torch.float64), atol=1e-12, rtol=0
        )

    def test_rows_one_by_one(self) -> None:
        draw = torch.Generator().manual_seed(0)
        a, b = torch.randn(2, 5, 7, dtype=torch.float64, generator=draw)
        found = slerp(a, b, 6)
        for row, (x, y) in enumerate(zip(a.numpy(), b.numpy(), strict=True)):
            omega = math.acos(x @ y / math.sqrt((x @ x) * (y @ y)))
            for step in range(6):
                t = step / 5
                point = (math.sin((1 - t) * omega) * x + math.sin(t * omega) * y) / math.sin(omega)
                np.testing.assert_allclose(found[row, step].numpy(), point, atol=1e-12)
        torch.testing.assert_close(found[:, 0], a)
        torch.testing.assert_close(found[:, -1], b)

    @pytest.mark.parametrize("factor", [1.0, 2.5, -1.0])
    def test_parallel_latents_are_joined_by_a_line(self, factor: float) -> None:
        a = torch.tensor([[1.0, 2.0, 2.0]])
        found = slerp(a, factor * a, 5)[0]
        line = torch.stack([(1 - t) * a[0] + t * factor * a[0] for t in torch.linspace(0, 1, 5)])
        torch.testing.assert_close(found, line)

    def test_keeps_away_from_the_origin(self) -> None:
        draw = torch.Generator().manual_seed(0)
        a, b = torch.randn(2, 50, 100, generator=draw)
        norms = slerp(a, b, 9).norm(dim=-1)
        assert norms[:, 4].mean() > 0.95 * a.norm(dim=-1).mean()
        assert ((a + b) / 2).norm(dim=-1).mean() < 0.75 * a.norm(dim=-1).mean()


class TestArithmetic:
    @pytest.mark.parametrize(
        ("text", "terms"),
        [
            ("3", [(1, (3,))]),
            ("3+7-12", [(1, (3,)), (1, (7,)), (-1, (12,))]),
            (" -1 + 2 ", [(-1, (1,)), (1, (2,))]),
            ("mean(1,4,9)-mean( 2 , 3 )", [(1, (1, 4, 9)), (-1, (2, 3))]),
            ("mean(5) − 10000", [(1, (5,)), (-1, (10_000,))]),
        ],
    )
    def test_what_it_reads(self, text: str, terms: list[tuple[int, tuple[int, ...]]]) -> None:
        assert [(term.sign, term.cells) for term in parse_arithmetic(text)] == terms

    @pytest.mark.parametrize(
        ("text", "what", "position"),
        [
            ("", "a cell's number", 1),
            ("3+", "a cell's number", 3),
            ("3 7", r"\+ or −", 3),
            ("3+7-", "a cell's number", 5),
            ("0+1", "numbered 1 … 10000", 1),
            ("1+10001", "numbered 1 … 10000", 3),
            ("1+" + "9" * 5000, "numbered 1 … 10000", 3),
            ("1.5", r"\+ or −", 2),
            ("2*3", r"\+ or −", 2),
            ("max(1,2)", "number or mean", 1),
            ("mean 3", r"\( after mean", 6),
            ("mean()", "a cell's number", 6),
            ("mean(1,)", "a cell's number", 8),
            ("mean(1 2)", r", or \)", 8),
            ("mean(1,2", r", or \)", 9),
            ("1+²", "a cell's number", 3),
        ],
    )
    def test_errors_say_where(self, text: str, what: str, position: int) -> None:
        with pytest.raises(GanbenchError, match=what) as caught:
            parse_arithmetic(text)
        message, shown, pointer = str(caught.value).splitlines()
        assert f"at position {position}" in message
        assert shown == f"  {text}"
        assert pointer.index("^") == 2 + position - 1

    def test_adds_up(self) -> None:
        cells = torch.tensor([[1.0, 10], [2, 20], [4, 40], [8, 80]])
        terms = parse_arithmetic("mean(1,2,3) - mean(2,4) + 3")
        expected = [(1 + 2 + 4) / 3 - (2 + 8) / 2 + 4, 10 * ((1 + 2 + 4) / 3 - (2 + 8) / 2 + 4)]
        torch.testing.assert_close(total(terms, cells), torch.tensor(expected))


INFO = Condition(categories=(3, 2), continuous=2)
CLASSES = Condition(classes=4)


class TestCondition:
    def test_names(self) -> None:
        assert list(code_names(INFO)) == [
            "categorical1", "categorical2", "continuous1", "continuous2",
        ]  # fmt: skip
        assert code_names(CLASSES) == {}

    def test_sweeps(self) -> None:
        y = torch.tensor([[1.0, 0, 0, 0, 1, 0.25, -0.75]])
        swept, values = sweep(y, "continuous2", 5, INFO)
        assert values == ["-2", "-1", "0", "+1", "+2"]
        assert swept[0, :, 6].tolist() == [-2, -1, 0, 1, 2]
        assert swept[0, :, :6].equal(y[:, :6].expand(5, 6))
        swept, values = sweep(y, "categorical2", 99, INFO)
        assert values == ["0", "1"]
        assert swept[0].tolist() == [[1, 0, 0, 1, 0, 0.25, -0.75], [1, 0, 0, 0, 1, 0.25, -0.75]]

    def test_classes_are_read(self) -> None:
        assert parse_classes("all", CLASSES, "cgan") == [0, 1, 2, 3]
        assert parse_classes("2", CLASSES, "cgan") == [2]
        assert parse_classes("3, 0,3", CLASSES, "cgan") == [3, 0, 3]

    def test_classes_go_by_name_and_then_by_number(self) -> None:
        names = ("1", "2", "10", "a, b")
        for text, labels in (
            ("1", [0]), ("2", [1]), ("10", [2]), ("3", [3]), ("0", [0]), ("a, b", [3]),
            ("10,0, 2", [2, 0, 1]), ("all", [0, 1, 2, 3]),
        ):  # fmt: skip
            assert parse_classes(text, CLASSES, "cgan", names) == labels
        assert parse_classes("all", CLASSES, "cgan", ("all", "cat", "dog", "eel")) == [0]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                "cta",
                r"'cta' is no class \(did you mean 'cat'\?\); the classes are cat, dog, eel, fox",
            ),
            ("4", r"'4' is no class; .* or by number 0 … 3, several as 0,1,2, or `all`"),
            ("cat,", "'' is no class; the classes"),
            ("CAT,dog", "'CAT' is no class"),
        ],
    )
    def test_other_names_are_refused_with_those_that_there_are(self, text, message) -> None:
        with pytest.raises(GanbenchError, match=message):
            parse_classes(text, CLASSES, "cgan", ("cat", "dog", "eel", "fox"))

    def test_of_many_classes_only_some_are_listed(self) -> None:
        names = [f"kind {k}" for k in range(1000)]
        with pytest.raises(GanbenchError, match="kind 11 and 988 more, or by number 0 … 999"):
            parse_classes("x", Condition(classes=1000), "cgan", names)

    @pytest.mark.parametrize("text", ["4", "-1", "", "1,", "one", "1.0", "²"])
    def test_other_classes_are_refused(self, text: str) -> None:
        with pytest.raises(GanbenchError, match=r"is no class; the classes are 0 … 3"):
            parse_classes(text, CLASSES, "cgan")

    def test_what_a_generator_does_not_have_is_refused(self) -> None:
        with pytest.raises(GanbenchError, match=r"variant 'gan' is not conditional on a class$"):
            parse_classes("1", Condition(), "gan")
        with pytest.raises(GanbenchError, match=r"has the codes categorical1, .* \(--code\)"):
            parse_classes("1", INFO, "infogan")
        with pytest.raises(GanbenchError, match=r"variant 'gan' has no codes$"):
            parse_code("continuous1", Condition(), "gan")
        with pytest.raises(GanbenchError, match=r"has no codes \(it has classes: --class\)"):
            parse_code("continuous1", CLASSES, "cgan")
        with pytest.raises(GanbenchError, match=r"did you mean 'continuous1'"):
            parse_code("continous1", INFO, "infogan")
        assert parse_code("continuous2", INFO, "infogan") == "continuous2"


class Telltale(nn.Module):
    """Paints what it is given: z's first number in the left half, y · 0.1, 0.2, … in the right."""

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        left = z[:, 0].clamp(-1, 1)
        right = (y * (torch.arange(y.shape[1], dtype=y.dtype) + 1) / 10).sum(1)
        halves = [half[:, None, None, None].expand(-1, 1, 16, 8) for half in (left, right)]
        return torch.cat(halves, dim=3)


@dataclass(frozen=True)
class Uniform:
    """Draws classes and codes as conditional variants do."""

    layout: Condition

    def condition(self, draws: Draws, labels: Tensor | None, count: int) -> Tensor:
        assert (labels is not None) == bool(self.layout.classes)
        return self.layout.draw(draws, labels, count, torch.float32)


def make_conditional(condition: Condition) -> TrainedGenerator:
    counts = (1,) * condition.classes or None
    return TrainedGenerator(
        SPECS["images"],
        10,
        Telltale(),
        4,
        (1, 16, 16),
        condition,
        Uniform(condition),
        class_counts=counts,
    )


def paint(value: float) -> int:
    return int(to_bytes(torch.tensor(value)))


class TestConditionalSheets:
    """Every place of a sheet is where it should be, read off its pixels."""

    def read(self, sheet: np.ndarray, row: int, column: int, **place: int) -> tuple[int, int]:
        cell = cut(sheet, row, column, **place)
        assert (cell[:, :8] == cell[0, 0]).all() and (cell[:, 8:] == cell[0, 8]).all()
        return int(cell[0, 0]), int(cell[0, 8])

    def margin(self, sheet: np.ndarray, columns: int) -> int:
        return sheet.shape[1] - columns * (CELL + GAP) - GAP

    def test_a_row_per_class_shares_its_latents(self) -> None:
        G = make_conditional(CLASSES)
        data, details = Sheet(G, 0, [0, 1, 3]).grid(7, numbered=False)
        assert details == {"samples": 9}
        sheet, z = pixels(data), G.inputs(0, 3)[0]
        for row, k in enumerate((0, 1, 3)):
            for column in range(3):
                left, right = self.read(sheet, row, column, margin=self.margin(sheet, 3))
                assert left == paint(float(z[column, 0].clamp(-1, 1)))
                assert right == paint((k + 1) / 10)

    def test_a_grid_of_one_class_and_of_any(self) -> None:
        G = make_conditional(CLASSES)
        sheet = pixels(Sheet(G, 0, [2]).grid(9, numbered=False)[0])
        assert {self.read(sheet, i, j)[1] for i in range(3) for j in range(3)} == {paint(0.3)}
        sheet = pixels(Sheet(G, 0, None).grid(100, numbered=False)[0])
        seen = {self.read(sheet, i, j)[1] for i in range(10) for j in range(10)}
        assert seen == {paint((k + 1) / 10) for k in range(4)}

    def test_interpolation_holds_the_class(self) -> None:
        G = make_conditional(CLASSES)
        data, _ = Sheet(G, 0, [3, 1]).interpolation(None, 5)
        sheet, z = pixels(data), G.inputs(0, 4)[0]
        path = slerp(z[::2], z[1::2], 5)
        for row, k in enumerate((3, 1)):
            for column in range(5):
                left, right = self.read(sheet, row, column, margin=self.margin(sheet, 5))
                assert left == paint(float(path[row, column, 0].clamp(-1, 1)))
                assert right == paint((k + 1) / 10)
        with pytest.raises(GanbenchError, match="--rows 3 does not go with 2 classes"):
            Sheet(G, 0, [3, 1]).interpolation(3, 5)

    def test_interpolation_without_a_class_draws_one_per_row(self) -> None:
        sheet = pixels(Sheet(make_conditional(CLASSES), 0, None).interpolation(6, 3)[0])
        rows = [{self.read(sheet, row, column)[1] for column in range(3)} for row in range(6)]
        assert all(len(row) == 1 for row in rows) and len(set.union(*rows)) > 1

    def test_a_sweep_varies_one_code(self) -> None:
        G = make_conditional(Condition(continuous=2))
        data, details = Sheet(G, 0, None).sweep("continuous1", 2, 5)
        assert details["values"] == ["-2", "-1", "0", "+1", "+2"]
        sheet, (z, y) = pixels(data), G.inputs(0, 2)
        assert y is not None
        for row in range(2):
            for column, value in enumerate((-2, -1, 0, 1, 2)):
                top = 18 if row == 0 else 0
                shifted = sheet if row == 0 else sheet[18:]
                left, right = self.read(shifted, row, column, caption=top)
                assert left == paint(float(z[row, 0].clamp(-1, 1)))
                assert right == paint(0.1 * value + 0.2 * float(y[row, 1]))

    def test_a_categorical_code_takes_no_steps(self) -> None:
        G = make_conditional(INFO)
        assert Sheet(G, 0, None).sweep("categorical1", 2, None)[1]["values"] == ["0", "1", "2"]
        with pytest.raises(GanbenchError, match="categorical1 has 3 categories"):
            Sheet(G, 0, None).sweep("categorical1", 2, 5)

    def test_arithmetic_stays_in_its_class_and_sums_codes(self) -> None:
        with pytest.raises(GanbenchError, match="say which one with --class"):
            Sheet(make_conditional(CLASSES), 0, None).arithmetic("1+2")
        # The two signs are narrow columns of 39 pixels beside three images.
        width = 3 * CELL + 2 * 39 + 6 * GAP
        place = GAP + 2 * (CELL + 39 + 2 * GAP)
        for condition, classes in ((CLASSES, [1]), (Condition(continuous=2), None)):
            G = make_conditional(condition)
            sheet = pixels(Sheet(G, 0, classes).arithmetic("3-1")[0])
            assert sheet.shape[1] == width
            left, right = (int(sheet[50, place + x, 0]) for x in (10, 50))
            z, y = G.inputs(0, 3)
            assert y is not None
            assert left == paint(float((z[2, 0] - z[0, 0]).clamp(-1, 1)))
            code = 0.1 * float(y[2, 0] - y[0, 0]) + 0.2 * float(y[2, 1] - y[0, 1])
            assert right == paint(0.2 if classes else code)

    def test_numbers_need_one_class(self) -> None:
        with pytest.raises(GanbenchError, match="give one --class"):
            Sheet(make_conditional(CLASSES), 0, [0, 1]).grid(8, numbered=True)


@pytest.mark.parametrize("name", sorted(SPECS.keys() - {"points"}))
def test_a_grid_without_a_seed_is_the_runs_own(
    name: str, runs: dict[str, Path], tmp_path: Path
) -> None:
    """Pixel for pixel what the job wrote at the last step, dropout at test time included."""
    written = sample(runs[name], Request(), tmp_path / "grid.png", force=False)
    assert (written["step"], written["seed"], written["samples"]) == (10, 3, 64)
    sheet = pixels(tmp_path / "grid.png")
    own = pixels(runs[name] / "samples" / "step-00000010.png")
    for row in range(8):
        for column in range(8):
            tile = own[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
            # One level apart where a batch of one run rounds otherwise than a stack of runs.
            cell = cut(sheet, row, column).numpy()
            assert np.abs(cell.astype(int) - tile.astype(int)).max() <= 1


@pytest.mark.parametrize("name", SPECS)
def test_samples_are_those_of_an_evaluation(name: str, runs: dict[str, Path]) -> None:
    """More than one chunk of latents, from the state as the training itself would load it."""
    spec = SPECS[name]
    G = load_generator(runs[name])
    data = torch.zeros(100, *G.shape, dtype=torch.float32 if name == "points" else torch.uint8)
    labels = None if name == "points" else torch.zeros(100, dtype=torch.int64)
    trainer = Trainer([spec], Examples(data, labels), CPU)
    saved = last_state(runs[name], spec.id)
    assert saved is not None
    trainer.networks.load(0, saved.tensors())
    trainer.game.class_counts = G.class_counts
    expected = trainer.game.sample(600, "evaluation")[0]
    made = G(*G.inputs(spec.seed, 600), seed=spec.seed)
    assert made.dtype == expected.dtype
    tolerance = 1e-12 if name == "exact" else 1e-5
    torch.testing.assert_close(made, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("hook", ["latents", "evaluated"])
def test_what_parts_change_for_evaluation_is_changed_here(
    hook: str, runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another law of latents, and other weights, as an average of them would be."""
    plain = load_generator(runs["points"])
    if hook == "latents":
        monkeypatch.setattr(GAN, "latents", lambda self, z: z.tanh())
    else:
        monkeypatch.setattr(GAN, "evaluated", lambda self, game, theta: theta / 2)
    G, spec = load_generator(runs["points"]), SPECS["points"]
    trainer = Trainer([spec], Examples(torch.zeros(100, 2), None), CPU)
    saved = last_state(runs["points"], spec.id)
    assert saved is not None
    trainer.networks.load(0, saved.tensors())
    z, y = G.inputs(spec.seed, 20)
    made = G(z, y, seed=0)
    torch.testing.assert_close(made, trainer.game.sample(20, "evaluation")[0])
    assert not torch.allclose(made, plain(z, y, seed=0), atol=1e-3)


class TestSeveralGenerators:
    def make(self) -> tuple[TrainedGenerator, nn.ModuleList]:
        plan = Blueprint.plain("toy2d", 8, 4, (2,))
        members = nn.ModuleList(build_generator(plan) for _ in range(3))
        generators = Generators(list(members))
        spec, none = SPECS["points"], Condition()
        G = TrainedGenerator(
            spec, 1, generators.eval(), 4, (2,), none, Uniform(none), copies=len(members)
        )
        return G, members

    def test_take_turns_or_keep_to_a_place(self) -> None:
        G, members = self.make()
        z = torch.randn(1000, 4)
        places = torch.randint(50, (1000,))
        kept, turns = G(z, None, seed=0, places=places), G(z, None, seed=0)
        every = torch.stack([member(z) for member in members]).detach()
        for i in range(1000):
            torch.testing.assert_close(kept[i], every[places[i] % 3, i])
            # Turns begin anew with every chunk, as in an evaluation.
            torch.testing.assert_close(turns[i], every[i % CHUNK % 3, i])


def test_draws_do_not_depend_on_the_count(runs: dict[str, Path]) -> None:
    G = load_generator(runs["noisy"])
    z, _ = G.inputs(5, CHUNK + 10)
    assert G.inputs(5, 7)[0].equal(z[:7])
    assert not G.inputs(6, 7)[0].equal(z[:7])
    many, few = G(z, None, seed=5), G(z[:7], None, seed=5)
    torch.testing.assert_close(many[:7], few)
    assert not torch.allclose(G(z[:7], None, seed=6), few)


def test_cells_of_arithmetic_are_those_of_the_numbered_grid(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    for name, request in (
        ("grid", Request(seed=4, count=9, numbered=True)),
        ("sum", Request(seed=4, arithmetic="mean(2,5) - 9")),
    ):
        sample(runs["noisy"], request, tmp_path / f"{name}.png", force=False)
    grid, sheet = (pixels(tmp_path / f"{name}.png") for name in ("grid", "sum"))
    caption = 18
    assert grid.shape[0] == 3 * (CELL + caption) + 4 * GAP
    ninth = cut(grid, 2, 2, caption=caption)
    # Columns: an operand, a narrow sign, an operand, a narrow sign, the result.
    left = GAP + CELL + GAP + 39 + GAP
    shown = sheet[GAP + caption : GAP + caption + CELL : 4, left : left + CELL : 4, 0]
    assert (shown == ninth.numpy()).all()
    # Below the mean are the cells it averages.
    for depth, number in enumerate((2, 5), start=1):
        member = cut(sheet, depth, 0, caption=caption)
        assert member.equal(cut(grid, *divmod(number - 1, 3), caption=caption))


class TestFinishedRuns:
    def test_keep_their_networks_and_nothing_else(self, runs: dict[str, Path]) -> None:
        path = runs["images"]
        assert list((path / "checkpoints").iterdir()) == []
        kept = load_file(path / "networks.safetensors")
        assert {name.partition("/")[0] for name in kept} == {"generator", "discriminator"}
        saved = last_state(path, SPECS["images"].id)
        assert saved is not None and saved.step == 10

    def test_what_is_kept_is_the_last_checkpoint(
        self, runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(training_loop, "keep_networks", lambda *_: None)
        spec, store = SPECS["images"], Store(tmp_path)
        assert Job(store, CPU).train([spec]) == 0
        (last,) = find_checkpoints(store.folder(spec) / "checkpoints", spec.id)
        everything = last.tensors()
        kept = load_file(runs["images"] / "networks.safetensors")
        assert all(everything[name].equal(value) for name, value in kept.items())
        dropped = {name.partition("/")[0] for name in everything.keys() - kept.keys()}
        assert dropped == {"optimizer_g", "optimizer_d", "monitor"}
        # A checkpoint that a kill left behind is as good.
        G, other = load_generator(store.folder(spec)), load_generator(runs["images"])
        z, _ = G.inputs(0, 3)
        assert G(z, None, seed=0).equal(other(z, None, seed=0))

    def test_a_full_disk_takes_no_result_away(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(training_loop, "keep_networks", full)
        spec, store = SPECS["points"], Store(tmp_path)
        assert Job(store, CPU).train([spec]) == 0
        assert read_run(store.folder(spec)).is_final
        assert "could not tidy up the checkpoints: [Errno 28]" in capsys.readouterr().err
        assert load_generator(store.folder(spec)).step == 10


class TestRunsThatAreNotFinished:
    def begin(self, tmp_path: Path, step: int | None) -> Path:
        """Leave a run behind at a checkpoint, or before any."""
        spec, store = SPECS["points"], Store(tmp_path)
        path = store.create(spec)
        if step is not None:
            trainer = Trainer([spec], Examples(torch.randn(100, 2), None), CPU)
            for _ in range(step):
                trainer.train_step()
            save_checkpoint(
                path / "checkpoints",
                spec.id,
                trainer.state(0),
                trainer.counters(),
                seconds=1.0,
                evaluation_seconds=1.0,
            )
        return path

    def test_are_sampled_from_their_checkpoint(self, tmp_path: Path) -> None:
        path = self.begin(tmp_path / "store", 4)
        assert sample(path, Request(), tmp_path / "x.png", force=False)["step"] == 4

    def test_cannot_be_sampled_before_it(self, tmp_path: Path) -> None:
        path = self.begin(tmp_path, None)
        with pytest.raises(StoreError, match=r"no saved generator: the run is in progress, and no"):
            load_generator(path)

    def test_training_goes_on_as_if_nobody_had_looked(self, tmp_path: Path) -> None:
        path = self.begin(tmp_path / "store", 4)
        before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
        sample(path, Request(), tmp_path / "x.png", force=False)
        assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before


@pytest.mark.parametrize("damage", ["truncated", "flipped", "no sidecar"])
def test_damaged_networks_are_no_generator(
    damage: str, runs: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "run"
    path.mkdir()
    for name in ("spec.json", "events.jsonl", "networks.json", "networks.safetensors"):
        (path / name).write_bytes((runs["images"] / name).read_bytes())
    assert load_generator(path).step == 10
    file = path / "networks.safetensors"
    data = bytearray(file.read_bytes())
    if damage == "truncated":
        del data[-1:]
    elif damage == "flipped":
        data[-1] ^= 1
    else:
        (path / "networks.json").unlink()
    file.write_bytes(data)
    with pytest.raises(StoreError, match=r"the run is (ok|collapsed), and no checkpoint"):
        load_generator(path)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    spec = SPECS["points"]
    path = Store(tmp_path).create(spec)
    other = Trainer([make_spec("ring8", "gan", width=9)], Examples(torch.randn(100, 2), None), CPU)
    save_checkpoint(
        path / "checkpoints",
        spec.id,
        other.state(0),
        other.counters(),
        seconds=0.0,
        evaluation_seconds=0.0,
    )
    message = (
        r"generator/hidden\.hidden1\S+ has the shape \(9, 4\), not \(8, 4\); was it trained by"
    )
    with pytest.raises(StoreError, match=message):
        load_generator(path)


def test_a_generator_that_takes_more_than_z_needs_a_description(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(variants.get("dcgan"), "joins", lambda *_: CLASSES)
    with pytest.raises(StoreError, match="does not say what is joined to its latents"):
        load_generator(runs["images"])


class TestCommand:
    def invoke(self, *arguments: object) -> str:
        done = CliRunner().invoke(app, ["sample", *map(str, arguments)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    def test_json_says_what_was_written(self, runs: dict[str, Path], tmp_path: Path) -> None:
        file = tmp_path / "new" / "folder" / "walk.png"
        output = self.invoke(
            runs["images"], "--interpolate", "--rows", 2, "--steps", 3, "-o", file, "--json"
        )
        assert json.loads(output) == {
            "run": SPECS["images"].id,
            "folder": str(runs["images"]),
            "kind": "interpolation",
            "file": str(file),
            "step": 10,
            "seed": 3,
            "classes": None,
            "samples": 6,
            "rows": 2,
            "steps": 3,
        }
        assert pixels(file).shape == (2 * (CELL + GAP) + GAP, 3 * (CELL + GAP) + GAP, 3)

    def test_defaults_are_in_the_working_directory(
        self, runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert "grid.png: grid of run" in self.invoke(runs["images"])
        assert "seed 0" in self.invoke(runs["images"], "--arithmetic", "1+2", "--seed", 0)
        self.invoke(runs["points"])
        assert sorted(file.name for file in tmp_path.iterdir()) == [
            "arithmetic.png", "grid.png", "plot.png",
        ]  # fmt: skip

    def test_nothing_is_lost_unless_asked(self, runs: dict[str, Path], tmp_path: Path) -> None:
        file = tmp_path / "grid.png"
        file.write_bytes(b"mine")
        with pytest.raises(GanbenchError, match=r"is there already; .* --force"):
            self.invoke(runs["images"], "-o", file)
        assert file.read_bytes() == b"mine"
        self.invoke(runs["images"], "-o", file, "--force")
        assert file.read_bytes().startswith(b"\x89PNG")

    @pytest.mark.parametrize(
        ("run", "arguments", "message"),
        [
            ("images", ["--interpolate", "--code", "c"], "choose one of"),
            ("images", ["--interpolate", "-n", "3"], "--count says nothing about an interpolation"),
            ("images", ["--rows", "3"], "--rows says nothing about a grid, which takes --count"),
            ("images", ["--arithmetic", "1", "--steps", "3"], "nothing about an arithmetic"),
            ("images", ["--arithmetic", "1+"], "found the end at position 3"),
            ("images", ["--class", "3"], "variant 'dcgan' is not conditional"),
            ("images", ["--code", "continuous1"], "variant 'dcgan' has no codes"),
            ("points", ["--interpolate"], "no interpolation here: this run's data are points"),
            ("points", ["--numbered"], "--numbered says nothing about a plot"),
            ("images", ["-o", "grid.jpg"], r"has to end with \.png"),
            ("images", ["-o", "/folder.png"], "No such file|Permission|Read-only|is a folder"),
        ],
    )
    def test_refusals(
        self,
        run: str,
        arguments: list[str],
        message: str,
        runs: dict[str, Path],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "folder.png").mkdir()
        arguments = [word.replace("/folder", str(tmp_path / "folder")) for word in arguments]
        with pytest.raises(GanbenchError, match=message):
            self.invoke(runs[run], *arguments)
        assert [file.name for file in tmp_path.iterdir()] == ["folder.png"]

    def test_a_run_is_found_by_its_id(
        self, runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "results").mkdir()
        (tmp_path / "results" / "mine").symlink_to(runs["images"].parents[1])
        monkeypatch.chdir(tmp_path)
        assert SPECS["images"].id in self.invoke(SPECS["images"].id[:8])


class TestPictures:
    def test_large_images_keep_their_size_and_colours(self) -> None:
        image = torch.full((3, 70, 80), -1.0)
        image[0] = 1.0
        sheet = pixels(draw_sheet([[Tile(image)]]))
        assert sheet.shape == (70 + 2 * GAP, 80 + 2 * GAP, 3)
        assert (sheet[GAP:-GAP, GAP:-GAP] == [255, 0, 0]).all()

    def test_signs_are_drawn_with_a_font_that_has_them(self) -> None:
        """A missing glyph would be a box: taller than wide, where a minus is a flat line."""
        blank = Tile(torch.ones(1, 16, 16))
        sheet = pixels(draw_sheet([[blank, Tile(sign="−"), blank]]))
        ink = np.argwhere(sheet[:, :, 0] < 128)
        height, width = np.ptp(ink, axis=0) + 1
        assert width > 3 * height

    @pytest.mark.parametrize("dimensions", [1, 2])
    def test_points_are_plotted(self, dimensions: int) -> None:
        draw = np.random.default_rng(0)
        names = ("$", "\\frac$_1$")  # which are no formulas
        groups = {
            f"class {name}": draw.normal(k, 1, (50, dimensions)) for k, name in enumerate(names)
        }
        modes = draw.normal(size=(3, 2)) if dimensions == 2 else None
        plot = pixels(draw_points(groups, "two classes", modes))
        # The first two colours of Matplotlib's cycle, one per class, are blue and orange.
        warmth = plot[:, :, 0].astype(int) - plot[:, :, 2]
        assert (warmth < -50).sum() > 50 and (warmth > 50).sum() > 50
