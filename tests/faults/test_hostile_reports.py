"""Code in any string that reaches a report: it is shown as text, in every format."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from harness.store.events import Attempt, Protocol
from harness.store.log import encode, read_events
from reports import comma_separated, html, latex, markdown, structured
from reports.build import write_report
from reports.document import Claim, Document, Figure, Gallery, Section, Thumbnail
from reports.figures.style import Drawing
from reports.tables import Column, Table, TableCell, printable
from tests.stores import build_store, write_tuning

ATTACKS = (
    "</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)", "javascript:alert(1)", "{{ 7*7 }}", "{% raw %}", "<!--", "]]>",
    "&lt;b&gt;", "[x](javascript:alert(1))", "![x](http://a.b/c)", "http://a.b", "www.a.b",
    "a|b", "`", "``x`", "**b**", "_e_", "~~s~~", "# h", "- item", "+ item", "1. item", "1) item",
    "> quote", "    code", "---", "===", "<br>", "\\", "\n\n", "\r", "\x00", "\u202e", "\ud800",
    "=cmd|'/c calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\\input{/etc/passwd}", "$x$", "%", "#",
)  # fmt: skip
TEXTS = (
    st.lists(st.sampled_from(ATTACKS) | st.characters(codec=None), min_size=1, max_size=4)
    .map("".join)
    .filter(lambda text: text.strip() != "")
)
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"></svg>'
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c63600000000200014898ad3c0000000049454e44ae426082"
)


def document_of(text: str) -> Document:
    """Put one text in every place of a report that can hold a foreign one."""
    table = Table(
        "table",
        text,
        (Column(text, "text", text), Column(text, "prose"), Column(text, "code")),
        ((TableCell(text, protocol=text), TableCell(text), TableCell(text)),),
        text,
    )
    empty = Table("empty", text, (Column(text),), (), "", empty=text)
    figure = Figure("figure", text, text, Drawing(SVG), text)
    image = Thumbnail(PIXEL, text, text)
    gallery = Gallery("gallery", text, (text,), (text,), {(text, text): image}, text)
    claim = Claim("helps", text, text)
    section = Section("one", text, (text,), (claim,), (table, empty, figure, gallery))
    return Document(text, text, ((text, text),), (section,))


class Skeleton(HTMLParser):
    """Everything of a page but its texts: tags, attributes' names, and where they lead."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []
        self.leads: list[str] = []
        self.shown: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "wbr":
            self.tags.append((tag, *(name for name, _ in attrs)))
        self.leads += [value or "" for name, value in attrs if name in ("href", "src", "content")]

    def handle_endtag(self, tag: str) -> None:
        self.tags.append((f"/{tag}",))

    def handle_comment(self, data: str) -> None:
        self.tags.append(("comment",))

    def handle_data(self, data: str) -> None:
        self.shown.append(data)


BENIGN = Skeleton(html.render(document_of("x")))


@settings(max_examples=40)
@given(TEXTS)
@example("".join(ATTACKS))
def test_a_page_has_the_same_tags_whatever_it_says(text: str) -> None:
    page = Skeleton(html.render(document_of(text)))
    assert page.tags == BENIGN.tags
    assert page.leads == BENIGN.leads
    assert " ".join(printable(text).split()) in " ".join("".join(page.shown).split())


def kinds(text: str) -> list[str]:
    """Return what a reader of Markdown sees the parts of a text as; neighbours alike are one."""
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    tokens = parser.parse(markdown.render(document_of(text)))
    flat = [t for token in tokens for t in (token, *(token.children or ()))]
    return [kind for kind, _ in groupby(token.type for token in flat)]


@settings(max_examples=60)
@given(TEXTS)
@example("".join(ATTACKS))
@example("- item")
@example("1. item")
@example("+ item")
@example("---")
@example("    code")
def test_markdown_has_the_same_parts_whatever_it_says(text: str) -> None:
    # What cannot stand in a code span is escaped instead.
    spans = [kind for kind in kinds(text) if kind != "code_inline"]
    plain = [kind for kind in kinds("x") if kind != "code_inline"]
    assert [k for k, _ in groupby(spans)] == [k for k, _ in groupby(plain)]


