"""When text may leave: a lane by itself, with a clock that only the test moves."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.chat.hold import OVERLAP, Edit, Lane
from guard.policy.schema import Streaming

MODES = st.builds(
    Streaming,
    mode=st.sampled_from(["hold", "through", "buffer"]),
    hold_back_characters=st.sampled_from([0, 5, 40, 240]),
    hold_back_ms=st.sampled_from([0, 100, 500]),
)
TEXTS = st.text(st.sampled_from("ab .!?\n1+e\u0301\u200d👍漢字ไ"), max_size=12)


def checked(lane: Lane, now: float, *, doubtful: bool = False, over: bool = False) -> None:
    """A check that finds nothing to block."""
    lane.passed(lane.window().end, (), suspicion=float(doubtful), over=over, now=now)


@given(MODES, st.lists(st.tuples(TEXTS, st.sampled_from([0.0, 0.02, 0.6]), st.booleans())), st.booleans())
def test_what_leaves_is_the_text_in_its_order(streaming, steps, doubtful):
    """Whatever its pieces and its pauses: never more than came, in `hold` never more than was read, never backwards."""
    lane, now, left = Lane(streaming), 0.0, ""
    came = "".join(text for text, _, _ in steps)
    for text, pause, check in steps:
        now += pause
        if text:
            lane.add(text, now)
        before = lane.allowed
        if check and lane.text:
            checked(lane, now, doubtful=doubtful)
        assert before <= lane.allowed <= len(lane.text)
        if streaming.mode != "through":
            assert lane.allowed <= lane.checked
        left += lane.leaving(before if streaming.mode == "hold" else len(left), lane.allowed)
        assert left == lane.text[: lane.allowed]
    if lane.text:
        while lane.unchecked:
            checked(lane, now, over=False)
        checked(lane, now, over=True)
    assert lane.allowed == len(came)
    assert left + lane.leaving(len(left), lane.allowed) == came


@given(st.lists(st.tuples(TEXTS, st.sampled_from([0.0, 0.02, 0.6]))), st.booleans())
def test_no_word_and_no_character_is_cut(steps, doubtful):
    """Unless the bound in characters forces it, which here it cannot."""
    lane, now = Lane(Streaming(hold_back_characters=1_000, hold_back_ms=100)), 0.0
    for text, pause in steps:
        now += pause
        if text:
            lane.add(text, now)
            checked(lane, now, doubtful=doubtful)
        place = lane.allowed
        if 0 < place < len(lane.text):
            before, after = lane.text[place - 1], lane.text[place]
            assert not unicodedata.combining(after)
            assert "\u200d" not in (before, after)
            assert not (before.isalpha() and after.isalpha()) or {before, after} <= {"漢", "字"}


@given(MODES, st.lists(st.tuples(TEXTS, st.sampled_from([0.0, 0.02, 0.6]))))
def test_a_lane_never_asks_for_nothing(streaming, steps):
    """What is due at a time changes something then: nobody spins."""
    lane, now = Lane(streaming), 0.0
    for text, pause in steps:
        now += pause
        if text:
            lane.add(text, now)
        for _ in range(50):
            due = lane.due()
            if due is None or due > now + 10:
                break
            now = max(now, due)
            state = lane.checked, lane.allowed
            if lane.unchecked:
                checked(lane, now)
            else:
                lane.ripened(now)
            assert (lane.checked, lane.allowed) != state
        else:
            raise AssertionError("it asks for ever")


def test_a_sentence_leaves_once_it_is_read_to_its_end():
    """At once, however young."""
    lane = Lane(Streaming())
    lane.add("All is well. And", 0.0)
    checked(lane, 0.0)
    assert lane.text[: lane.allowed] == "All is well. "


def test_the_first_words_wait_a_tenth_of_the_hold_back_and_later_ones_all_of_it():
    """A sentence is cut where it was held long enough, and its last words stay."""
    lane = Lane(Streaming(hold_back_ms=1_000))
    lane.add("one two three four five six", 0.0)
    assert lane.due() == 0.1
    checked(lane, 0.1)
    assert lane.text[: lane.allowed] == "one two "
    lane.add(" seven eight", 0.2)
    checked(lane, 0.9)
    assert lane.text[: lane.allowed] == "one two "
    checked(lane, 1.0)
    assert lane.text[: lane.allowed] == "one two three four "


def test_a_sentence_that_has_ended_is_checked_soon():
    """Before it is as old as the middle of one would have to be; a first one sooner than the next ones."""
    lane = Lane(Streaming(hold_back_ms=1_000))
    lane.add("Fine. ", 0.0)
    checked(lane, 0.1)
    lane.add("And ", 0.2)
    assert lane.due() == pytest.approx(0.3)
    checked(lane, 0.3)
    assert lane.text[: lane.allowed] == "Fine. "
    lane.add("that", 0.4)
    assert lane.due() == pytest.approx(1.2)
    lane.add(" is all. Or", 0.5)
    assert lane.due() == pytest.approx(0.7)


def test_first_words_that_are_not_plainly_harmless_wait_as_others_do():
    """A sentence that begins with its harm shows in its first words, if faintly."""
    lane = Lane(Streaming(hold_back_ms=1_000))
    lane.add("one two three four five six", 0.0)
    lane.passed(lane.window().end, (), suspicion=0.06, over=False, now=0.1)
    assert lane.allowed == 0
    assert lane.due() == pytest.approx(1.0)
    lane.ripened(1.0)
    assert lane.text[: lane.allowed] == "one two three four five "


def test_words_that_nothing_follows_leave_after_the_hold_back():
    """A stream that pauses does not keep what it has said."""
    lane = Lane(Streaming(hold_back_ms=500))
    lane.add("one two three", 0.0)
    checked(lane, 0.1)
    assert lane.allowed == 0
    assert lane.due() == 0.5
    lane.ripened(0.5)
    assert lane.text[: lane.allowed] == "one two "
    assert lane.due() is None


def test_what_is_in_doubt_waits_for_what_follows():
    """Neither time nor the end of its sentence lets it go; too many characters do, or a check without doubt."""
    lane = Lane(Streaming(hold_back_characters=20))
    lane.add("One. Two three fo", 0.0)
    checked(lane, 9.0, doubtful=True)
    assert lane.allowed == 0
    clear = Lane(Streaming(hold_back_characters=20))
    clear.add("One. Two three fo", 0.0)
    checked(clear, 0.0)
    assert clear.text[: clear.allowed] == "One. "
    lane.add(" five six seven eight nine", 9.0)
    checked(lane, 9.0, doubtful=True)
    assert 0 < len(lane.text) - lane.allowed <= 40
    lane.add("x" * 100, 9.0)
    checked(lane, 9.0, doubtful=True)
    assert len(lane.text) - lane.allowed <= 40


def test_a_sentence_is_not_cut_where_its_end_has_come():
    """A check that took long does not make the text old: what has come since is read first."""
    lane = Lane(Streaming(hold_back_ms=100))
    lane.add("one two three four five six", 0.0)
    window = lane.window()
    lane.add(" seven. Eight", 0.5)
    lane.passed(window.end, (), suspicion=0.0, over=False, now=9.0)
    assert lane.allowed == 0
    checked(lane, 9.0)
    assert lane.text[: lane.allowed] == "one two three four five six seven. "


def test_a_number_in_groups_is_one_word():
    """Half a card number is a leak, and cannot be replaced any more."""
    lane = Lane(Streaming(hold_back_ms=0))
    lane.add("Card of hers: 4111 1111 1111 11", 0.0)
    checked(lane, 1.0)
    assert lane.text[: lane.allowed] == "Card of hers: "


def test_a_check_reads_what_has_not_left_and_some_of_what_has():
    """From a sentence's beginning, so that half of one is not judged."""
    lane = Lane(Streaming())
    text = "This is a sentence of some words. " * 40
    lane.add(text, 0.0)
    checked(lane, 0.0)
    lane.add("And this", 0.1)
    window = lane.window()
    assert window.text.startswith("This is")
    assert window.text.endswith("And this")
    assert OVERLAP <= lane.allowed - window.start <= 2 * OVERLAP
    assert lane.text[window.start : window.end] == window.text


def test_a_replacement_leaves_once_and_whole():
    """Wherever it is cut, and however often it is found."""
    lane = Lane(Streaming(hold_back_ms=0))
    lane.add("to ab cd ef gh ij kl", 0.0)
    edit = Edit(3, 11, lambda text: f"<{text}>")
    for _ in range(2):
        lane.passed(6, [edit], suspicion=0.0, over=False, now=1.0)
        assert lane.allowed <= 3
    lane.passed(20, [edit, Edit(3, 5, str.upper)], suspicion=0.0, over=True, now=1.0)
    assert lane.leaving(0, 4) + lane.leaving(4, 7) + lane.leaving(7, 20) == "to <ab cd ef> gh ij kl"


def test_of_what_has_left_in_part_the_rest_is_still_replaced():
    """Late is better than not at all."""
    lane = Lane(Streaming(hold_back_characters=0))
    lane.add("to ab cd", 0.0)
    checked(lane, 0.0)
    assert lane.allowed == 8
    lane.add("ef gh", 0.0)
    lane.passed(13, [Edit(6, 10, lambda _: "*")], suspicion=0.0, over=True, now=0.0)
    assert lane.leaving(8, 13) == "* gh"
