"""Term lists: words and phrases found in one pass, whatever their number.

All lists of a policy share one Aho-Corasick automaton. It runs over a *canonical* text (case folded,
every run of white space one space); only a hit's two ends are mapped back, so that a text without a
hit pays for nothing but the pass itself.
"""

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple

import ahocorasick

from guard.policy.schema import TermList
from guard.text import normalise
from guard.verdict import Hit

__all__ = ["Lexicon"]

_APOSTROPHES = "'’"
_VARIATION_SELECTORS = "\ufe0e\ufe0f"


class _Entry(NamedTuple):
    """What a key of the automaton means for one list; `length` is the key's."""

    name: str
    length: int
    at_borders: bool
    allowed: bool


class _Interval(NamedTuple):
    start: int
    end: int


class Lexicon:
    """The term lists of one policy; immutable, safe to share between threads.

    `match: word` hits only where no letter, digit or mark touches the term (`idiot` is not in
    `idiots`, and an `'s` makes another word: list `idiot's` to have it). `match: substring` hits
    anywhere; scripts written without spaces (Chinese, Japanese, Thai) need it. A phrase's words may
    be any white space apart. Inside a phrase of `allow_in` (found at word borders in a word list,
    anywhere in a substring list) a term is no hit.

    The lists' words are normalised here, as the texts have been.
    """

    def __init__(self, lists: Mapping[str, TermList]) -> None:
        entries: dict[str, list[_Entry]] = {}
        for name, terms in lists.items():
            for words, allowed in ((terms.words, False), (terms.allow_in, True)):
                for word in words:
                    key = _canonical(normalise(word).text).strip()
                    if key:
                        entry = _Entry(name, len(key), terms.match == "word", allowed)
                        entries.setdefault(key, []).append(entry)
        self._automaton = _automaton(entries)

    def find(self, text: str) -> tuple[Hit, ...]:
        """The hits in `text`, by start, then name; overlapping hits of one list become one hit.

        Offsets are code points of `text`. Time is linear in its length and the number of matches.
        """
        if self._automaton is None:
            return ()
        canonical = _canonical(text)
        terms: dict[str, list[_Interval]] = {}
        contexts: dict[str, list[_Interval]] = {}
        for last, found in self._automaton.iter(canonical):
            for entry in found:
                span = _Interval(last + 1 - entry.length, last + 1)
                if not entry.at_borders or _is_word(canonical, span, possessive=entry.allowed):
                    (contexts if entry.allowed else terms).setdefault(entry.name, []).append(span)
        if not terms:
            return ()
        return _hits(text, canonical, terms, contexts)


def _automaton(entries: Mapping[str, list[_Entry]]) -> "ahocorasick.Automaton | None":
    if not entries:
        return None
    automaton = ahocorasick.Automaton(ahocorasick.STORE_ANY)
    for key, meanings in entries.items():
        automaton.add_word(key, tuple(dict.fromkeys(meanings)))
    automaton.make_automaton()
    return automaton


def _hits(
    text: str,
    canonical: str,
    terms: Mapping[str, list[_Interval]],
    contexts: Mapping[str, list[_Interval]],
) -> tuple[Hit, ...]:
    kept = {name: list(_merged(_outside(spans, contexts.get(name, ())))) for name, spans in terms.items()}
    if not any(kept.values()):
        return ()
    place = _Places(text, canonical)
    # A letter that folds to two may be shared by neighbours, so spans are merged in the text again.
    hits = [
        Hit("terms", name, span.start, span.end)
        for name, spans in kept.items()
        for span in _merged([place.original(span) for span in spans])
    ]
    return tuple(sorted(hits, key=lambda hit: (hit.start, hit.name)))


def _outside(spans: Iterable[_Interval], contexts: Iterable[_Interval]) -> list[_Interval]:
    """The spans that lie in none of the allowed contexts."""
    ordered = sorted(contexts)
    if not ordered:
        return list(spans)
    starts = [context.start for context in ordered]
    furthest = list(accumulate((context.end for context in ordered), max))
    kept = []
    for span in spans:
        before = bisect_right(starts, span.start)
        if before == 0 or furthest[before - 1] < span.end:
            kept.append(span)
    return kept


def _merged(spans: Iterable[_Interval]) -> Iterator[_Interval]:
    """Spans in order; those that share a character become one."""
    current: _Interval | None = None
    for span in sorted(spans):
        if current is None:
            current = span
        elif span.start < current.end:
            current = _Interval(current.start, max(current.end, span.end))
        else:
            yield current
            current = span
    if current is not None:
        yield current


def _folded(text: str) -> str:
    # Unicode folds İ to i and a combining dot, and then `İSTANBUL` would not be `istanbul`.
    return text.replace("İ", "i").casefold()


def _canonical(text: str) -> str:
    folded = _folded(text)
    # Printable text has no white space but spaces; splitting costs four times as much as this test.
    lines = folded.replace("\n", " ")
    if "  " not in lines and lines.isprintable():
        return lines
    return " ".join(folded.split())


def _is_word(canonical: str, span: _Interval, *, possessive: bool) -> bool:
    """Whether `span` begins and ends at word borders; an `'s` after it passes only if `possessive`."""
    if span.start > 0 and _in_word(canonical[span.start - 1]):
        return False
    after = canonical[span.end : span.end + 3]
    if not after:
        return True
    if _in_word(after[0]):
        return False
    owned = after[0] in _APOSTROPHES and after[1:2] == "s" and not _in_word(after[2:])
    return possessive or not owned


def _in_word(character: str) -> bool:
    if not character:
        return False
    if character.isalnum():
        return True
    return unicodedata.category(character)[0] == "M" and character not in _VARIATION_SELECTORS


class _Places:
    """From offsets in a canonical text to offsets in the text it was made of.

    In `"Straße\\n\\n7"` (canonical `"strasse 7"`) the canonical span `[0, 7)` is `[0, 6)`, and `[8, 9)`
    is `[8, 9)`. A span that begins or ends inside a folded letter takes the whole letter.
    """

    def __init__(self, text: str, canonical: str) -> None:
        folded = _folded(text)
        self._words: list[_Interval] = []
        if len(folded) != len(canonical):
            self._words = list(_word_places(folded))
        self._ends: list[int] = []
        if len(folded) != len(text):
            self._ends = list(accumulate(len(_folded(character)) for character in text))

    def original(self, span: _Interval) -> _Interval:
        """The characters of the text that `span` came from."""
        return _Interval(self._place(span.start), self._place(span.end - 1) + 1)

    def _place(self, offset: int) -> int:
        if self._words:
            word = self._words[bisect_right(self._words, offset, key=lambda word: word.start) - 1]
            offset += word.end - word.start
        return bisect_right(self._ends, offset) if self._ends else offset


def _word_places(folded: str) -> Iterator[_Interval]:
    """Each word's start in the canonical text, and in `folded`."""
    start = place = 0
    for word in folded.split():
        place = folded.index(word, place)
        yield _Interval(start, place)
        start += len(word) + 1
        place += len(word)
