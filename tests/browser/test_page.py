"""The page in a real browser: nothing is blocked or fetched, and its script does its work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reports.build import write_report
from tests.browser.chromium import EXECUTABLE, Page
from tests.stores import Fate, Where, build_store, plausible, write_tuning

pytestmark = pytest.mark.skipif(not EXECUTABLE.exists(), reason=f"{EXECUTABLE} is not installed")
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
        "[...document.querySelectorAll('nav a')].every(a => document.querySelector(a.hash))"
    )


def test_figures_follow_the_dark_preference(page: Page, tmp_path: Path) -> None:
    """The axes' ink inside an SVG image turns light with the page around it."""
    brightest = """(async () => {
        const image = document.querySelector('.drawing > img');
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
