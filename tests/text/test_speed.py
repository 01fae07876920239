"""Time: linear on hostile input, microseconds on ordinary text."""

import time
import timeit

import pytest

from guard.text import normalise, sentences

_HOSTILE = {
    "marks": "\u0301\u0327",
    "zero width": "\u200b",
    "one letter": "a",
    "equals signs": "=",
    "base64": "aGVsbG8gd29ybGQg",
    "two scripts": "aб",
    "spaces": " ",
    "spelled": "a b ",
    "leet": "k1te ",
    "tags": "a\U000e0041",
    "full width": "ｋ",
    "escapes": "%41",
    "exclamations": "a!",
    "hex": "61",
    "pairs": "6b ",
    "regional": "🇩",
    "stops": ".",
    "quotes": '."',
}


def _seconds(unit: str, length: int) -> float:
    text = ("é" + unit * length)[:length]
    start = time.process_time()
    normalise(text)
    sentences(text)
    return time.process_time() - start


@pytest.mark.parametrize("name", _HOSTILE)
def test_hostile_text_costs_linear_time(name: str) -> None:
    """Four times the text costs far less than the sixteen times of a quadratic pass."""
    small = min(_seconds(_HOSTILE[name], 100_000) for _ in range(2))
    large = min(_seconds(_HOSTILE[name], 400_000) for _ in range(2))
    assert large < 9 * small + 0.05
    assert large < 3


def test_a_leet_word_cannot_make_the_pattern_explode() -> None:
    """Long almost-leet words are judged in bounded time."""
    start = time.process_time()
    for word in ("a!" + "b" * 28 + "2", "1" + "a1" * 15 + "-", "a1" * 15 + "6"):
        normalise(f"{word} " * 2_000)
    assert time.process_time() - start < 3


@pytest.mark.parametrize(("length", "microseconds"), [(200, 6), (2_000, 30)])
def test_ordinary_text_costs_microseconds(length: int, microseconds: float) -> None:
    """A cached verdict pays this on every request; the allowance is threefold for a busy machine."""
    prose = "It was a quiet morning in the village, and I walked down to see the boats come in, slowly. "
    text = (prose * 30)[:length]
    assert min(timeit.repeat(lambda: normalise(text), number=200, repeat=20)) / 200 < 3 * microseconds * 1e-6
