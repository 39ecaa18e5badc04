"""User text must not act: judged by readers of each notation, not by the tables that escape it."""

import html
import json
import re
import unicodedata
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from engine.visible import json_for_terminal, markdown, visible, xml_text

ANY = st.text(st.characters(codec=None), max_size=60)
MARKED = st.text(st.sampled_from("ab \\`*_{}[]()<>#+-.!|~$&@:/=\"'^1\n\t"), max_size=40)
HOSTILE = [
    "<script>alert(1)</script>", "a|b", "`code`", "**bold** _it_ __x__ ~~no~~", "[x](http://y.z)",
    "![x](http://y.z/i.png)", "http://evil.example www.evil.example", "<!-- c -->", "&lt;b&gt;",
    "a\nb\n\n# heading", "- item", "1. item", "> quote", "$x^2$", ":smile: @someone #12 GH-1",
    "mail@evil.example mailto:mail@evil.example", "\\", "a\\|b", "---", "```\nx", "<b>x", "]]>",
]  # fmt: skip


class Text(HTMLParser):
    """The text and the tags of a page."""

    def __init__(self, page):
        super().__init__()
        self.text, self.tags = "", []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


def acts(text):
    """Characters that control, turn or hide, by Unicode's own categories; joiners are allowed."""
    kinds = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    # Number signs and such of a few scripts are shown, although they are called format characters.
    shown = re.compile("[\u200c\u200d\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd"
                       "\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
                       "\U0001d173-\U0001d17a]")  # fmt: skip
    return [c for c in text if unicodedata.category(c) in kinds and not shown.match(c)]


@given(ANY)
def test_nothing_that_is_shown_acts(text):
    shown = visible(text)
    assert acts(shown) == []
    shown.encode()  # no surrogate is left


@pytest.mark.parametrize("code", [*range(0x00, 0x20), *range(0x7F, 0xA0), 0x202E, 0x2028, 0xFEFF])
def test_what_was_there_can_be_read(code):
    shown = visible(f"a{chr(code)}b")
    assert re.fullmatch(r"a\\(?:[tnr]|x[0-9a-f]{2}|u[0-9a-f]{4})b", shown)
    assert json.loads(f'"{shown}"'.replace("\\x", "\\u00")) == f"a{chr(code)}b"


@pytest.mark.parametrize(
    "text", ["person", "чашка", "قطة", "犬", "\U0001f468‍\U0001f469‍\U0001f467", "می‌خواهم"]
)
def test_honest_labels_stay_as_they_are(text):
    assert visible(text) == text
    assert html.unescape(markdown(text)) == text


@given(ANY, st.integers(2, 40))
def test_the_limit_holds(text, limit):
    shown = visible(text, limit)
    assert len(shown) <= limit
    assert acts(shown) == []
    if len(visible(text)) <= limit and len(text) <= limit:
        assert shown == visible(text)


def test_what_is_cut_off_is_said():
    assert visible("a" * 10_000, 10) == "aaaaaaaaa…"
    assert visible("a" * 10, 10) == "a" * 10


def rendered(cell):
    page = MarkdownIt("gfm-like", {"linkify": False}).render(f"| h |\n|---|\n| {cell} x |\n")
    seen = Text(page)
    assert seen.tags == ["table", "thead", "tr", "th", "tbody", "tr", "td"], page
    return seen.text.split("h", 1)[1].strip().removesuffix("x").strip().replace("\u200b", "")


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_shows_a_label_as_it_is(text):
    assert rendered(markdown(text)) == " ".join(visible(text).split(" ")).strip()


@given(st.one_of(MARKED, ANY))
def test_markdown_of_any_label_is_one_cell_without_markup(text):
    shown = visible(text, 80).strip(" ")
    # Markdown takes several blanks for one when it is shown, not when it is parsed.
    assert re.sub(r"\s+", " ", rendered(markdown(text))) == re.sub(r"\s+", " ", shown).strip()


@pytest.mark.parametrize("text", HOSTILE)
def test_no_address_is_left_that_a_reader_would_link(text):
    escaped = markdown(text)
    assert not re.search(r"https?://|www\.|mailto:|\w@\w|@\w|(?<!&)#\d|:\w+:", escaped)


@given(ANY)
def test_xml_gives_the_text_back(text):
    tree = ET.fromstring(f'<a b="{xml_text(text)}">{xml_text(text)}</a>')
    assert tree.text == visible(text) or (tree.text is None and not text)
    assert tree.get("b") == visible(text)


@given(
    st.recursive(ANY.filter(lambda t: not re.search("[\ud800-\udfff]", t)), st.lists, max_leaves=4)
)
def test_json_for_a_terminal_is_the_same_document(document):
    text = json_for_terminal(json.dumps(document, ensure_ascii=False))
    assert json.loads(text) == document
    assert [c for c in text if unicodedata.category(c) == "Cc"] == []
    assert not set(text) & {"\u202e", "\u2066", "\u200f", "\u2028"}
