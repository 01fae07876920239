"""What normalisation does to a text, and that it leaves ordinary writing alone."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.text import Normalised, normalise
from guard.text.views import is_plain

_NASTY = st.sampled_from(
    [
        *"kilLo1!$@ \n\r\t.-_=%&\\",
        *"аеорсухкiоΑραՕսᎪꓮᴋɪʟ",
        *"\u0301\u0327\u0336\u05b0\u064b\u093e\u094d\u1161\u11a8\u1100ﾞﾊㅏ㎏ﬁ½¨´Å",
        *"\u200b\u200c\u200d\ufe0f\ufeff\u00ad\u202e\u2066\u2028\x00\x85\ud83d\ude00\ud800",
        *"\U000e0041\U000e007f\U0001f3f4\U000e0101😀❤👩🇩🇪🅚🅺م‌یक",
        "xvyy",
        "lbh",
        "aGVsbG8gd29ybGQgYWdhaW4=",
        "&#107;",
        "%6b",
    ]
)
texts = st.text() | st.lists(_NASTY | st.characters(), max_size=30).map("".join)


@pytest.mark.parametrize(
    "text",
    [
        "Plain words, nothing else.",
        "It costs $20 (or 3.5 %) at 10am; call 555-1234, room B12, or write to jo@example.org!",
        "Windows line\r\nends and\ttabs",
        "i18n, mp3, COVID-19, b2b, 1st, 2nd, R2D2, H1N1, GPT4, h264, 1080p, x86, v2.0, 5stars, log4j",
        "https://example.org/a1b2/c3d4?e5=f6",
        "e.g. the U.S. and a b c",
        "d41d8cd98f00b204e9800998ecf8427e 4111111111111111",
        "responsibilities internationalization",
        "Der schnelle braune Fuchs springt über den faulen Hund, und niemand hat es gesehen.",
        "De snelle bruine vos springt over de luie hond. Zażółć gęślą jaźń.",
        "Привет, как дела? Хахаха lol",
        "Καλημέρα κόσμε, το νόημα",
        "Բարեւ աշխարհ",
        "سلام، می‌خواهم بروم",
        "שָׁלוֹם עוֹלָם",
        "क्‍ष हिन्दी में लिखा",
        "ภาษาไทยที่นี่",
        "Tiếng Việt có dấu",
        "日本語のテキスト。ㅋㅋㅋ 한국어",
        "👩🏽‍🚀 ❤️ 1️⃣ 🇩🇪🇫🇷 👨‍👩‍👧",
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f wins",
        "5 μm, kΩ, Δt, αSyn",
        "l’été “smart” don´t",
    ],
)
def test_ordinary_writing_is_left_alone(text: str) -> None:
    """Living scripts, flags, prices and part numbers come back as they are, without steps or views."""
    normalised = normalise(text)
    assert (normalised.text, normalised.steps, normalised.views) == (text, (), ())


@pytest.mark.parametrize(
    ("text", "expected", "steps"),
    [
        ("e\u0301te\u0301", "été", ("nfkc",)),
        ("ｋｉｔｅ 𝓀𝒾𝓉ℯ ⓚⓘⓣⓔ", "kite kite kite", ("nfkc",)),
        ("🅚🅘🅣🅔 🅺🅸🆃🅴 🇰🇮🇹🇪🇸", "KITE KITE KITES", ("confusables",)),
        ("k\u200bi\u00adt\ufeffe", "kite", ("zero_width",)),
        ("ki\u202ete\u2069", "kite", ("bidi",)),
        ("hi\U000e0067\U000e006fx", "hi go x", ("tags",)),
        ("hi" + "".join(chr(0xE0100 + ord(c) - 16) for c in "open"), "hi open ", ("tags",)),
        ("kіtе, сорe", "kite, cope", ("confusables",)),
        ("the ехсорс word", "the excopc word", ("confusables",)),
        ("ᴋɪᴛᴇ ᏦᎥte", "kite Kite", ("confusables",)),
        ("k\u0301\u0302\u0303\u0310ite", "kite", ("combining",)),
        ("k\u0336i\u0336t\u0336e\u0336", "kite", ("combining",)),
        ("a\ud800b\ud83d\ude00", "a\ufffdb😀", ("surrogates",)),
        ("ki\x00te\rx\x0by\x07", "kite\nx\ny", ("control",)),
    ],
)
def test_disguises_are_folded_and_named(text: str, expected: str, steps: tuple[str, ...]) -> None:
    """Each disguise has one plain form, and the step that found it is on record."""
    normalised = normalise(text)
    assert normalised.text == expected
    assert normalised.steps == steps


@settings(max_examples=500, deadline=None)
@given(texts)
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    """The cache key is the normalised text, so a normalised text must be its own."""
    once = normalise(text).text
    assert normalise(once).text == once


@settings(max_examples=500, deadline=None)
@given(texts)
def test_normalising_never_raises_and_changes_are_named(text: str) -> None:
    """Total on every str; a changed text has a step, and an unchanged one without views has none."""
    normalised = normalise(text)
    assert isinstance(normalised, Normalised)
    assert (normalised.text != text or bool(normalised.views)) <= bool(normalised.steps)
    assert len(normalised.views) <= 8
    normalised.text.encode()
    assert not any(unicodedata.category(c) == "Cc" and c not in "\n\t\r" for c in normalised.text)


@settings(max_examples=400, deadline=None)
@given(texts)
def test_spans_are_inside_the_original_and_monotone(text: str) -> None:
    """Characters come from spans in order, and a span is the hull of its characters' spans."""
    normalised = normalise(text)
    places = [normalised.to_original(i, i + 1) for i in range(len(normalised.text))]
    assert all(0 <= start <= end <= len(text) for start, end in places)
    assert places == sorted(places)
    assert [end for _, end in places] == sorted(end for _, end in places)
    for i in range(0, len(places), 3):
        for j in range(i + 1, len(places) + 1, 4):
            assert normalised.to_original(i, j) == (places[i][0], places[j - 1][1])
    start, end = normalised.to_original(-5, len(text) + 99)
    assert 0 <= start <= end <= len(text)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs", "Mn", "Mc", "Me", "Lo"])))
