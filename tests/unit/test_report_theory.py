"""The chapter beside theory: closed forms against the variants, D beside the optimal one."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.parts import variants
from harness.store.events import LineFile
from harness.store.log import EventLog
from harness.store.packed import Packed
from harness.store.reading import read_suite
from reports.build import compose, write_report
from reports.cells import SuiteCells, group
from reports.figures import theory as formulas
from reports.figures.theory import Snapshot, optimal_answer
from reports.sections import theory
from tests.stores import build_store

LOGITS = torch.linspace(-9, 9, 37, dtype=torch.float64)
CLOSED = {
    "gan": (formulas.non_saturating_loss, formulas.non_saturating_gradient),
    "gan-saturating": (formulas.saturating_loss, formulas.saturating_gradient),
}
X = np.linspace(-1.95, 1.95, 40)


@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms_are_the_variants_own_losses(name: str) -> None:
    logits = LOGITS.clone().requires_grad_()
    loss = variants.get(name)().fooling_loss(logits)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    d = LOGITS.sigmoid().numpy()
    expected_loss, expected_gradient = (formula(d) for formula in CLOSED[name])
    np.testing.assert_allclose(loss.detach().numpy(), expected_loss, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(gradient.numpy(), expected_gradient, rtol=1e-9)


@pytest.mark.parametrize(("loss", "gradient"), CLOSED.values(), ids=CLOSED)
def test_gradients_are_the_losses_own(loss: object, gradient: object) -> None:
    """By central differences over the logit, whether or not a variant has the loss."""
    assert callable(loss) and callable(gradient)

    def of_logit(f: np.ndarray) -> np.ndarray:
        return loss(1 / (1 + np.exp(-f)))

    f, h = np.linspace(-5, 5, 21), 1e-5
    numeric = (of_logit(f + h) - of_logit(f - h)) / (2 * h)
    np.testing.assert_allclose(gradient(1 / (1 + np.exp(-f))), numeric, rtol=1e-6, atol=1e-9)


def snapshot(generated: np.ndarray, answer: np.ndarray | None, *, share: bool = True) -> Snapshot:
    return Snapshot(100, X, bump(0.0), generated, answer, share)


def bump(centre: float) -> np.ndarray:
    """Return a density of width 0.8 on the grid, which integrates to 1."""
    density = np.where(np.abs(X - centre) < 0.4, 1.0, 0.0)
    return density / (density.sum() * 0.1)


def test_the_optimal_answer() -> None:
    p, q = np.array([1.0, 3.0, 0.0, 0.0, 1e-9]), np.array([1.0, 1.0, 2.0, 0.0, 0.0])
    np.testing.assert_array_equal(optimal_answer(p, q), [0.5, 0.75, 0.0, np.nan, np.nan])


def test_an_optimal_discriminator_deviates_by_nothing() -> None:
    q = bump(0.4)
    best = np.nan_to_num(optimal_answer(bump(0.0), q), nan=0.123)
    found = theory.deviations(snapshot(q, best))
    assert found["optimum"] == pytest.approx(0)
    # Half of each density is where the other is, and there D* is ½; elsewhere it is 0 or 1.
    assert found["variation"] == pytest.approx(0.5)
    assert found["half"] == pytest.approx(0.25)


def test_at_equilibrium_half_is_optimal() -> None:
    found = theory.deviations(snapshot(bump(0.0), np.full_like(X, 0.5)))
    assert found == pytest.approx({"variation": 0, "optimum": 0, "half": 0})


def test_samples_off_the_grid_count_in_full() -> None:
    found = theory.deviations(snapshot(np.zeros_like(X), np.ones_like(X)))
    assert found["variation"] == pytest.approx(1)
    assert found["optimum"] == pytest.approx(0)


def test_a_critic_has_no_optimum() -> None:
    for shown in (snapshot(bump(0.4), X, share=False), snapshot(bump(0.4), None)):
        assert set(theory.deviations(shown)) == {"variation"}


def line_suite(root: Path, *names: str, seeds: int = 3) -> SuiteCells:
    """Write a suite of one-dimensional runs, of which seed s deviates from D* by s / 10."""
    build_store(root, datasets=("line",), variants=names, tricks=("none",), seeds=seeds)
    cells = group(read_suite(root))
    q = bump(0.4)
    for cell in cells.cells:
        for result in cell.results:
            assert result.record is not None
            with EventLog(result.record.path / "events.jsonl") as log:
                for step in (0, 80, 160, 240):
                    off = result.planned.seed / 10
                    answer = np.clip(optimal_answer(bump(0.0), q), off, 1 - off)
                    arrays = {"x": X, "data": bump(0.0), "generated": q}
                    arrays["answer"] = np.nan_to_num(answer, nan=0.5)
                    file = f"samples/line-{step:08d}.npz"
                    np.savez(result.record.path / file, **arrays)
                    share = cell.variant != "wgan-gp"
                    log.append(LineFile(step=step, file=file, share=share))
    return group(read_suite(root))


def test_table_and_figure_of_the_optimum(tmp_path: Path) -> None:
    root = tmp_path / "s"
    line_suite(root, "gan", "wgan-gp")
    write_report(root)
    assert (root / "report" / "figures" / "optimum-line.svg").stat().st_size > 5000
    text = (root / "report" / "tables" / "optimum-line.csv").read_text()
    gan, critic = csv.DictReader(io.StringIO(text))
    cells = group(read_suite(root))
    finals = [r.planned.seed for r in cells.cells[0].finals]
    # Where D* is 0 or 1, which half of the mixture is, D is off by a tenth of the seed.
    assert float(gan["|D − D*| ↓"]) == pytest.approx(np.mean(finals) / 10 / 2)
    assert gan["|D − D*| ↓ n"] == str(len(finals))
    assert critic["|D − D*| ↓"] == ""
    assert float(critic["½∫|p − q| ↓"]) == pytest.approx(0.5)
    for name in ("index.html", "report.md"):
        assert "how near D came to its optimum" in (root / "report" / name).read_text()


def test_snapshots_are_the_first_the_middle_and_the_last(tmp_path: Path) -> None:
    (cell,) = line_suite(tmp_path / "s", "gan", seeds=1).cells
    steps = [found.step for found in theory.snapshots_of(cell.results[0], 3)]
    assert steps == [0, 160, 240]


@pytest.mark.parametrize("damage", ["absent", "torn", "text", "shape", "nan", "names", "outside"])
def test_a_damaged_snapshot_is_left_out(damage: str, tmp_path: Path) -> None:
    (cell,) = line_suite(tmp_path / "s", "gan", seeds=1).cells
    (result,) = cell.results
    assert result.record is not None
    file = result.record.path / "samples" / "line-00000240.npz"
    good = dict(np.load(file))
    event = result.record.of_type(LineFile)[-1]
    if damage == "absent":
        file.unlink()
    elif damage == "torn":
        file.write_bytes(file.read_bytes()[:300])
    elif damage == "text":
        file.write_text("nothing of the kind")
    elif damage == "outside":
        (tmp_path / "s" / "line.npz").write_bytes(file.read_bytes())
        kept = [other for other in result.record.events if other != event]
        event = replace(event, file="../../line.npz")
        result = replace(result, record=replace(result.record, events=Packed([*kept, event])))
    else:
        wrong = {"shape": good["data"][:-1], "nan": good["data"] * np.nan, "names": None}[damage]
        arrays = {k: v for k, v in good.items() if k != "data"}
        np.savez(file, **arrays, **({} if wrong is None else {"data": wrong}))
    assert theory.read_snapshot(result, event) is None
    assert [s.step for s in theory.snapshots_of(result, 9)] == [0, 80, 160]


@pytest.mark.usefixtures("unrendered")
def test_gradients_are_shown_where_the_two_losses_are_compared(tmp_path: Path) -> None:
    for names, shown in ((("gan", "gan-saturating"), True), (("gan", "wgan-gp"), False)):
        root = build_store(tmp_path / names[1], variants=names, datasets=("ring8",), seeds=2)
        figures = {figure.name for figure in compose(root).figures()}
        assert ("generator-gradients" in figures) is shown


def test_no_chapter_where_theory_has_nothing_to_say(tmp_path: Path) -> None:
    cells = group(read_suite(build_store(tmp_path / "s", variants=("gan",), seeds=1)))
    assert theory.build(cells) is None
