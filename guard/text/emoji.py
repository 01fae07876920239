"""Emoji as the words that a reader would say: the encoder's vocabulary has words, not pictures."""

import re
import unicodedata
from typing import NamedTuple

from .offsets import Offsets, rewrite

__all__ = ["Spoken", "spoken"]

_PICTURE = (
    "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u21aa\u231a-\u23ff\u25aa-\u25fe\u2600-\u27bf\u2b05-\u2b55"
    "\U0001f000-\U0001faff"
)
_RUN = re.compile(f"[{_PICTURE}][{_PICTURE}\ufe0e\ufe0f\u200d\u20e3]*")
_SILENT = re.compile("[\ufe0e\ufe0f\u200d\u20e3\U0001f3fb-\U0001f3ff]")
MOST = 8
"""Different pictures of one run that are said; the same one again adds nothing."""


class Spoken(NamedTuple):
    """The text with words for its emoji, and the way back; None where nothing was said."""

    text: str
    offsets: Offsets | None

    def back(self, start: int, end: int) -> tuple[int, int]:
        """A span of the spoken text in the text that it was said from."""
        return (start, end) if self.offsets is None else self.offsets.back(start, end)


def spoken(text: str) -> Spoken:
    """Replaces each run of emoji by their Unicode names in lower case.

    ``"nice 🔪🔪!"`` becomes ``"nice  hocho !"``. Pairs of regional letters are a ``flag``; what has no
    name in this Python's Unicode tables is left out. Text without emoji comes back as it is.
    """
    return Spoken(text, None) if text.isascii() else Spoken(*rewrite(text, _RUN, _named))


def _named(match: re.Match[str]) -> str:
    pictures = dict.fromkeys(_SILENT.sub("", match[0]))
    names = dict.fromkeys(_name(picture) for picture in pictures)
    return f" {' '.join([name for name in names if name][:MOST])} "


def _name(picture: str) -> str:
    if "\U0001f1e6" <= picture <= "\U0001f1ff":
        return "flag"
    return unicodedata.name(picture, "").lower()
