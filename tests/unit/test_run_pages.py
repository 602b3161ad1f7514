"""The page of every run: what it says, which runs have one, and when it is written again."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from harness import cli
from harness.commands import run as run_command
from harness.commands.finished import RerunShortcut
from harness.commands.options import RunOptions
from harness.errors import GanbenchError, StoreError
from harness.spec import PartSpec, RunSpec, Settings
from harness.store import merging
from harness.store.events import (
    Attempt,
    Ending,
    EvaluationRow,
    LossRow,
    ProbeRow,
    Protocol,
    SampleFile,
    Sign,
)
from harness.store.folders import Store
from harness.store.log import EventLog
from harness.store.reading import SuiteRecord, read_suite
from harness.store.records import DataFacts, MetricInfo, Provenance
from harness.store.wording import provenance_lines
from harness.suite.load import load_suite
from harness.suite.matrix import Matrix, expand
from reports import cells as cells_module
from reports import moments
from reports.build import is_current, write_report, write_run_page
from reports.cells import CellRuns, SuiteCells, group
from reports.figures.style import evenly
from reports.moments import moments_of
from reports.run_links import RunLinks, chosen, page_name, ranges
from reports.run_pages import RunPages
from reports.run_spec import repeat_command
from reports.sample_files import SampleFolder, is_whole_png
from tests.stores import SETTINGS, Fate, Where, build_store, protocol, write_samples

OUTCOMES = ("ok", "collapsed", "diverged", "oom", "crashed", "preempted", None, "missing")


def one_cell(root: Path, fates: Sequence[str | None], dataset: str = "ring8", **more: Any) -> Path:
    return build_store(
        root, datasets=(dataset,), variants=("gan",), tricks=("none",), seeds=len(fates),
        fate_of=lambda where: Fate(fates[where.seed], 1.5, "D is not finite"), **more,
    )  # fmt: skip


def cells_of(root: Path) -> SuiteCells:
    return group(read_suite(root))


def text_of(page: str) -> str:
    """Return what a reader sees."""
    page = re.sub(r"(?s)<(style|script|svg)\b.*?</\1>", "", page)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def first_page(root: Path) -> str:
    cells = cells_of(root)
    return RunPages(cells).render(cells.cells[0], 0)


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cell with a run of every outcome."""
    return one_cell(tmp_path_factory.mktemp("pages") / "s", OUTCOMES)