def test_what_stands_at_a_span_normalises_to_the_text(text: str) -> None:
    """Without context (marks, mixed-script words), each character's source alone gives the character."""
    normalised = normalise(text)
    if {"confusables", "tags"} & set(normalised.steps):
        return
    for i, character in enumerate(normalised.text):
        start, end = normalised.to_original(i, i + 1)
        source = text[start:end]
        assert character in source or character in normalise(source).text


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_plain_text_has_no_views_when_looked_at_closely(text: str) -> None:
    """The quick look may only say yes where the main text is the text."""
    if is_plain(text):
        assert normalise(text).text == text
        assert normalise(text + "é").text == text + "é"


def test_the_offset_map_of_the_docstring_holds() -> None:
    """The worked example: one removed character and one ligature."""
    normalised = normalise("a\u200bﬁ!")
    assert normalised.text == "afi!"
    spans = [normalised.to_original(*span) for span in [(0, 1), (1, 2), (0, 2), (3, 4)]]
    assert spans == [(0, 1), (2, 3), (0, 3), (3, 4)]


def test_removed_characters_at_the_edges_are_left_out() -> None:
    """A span is the smallest one: redaction takes no more than it must."""
    normalised = normalise("\u200bk\u200bi\u200b x")
    assert normalised.text == "ki x"
    assert normalised.to_original(0, 2) == (1, 4)


def test_the_representation_shows_no_text() -> None:
    """A Normalised or View that lands in a log says nothing of what was moderated."""
    normalised = normalise("c4n4ry words")
    assert "words" not in repr(normalised)
    assert "canary" not in repr(normalised.views)