@given(TEXTS)
def test_a_spreadsheet_gets_no_formula(text: str) -> None:
    (table, empty) = document_of(text).tables()
    rows = list(csv.reader(io.StringIO(comma_separated.render(table))))
    assert [len(row) for row in rows] == [3, 3]
    for entry in (entry for row in rows for entry in row):
        assert not entry.startswith(("=", "+", "-", "@", "\t", "\r"))
        assert entry.removeprefix("'") == printable(text).removeprefix("'")
    assert len(list(csv.reader(io.StringIO(comma_separated.render(empty))))) == 1


@given(TEXTS)
def test_latex_and_json_hold_it_as_text(text: str) -> None:
    document = document_of(text)
    read = json.loads(structured.render(document))
    assert read["summary"] == text
    assert read["tables"][0]["rows"][0][0]["value"] == text
    written = latex.render(document.tables()[0])
    for order in sorted({*latex.SPECIAL.values()}, key=len, reverse=True):
        written = written.replace(order, "")
    body = [line for line in written.splitlines() if not line.startswith("%")]
    orders = set(re.findall(r"\\[a-z]+|\\.", "\n".join(body)))
    assert orders <= {
        "\\begin", "\\end", "\\centering", "\\caption", "\\label", "\\toprule", "\\midrule",
        "\\bottomrule", "\\\\",
    }  # fmt: skip


def test_every_record_of_a_run_may_be_hostile(tmp_path: Path) -> None:
    """Docstrings of plugins, notes of data sets, versions, devices and searches."""
    attack = "</script><img src=x onerror=alert(1)>|`*"
    root = build_store(tmp_path, datasets=("ring8",), variants=("gan",), seeds=2)
    for log in root.glob("runs/*/events.jsonl"):
        events = []
        for event in read_events(log):
            if isinstance(event, Attempt):
                event = replace(event, device=attack)
            if isinstance(event, Protocol):
                words = {"kind": attack, "extractor": attack, "notes": (attack,)}
                data = replace(event.data, **words, class_names=(attack,))
                metrics = tuple(replace(metric, summary=attack) for metric in event.metrics)
                event = replace(event, data=data, metrics=metrics)
            events.append(event)
        log.write_bytes(b"".join(map(encode, events)))
        environment = {attack: attack, "device": {attack: [attack]}}
        (log.parent / "environment-1.json").write_text(json.dumps(environment))
    search = write_tuning(root)
    summary = json.loads(search.read_text())
    summary["cell"] = dict.fromkeys(summary["cell"], attack)
    search.write_text(json.dumps(summary | {"metric": attack, "sampler": attack}))
    write_report(root)
    pages = [*(root / "report").rglob("*.html")]
    assert len(pages) > 4
    for page in pages:
        text = page.read_text()
        assert "<img src=x" not in text
        assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text
        policies = [lead for lead in Skeleton(text).leads if "default-src" in lead]
        assert len(policies) == 1
        assert "'unsafe" not in policies[0]
    main = (root / "report" / "index.html").read_text()
    assert main.count("&lt;/script&gt;&lt;img") > 10
    spans = re.compile(r"(`+).*?\1")
    said = spans.sub("", (root / "report" / "report.md").read_text())
    assert "\\<img src=x" in said
    assert not re.search(r"(?<!\\)<img", said)


def test_the_policy_forbids_everything_but_our_own() -> None:
    (policy,) = [lead for lead in BENIGN.leads if "default-src" in lead]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:"
    for kind in ("style-src", "script-src"):
        assert re.fullmatch(r"'sha256-[A-Za-z0-9+/]{43}='", rules[kind])


@pytest.mark.parametrize("text", ["x", ATTACKS[0]])
def test_the_policy_is_the_same_for_every_report(text: str) -> None:
    assert Skeleton(html.render(document_of(text))).leads[:3] == BENIGN.leads[:3]
