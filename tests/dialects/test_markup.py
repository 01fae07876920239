"""HTML as it is read: its text, and where that comes from."""

import html
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.dialects.markup import shown

WORDS = st.text("abc é😀 \n", min_size=1, max_size=8)
ATTRIBUTES = st.sampled_from(["", " class=x", ' href="a>b"', " id='q\"'", " hidden", " data-x = 1"])
NAMES = st.sampled_from(["b", "i", "p", "div", "span", "h1", "x-y", "noscript"])


@st.composite
def documents(draw: st.DrawFn, depth: int = 3) -> str:
    """Well-formed HTML."""
    pieces = []
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(["text", "text", "reference", "comment", "element", "break"]))
        if kind == "element" and depth:
            name = draw(NAMES)
            pieces.append(f"<{name}{draw(ATTRIBUTES)}>{draw(documents(depth - 1))}</{name}>")
        elif kind == "comment":
            pieces.append(f"<!-- {draw(WORDS)} -->")
        elif kind == "reference":
            pieces.append(draw(st.sampled_from(["&amp;", "&lt;", "&#65;", "&#x1F600;", "&nbsp;"])))
        elif kind == "break":
            pieces.append("<br>")
        else:
            pieces.append(draw(WORDS))
    return "".join(pieces)


class Standard(HTMLParser):
    """The standard library's reading."""

    def __init__(self) -> None:
        super().__init__()
        self.data = ""

    def handle_data(self, data: str) -> None:
        self.data += data


@given(documents())
def test_well_formed_html_is_read_as_the_standard_library_reads_it(markup: str):
    """Apart from the breaks that we put between elements."""
    parser = Standard()
    parser.feed(markup)
    parser.close()
    assert shown(markup).text.replace("\n", "") == parser.data.replace("\n", "")


@given(st.text("<>!-/='\"& ;abpx#1\n", max_size=60))
def test_anything_is_read_and_led_back(markup: str):
    """Whatever it is: every character of the text comes from a place of the HTML, in order."""
    text, offsets = shown(markup)
    places = [offsets.back(index, index + 1) for index in range(len(text))]
    assert all(0 <= start < end <= len(markup) for start, end in places)
    assert places == sorted(places)
    for letter, (start, end) in zip(text, places, strict=True):
        if end - start == 1 and letter != "\n":
            assert markup[start] == letter