class TestContent:
    def test_what_it_is_and_what_became_of_it(self, every: Path) -> None:
        cells = cells_of(every)
        pages = RunPages(cells)
        (cell,) = cells.cells
        shown = [text_of(pages.render(cell, i)) for i in range(7)]
        assert all(f"run {r.planned.id}" in s for r, s in zip(cell.results, shown, strict=False))
        assert all(f"gan ring8, seed {i}" in s for i, s in enumerate(shown))
        assert "✔ ended well" in shown[0] and "✖ diverged at step 200: D is not finite" in shown[2]
        assert "◐ collapsed D is not finite" in shown[1] and "200 collapse begins" in shown[1]
        assert "… in progress no outcome yet" in shown[6]
        assert "in progress, or killed the same command goes on" in shown[6]

    def test_what_has_never_learnt(self, tmp_path: Path) -> None:
        root = one_cell(tmp_path / "s", ["unlearned"])
        shown = text_of(first_page(root))
        assert "○ never learnt D is not finite" in shown and "collapse begins" not in shown

    def test_the_whole_spec_with_what_settings_mean(self, every: Path) -> None:
        shown = text_of(first_page(every))
        for name, field in Settings.model_fields.items():
            assert f" {name} " in shown and (field.description or "") in shown
        assert "lr_g 0.0002" in shown and "replicate 0" in shown
        assert "fingerprint ring80000000" in shown

    def test_options_of_tricks(self, tmp_path: Path) -> None:
        root = one_cell(tmp_path / "s", ["ok"])
        cells = cells_of(root)
        result = cells.cells[0].results[0]
        assert result.record is not None
        spec = result.record.spec.model_copy(
            update={"tricks": (PartSpec(id="dropout-g", options={"p": 0.5, "layers": None}),)}
        )
        object.__setattr__(result.record, "spec", spec)
        shown = text_of(RunPages(cells).render(cells.cells[0], 0))
        assert "Trick id dropout-g p 0.5 layers null" in shown

    def test_curves_hold_the_numbers_of_the_log(self, every: Path) -> None:
        cells = cells_of(every)
        page = RunPages(cells).render(cells.cells[0], 0)
        labels = [html.unescape(label) for label in re.findall(r'aria-label="([^"]*)"', page)]
        assert "fd over training: from 46.50 to 1.500" in labels
        losses = next(label for label in labels if "d_loss" in label)
        assert re.fullmatch(
            r"over training, d_loss: from [\d.]+ to [\d.]+; g_loss: from [\d.]+ to [\d.]+", losses
        )
        # FD, two accuracies, gradients and losses of both: 4 metrics and 3 pairs.
        assert page.count("<svg class") == 1 + 4 + 3
        assert page.count('<polyline class="second') == page.count('class="key second"') == 3

    def test_crosses_and_onsets_only_where_there_was_one(self, every: Path) -> None:
        cells = cells_of(every)
        pages = [RunPages(cells).render(cells.cells[0], i) for i in range(7)]
        assert ['class="cross"' in page for page in pages] == [
            False, False, True, True, True, False, False,
        ]  # fmt: skip
        assert ['class="onset"' in page for page in pages] == [False, True, *[False] * 5]

    def test_raw_and_averaged_weights(self, tmp_path: Path) -> None:
        _, log = run_folder(tmp_path / "s")
        name = "fd[data]@500/test"
        with log:
            begin(log, [MetricInfo(name, "frechet", "distance", "lower", True, 0.1)])
            for step, value in ((0, 9.0), (40, 2.0), (80, 3.0)):
                log.append(
                    EvaluationRow(
                        step=step,
                        kimg=step / 10,
                        seconds=0.1,
                        values={name: value},
                        raw={name: 2 * value},
                    )
                )
        page = first_page(tmp_path / "s")
        assert page.count('<polyline class="raw') == 1 and "averaged weights" in page
        assert "fd[data]@500/test ↓ 3.000 6.000 2.000 40, of 2 9.000 0.1000" in text_of(page)

    def test_numbers_that_are_not_finite(self, tmp_path: Path) -> None:
        _, log = run_folder(tmp_path / "s")
        name = "fd[data]@500/test"
        with log:
            begin(log, [MetricInfo(name, "frechet", "distance", "lower", True)])
            for step, value in ((0, float("nan")), (40, float("inf"))):
                log.append(
                    EvaluationRow(step=step, kimg=0.0, seconds=0.1, values={name: value})
                )  # fmt: skip
            log.append(LossRow(step=40, kimg=1, values={"d_loss": float("nan")}))
        shown = text_of(first_page(tmp_path / "s"))
        assert "no finite value" in shown and "∞ – NaN –" in shown
        assert "first evaluation that is not finite fd NaN" in shown

    def test_before_any_evaluation(self, tmp_path: Path) -> None:
        _, log = run_folder(tmp_path / "s")
        log.close()
        shown = text_of(first_page(tmp_path / "s"))
        assert "Nothing has been measured yet." in shown and "No samples can be shown." in shown
        assert "None have been written yet." in shown
        with log.__class__(log.path) as log:
            begin(log, [MetricInfo("fd", "frechet", "distance", "lower", True)])
        assert "not measured yet" in text_of(first_page(tmp_path / "s"))

    def test_environment_and_what_numbers_rest_on(self, tmp_path: Path) -> None:
        folder, log = run_folder(tmp_path / "s")
        rests = Provenance("data", "", 500, "test", 2000, "train", "float64", 1, "cpu",
                           {"torch": "2.15.0"})  # fmt: skip
        with log:
            log.append(Attempt(attempt=1, resumed_from=0, cohort=("x",)))
            log.append(replace(protocol(images=False), provenance=rests))
        (folder / "environment-001.json").write_text(json.dumps({"versions": {"numpy": "2.4"}}))
        shown = text_of(first_page(tmp_path / "s"))
        for line in provenance_lines(rests):
            assert line in shown
        assert "versions.numpy 2.4" in shown
        (folder / "environment-001.json").write_text("{")
        assert "is damaged" in text_of(first_page(tmp_path / "s"))

    def test_attempts_tell_how_the_ones_before_ended(self, tmp_path: Path) -> None:
        _, log = run_folder(tmp_path / "s")
        with log:
            for number, resumed in ((1, 0), (2, 40), (3, 80)):
                log.append(
                    Attempt(
                        attempt=number,
                        resumed_from=resumed,
                        cohort=("a", "b", "c"),
                        device="cuda",
                        time="2026-01-01T00:00:00Z",
                    )
                )
                step = {1: 60, 2: 90, 3: 120}[number]
                log.append(LossRow(step=step, kimg=step / 10, values={}))
                if number == 2:
                    log.append(
                        Ending(outcome="preempted", step=step, onset=None, reason="asked to stop")
                    )
        shown = text_of(first_page(tmp_path / "s")).partition("What happened")[2]
        told = (
            "0 attempt 1 begins together with 2 more, cuda, 2026-01-01T00:00:00Z "
            "40 attempt 2 resumes from step 40 together with 2 more, cuda, 2026-01-01T00:00:00Z "
            "60 attempt 1 ended here killed 80 attempt 3 resumes from step 80"
        )
        assert told in shown
        assert "90 attempt 2 ended here preempted asked to stop" in shown
        assert "120 in progress, or killed" in shown

    def test_classes_by_their_names(self, tmp_path: Path) -> None:
        _, log = run_folder(tmp_path / "s")
        with log:
            begin(log, [])
            names = [f"<b>{k}" for k in range(14)]
            data = DataFacts("images", (1, 8, 8), class_names=tuple(names))
            log.append(Protocol(metrics=(), data=data))
        some = ", ".join(names[:12])
        assert f"Classes {some} and 2 more" in text_of(first_page(tmp_path / "s"))
        with EventLog(log.path) as log:
            counts = [1] * 13 + [0]
            log.append(EvaluationRow(step=0, kimg=0.0, seconds=0.1, values={}, histogram=counts))
        shown = text_of(first_page(tmp_path / "s"))
        assert "Last samples of each class <b>13: 0, <b>0: 1, <b>1: 1," in shown

    def test_sizes_of_networks_and_where_they_are_saved(self, tmp_path: Path) -> None:
        folder, log = run_folder(tmp_path / "s")
        with log:
            begin(log, [])
        shown = text_of(first_page(tmp_path / "s"))
        assert "Parameters of G and D" not in shown and "networks are saved" not in shown
        with EventLog(log.path) as log:
            log.append(Protocol(metrics=(), parameters={"g": 12345, "d": 67}))
        (folder / "checkpoints").mkdir(exist_ok=True)
        for name in ("checkpoints/step-000040", "checkpoints/step-000080", "networks"):
            (folder / f"{name}.json").write_text("{}")
            (folder / f"{name}.safetensors").write_bytes(b"")
        shown = text_of(first_page(tmp_path / "s"))
        assert "Parameters of G and D 12,345 and 67" in shown
        assert (
            "saved in the run's folder: networks.safetensors , "
            "checkpoints/step-000040.safetensors , checkpoints/step-000080.safetensors ."
        ) in shown

    def test_signs_of_instability_also_of_earlier_versions(self, tmp_path: Path) -> None:
        signs = {"oscillation": Sign(30, 4), "blow_up": 2.5, "unheard-of": 1}
        root = build_store(
            tmp_path / "s", datasets=("ring8",), variants=("gan",), tricks=("none",), seeds=1,
            fate_of=lambda where: Fate("ok", 1.0, "", signs),
        )  # fmt: skip
        shown = text_of(first_page(root))
        assert "30 sign of instability: oscillation" in shown
        assert "– sign of instability: blow-up" in shown
        assert "– sign of instability: unheard-of" in shown


