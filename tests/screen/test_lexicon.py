"""Term lists: borders, phrases, allowed contexts, offsets where folding changes length, and time."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.policy.schema import TermList
from guard.screen.lexicon import Lexicon
from guard.verdict import Hit


def lexicon(*words: str, allow_in: tuple[str, ...] = (), substring: bool = False) -> Lexicon:
    match = "substring" if substring else "word"
    return Lexicon({"list": TermList(category="c", action="flag", words=words, allow_in=allow_in, match=match)})


def found(terms: Lexicon, text: str) -> list[str]:
    return [text[hit.start : hit.end] for hit in terms.find(text)]


def test_a_word_is_found_in_any_case_at_its_place() -> None:
    """Offsets are code points of the text as it was given."""
    assert lexicon("idiot").find("😀 You IDIOT!") == (Hit("terms", "list", 6, 11),)


@pytest.mark.parametrize(
    "text", ["idiots", "idiotic", "anidiot", "idiot1", "idiot's", "idiot’s!", "idiót", "idiot\u0301"]
)
def test_a_longer_word_is_another_word(text: str) -> None:
    """Letters, digits, marks and an apostrophe-s belong to the word."""
    assert found(lexicon("idiot"), text) == []


@pytest.mark.parametrize(
    "text", ["idiot", "(idiot)", "'idiot'", "idiot_", "l'idiot", "idiot-proof", "idiot\n", "idiot'll"]
)
def test_signs_are_word_borders(text: str) -> None:
    """Quotes, hyphens, underscores and an elided article are none of the word."""
    assert found(lexicon("idiot"), text) == ["idiot"]


def test_an_inflected_form_is_found_where_it_is_listed() -> None:
    """The list decides about plurals and possessives."""
    assert found(lexicon("idiots", "idiot's"), "idiots, the idiot's") == ["idiots", "idiot's"]


def test_a_substring_list_hits_anywhere() -> None:
    """Inside of words, and in scripts without spaces."""
    assert found(lexicon("damn", substring=True), "goDAMNit") == ["DAMN"]
    assert found(lexicon("笨蛋", substring=True), "你这个笨蛋啊") == ["笨蛋"]


def test_a_phrase_spans_any_white_space() -> None:
    """Runs of spaces, tabs and line ends between its words, in the text and in the list."""
    terms = lexicon("go  away\tnow")
    assert found(terms, "  please\r\n\r\ngo \n away\tNOW  ") == ["go \n away\tNOW"]
    assert found(terms, "go away\nnow") == ["go away\nnow"]
    assert found(terms, "goaway now") == []


def test_letters_that_fold_to_two_keep_the_offsets_right() -> None:
    """ß folds to ss, İ to i; what follows them stays in place."""
    assert found(lexicon("strasse"), "die Straße, die STRASSE") == ["Straße", "STRASSE"]
    assert found(lexicon("straße"), "ßß  strasse") == ["strasse"]
    assert found(lexicon("istanbul"), "ßİ  İSTANBUL ist") == ["İSTANBUL"]
    assert found(lexicon("gros", substring=True), "groß") == ["groß"]


def test_an_emoji_is_found_with_and_without_its_variation_selector() -> None:
    """The selector is a mark, and part of no word."""
    assert found(lexicon("☠"), "☠\ufe0f ☠") == ["☠", "☠"]


def test_a_term_in_an_allowed_context_is_no_hit() -> None:
    """And outside of it in the same text it is one."""
    towns = lexicon("cunt", allow_in=("Scunthorpe",), substring=True)
    assert towns.find("sCUNThorpe, SCUNTHORPE's") == ()
    assert [hit.start for hit in towns.find("Scunthorpe cunt")] == [11]
    actor = lexicon("dick", allow_in=("Dick van Dyke", "moby dick"))
    assert actor.find("DICK  van\nDyke's show; Moby Dick") == ()
    assert [hit.start for hit in actor.find("dick, Dick van Dyke")] == [0]
    assert found(lexicon("ass", allow_in=("assistant",), substring=True), "assistants, ass") == ["ass"]


def test_an_allowed_context_must_hold_the_whole_term() -> None:
    """A term that reaches out of the context is a hit."""
    terms = lexicon("van helsing", allow_in=("dick van",))
    assert found(terms, "dick van helsing") == ["van helsing"]


def test_an_allowed_context_of_a_word_list_is_a_word_itself() -> None:
    """`moby dick` does not excuse `moby dick` inside of longer words' phrases."""
    assert found(lexicon("dick", allow_in=("by dick",)), "moby dick") == ["dick"]


