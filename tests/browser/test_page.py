"""The page in a real browser: nothing is blocked or fetched, and its script does its work."""

from __future__ import annotations

import base64
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reports.build import write_report
from tests.browser.chromium import EXECUTABLE, Page
from tests.stores import Fate, Where, build_store, plausible, write_tuning

pytestmark = pytest.mark.skipif(not EXECUTABLE.exists(), reason=f"{EXECUTABLE} is not installed")
PACKAGE = importlib.util.find_spec("axe_core_python")
"""Carries axe.min.js; only the file is used."""
ATTACK = (
    "</script><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def fate(where: Where) -> Fate:
        if where.seed == 4:
            return Fate("diverged", 3.0, ATTACK)
        return plausible(where)

    root = build_store(
        tmp_path_factory.mktemp("browser") / "suite",
        tricks=("none", "label-smoothing", "dropout-g"),
        labels={"wgan-gp": ATTACK},
        fate_of=fate,
    )
    write_tuning(root)
    return write_report(root)


@pytest.fixture(scope="module")
def page(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with Page(tmp_path_factory.mktemp("profile")) as page:
        page.size(1280, 900)
        page.open(file)
        yield page


def test_nothing_is_blocked_fetched_or_run(page: Page, file: Path) -> None:
    assert page.complaints() == []
    fetched = [address for address in page.requests() if not address.startswith("data:")]
    assert fetched == [file.resolve().as_uri()]
    assert page.evaluate("document.title") == "synthetic · ganbench"


def test_the_policy_stops_a_foreign_script(page: Page) -> None:
    page.evaluate("""(() => {
        const script = document.createElement('script');
        script.textContent = "document.title = 'owned'";
        document.body.append(script);
        script.remove();
    })()""")
    assert page.evaluate("document.title") == "synthetic · ganbench"


def test_every_image_is_drawn_and_described(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    state = page.evaluate("""Promise.all([...document.images].map(async image => {
        await image.decode();
        return [image.naturalWidth > 0, image.alt.length > 10];
    }))""")
    assert len(state) > 15
    assert all(drawn and described for drawn, described in state)


def test_sorting_by_exact_numbers_in_both_directions(page: Page) -> None:
    column = """(() => {
        const table = [...document.querySelectorAll('table.data')].find(
            t => t.tHead.textContent.includes('Median of all'));
        const index = [...table.tHead.rows[0].cells].findIndex(
            c => c.textContent.startsWith('Last'));
        table.tHead.rows[0].cells[index].querySelector('button').click();
        return [table.tHead.rows[0].cells[index].getAttribute('aria-sort'),
            [...table.tBodies[0].rows].map(r => Number(r.cells[index].dataset.key))];
    })()"""
    direction, up = page.evaluate(column)
    assert direction == "ascending" and up == sorted(up) and len(set(up)) > 1
    direction, down = page.evaluate(column)
    assert direction == "descending" and down == up[::-1]


def test_filter_hides_rows_and_says_how_many_are_left(page: Page) -> None:
    shown, total, text = page.evaluate("""(() => {
        const label = document.querySelector('.filter');
        const input = label.querySelector('input');
        input.value = 'ring8 dropout';
        input.dispatchEvent(new Event('input'));
        const rows = [...label.nextElementSibling.querySelectorAll('tbody tr')];
        const result = [rows.filter(r => !r.hidden).length, rows.length,
            label.querySelector('output').textContent];
        input.value = '';
        input.dispatchEvent(new Event('input'));
        return result;
    })()""")
    assert 0 < shown < total
    assert text == f"{shown} of {total} rows"


@pytest.mark.parametrize("width", [1280, 400])
def test_only_boxes_scroll_sideways(page: Page, width: int) -> None:
    page.size(width, 900)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.size(1280, 900)


@pytest.mark.parametrize("width", [400, 800, 1280])
def test_figures_are_drawn_and_need_no_scrolling_at_any_width(page: Page, width: int) -> None:
    page.size(width, 900)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    figures = page.evaluate("""Promise.all(
        [...document.querySelectorAll('.drawing > picture > img')].map(async image => {
            await image.decode();
            const box = image.closest('.box');
            return [box.getAttribute('aria-label'), image.naturalWidth > 0,
                box.scrollWidth <= box.clientWidth, image.width / image.naturalWidth];
        }))""")
    page.size(1280, 900)
    assert len(figures) > 8
    for label, drawn, fits, scale in figures:
        assert drawn and fits, label
        # Letters of 8.5 points then have some 8 pixels.
        assert scale > 0.7, (label, scale)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_table_that_goes_on_beyond_its_box_shows_it(
    page: Page, file: Path, scheme: str, tmp_path: Path
) -> None:
    # Where there are scroll bars, they show it.
    page.call("Emulation.setScrollbarsHidden", {"hidden": True})
    page.size(400, 900)
    page.prefer(scheme)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    box = """[...document.querySelectorAll('.box')].find(b => b.querySelector('table.data')
        && b.scrollWidth > b.clientWidth + 40 && b.scrollHeight > b.clientHeight + 40)"""

    def edges() -> tuple[float, float]:
        """Return how much a strip at the right edge, and at the lower one, differs from within."""
        x, y, width, height = page.evaluate(f"""(b => {{
            b.style.color = 'transparent';
            b.querySelectorAll('*').forEach(e => {{
                e.style.visibility = 'hidden'; e.style.borderColor = 'transparent'; }});
            b.scrollIntoView({{block: 'center', behavior: 'instant'}});
            const r = b.getBoundingClientRect();
            return [r.x, r.y, b.clientWidth, b.clientHeight];
        }})({box})""")
        page.screenshot(tmp_path / "page.png")
        with Image.open(tmp_path / "page.png") as image:
            pixels = np.asarray(image.convert("L"), dtype=float)
        top, left, bottom, right = (round(v) for v in (y, x, y + height, x + width))
        inside = pixels[top + 150, left + 100]
        return (
            abs(pixels[top + 150, right - 3] - inside),
            abs(pixels[bottom - 3, left + 100] - inside),
        )

    right, lower = edges()
    page.evaluate(f"{box}.scrollTo({{left: 1e6, top: 1e6, behavior: 'instant'}})")
    after = edges()
    page.prefer("light")
    page.size(1280, 900)
    page.call("Emulation.setScrollbarsHidden", {"hidden": False})
    page.open(file)
    assert min(right, lower) > 6 and max(after) < 2


CONTRAST = """(() => {
    const parse = text => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
    const behind = element => {
        for (let e = element; e; e = e.parentElement) {
            const colour = parse(getComputedStyle(e).backgroundColor);
            if (colour.length === 3 || colour[3] === 1) return colour;
        }
        return parse(getComputedStyle(document.documentElement).backgroundColor);
    };
    const worst = [99, ''];
    for (const element of document.querySelectorAll('body *')) {
        const own = [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
        if (!own || ['SCRIPT', 'STYLE'].includes(element.tagName)) continue;
        const a = light(parse(getComputedStyle(element).color)), b = light(behind(element));
        const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
        if (ratio < worst[0]) { worst[0] = ratio; worst[1] = element.outerHTML.slice(0, 120); }
    }
    return worst;
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_of_all_text_is_at_least_aa(page: Page, scheme: str) -> None:
    page.prefer(scheme)
    ratio, where = page.evaluate(CONTRAST)
    page.prefer("light")
    assert ratio >= 4.5, where


def test_landmarks_headings_and_skip_link(page: Page) -> None:
    count = "(s => document.querySelectorAll(s).length)"
    assert page.evaluate(f"{count}('h1')") == 1
    for landmark in ("header", "nav[aria-label]", "main", "footer"):
        assert page.evaluate(f"{count}('{landmark}')") == 1
    assert page.evaluate("document.querySelector('.skip').hash") == "#verdicts"
    assert page.evaluate(
        "[...document.querySelectorAll('nav a[href^=\"#\"]')]"
        ".every(a => document.querySelector(a.hash))"
    )


def test_figures_follow_the_dark_preference(page: Page, tmp_path: Path) -> None:
    """The axes' ink inside an SVG image turns light with the page around it."""
    brightest = """(async () => {
        const image = document.querySelector('.drawing > picture > img');
        await image.decode();
        const canvas = document.createElement('canvas');
        canvas.width = image.width; canvas.height = image.height;
        const context = canvas.getContext('2d');
        context.drawImage(image, 0, 0);
        const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
        let most = 0;
        for (let i = 0; i < data.length; i += 4)
            if (data[i + 3] === 255) most = Math.max(most, Math.min(data[i], data[i+1], data[i+2]));
        return most;
    })()"""
    page.prefer("light")
    light = page.evaluate(brightest)
    page.prefer("dark")
    dark = page.evaluate(brightest)
    page.prefer("light")
    assert light < 215 < dark


def test_a_hostile_name_is_shown_as_text(page: Page) -> None:
    shown = page.evaluate("document.body.innerText")
    assert ATTACK in shown
    assert page.evaluate("[...document.images].every(i => i.getAttribute('src') !== 'x')")


GALLERY = "document.querySelector('.block.gallery')"
FRAMES = f"""[...{GALLERY}.querySelectorAll('td')].filter(td => td.children.length).map(
    td => [...td.children].filter(f => !f.hidden).map(
        f => [f.dataset.ranks.split(' '), Number(f.dataset.moment), f.innerText.trim()]))"""


def test_the_last_samples_of_the_worst_seed_are_seen_first(page: Page) -> None:
    for frames in page.evaluate(FRAMES):
        ((ranks, moment, caption),) = frames
        assert "0" in ranks and moment > 0 and "seed" in caption


def test_the_slider_moves_all_samples_of_its_gallery_by_key(page: Page) -> None:
    slider = f"{GALLERY}.querySelector('input[type=range]')"
    page.evaluate(f"{slider}.focus()")
    page.press("Home", 36)
    said = "[s.getAttribute('aria-valuetext'), s.nextElementSibling.textContent]"
    said = f"(s => {said})({slider})"
    assert page.evaluate(said) == ["0\u00a0% of training"] * 2
    first = page.evaluate(FRAMES)
    assert all(len(frames) == 1 and frames[0][1] == 0 for frames in first)
    page.press("ArrowRight", 39)
    page.press("ArrowRight", 39)
    assert page.evaluate(said) == ["50\u00a0% of training"] * 2
    middle = page.evaluate(FRAMES)
    assert all(len(frames) == 1 for frames in middle) and middle != first
    page.press("End", 35)
    assert all("kimg" not in frames[0][2] for frames in page.evaluate(FRAMES))


def test_another_seed_can_be_chosen(page: Page) -> None:
    choose = f"""(place => {{
        const select = {GALLERY}.querySelector('select');
        select.selectedIndex = place;
        select.dispatchEvent(new Event('change'));
        return select.options[place].text;
    }})"""
    assert page.evaluate(f"{choose}(1)") == "seed 0 in every cell"
    assert all(frames[0][2].startswith("seed 0,") for frames in page.evaluate(FRAMES))
    assert page.evaluate(f"{choose}(0)") == "worst of each cell"
    assert not all(frames[0][2].startswith("seed 0,") for frames in page.evaluate(FRAMES))


def test_tables_sort_by_key_and_say_so(page: Page) -> None:
    heading = "document.querySelector('table.data thead th:nth-child(3)')"
    page.evaluate(f"{heading}.querySelector('button').focus()")
    for direction in ("ascending", "descending"):
        page.press("Enter", 13)
        assert page.evaluate(f"{heading}.getAttribute('aria-sort')") == direction


def test_every_table_can_be_sorted_by_every_column(page: Page) -> None:
    lacking = page.evaluate("""[...document.querySelectorAll('table.data')]
        .filter(t => t.tBodies[0].rows.length > 1)
        .filter(t => [...t.tHead.rows[0].cells].some(c => !c.querySelector('button')))
        .map(t => t.parentElement.getAttribute('aria-label'))""")
    assert lacking == []


def test_what_has_the_focus_is_seen(page: Page) -> None:
    page.evaluate("document.activeElement.blur()")
    for _ in range(12):
        page.press("Tab", 9)
        style, width, name = page.evaluate("""(e => {
            const style = getComputedStyle(e);
            return [style.outlineStyle, parseFloat(style.outlineWidth), e.outerHTML.slice(0, 80)];
        })(document.activeElement)""")
        assert style != "none" and width >= 1, name


def test_a_print_has_everything(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = false)")
    page.evaluate("""addEventListener('beforeprint', () => {
        window.opened = [...document.querySelectorAll('details')].every(d => d.open);
    })""")
    printed = base64.b64decode(page.call("Page.printToPDF", {"printBackground": True})["data"])
    assert printed.startswith(b"%PDF") and printed.count(b"/Type /Page\n") > 5
    assert page.evaluate("window.opened") is True
    assert page.evaluate("[...document.querySelectorAll('details')].every(d => !d.open)")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every kind of block, of few cells: axe looks at each element."""

    def fate(where: Where) -> Fate:
        return Fate("collapsed", 3.0) if where.tricks != "none" and where.seed else Fate()

    folder = tmp_path_factory.mktemp("small") / "suite"
    root = build_store(folder, variants=("gan",), seeds=3, fate_of=fate)
    write_tuning(root)
    return write_report(root)


@pytest.mark.skipif(PACKAGE is None, reason="axe-core-python is not installed")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_axe_finds_nothing_serious(page: Page, small: Path, scheme: str, width: int) -> None:
    assert PACKAGE is not None and PACKAGE.origin is not None
    page.size(width, 900)
    page.prefer(scheme)
    page.open(small)
    # What the DevTools evaluate is not subject to the page's policy. axe cannot see through the
    # gradients at the edges of boxes, and would judge no contrast inside them.
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.evaluate("document.querySelectorAll('.box').forEach(b => b.style.background = 'none')")
    page.evaluate(Path(PACKAGE.origin).with_name("axe.min.js").read_text() + ";1")
    found = page.evaluate("""axe.run(document).then(result => ({
        passed: result.passes.length,
        wrong: result.violations
            .filter(v => ['serious', 'critical'].includes(v.impact))
            .map(v => [v.id, v.nodes.length, v.nodes[0].html.slice(0, 200)]),
    }))""")
    page.prefer("light")
    page.size(1280, 900)
    assert found["wrong"] == []
    assert found["passed"] > 20


def test_without_its_script_the_page_is_complete(page: Page, file: Path) -> None:
    page.call("Emulation.setScriptExecutionDisabled", {"value": True})
    page.open(file)
    assert page.evaluate("document.querySelectorAll('th button, .controls, .filter').length") == 0
    for frames in page.evaluate(FRAMES):
        ((ranks, moment, caption),) = frames
        assert "0" in ranks and moment > 0 and "kimg" not in caption
    assert page.evaluate("document.querySelectorAll('tbody tr[hidden]').length") == 0
    page.call("Emulation.setScriptExecutionDisabled", {"value": False})
    page.open(file)
