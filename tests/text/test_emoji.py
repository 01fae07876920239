"""Emoji as words, with a way back."""

from hypothesis import given
from hypothesis import strategies as st

from guard.text import spoken
from guard.text.emoji import MOST


def test_emoji_become_their_names():
    """Between spaces, so that they glue no words together."""
    assert spoken("nice🔪work").text == "nice hocho work"
    assert spoken("ok 👍🏽").text == "ok  thumbs up sign "
    assert spoken("🇩🇪 wins").text == " flag  wins"


def test_ordinary_text_comes_back_as_it_is():
    """Letters of any script are no pictures."""
    for text in ("plain", "Größe, 漢字, Привет", ""):
        assert spoken(text) == (text, None)


def test_a_run_is_said_once_and_not_for_ever():
    """A thousand of the same are one; of many different ones the first eight are said."""
    assert spoken("😂" * 1_000).text == " face with tears of joy "
    many = "".join(chr(code) for code in range(0x1F400, 0x1F440))
    assert len(spoken(many).text) < 40 * MOST


def test_spans_lead_back_to_the_picture():
    """A span over the words is the picture; one over the text beside it is that text."""
    said = spoken("hi 🔪 you")
    start = said.text.index("hocho")
    assert said.back(start, start + 5) == (3, 4)
    start = said.text.index("you")
    assert said.back(start, start + 3) == (5, 8)


@given(st.text(st.sampled_from("ab 🔪😂👍🏽❤\ufe0f\u200d🇩🇪é"), max_size=30), st.data())
def test_every_span_leads_somewhere_inside_the_text(text, data):
    """Total, and in order."""
    said = spoken(text)
    start = data.draw(st.integers(0, len(said.text)))
    end = data.draw(st.integers(start, len(said.text)))
    first, last = said.back(start, end)
    assert 0 <= first <= last <= len(text)