def test_one_list_does_not_excuse_another() -> None:
    """Allowed contexts count for their own list."""
    lists = {
        "a": TermList(category="c", action="flag", words=("dick",), allow_in=("moby dick",)),
        "b": TermList(category="c", action="block", words=("dick",)),
    }
    assert Lexicon(lists).find("moby dick") == (Hit("terms", "b", 5, 9),)


def test_overlapping_hits_of_a_list_are_one_hit() -> None:
    """The longest; partial overlaps are joined, and neighbours stay apart."""
    assert found(lexicon("go away", "away", "go"), "go away, go") == ["go away", "go"]
    assert found(lexicon("one two", "two three"), "one two three") == ["one two three"]
    assert found(lexicon("ab", substring=True), "ababab") == ["ab", "ab", "ab"]


def test_hits_are_sorted_by_start_then_name() -> None:
    """Whatever the order of the lists."""
    lists = {
        name: TermList(category="c", action="flag", words=(word, "both")) for name, word in (("z", "x"), ("a", "y"))
    }
    hits = Lexicon(lists).find("both y x both")
    assert [(hit.start, hit.name) for hit in hits] == [(0, "a"), (0, "z"), (5, "a"), (7, "z"), (9, "a"), (9, "z")]


def test_words_are_normalised_as_texts_are() -> None:
    """A list may be written in full-width letters."""
    assert found(lexicon("ｉｄｉｏｔ"), "idiot") == ["idiot"]


def test_no_lists_find_nothing() -> None:
    """A policy may have no terms at all."""
    assert Lexicon({}).find("anything") == ()
    assert lexicon("a").find("") == ()


WORDS = ("kot", "aß", "kot la", "la")


@given(
    st.lists(st.sampled_from(["kot", "KOT", "aß", "ASS", " ", "\n", "é", "😀", "İ", "la", "'s", "x", "."]), max_size=12)
)
def test_the_automaton_agrees_with_a_regular_expression(pieces: list[str]) -> None:
    """The oracle tries every span of the text, by the definition."""
    text = "".join(pieces)
    marks = [False] * len(text)
    for start in range(len(text)):
        for end in range(start + 1, len(text) + 1):
            inner = re.sub(r"\s+", " ", text[start:end]).casefold()
            before, after = text[:start][-1:], text[end:]
            bordered = not before.isalnum() and not after[:1].isalnum()
            owned = re.match(r"'s(?!\w)", after) is not None
            if inner in {word.casefold() for word in WORDS} and bordered and not owned:
                marks[start:end] = [True] * (end - start)
    covered = [False] * len(text)
    for hit in lexicon(*WORDS).find(text):
        covered[hit.start : hit.end] = [True] * (hit.end - hit.start)
    assert covered == marks


@pytest.mark.parametrize("unit", ["a", "kot ", "kot\n\n", "ß", "İ  ", "ko", "aaab", "\u0301", " "])
def test_a_megabyte_of_nasty_text_takes_linear_time(unit: str) -> None:
    """Hits everywhere, folding everywhere, white space everywhere."""
    terms = lexicon("kot", "kot kot", "a" * 30, "aa", "ss", allow_in=("kot kot kot",), substring=True)
    text = unit * (1_000_000 // len(unit))
    start = time.perf_counter()
    terms.find(text)
    assert time.perf_counter() - start < 12


def test_a_text_without_a_hit_costs_microseconds() -> None:
    """A bound with room for a busy machine: measured are 3 µs for 200 characters, 60 µs for 4 kB."""
    terms = lexicon(
        *(f"{first}{second}zz" for first in "abcdefghijklmnopqrst" for second in "abcdefghijklmnopqrstuvwxy")
    )
    text = ("Hello there, how is the garden shed after the storm; write back when you can. " * 3)[:200]
    best = min(_seconds(terms, text) for _ in range(50))
    assert best < 40e-6
    assert min(_seconds(terms, text * 20) for _ in range(50)) < 500e-6


def _seconds(terms: Lexicon, text: str) -> float:
    start = time.perf_counter()
    terms.find(text)
    return time.perf_counter() - start