def test_a_span_leads_back_over_tags_and_references():
    """The worked example, and one in a reference."""
    text, offsets = shown("<p>k<b>ill</b> &amp; run")
    assert text == "\nkill & run"
    assert offsets.back(1, 5) == (3, 10)
    assert offsets.back(text.index("&"), text.index("&") + 1) == (15, 20)


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<a '>harm<b '>", "harm"),
        ("<!-->harm-->", "harm-->"),
        ("<!--->harm", "harm"),
        ("<!-- a --!>harm", "harm"),
        ("<textarea><b harm></textarea>x", "\n<b harm>\nx"),
        ("<TEXTAREA>harm", "\nharm"),
        ("<title>a</titles>harm</title>", "\na</titles>harm\n"),
        ("<img alt='harm &lt;' src=x>", "\nharm <\n"),
        ("<a title=harm>x</a>", "\nharm\nx"),
        ('<a b="harm', '<a b="harm'),
        ("<!-- harm", "<!-- harm"),
        ("<script>harm", "harm"),
        ("1 < 2 & 3 > 2", "1 < 2 & 3 > 2"),
        ("a<3 b", "a<3 b"),
        ("<a b=>harm", "harm"),
        ('<a ="x>harm', "harm"),
        ("<a/b='x>'c>harm", "harm"),
        ("</ x>harm</>harm<?x>harm<!x>harm", "harmharmharmharm"),
        ("k<x-y>ill", "kill"),
        ("you<br>die", "you\ndie"),
        ("k<![CDATA[i]]>ll", "kill"),
        ("<svg><![CDATA[a <b harm> c]]></svg>", "a <b harm> c\n c]]>"),
        ("<![CDATA[<!-- >k<b>ill<!-- -->]]>", "<!-- >k<b>ill<!-- -->\nkill]]>"),
        ("<![CDATA[a>b<![CDATA[c>d", "a>b<![CDATA[c>d\nbd"),
        ("<![CDATA[harm", "<![CDATA[harm"),
        ("a<plaintext>harm</plaintext>", "a\nharm\n\nharm</plaintext>"),
        ("<plaintext>k<b>ill<!-- harm -->", "\nkill\nk<b>ill<!-- harm -->"),
        ("<xmp>k<b>ill</xmp>x", "\nkill\nk<b>ill\nx"),
        ("<xmp>harm &amp; 1</xmp>", "\nharm & 1\n"),
        ("<noscript>k<b>ill</noscript>", "kill"),
        ("<iframe><!--</iframe>harm-->", "\n<!--\nharm-->"),
        ("<noframes><iframe>k<b>ill</iframe></noframes>x", "\nkill\nx"),
        ("<noembed><a title=harm>", "\nharm\n"),
        ("<optgroup label=harm>", "\nharm\n"),
        ("<p aria-description='harm'>", "\nharm\n"),
        ("<input placeholder=harm value=1>", "\nharm\n1\n"),
        ("<iframe srcdoc='k<b>ill &amp;lt;'>", "\nkill <\n"),
        ("<iframe srcdoc='<iframe srcdoc=&quot;<b>harm&quot;>'>", "\n\nharm\n\n"),
    ],
)
def test_nothing_that_a_browser_shows_is_left_out(markup: str, text: str):
    """Tags, comments and attributes end where browsers end them; what nobody ends is read as text."""
    assert shown(markup).text == text


@pytest.mark.parametrize(
    "piece",
    [
        "<a ",
        "<a b='",
        "<!--",
        "<",
        "</",
        "<a <",
        "<a href=x ",
        "&",
        "&#",
        "<textarea>",
        "<!--a",
        "<![CDATA[",
        "<![CDATA[>",
        "<xmp>",
        "<iframe>",
        "<plaintext>",
        "<xmp></xmp>",
    ],
)
@pytest.mark.parametrize("end", ["", ">", "'>", "-->"])
def test_no_html_takes_long(piece: str, end: str):
    """As long for every character: html.parser takes a minute for some of these."""
    markup = piece * (100_000 // len(piece)) + end
    begin = time.perf_counter()
    shown(markup)
    assert time.perf_counter() - begin < 2


def test_references_are_those_of_html():
    """With and without their semicolon, as `html.unescape` has them."""
    for reference in ("&amp", "&ampx;", "&notit;", "&#0;", "&#x110000;", "&nothing;", "&", "&;"):
        assert shown(reference).text == html.unescape(reference)


def test_a_number_may_have_any_length():
    """Python reads no more than 4300 digits; whoever writes the text could have that fail."""
    zeros = "0" * 5_000
    for number, letter in (
        (f"&#{zeros}107;", "k"),
        (f"&#x{zeros}6B;", "k"),
        (f"&#{zeros};", "\ufffd"),
        (f"&#{'9' * 5_000};", "\ufffd"),
        (f"&#X{'f' * 5_000}", "\ufffd"),
    ):
        text, offsets = shown(f"{number}ill")
        assert text == f"{letter}ill"
        assert offsets.back(len(letter), len(letter) + 3) == (len(number), len(number) + 3)
        assert shown(f"<a title='{number}ill'>").text == f"\n{letter}ill\n"


def test_documents_in_documents_are_read_as_deep_as_anybody_nests_them():
    """Deeper ones are there as they stand."""
    markup = "harm"
    for _ in range(300):
        markup = f"<iframe/srcdoc={html.escape(markup)}>" if len(markup) < 100_000 else markup
    assert "harm" in shown(markup).text