def run_folder(root: Path) -> tuple[Path, EventLog]:
    """Make a suite of one run that has begun and said nothing yet."""
    one_cell(root, ["missing"])
    (planned,) = read_suite(root).plan.runs
    spec = RunSpec(
        dataset={"id": "ring8", "fingerprint": "ring80000000", "shape": (2,)},  # type: ignore[arg-type]
        variant=PartSpec(id="gan"), settings=SETTINGS, metrics="0f0f0f0f0f0f", seed=0,
    )  # fmt: skip
    assert spec.id == planned.id
    folder = Store(root).create(spec)
    return folder, EventLog(folder / "events.jsonl")


def no_evaluation(step: int) -> None:
    return None


def begin(log: EventLog, metrics: Sequence[MetricInfo]) -> None:
    log.append(Attempt(attempt=1, resumed_from=0, cohort=("x",)))
    log.append(Protocol(metrics=tuple(metrics)))


class TestSamples:
    @pytest.mark.parametrize(("dataset", "what"), [("ring8", "points"), ("digits", "samples")])
    def test_over_training_with_the_last_in_view(
        self, tmp_path: Path, dataset: str, what: str
    ) -> None:
        root = one_cell(tmp_path / "s", ["ok"], dataset)
        page = first_page(root)
        figures = re.findall(r"(?s)<figure( class=\"earlier\")?><img.*?</figure>", page)
        assert len(figures) == 3 and figures[-1] == "" and all(figures[:-1])
        assert f"generated {what}" in page and "step 400 · 25.6 kimg" in text_of(page)

    def test_choice_of_moments(self) -> None:
        assert evenly(3, 8) == [0, 1, 2]
        assert evenly(50, 8) == [0, 7, 14, 21, 28, 35, 42, 49]
        assert evenly(0, 8) == []

    def test_many_moments_are_thinned_and_that_is_said(self, tmp_path: Path) -> None:
        folder, log = run_folder(tmp_path / "s")
        with log:
            begin(log, [])
            for step in range(20):
                file = write_samples(folder, step, images=False, spread=8, seed=step)
                log.append(SampleFile(step=step, file=file))
        page = first_page(tmp_path / "s")
        assert page.count("<img") == 8 and "8 of 20 stored moments are shown." in page
        assert "at step 0" in page and "at step 19" in page

    def test_long_lines_are_thinned(self, tmp_path: Path) -> None:
        _, log = run_folder(tmp_path / "s")
        with log:
            begin(log, [MetricInfo("fd", "frechet", "", "lower", primary=True)])
            for step in range(200):
                log.append(LossRow(step=step, kimg=step, values={"d_loss": 1}))
                if step % 4 == 0:
                    log.append(EvaluationRow(step=step, kimg=step, seconds=1.0, values={"fd": 1.0}))
        page = first_page(tmp_path / "s")
        (line,) = re.findall(r'<polyline class="first" points="([^"]*)"', page)
        assert len(line.split()) == 100
        (measured,) = re.findall(r'<polyline class="first seen" points="([^"]*)"', page)
        assert len(measured.split()) == 50

    def test_large_grids_are_fewer_or_cut(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder, log = run_folder(tmp_path / "s")
        with log:
            begin(log, [])
            for step in range(8):
                file = write_samples(folder, step, images=True, spread=8, seed=step)
                log.append(SampleFile(step=step, file=file))
        (record,) = read_suite(tmp_path / "s").runs.values()
        size = (folder / file).stat().st_size
        read = SampleFolder(folder).read
        for budget, count, tiles in ((8 * size, 8, 8), (5 * size, 4, 8), (3 * size, 8, 4)):
            monkeypatch.setattr(moments, "BUDGET", budget + 400)
            found = moments_of(read, record.of_type(SampleFile), no_evaluation, record.data)
            assert (len(found.shown), found.tiles) == (count, tiles)
            assert sum(len(moment.picture.png) for moment in found.shown) < 1.5 * budget
        with Image.open(io.BytesIO(found.shown[-1].picture.png)) as cut:
            assert cut.size == (35, 35)  # 4 tiles of 8 pixels with 3 lines between
        assert "Of each stored grid, 16 of 64 samples are shown." in first_page(tmp_path / "s")
        assert [read(name) for name in ("a\0b", "\ud800", "x" * 300, "", "../spec.json")] == [
            None
        ] * 5
        monkeypatch.setattr(moments, "BUDGET", 10)
        found = moments_of(read, record.of_type(SampleFile), no_evaluation, record.data)
        assert len(found.shown) == 1

    def test_damaged_absent_and_foreign_files_are_left_out(self, tmp_path: Path) -> None:
        root = one_cell(tmp_path / "s", ["ok"], "digits")
        first, second, third = sorted((root / "runs").glob("*/samples/*.png"))
        whole = first.read_bytes()
        first.write_bytes(whole[:-20])
        second.unlink()
        secret = tmp_path / "secret.png"
        secret.write_bytes(whole)
        third.unlink()
        third.symlink_to(secret)
        page = first_page(root)
        assert "<img" not in page and "3 sample files are absent or damaged." in page

    @pytest.mark.parametrize(
        "name", ["../../../secret.png", "/etc/passwd", "a\0b", "samples/../../x"]
    )
    def test_a_log_cannot_name_files_elsewhere(self, tmp_path: Path, name: str) -> None:
        folder, log = run_folder(tmp_path / "s")
        write_samples(folder, 0, images=True, spread=8, seed=0)
        (folder / "samples" / "step-000000.png").rename(tmp_path / "secret.png")
        with log:
            begin(log, [])
            log.append(SampleFile(step=0, file=name))
        assert "<img" not in first_page(tmp_path / "s")

    def test_a_folder_of_samples_that_leads_elsewhere(self, tmp_path: Path) -> None:
        root = one_cell(tmp_path / "s", ["ok"], "digits")
        (samples,) = (root / "runs").glob("*/samples")
        samples.rename(tmp_path / "moved")
        samples.symlink_to(tmp_path / "moved")
        assert "<img" not in first_page(root)

    def test_what_counts_as_a_whole_png(self) -> None:
        buffer = io.BytesIO()
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(buffer, "PNG")
        data = buffer.getvalue()
        assert is_whole_png(data)
        assert not is_whole_png(data[:-1]) and not is_whole_png(b"GIF89a") and not is_whole_png(b"")
        broken = bytearray(data)
        broken[45] ^= 1
        assert not is_whole_png(bytes(broken))
        vast = io.BytesIO()
        Image.fromarray(np.zeros((1, 5000), np.uint8)).save(vast, "PNG")
        assert not is_whole_png(vast.getvalue())

    def test_embedded_images_are_those_of_the_run(self, tmp_path: Path) -> None:
        root = one_cell(tmp_path / "s", ["ok"], "digits")
        stored = [file.read_bytes() for file in sorted((root / "runs").glob("*/samples/*.png"))]
        found = re.findall(r'src="data:image/png;base64,([^"]*)"', first_page(root))
        assert [base64.b64decode(data) for data in found] == stored


class TestCommand:
    """What a page says repeats its run, and nothing else."""

    @staticmethod
    def planned_by(command: str, monkeypatch: pytest.MonkeyPatch) -> tuple[frozenset[str], Path]:
        caught: list[tuple[frozenset[str], Path]] = []

        def run_suite(matrix: Matrix, options: RunOptions) -> int:
            caught.append((matrix.selected, options.folder(matrix.plan.suite)))
            return 0

        monkeypatch.setattr(run_command, "run_suite", run_suite)
        monkeypatch.setattr(cli, "_write_report", lambda folder: None)
        monkeypatch.setattr(RerunShortcut, "remember", lambda self, folder, matrix: None)
        words = shlex.split(command)
        assert words.pop(0) == "ganbench"
        result = CliRunner().invoke(cli.app, words)
        assert result.exit_code == 0, result.output
        return caught[0]

    @pytest.mark.parametrize(
        ("source", "profile", "seeds"),
        [
            ("smoke", None, None), ("stability", "quick", None), ("a-a", "quick", 7),
            ("learning-rate", "cpu", None),
            ("mode-coverage", "cpu", 2), ("variants", None, None),
        ],
    )  # fmt: skip
    def test_plans_exactly_that_run(
        self, source: str, profile: str | None, seeds: int | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plan = expand(load_suite(source), profile=profile, seeds=seeds).plan
        cells = group(SuiteRecord(Path(), plan, {}))
        for cell in (cells.cells[0], cells.cells[len(cells.cells) // 2], cells.cells[-1]):
            result = cell.results[-1]
            command = repeat_command(plan, cell, result.planned.seed)
            selected, folder = self.planned_by(command, monkeypatch)
            assert selected == {result.planned.id}, command
            assert folder != Path("results") / plan.suite

    def test_of_a_suite_file_with_labels_that_a_shell_would_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "my own $suite.yaml"
        file.write_text(
            "suite: mine\ndatasets: [ring8]\nseeds: [3, 11]\n"
            "variants: [{id: wgan-gp, penalty_weight: 0.1}, wgan-gp]\n"
            "tricks: [none, [{id: update-ratio, d: 3, g: 1}, ema]]\n"
        )
        plan = expand(load_suite(str(file))).plan
        cells = group(SuiteRecord(Path(), plan, {}))
        ids = set()
        for cell in cells.cells:
            for result in cell.results:
                command = repeat_command(plan, cell, result.planned.seed)
                selected, _ = self.planned_by(command, monkeypatch)
                assert selected == {result.planned.id}
                ids |= selected
        assert len(ids) == 8

    def test_names_the_device_of_the_last_attempt(self, tmp_path: Path) -> None:
        _, log = run_folder(tmp_path / "s")
        with log:
            for number, device in ((1, "cpu"), (2, "cuda")):
                log.append(Attempt(attempt=number, resumed_from=0, cohort=("x",), device=device))
        page = text_of(first_page(tmp_path / "s"))
        assert "--only seed=0 --device cuda --out again" in page

    def test_a_device_that_is_none_is_not_written(self, tmp_path: Path) -> None:
        _, log = run_folder(tmp_path / "s")
        with log:
            log.append(Attempt(attempt=1, resumed_from=0, cohort=("x",), device="cpu; rm -rf ~"))
        assert "--device" not in text_of(first_page(tmp_path / "s"))


class TestLinks:
    def test_ranges(self) -> None:
        assert ranges([4, 0, 1, 2, 9, 8, 4]) == "0-2,4,8-9"
        assert ranges([]) == ""

    def test_one_run_leads_to_its_page_and_several_to_a_selection(self, every: Path) -> None:
        cells = cells_of(every)
        links = RunLinks(cells, "auto")
        ids = [result.planned.id for result in cells.cells[0].results]
        record = cells.cells[0].results[0].record
        assert record is not None
        assert links.behind(ids[:1]) == f"runs/{record.path.name}.html"
        assert links.behind(ids[:3]) == "runs/index.html?runs=0-2#r0"
        assert links.behind([ids[6], ids[2]]) == "runs/index.html?runs=2,6#r2"
        assert links.behind(ids[7:]) == "runs/index.html?runs=7#r7"  # not begun: no page
        assert links.page(ids[7]) is None and links.page("unknown") is None
        assert links.behind(["unknown"]) is None and links.behind([]) is None

    @pytest.mark.parametrize(
        ("folder", "name"),
        [
            ("ring8-gan-none-s0-abc", "ring8-gan-none-s0-abc.html"), ("a b", "a b.html"),
            ("index", "abc.html"), ("..", "abc.html"), ("x" * 250, "abc.html"),
            ("line\nbreak", "abc.html"), ("\udcff", "abc.html"),
        ],
    )  # fmt: skip
    def test_names_of_pages(self, folder: str, name: str) -> None:
        assert page_name(folder, "abc") == name

    def test_seeds_beside_each_other_and_the_way_back(self, every: Path) -> None:
        cells = cells_of(every)
        links, (cell,) = RunLinks(cells, "auto", prefix=""), cells.cells
        pages = RunPages(cells, links)
        names = [links.pages.get(result.planned.id) for result in cell.results]
        page = pages.render(cell, 3)
        assert f'<a rel="prev" href="{names[2]}">← seed 2</a>' in page
        assert f'<a rel="next" href="{names[4]}">seed 4 →</a>' in page
        assert '<a href="index.html?runs=0-7#r0">All 8 seeds of this cell</a>' in page
        assert page.count('href="../index.html"') == 2
        assert 'rel="prev"' not in pages.render(cell, 0)
        assert 'rel="next"' not in pages.render(cell, 6)  # seed 7 has not begun

    @pytest.mark.usefixtures("unrendered")
    def test_every_number_of_a_report_leads_somewhere(self, tmp_path: Path) -> None:
        root = build_store(tmp_path / "s", datasets=("ring8",), variants=("gan",), seeds=3)
        write_report(root)
        report = root / "report"
        links = set(re.findall(r'href="(runs/[^"]*)"', (report / "index.html").read_text()))
        assert len(links) > 6
        rows = set(re.findall(r'<tr id="(\w+)"', (report / "runs" / "index.html").read_text()))
        assert len(rows) == 6
        for link in links:
            file, _, row = html.unescape(link).partition("#")
            assert (report / file.partition("?")[0]).is_file()
            assert not row or row in rows
        listed = re.findall(r'<a href="([^"#]*\.html)">', (report / "runs/index.html").read_text())
        assert {*listed} - {"index.html", "../index.html"} == {
            file.name for file in (report / "runs").iterdir() if file.name != "index.html"
        }

    @pytest.mark.usefixtures("unrendered")
    def test_markdown_names_runs_with_links(self, tmp_path: Path) -> None:
        root = one_cell(tmp_path / "s", ["ok", "diverged", "missing"], "digits")
        write_report(root)
        markdown = (root / "report" / "report.md").read_text()
        links = re.findall(r"\]\((runs/[^)]*)\)", markdown)
        assert links and all((root / "report" / link).is_file() for link in links)
        (failure,) = re.findall(r"\| \[1\]\((\S+)\) \| diverged", markdown)
        assert "-s1-" in failure


ATTACK = "</script><img src=x onerror=alert(1)>{{ 7*7 }}\u202e`"


@pytest.mark.usefixtures("unrendered")
def test_hostile_strings_are_text(tmp_path: Path) -> None:
    root = build_store(
        tmp_path / "s", suite=ATTACK, datasets=("ring8",), variants=("gan",), tricks=("none", "a"),
        seeds=1, labels={"ring8": ATTACK, "gan": ATTACK, "a": ATTACK},
        fate_of=lambda where: Fate("diverged", 1.0, ATTACK, {ATTACK: Sign(1, 1)}),
    )  # fmt: skip
    for folder in (root / "runs").iterdir():
        (folder / "environment-1.json").write_text(json.dumps({ATTACK: [ATTACK]}))
        with EventLog(folder / "events.jsonl") as log:
            log.append(
                Attempt(attempt=2, resumed_from=400, cohort=(), device=ATTACK, time=ATTACK)
            )  # fmt: skip
            metric = MetricInfo(ATTACK, ATTACK, ATTACK, "lower", True, 0.5)
            log.append(Protocol(metrics=(metric,)))
            log.append(EvaluationRow(step=400, kimg=9, values={ATTACK: 1.0}))
            log.append(LossRow(step=400, kimg=9, values={ATTACK: 1.0}))
            log.append(ProbeRow(probe=ATTACK, step=400, values={ATTACK: 1.0}))
            log.append(
                Ending(
                    outcome="diverged", step=400, reason=ATTACK, onset=None, signs={ATTACK: Sign(1)}
                )
            )
    write_report(root)
    for file in (root / "report" / "runs").iterdir():
        page = file.read_text()
        assert page.count("<script") == page.count("</script>") == 1
        assert "<img src=x" not in page and "\u202e" not in page
        assert "&lt;img src=x onerror=alert(1)&gt;{{ 7*7 }}" in page
        assert not re.search(r"<[^>]+\s(style|on\w+)=", re.sub(r'="[^"]*"', '=""', page))
        policy = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
        assert policy[0].startswith("default-src &#39;none&#39;; img-src data:;")


LATER = LossRow(step=240, kimg=16, values={"belated": 1.0})


def page_of(root: Path, seed: int) -> Path:
    (found,) = (root / "report" / "runs").glob(f"*-s{seed}-*")
    return found


def log_of(root: Path, seed: int) -> EventLog:
    (file,) = (root / "runs").glob(f"*-s{seed}-*/events.jsonl")
    return EventLog(file)


@pytest.mark.usefixtures("unrendered")
class TestFiles:
    def test_pages_of_runs_that_have_begun_and_the_same_bytes_again(
        self, every: Path, tmp_path: Path
    ) -> None:
        pages = []
        for name in ("a", "b"):
            write_report(every, tmp_path / name)
            folder = tmp_path / name / "runs"
            pages.append({file.name: file.read_bytes() for file in folder.iterdir()})
            assert is_current(every, tmp_path / name)
        assert pages[0] == pages[1]
        begun = {f"{folder.name}.html" for folder in (every / "runs").iterdir()}
        assert pages[0].keys() == {"index.html", *begun} and len(begun) == 7
        next((tmp_path / "a" / "runs").glob("*-s3-*")).unlink()
        assert not is_current(every, tmp_path / "a")
        write_report(every, tmp_path / "a")
        assert len(list((tmp_path / "a" / "runs").glob("*-s3-*"))) == 1

    @pytest.mark.parametrize("name", ["events.jsonl", "environment-1.json", "networks.json"])
    def test_what_a_page_shows_is_told_anew_when_it_changes(
        self, tmp_path: Path, name: str
    ) -> None:
        root = one_cell(tmp_path / "s", ["ok", None])
        write_report(root)
        (folder,) = (root / "runs").glob("*-s1-*")
        with log_of(root, 1) as log:
            if name == "events.jsonl":
                log.append(LATER)
            else:
                (folder / name).write_text('{"belated": 1}')
        (folder / "networks.safetensors").write_text("")
        assert not is_current(root)
        write_report(root)
        said = {"networks.json": "networks.safetensors"}.get(name, "belated")
        assert said in page_of(root, 1).read_text() and said not in page_of(root, 0).read_text()

    def test_pages_of_runs_that_went_away_go_and_others_stay(self, tmp_path: Path) -> None:
        root = one_cell(tmp_path / "s", ["ok", "ok", "ok"])
        write_report(root)
        mine = root / "report" / "runs" / "mine.html"
        mine.write_text("x")
        plan = json.loads((root / "suite.json").read_text())
        gone = plan["runs"].pop()
        (root / "suite.json").write_text(json.dumps(plan))
        write_report(root)
        assert not (root / "report" / "runs" / f"{gone['folder']}.html").exists()
        assert mine.exists() and page_of(root, 0).exists() and page_of(root, 1).exists()

    def test_a_manifest_cannot_remove_files_elsewhere(self, tmp_path: Path) -> None:
        root = one_cell(tmp_path / "s", ["ok"])
        write_report(root)
        mine = tmp_path / "mine.html"
        mine.write_text("x")
        file = root / "report" / ".report.json"
        manifest = json.loads(file.read_text())
        manifest["files"] += ["../mine.html", "runs/../../../mine.html", str(mine)]
        file.write_text(json.dumps(manifest))
        write_report(root)
        assert mine.exists()

    def test_a_link_in_a_pages_place_is_not_followed(self, tmp_path: Path) -> None:
        root = one_cell(tmp_path / "s", ["ok"])
        write_report(root)
        page, mine = page_of(root, 0), tmp_path / "mine.html"
        mine.write_text("x")
        page.unlink()
        page.symlink_to(mine)
        write_report(root)
        assert mine.read_text() == "x" and not page.is_symlink()

    def test_damaged_runs_have_no_page_and_are_listed(self, tmp_path: Path) -> None:
        root = one_cell(tmp_path / "s", ["ok", "ok"])
        write_report(root)
        (log,) = (root / "runs").glob("*-s1-*/events.jsonl")
        log.write_bytes(b"{}\n" + log.read_bytes())
        write_report(root, skip_corrupt=True)
        folder = root / "report" / "runs"
        assert [file.name for file in folder.glob("*-s1-*")] == []
        assert "! unreadable" in text_of((folder / "index.html").read_text())
        assert not is_current(root)

    def test_records_that_change_while_they_are_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is appended after reading is in the next report, though nothing else changes."""
        root, read_suites = one_cell(tmp_path / "s", [None]), merging.read_suites

        def read_and_append(*folders: Any, **options: Any) -> SuiteRecord:
            suite = read_suites(*folders, **options)
            with log_of(root, 0) as log:
                log.append(LATER)
            return suite

        with monkeypatch.context() as patched:
            patched.setattr(merging, "read_suites", read_and_append)
            write_report(root)
        assert "belated" not in page_of(root, 0).read_text() and not is_current(root)
        write_report(root)
        assert "belated" in page_of(root, 0).read_text()


@pytest.mark.usefixtures("unrendered")
class TestLargeSuites:
    """From a thousand runs on; here, from nine."""

    @pytest.fixture
    def root(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Make two cells of five seeds; the values of those that end well rise with the seed."""

        def fate(where: Where) -> Fate:
            if where.tricks == "ema" and where.seed in (0, 4):
                return Fate(("diverged", None)[where.seed == 4], 1.0, "D is not finite")
            return Fate("ok", 1.0 + where.seed)

        monkeypatch.setattr(cells_module, "LARGE", 9)
        return build_store(
            tmp_path / "s", datasets=("digits",), variants=("gan",), tricks=("none", "ema"),
            seeds=5, fate_of=fate,
        )  # fmt: skip

    def test_failures_and_the_best_median_and_worst_of_a_cell_have_pages(self, root: Path) -> None:
        cells = cells_of(root)
        picked = chosen(cells, "auto")
        seeds = {
            cell.tricks: [r.planned.seed for r in cell.results if r.planned.id in picked]
            for cell in cells.cells
        }
        # Of "ema", seed 0 failed and is the worst, 2 is in the middle, 1 the best; 4 goes on.
        assert seeds == {"none": [0, 2, 4], "ema": [0, 1, 2, 4]}
        assert chosen(cells, "all") == {result.planned.id for result in cells.results}
        write_report(root)
        pages = {file.stem for file in (root / "report" / "runs").iterdir()} - {"index"}
        folders = {r.planned.id: r.planned.folder for r in cells.results}
        assert pages == {folders[run] for run in picked}

    def test_every_link_leads_somewhere_and_the_list_names_the_command(self, root: Path) -> None:
        write_report(root)
        report = root / "report"
        texts = [(report / name).read_text() for name in ("index.html", "report.md")]
        listed = (report / "runs" / "index.html").read_text()
        rows = set(re.findall(r'<tr id="(\w+)"', listed))
        assert len(rows) == 10
        for link in {link for text in texts for link in re.findall(r'[("](runs/[^)"]*)[)"]', text)}:
            file, _, row = html.unescape(link).partition("#")
            assert (report / file.partition("?")[0]).is_file() and (not row or row in rows)
        for page in (report / "runs").iterdir():
            for link in re.findall(r'<a [^>]*href="([^"#?]*)', page.read_text()):
                assert (page.parent / link).is_file()
        picked = chosen(cells_of(root), "auto")
        for run in (result.planned.id for result in cells_of(root).results):
            told = f"ganbench show {run} --html {run}.html" in text_of(listed)
            assert told == (run not in picked)
        assert "ganbench report DIR --runs all" in listed

    def test_all_pages_are_written_when_asked_for(self, root: Path) -> None:
        write_report(root)
        assert is_current(root) and not is_current(root, None, "all")
        result = CliRunner().invoke(cli.app, ["report", str(root), "--runs", "all"])
        assert result.exit_code == 0, result.output
        folder = root / "report" / "runs"
        assert len(list(folder.iterdir())) == 11
        assert "--html" not in (folder / "index.html").read_text()
        # Who asks for less is content with more, until there is something new.
        assert is_current(root) and is_current(root, None, "all")
        with EventLog(next(root.glob("runs/*-s4-*/events.jsonl"))) as log:
            log.append(LATER)
        write_report(root)
        assert len(list(folder.iterdir())) == 8 and not is_current(root, None, "all")

    def test_a_small_suite_has_all_pages_and_no_words_of_it(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cells_module, "LARGE", 11)
        write_report(root)
        folder = root / "report" / "runs"
        assert len(list(folder.iterdir())) == 11
        assert not re.search("--html|--runs", (folder / "index.html").read_text())


class TestOnePage:
    def written(self, *words: str) -> str:
        result = CliRunner().invoke(cli.app, ["show", *words])
        return result.output + str(result.exception if result.exit_code else "")

    def test_says_what_the_report_says_and_leads_nowhere(self, every: Path, tmp_path: Path) -> None:
        cells = cells_of(every)
        pages = RunPages(cells, RunLinks(cells, "auto", prefix=""))
        for position, result in enumerate(cells.cells[0].results[:7]):
            file = tmp_path / f"{position}.html"
            run = every / "runs" / result.planned.folder
            assert self.written(str(run), "--html", str(file)) == f"page: {file}\n"
            page, inside = file.read_text(), pages.render(cells.cells[0], position)
            assert "<a " not in page and "src=" in page and not re.search(r'src="(?!data:)', page)
            linked = r"(?s)<nav.*?</nav>\n|</?a\b[^>]*>"
            assert page == re.sub(linked, "", inside)

    def test_a_file_that_is_there_stays_unless_it_may_go(self, every: Path, tmp_path: Path) -> None:
        file = tmp_path / "mine.html"
        file.write_text("x")
        run = next(str(folder) for folder in sorted((every / "runs").iterdir()))
        with pytest.raises(GanbenchError, match=r"is there already; .* --force"):
            write_run_page(Path(run), file)
        assert file.read_text() == "x"
        assert self.written(run, "--html", str(file), "--force") == f"page: {file}\n"
        assert "What happened" in file.read_text()

    def test_of_a_run_that_the_plan_no_longer_has(self, tmp_path: Path) -> None:
        root = one_cell(tmp_path / "s", ["ok", "ok"])
        plan = json.loads((root / "suite.json").read_text())
        gone = plan["runs"].pop()
        (root / "suite.json").write_text(json.dumps(plan))
        with pytest.raises(StoreError, match=f"run {gone['id']} is not in the plan of"):
            write_run_page(root / "runs" / gone["folder"], tmp_path / "page.html")
        assert not (tmp_path / "page.html").exists()


def test_all_pages_of_a_synthetic_suite_are_small(tmp_path: Path) -> None:
    def fate(where: Where) -> Fate:
        return Fate("ok", 1.0)

    root = build_store(tmp_path / "s", variants=("gan",), tricks=("none",), seeds=1, fate_of=fate)
    cells = cells_of(root)
    pages = RunPages(cells)
    for cell in cells.cells:
        assert isinstance(cell, CellRuns)
        assert len(pages.render(cell, 0).encode()) < 100_000
