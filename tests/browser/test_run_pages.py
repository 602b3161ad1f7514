"""The pages of runs in a real browser: opened from the report, moved by keys, and back again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reports.build import write_report
from reports.run_links import ranges
from tests.browser.chromium import EXECUTABLE, Page
from tests.browser.test_page import ATTACK, CONTRAST, PACKAGE
from tests.stores import Fate, Where, build_store

pytestmark = pytest.mark.skipif(not EXECUTABLE.exists(), reason=f"{EXECUTABLE} is not installed")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def fate(where: Where) -> Fate:
        outcome = ("ok", "collapsed", "diverged", "ok", "ok", None)[where.seed]
        return Fate(outcome, 2.0 + where.seed, ATTACK)

    root = build_store(
        tmp_path_factory.mktemp("runs") / "suite",
        variants=("gan",),
        seeds=6,
        labels={"gan": ATTACK},
        fate_of=fate,
    )
    return write_report(root).parent


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with Page(tmp_path_factory.mktemp("profile")) as page:
        page.size(1280, 900)
        yield page


def run_page(report: Path, seed: int, dataset: str = "digits") -> Path:
    return next((report / "runs").glob(f"{dataset}-gan-none-s{seed}-*.html"))


def follow(page: Page, expression: str) -> str:
    """Click what an expression finds and return the address of what opens."""
    page.events.clear()
    page.evaluate(f"setTimeout(() => ({expression}).click())")
    while not any(event.get("method") == "Page.loadEventFired" for event in page.events):
        page.events.append(page._read())
    return str(page.evaluate("location.href"))


def press(page: Page, key: str) -> None:
    for kind in ("keyDown", "keyUp"):
        code = {"Home": 36, "ArrowLeft": 37, "ArrowRight": 39, "End": 35}[key]
        page.call(
            "Input.dispatchKeyEvent",
            {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code},
        )


@pytest.mark.parametrize("seed", [0, 1, 2, 5])
@pytest.mark.parametrize("dataset", ["digits", "ring8"])
def test_nothing_is_blocked_fetched_or_run(
    page: Page, report: Path, dataset: str, seed: int
) -> None:
    file = run_page(report, seed, dataset)
    page.open(file)
    assert page.complaints() == []
    fetched = [address for address in page.requests() if not address.startswith("data:")]
    assert fetched == [file.resolve().as_uri()]
    assert "owned" not in page.evaluate("document.title").partition(" · ")[0]
    assert page.evaluate("document.images.length") == 3
    drawn = "Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))"
    assert min(page.evaluate(drawn)) > 0


def test_samples_move_by_keys(page: Page, report: Path) -> None:
    page.open(run_page(report, 0))
    seen = """(() => {
        const figures = [...document.querySelectorAll('.strip figure')];
        const shown = figures.filter(f => f.getBoundingClientRect().height > 0);
        const slider = document.querySelector('.pick input');
        return [shown.length, figures.indexOf(shown[0]), slider.getAttribute('aria-valuetext')];
    })()"""
    assert page.evaluate(seen) == [1, 2, "step 400 · 25.6 kimg"]
    page.evaluate("document.querySelector('.pick input').focus()")
    press(page, "ArrowLeft")
    assert page.evaluate(seen)[:2] == [1, 1]
    press(page, "Home")
    assert page.evaluate(seen) == [1, 0, "step 0 · 0 kimg"]
    press(page, "End")
    assert page.evaluate(seen)[:2] == [1, 2]


def test_without_script_the_last_samples_are_shown(page: Page, report: Path) -> None:
    page.call("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page.open(run_page(report, 0))
        shown = page.evaluate(
            "[...document.querySelectorAll('.strip figure')].map(f => f.offsetHeight > 0)"
        )
        assert shown == [False, False, True]
        assert page.evaluate("document.querySelector('.pick').offsetHeight") == 0
    finally:
        page.call("Emulation.setScriptExecutionDisabled", {"value": False})


def test_from_a_number_to_its_runs_to_a_page_and_back(page: Page, report: Path) -> None:
    page.open(report / "index.html")
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    number = "[...document.querySelectorAll('a.runs')].find(a => a.textContent === 'n=5')"
    wanted = page.evaluate(f"({number}).search")
    assert follow(page, number).startswith((report / "runs" / "index.html").as_uri() + "?runs=")
    assert page.complaints() == []
    rows = "[...document.querySelectorAll('.list tbody tr')]"
    kept = page.evaluate(f"{rows}.map(r => Number(r.id.slice(1)))")
    assert wanted == f"?runs={ranges(kept)}" and 1 < len(kept) < 24
    said = page.evaluate("document.querySelector('.selection').innerText")
    assert said.startswith(f"{len(kept)} of 24 runs")
    opened = follow(page, f"{rows}[1].querySelector('a')")
    assert page.complaints() == [] and Path(opened).suffix == ".html"
    assert follow(page, "document.querySelector('a[rel=next]')") != opened
    assert follow(page, "document.querySelector('a[rel=prev]')") == opened
    assert follow(page, "document.querySelector('nav a')") == (report / "index.html").as_uri()


def test_all_runs_sort_and_filter(page: Page, report: Path) -> None:
    page.open(report / "runs" / "index.html")
    assert page.complaints() == []
    assert page.evaluate("document.querySelectorAll('.list tbody tr').length") == 24
    assert page.evaluate("document.querySelector('.selection').offsetHeight") == 0
    last = """(() => {
        const table = document.querySelector('table.data');
        const index = [...table.tHead.rows[0].cells].findIndex(c => c.textContent === 'Last');
        table.tHead.rows[0].cells[index].querySelector('button').click();
        return [...table.tBodies[0].rows].map(r => Number(r.cells[index].textContent));
    })()"""
    up = page.evaluate(last)
    assert up == sorted(up) and len(set(up)) > 3
    shown = page.evaluate("""(() => {
        const input = document.querySelector('.filter input');
        input.value = 'diverged digits';
        input.dispatchEvent(new Event('input'));
        return [...document.querySelectorAll('.list tbody tr')].filter(r => !r.hidden).length;
    })()""")
    assert shown == 2


@pytest.mark.parametrize("width", [1280, 400])
def test_only_boxes_scroll_sideways(page: Page, report: Path, width: int) -> None:
    page.size(width, 900)
    try:
        for file in (run_page(report, 1), report / "runs" / "index.html"):
            page.open(file)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
    finally:
        page.size(1280, 900)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_of_all_text_is_at_least_aa(page: Page, report: Path, scheme: str) -> None:
    page.prefer(scheme)
    try:
        for file in (run_page(report, 2), report / "runs" / "index.html"):
            page.open(file)
            ratio, where = page.evaluate(CONTRAST)
            assert ratio >= 4.5, where
    finally:
        page.prefer("light")


def test_lines_differ_from_the_page_in_light_and_dark(page: Page, report: Path) -> None:
    page.open(run_page(report, 1))
    colours = """['polyline.first', 'polyline.second', '.onset', '.plot text'].map(
        s => getComputedStyle(document.querySelector(s))[s === '.plot text' ? 'fill' : 'stroke'])"""
    light = page.evaluate(colours)
    page.prefer("dark")
    dark = page.evaluate(colours)
    page.prefer("light")
    assert all(a != b for a, b in zip(light, dark, strict=True)) and len(set(light)) == 4


def test_print_shows_every_moment(page: Page, report: Path) -> None:
    page.open(run_page(report, 0))
    page.call("Emulation.setEmulatedMedia", {"media": "print"})
    shown = page.evaluate(
        "[...document.querySelectorAll('.strip figure')].map(f => f.offsetHeight > 0)"
    )
    page.call("Emulation.setEmulatedMedia", {"media": ""})
    assert shown == [True] * 3


@pytest.mark.skipif(PACKAGE is None, reason="axe-core-python is not installed")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 400)])
def test_axe_finds_nothing_serious(page: Page, report: Path, scheme: str, width: int) -> None:
    assert PACKAGE is not None and PACKAGE.origin is not None
    axe = Path(PACKAGE.origin).with_name("axe.min.js").read_text() + ";1"
    page.size(width, 900)
    page.prefer(scheme)
    try:
        for file in (run_page(report, 1), report / "runs" / "index.html"):
            page.open(file)
            # axe cannot see through the gradients at the edges of boxes.
            boxes = "document.querySelectorAll('.box')"
            page.evaluate(f"{boxes}.forEach(box => box.style.background = 'none')")
            page.evaluate(axe)
            found = page.evaluate("""axe.run(document).then(result => ({
                passed: result.passes.length,
                wrong: result.violations
                    .filter(v => ['serious', 'critical'].includes(v.impact))
                    .map(v => [v.id, v.nodes.length, v.nodes[0].html.slice(0, 200)]),
            }))""")
            assert found["wrong"] == []
            assert found["passed"] > 20
    finally:
        page.prefer("light")
        page.size(1280, 900)
