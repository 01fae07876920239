"""What attacks are made of: the words of a text, and a seeded choice of places."""

import re
from collections.abc import Callable, Sequence
from random import Random
from typing import TypeVar

__all__ = ["LETTER", "in_words", "some", "words"]

T = TypeVar("T")

LETTER = "[^\\W\\d_\u0530-\U0010ffff]"
"""A letter of the Latin, Greek or Cyrillic alphabet: letters that are not joined to each other in writing."""

_WORD = re.compile(rf"(?<!\S)([^\w\s@]*)({LETTER}+(?:['’-]{LETTER}+)*)([^\w\s@]*)(?!\S)")


def words(text: str) -> list[str]:
    """The words of a text, which stand between spaces and are made of letters, with signs before and behind.

    Addresses, numbers and keys are none: with another letter in it an address is another address.
    """
    return [found[2] for found in _WORD.finditer(text)]


def in_words(text: str, change: Callable[[str], str]) -> str:
    """The text with each of its `words` changed."""
    return _WORD.sub(lambda found: found[1] + change(found[2]) + found[3], text)


def some(places: Sequence[T], share: float, random: Random) -> set[T]:
    """About this share of the places, one at least where there is any."""
    chosen = {place for place in places if random.random() < share}
    return chosen or ({random.choice(places)} if places else set())
