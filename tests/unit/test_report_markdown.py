"""The Markdown says what the page says, in nothing but Markdown; all that it links is there."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from reports.build import compose, write_report
from reports.document import Document, Gallery
from reports.tables import full_text, printable
from tests.stores import Fate, Where, build_store, write_tuning


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def fate(where: Where) -> Fate:
        return Fate("collapsed") if where.tricks != "none" and where.seed < 2 else Fate()

    root = build_store(tmp_path_factory.mktemp("markdown") / "suite", fate_of=fate)
    write_tuning(root)
    return write_report(root).parent


@pytest.fixture(scope="module")
def document(report: Path) -> Document:
    return compose(report.parent)


@pytest.fixture(scope="module")
def tokens(report: Path) -> list[Token]:
    text = (report / "report.md").read_text()
    return MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)


def text_of(token: Token) -> str:
    parts = (t.content for t in token.children or () if t.type in ("text", "code_inline"))
    return "".join(parts).replace("\u00a0", " ").strip()


def plain(text: str) -> str:
    return printable(text).replace("\u00a0", " ").strip()


def after(tokens: list[Token], title: str) -> list[list[Token]]:
    """Return what follows each heading of that title, up to the next heading."""
    heads = [i for i, token in enumerate(tokens) if token.type == "heading_open"] + [len(tokens)]
    return [tokens[i + 3 : j] for i, j in pairwise(heads) if text_of(tokens[i + 1]) == plain(title)]


def test_it_is_markdown_alone(tokens: list[Token]) -> None:
    flat = [t for token in tokens for t in (token, *(token.children or ()))]
    assert {t.type for t in flat} & {"html_block", "html_inline"} == set()


def test_every_table_is_in_it_row_by_row(tokens: list[Token], document: Document) -> None:
    for table in document.tables():
        rows = [
            [text_of(t) for i, t in enumerate(part) if part[i - 1].type in ("td_open", "th_open")]
            for part in after(tokens, table.title)
        ]
        expected = [plain(column.title) for column in table.columns]
        for row in table.rows:
            expected += [
                plain(full_text(cell, column))
                for cell, column in zip(row, table.columns, strict=True)
            ]
        assert (expected if table.rows else []) in rows, table.name


def test_every_figure_is_in_it_and_its_file_is_there(
    tokens: list[Token], document: Document, report: Path
) -> None:
    images = [child for t in tokens for child in t.children or () if child.type == "image"]
    shown = [str(image.attrs["src"]) for image in images]
    assert shown == [f"figures/{figure.name}.svg" for figure in document.figures()]
    assert all((report / name).read_text().startswith("<svg") for name in shown)
    assert all(image.content for image in images)


def test_every_claim_every_chapter_and_every_caption_is_in_it(
    tokens: list[Token], document: Document
) -> None:
    said = {text_of(token) for token in tokens if token.type == "inline"}
    for section in document.sections:
        assert plain(section.title) in said
        for claim in section.claims:
            sentence = plain(claim.sentence).replace("`", "")  # round commands, which are code
            assert f"{claim.subject} {claim.predicate}: {sentence}" in said
        assert all(
            plain(text) in said
            for text in (*section.lead, *section.method, section.headline)
            if text
        )
        for block in section.blocks:
            assert not block.note or plain(block.note) in said or not getattr(block, "rows", True)
            if isinstance(block, Gallery):
                assert {plain(image.caption) for image in block.images.values()} <= said


def test_the_page_has_the_same_tables_and_figures(document: Document, report: Path) -> None:
    page = (report / "index.html").read_text()
    shown = [table for table in document.tables() if table.rows]
    assert page.count('<table class="data">') == len(shown)
    assert len(re.findall(r'<img src="data:image/svg', page)) == len(document.figures())


@pytest.mark.parametrize(
    ("sentence", "markdown", "html"),
    [
        ("no code", "no code", "no code"),
        (
            "do it (`ganbench run '<`)'`) and on",
            r"do it (``ganbench run '<`)'``\) and on",
            "do it (<code>ganbench run &#x27;&lt;`)&#x27;</code>) and on",
        ),
        ("one ` alone <b>", r"one \` alone \<b\>", "one ` alone &lt;b&gt;"),
    ],
)
def test_commands_in_sentences_are_code(sentence: str, markdown: str, html: str) -> None:
    from reports.markdown import prose
    from reports.markup import prose as prose_html

    assert prose(sentence) == markdown
    assert str(prose_html(sentence)) == html
