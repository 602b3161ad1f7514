"""The whole report: its files, its content, and that nothing makes it fail."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markdown_it import MarkdownIt
from PIL import Image

from harness.errors import CorruptRecordError, StoreError
from harness.store.events import Sign
from harness.store.reading import read_suite
from harness.store.records import SkippedCell, SuitePlan
from reports import build
from reports.build import compose, is_current, write_report
from reports.cells import FAILURES, CellRuns, group
from reports.document import Gallery
from reports.effects import trick_effects
from reports.sections import modes, samples, survival, verdicts
from reports.sections.provenance import command
from reports.sections.verdict_words import sentence
from tests.stores import Fate, Where, build_store, planned_cell, write_tuning

ALL_OUTCOMES = (
    "ok",
    "collapsed",
    "unlearned",
    "diverged",
    "oom",
    "crashed",
    "preempted",
    None,
    "missing",
)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = build_store(
        tmp_path_factory.mktemp("whole") / "suite",
        tricks=("none", "label-smoothing", "dropout-g"),
        skipped=[SkippedCell("ring8", "wgan-gp", "minibatch", "needs images")],
    )
    write_tuning(root)
    write_report(root)
    return root


def page_of(root: Path) -> str:
    return (root / "report" / "index.html").read_text()


def test_files(store: Path) -> None:
    report = store / "report"
    assert (report / "report.md").stat().st_size > 1000
    tables = {path.stem for path in (report / "tables").glob("*.csv")}
    assert {"verdicts", "outcomes", "skipped", "failures", "tuning", "gaps", "commands"} <= tables
    figures = {path.stem for path in (report / "figures").glob("*.svg")}
    assert {"verdicts", "effects-by-cell", "curves-ring8", "diagnostics-digits"} <= figures
    assert {"coverage-ring8", "coverage-digits", "tuning-ring8-gan-none"} <= figures


def test_a_second_time_writes_the_same_bytes(store: Path) -> None:
    before = snapshot(store / "report")
    write_report(store)
    assert snapshot(store / "report") == before


def test_order_of_chapters(store: Path) -> None:
    chapters = re.findall(r'<section id="(\w+)"', page_of(store))
    assert chapters == [
        "verdicts", "tuning", "outcomes", "survival", "metrics", "pooled", "cost", "training",
        "losses", "samples", "provenance",
    ]  # fmt: skip


def test_one_sentence_per_trick_before_any_table(store: Path) -> None:
    page = page_of(store)
    for trick in ("label-smoothing", "dropout-g"):
        assert 0 < page.index(f"<strong>{trick}</strong>") < page.index("<table")


def test_policy_names_exactly_what_is_in_the_page(store: Path) -> None:
    page = page_of(store)
    assert "default-src &#39;none&#39;; img-src data:;" in page
    assert page.count("<script") == page.count("<style") == 1
    assert not re.search(r"<[^>]+\s(style|on\w+)=", re.sub(r'src="data:[^"]*"', "", page))
    # Namespaces are names; nothing is fetched by them.
    assert not re.search(r'(?:src|href)="(?!data:|#|runs/[\w.%?=,#-]+")', page)


def test_skipped_cells_and_their_reason(store: Path) -> None:
    assert "needs images" in page_of(store)
    assert "needs images" in (store / "report" / "report.md").read_text()


def test_the_same_numbers_in_all_three_formats(store: Path) -> None:
    text = (store / "report" / "tables" / "verdicts.csv").read_text()
    row = next(csv.DictReader(io.StringIO(text)))
    shown = f"{float(row['Ratio']):.3f}"
    assert shown in page_of(store)
    assert shown in (store / "report" / "report.md").read_text()


@pytest.mark.usefixtures("unrendered")
def test_metrics_say_n_and_rank_failures(tmp_path: Path) -> None:
    def fate(where: Where) -> Fate:
        return Fate("ok", 2.0) if where.seed < 2 else Fate("collapsed", 50.0)

    root = build_store(
        tmp_path / "s", datasets=("ring8",), variants=("gan",), tricks=("none",), fate_of=fate
    )
    write_report(root)
    file = root / "report" / "tables" / "metric-ring8-fd-data-500-test.csv"
    (row,) = csv.DictReader(io.StringIO(file.read_text()))
    assert float(row["Last ↓"]) == pytest.approx(2.0)
    assert row["Last ↓ n"] == "2"
    assert row["Median of all"] == "failed"
    assert row["Median of all n"] == "5"
    assert row["Searched"] == "5"
    assert float(row["Untrained"]) > 10


def test_command_repeats_a_cell(store: Path) -> None:
    text = (store / "report" / "tables" / "commands.csv").read_text()
    assert "ganbench run synthetic --only dataset=ring8 --only variant=gan" in text


def test_command_repeats_the_options_that_make_the_plan() -> None:
    plan = SuitePlan("s", "", "f", (), source="my own.yaml", profile="cpu", seeds=3, plugins=("p",))
    words = shlex.split(command(plan, CellRuns(planned_cell("ring8", "gan", "a + b"), ())))
    assert words[:3] == ["ganbench", "run", "my own.yaml"]
    assert words[3:9] == ["--plugin", "p", "--profile", "cpu", "--seeds", "3"]
    assert words[9:] == [
        "--only",
        "dataset=ring8",
        "--only",
        "variant=gan",
        "--only",
        "tricks=a + b",
    ]


@pytest.mark.usefixtures("unrendered")
def test_is_current(tmp_path: Path) -> None:
    root = build_store(tmp_path / "s", datasets=("ring8",), variants=("gan",), seeds=1)
    assert not is_current(root)
    write_report(root)
    assert is_current(root)
    log = next((root / "runs").glob("*/events.jsonl"))
    log.write_bytes(log.read_bytes() + b"torn")
    assert not is_current(root)
    write_report(root)
    assert is_current(root)
    (root / "report" / "tables" / "outcomes.csv").unlink()
    assert not is_current(root)


@pytest.mark.parametrize("package", ["reports", "harness/store"])
def test_a_report_is_as_old_as_what_makes_it(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = tuple(tmp_path / "program" / path.name for path in build.PACKAGES)
    for path, copied in zip(build.PACKAGES, copies, strict=True):
        shutil.copytree(path, copied, ignore=shutil.ignore_patterns("__pycache__", "gallery"))
    monkeypatch.setattr(build, "PACKAGES", copies)
    before = build.package_digest()
    assert before == build.package_digest()
    with (tmp_path / "program" / Path(package).name / "__init__.py").open("a") as file:
        file.write("# a remark\n")
    assert build.package_digest() != before


def test_is_current_imports_nothing_heavy(store: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from reports.build import is_current; "
        f"assert is_current(Path({str(store)!r})); "
        "heavy = {'pandas', 'matplotlib', 'scipy', 'numpy', 'torch', 'jinja2', 'seaborn'}; "
        "sys.exit(' '.join(heavy & sys.modules.keys()) or 0)"
    )
    root = Path(__file__).parents[2]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert (result.returncode, result.stderr.strip()) == (0, "")


@pytest.mark.usefixtures("unrendered")
def test_files_of_an_earlier_report_go_and_foreign_files_stay(tmp_path: Path) -> None:
    root = build_store(tmp_path / "s", datasets=("ring8",), variants=("gan",), seeds=1)
    write_tuning(root)
    write_report(root)
    foreign = root / "report" / "tables" / "mine.csv"
    foreign.write_text("x")
    (root / "tuning" / "ring8-gan-none" / "summary.json").unlink()
    write_report(root)
    assert not (root / "report" / "tables" / "tuning.csv").exists()
    assert foreign.exists()


@pytest.mark.parametrize("outcome", ALL_OUTCOMES)
def test_any_outcome_everywhere(tmp_path: Path, outcome: str | None) -> None:
    root = build_store(
        tmp_path / "s", variants=("gan",), seeds=2, fate_of=lambda where: Fate(outcome, 1.0)
    )
    write_report(root)
    page = page_of(root)
    count = 8 if outcome in ("ok", *FAILURES) else 0
    assert f"<dd>{count} of 8</dd>" in page


@pytest.mark.parametrize("dataset", ["ring8", "digits"])
def test_one_cell_one_seed(tmp_path: Path, dataset: str) -> None:
    root = build_store(
        tmp_path / "s", datasets=(dataset,), variants=("gan",), tricks=("none",), seeds=1
    )
    write_report(root)
    assert "there is no effect of a trick to test" in page_of(root)


def test_a_suite_without_cells(tmp_path: Path) -> None:
    root = build_store(tmp_path / "s", datasets=())
    write_report(root)
    assert "The suite has no cells." in page_of(root)


@pytest.mark.usefixtures("unrendered")
def test_a_corrupt_run_is_refused_or_listed(tmp_path: Path) -> None:
    root = build_store(tmp_path / "s", datasets=("ring8",), variants=("gan",), seeds=2)
    log = sorted((root / "runs").glob("*/events.jsonl"))[0]
    lines = log.read_bytes().split(b"\n")
    lines[2] = lines[2][:-9] + b"X" + lines[2][-8:]
    log.write_bytes(b"\n".join(lines))
    with pytest.raises(CorruptRecordError, match=r"events\.jsonl:3"):
        write_report(root)
    write_report(root, skip_corrupt=True)
    assert "events.jsonl:3" in page_of(root)
    assert not is_current(root)


@pytest.mark.usefixtures("unrendered")
def test_a_stale_folder_is_listed(tmp_path: Path) -> None:
    root = build_store(tmp_path / "s", datasets=("ring8",), variants=("gan",), seeds=1)
    (root / "runs" / "old-run-123").mkdir()
    write_report(root)
    assert "old-run-123" in (root / "report" / "tables" / "gaps.csv").read_text()


def test_no_results_at_all(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no results"):
        write_report(tmp_path)


def test_a_sentence_names_the_test_that_it_rests_on(tmp_path: Path) -> None:
    def fate(where: Where) -> Fate:
        dead = where.tricks == "none" and where.variant == "gan"
        return Fate("collapsed") if dead else Fate("ok", 1.0)

    datasets = ("ring8", "grid25", "digits")
    cells = group(read_suite(build_store(tmp_path / "s", fate_of=fate, datasets=datasets)))
    (effect,) = trick_effects(cells)
    assert effect.verdict == "helps"
    assert re.search(
        r"adjusted p [=<] [\d.]+, that of the failures < 0.001\.",
        sentence(effect, "FD", cells.suite.plan),
    )


ATTACK = "</script><script>alert(1)</script>"
HOSTILE = (
    ATTACK,
    "<img src=x onerror=alert(1)>",
    "a|b`c`*d*_e_",
    "{{ 7*7 }}{% raw %}",
    "line\nbreak\r\u2028\u202egnp.exe\x00\x1b[31m",
    "\ud800 lone surrogate, 中文 🎉 $x^2$ %s",
    "_underscore &amp; ' \" ]]> -->",
)


def test_hostile_strings_are_text(tmp_path: Path) -> None:
    def fate(where: Where) -> Fate:
        return Fate("diverged" if where.seed else "ok", 1.0, HOSTILE[where.seed])

    root = build_store(
        tmp_path / "s",
        suite=HOSTILE[0],
        summary=HOSTILE[1],
        tricks=("none", "a", "b"),
        seeds=len(HOSTILE),
        fate_of=fate,
        labels={"ring8": HOSTILE[4], "digits": HOSTILE[5], "gan": HOSTILE[0], "wgan-gp": HOSTILE[2],
                "a": HOSTILE[6], "b": HOSTILE[3]},
        skipped=[SkippedCell(HOSTILE[0], HOSTILE[1], HOSTILE[2], HOSTILE[4])],
    )  # fmt: skip
    write_report(root)
    page = page_of(root)
    assert page.count("<script") == page.count("</script>") == 1
    assert "<img src=x" not in page and "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "{{ 7*7 }}" in page and "49{%" not in page
    assert not set(page) & {"\x00", "\x1b", "\u202e", "\u2028", "\r"}
    markdown = (root / "report" / "report.md").read_text()
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown)
    flat = [t for token in tokens for t in (token, *(token.children or ()))]
    assert {t.type for t in flat} & {"html_block", "html_inline", "em_open"} == set()
    links = [str(t.attrs["href"]) for t in flat if t.type == "link_open"]
    assert links and all(re.fullmatch(r"runs/[\w.%-]+\.html", link) for link in links)
    assert all(str(t.attrs["src"]).startswith("figures/") for t in flat if t.type == "image")
    assert any(t.type == "code_inline" and ATTACK in t.content for t in flat)
    assert not set(markdown) & {"\x00", "\x1b", "\u202e", "\u2028", "\r"}
    for file in (root / "report" / "figures").glob("*.svg"):
        assert "<script" not in file.read_text()


@pytest.mark.usefixtures("unrendered")
def test_warning_signs_are_counted_and_timed(tmp_path: Path) -> None:
    of_earlier_versions = {"overpowered": 0.5}
    signs: list[Any] = [
        {"oscillation": Sign(30, 4), "blow_up": Sign(20, 2.0)},
        {"oscillation": Sign(70, 9)},
        of_earlier_versions,
        {},
        None,
    ]
    root = build_store(
        tmp_path / "s", datasets=("ring8",), variants=("gan",), tricks=("none",),
        fate_of=lambda where: Fate(signs=signs[where.seed]),
    )  # fmt: skip
    write_report(root)
    text = (root / "report" / "report.md").read_text()
    table = text.partition("### Warning signs")[2]
    heading, _, row = table.strip().splitlines()[:3]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    found = dict(zip([c.strip() for c in heading.strip("|").split("|")], cells, strict=True))
    assert found["vanishing gradient"] == "0"
    assert found["D overpowers"] == "1"
    assert found["oscillation"] == "2"
    assert found["blow-up"] == "1"
    assert found["Median step"] == "45.0 (n=2)"
    assert found["of runs"] == "4"


@pytest.mark.usefixtures("unrendered")
def test_worst_seed_is_shown(tmp_path: Path) -> None:
    def fate(where: Where) -> Fate:
        return Fate("ok", [1.0, 7.5, 2.0][where.seed])

    root = build_store(
        tmp_path / "s", datasets=("digits",), variants=("gan",), tricks=("none",), seeds=3,
        fate_of=fate,
    )  # fmt: skip
    write_report(root)
    assert "<small>seed 1, ok, 7.50</small>" in page_of(root)


@pytest.mark.usefixtures("unrendered")
def test_damaged_samples_are_left_out(tmp_path: Path) -> None:
    root = build_store(tmp_path / "s", variants=("gan",), tricks=("none",), seeds=1)
    write_report(root)
    before = page_of(root).count("<small")
    files = sorted((root / "runs").glob("*/samples/*"))
    files[0].write_bytes(b"not an image")
    np.save(next(f for f in files if f.suffix == ".npy"), np.array([{"a": 1}], dtype=object))
    write_report(root)
    assert page_of(root).count("<small") == before - 2 > 0


@pytest.mark.usefixtures("unrendered")
def test_sample_files_outside_the_run_are_not_read(tmp_path: Path) -> None:
    root = build_store(
        tmp_path / "s", datasets=("digits",), variants=("gan",), tricks=("none",), seeds=1
    )
    secret = tmp_path / "secret.png"
    Image.new("L", (64, 64)).save(secret)
    for sample in (root / "runs").glob("*/samples/*.png"):
        sample.unlink()
        sample.symlink_to(secret)
    write_report(root)
    assert "<small" not in page_of(root)


@pytest.mark.usefixtures("unrendered")
def test_large_grids_are_cut_to_a_budget(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = build_store(
        tmp_path / "s", datasets=("digits",), variants=("gan",), tricks=("none",), seeds=1
    )
    cells = group(read_suite(root))
    assert "To keep the page small" not in " ".join(samples.build(cells).lead)
    monkeypatch.setattr(samples, "BUDGET_PER_RUN", 0)
    for budget, words, images in (
        (2500, "only the last samples of the worst seed are shown", 1),
        (600, "only a few of the last samples", 1),
        (10, "too large for a page", 0),
    ):
        monkeypatch.setattr(samples, "LEAST_BUDGET", budget)
        chapter = samples.build(cells)
        assert words in " ".join(chapter.lead)
        galleries = [block for block in chapter.blocks if isinstance(block, Gallery)]
        assert sum(len(gallery.images) for gallery in galleries) == images
    write_report(root)
    assert words in page_of(root)
    assert "<small" not in page_of(root)


def test_a_number_that_is_not_finite_does_not_stop_it(tmp_path: Path) -> None:
    root = build_store(
        tmp_path / "s", datasets=("ring8",), seeds=2, fate_of=lambda where: Fate("ok", float("inf"))
    )
    write_report(root)
    (root / "report" / "tables" / "verdicts.csv").read_text()


@pytest.mark.usefixtures("unrendered")
def test_environment_that_is_damaged_is_said(tmp_path: Path) -> None:
    root = build_store(tmp_path / "s", datasets=("ring8",), variants=("gan",), seeds=1)
    next((root / "runs").glob("*/environment-1.json")).write_text("{")
    write_report(root)
    assert "file is damaged" in page_of(root)


def test_figures_of_many_rows_are_cut_and_say_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = build_store(
        tmp_path / "s", datasets=("ring8",), variants=("a", "b", "c"), seeds=4,
        fate_of=lambda where: Fate("collapsed" if where.seed == 1 else "ok"),
    )  # fmt: skip
    for module, name in (
        (survival, "MOST_VARIANTS"), (verdicts, "MOST_ROWS"), (modes, "MOST_ROWS"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, 2)
    document = compose(root)
    notes = {figure.name: figure.note for figure in document.figures()}
    for name in ("survival", "coverage-ring8"):
        assert "Of 3 variants, the first 2 are drawn." in notes[name]
    assert "Of 3 rows, the first 2 are drawn." in notes["effects-by-cell"]


def test_a_page_of_a_hundred_runs_is_under_five_megabytes(tmp_path: Path) -> None:
    root = build_store(
        tmp_path / "s", variants=("gan", "dcgan", "lsgan", "wgan-gp", "sngan"),
        tricks=("none", "dropout-g"),
    )  # fmt: skip
    assert len(list((root / "runs").iterdir())) == 100
    assert write_report(root).stat().st_size <= 5_000_000


@pytest.mark.slow
def test_the_stability_suite_fits(tmp_path: Path) -> None:
    root = build_store(
        tmp_path / "s",
        datasets=("ring8", "grid25", "digits"),
        variants=("gan", "dcgan", "lsgan", "wgan", "wgan-gp", "sngan"),
        tricks=("none", "label-smoothing", "feature-matching", "patchgan", "update-ratio",
                "dropout-g"),
    )  # fmt: skip
    page = write_report(root)
    assert page.stat().st_size < 10_000_000
    assert json.loads((root / "report" / ".report.json").read_text())["files"]
