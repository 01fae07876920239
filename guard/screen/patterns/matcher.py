"""The patterns of one policy, run together: one `re2.Set` over the text, then only those that matched.

Gated patterns stand apart: one pass looks for the words they need, and few texts hold those.

RE2 works on UTF-8. A text is encoded once; byte offsets become code points on the way out.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import re2

from guard.policy.schema import PatternRule
from guard.screen.patterns.gate import gate_for
from guard.screen.patterns.pattern import Pattern
from guard.verdict import Hit

__all__ = ["Matcher", "check_regex"]

_MOST_OWN_MATCHES = 1_000
_SET_MEMORY = 64 << 20
# RE2's own 8 MB do not hold one state list of the longest regexes: it would fall back to a slow search.
_GATED_MEMORY = 32 << 20
_JOINTS = ".,-/:"
_FIRST_UNSPACED = "\u0e00"


class _Span(NamedTuple):
    start: int
    end: int


def check_regex(pattern: str) -> str | None:
    """Why `pattern` cannot be used, in RE2's words; None where it can."""
    try:
        compiled = _compiled(pattern)
    except ValueError as exc:
        return str(exc)
    if compiled.search(b"") is not None:
        return "it matches the empty text"
    return None


class Matcher:
    """Rules of a policy, compiled; immutable, safe to share between threads."""

    def __init__(self, rules: Mapping[str, PatternRule], catalogue: Mapping[str, Pattern]) -> None:
        finders = tuple(_finder(name, rule, catalogue) for name, rule in rules.items())
        self._finders = tuple(finder for finder in finders if not finder.gated)
        self._gated = tuple(finder for finder in finders if finder.gated)
        self._set = _set(self._finders)
        self._gate = gate_for(tuple(finder.regex for finder in self._gated))

    def find(self, text: str) -> tuple[Hit, ...]:
        """The hits in `text`, by start, then name; offsets are code points of `text`."""
        if not self._finders and not self._gated:
            return ()
        data = text.encode()
        hits = [
            Hit("patterns", finder.name, span.start, span.end)
            for finder in self._candidates(text, data)
            for span in finder.spans(text, data)
        ]
        return tuple(sorted(hits, key=lambda hit: (hit.start, hit.name)))

    def _candidates(self, text: str, data: bytes) -> Iterator["_Finder"]:
        """The patterns that match somewhere, and the gated ones that may, by one pass each."""
        if self._set is None:
            yield from self._finders
        else:
            yield from (self._finders[index] for index in self._set.Match(data) or ())
        yield from (self._gated[index] for index in self._gate.passed(text))


class _CatalogueFinder:
    """Finds a pattern of the catalogue.

    Where a value is refused the search goes on one byte after its start, so that a number does not
    hide behind another; every regex of the catalogue bounds its matches, which keeps this linear.
    """

    def __init__(self, name: str, pattern: Pattern) -> None:
        self.name = name
        self.regex = pattern.regex
        self.gated = pattern.gated
        self._pattern = pattern
        self._compiled = _compiled(pattern.regex, _GATED_MEMORY if pattern.gated else None)
        groups: dict[bytes, int] = self._compiled.groupindex
        self._values = tuple(index for group, index in groups.items() if group != b"unless")
        self._unless = groups.get(b"unless")

    def spans(self, text: str, data: bytes) -> Iterator[_Span]:
        """The values found, first to last; none overlaps another."""
        points = _CodePoints(data, len(text))
        position = 0
        while match := self._compiled.search(data, position):
            if self._unless is not None and match.start(self._unless) >= 0:
                position = match.end()
                continue
            group = next((index for index in self._values if match.start(index) >= 0), 0)
            found = _Span(match.start(group), match.end(group))
            span = _Span(points.at(found.start), points.at(found.end))
            if self._accepts(text, span):
                yield span
                position = found.end
            else:
                position = found.start + 1

    def _accepts(self, text: str, span: _Span) -> bool:
        if not _stands_free(text, span) or (self._pattern.alone and _is_tied(text, span)):
            return False
        return self._pattern.valid is None or self._pattern.valid(text[span.start : span.end])


class _OwnFinder:
    """Finds a policy's own regular expression.

    A regex that may look far ahead (`x(.*y)?`) costs a pass over the text for every match, so
    matches are counted: from the thousandth on, the rest of the text is one hit.
    """

    def __init__(self, name: str, regex: str) -> None:
        self.name = name
        self.regex = regex
        self.gated = False
        self._compiled = _compiled(regex)

    def spans(self, text: str, data: bytes) -> Iterator[_Span]:
        """The matches, first to last, without empty ones."""
        points = _CodePoints(data, len(text))
        for number, match in enumerate(self._compiled.finditer(data), start=1):
            start, end = match.span()
            if number == _MOST_OWN_MATCHES:
                yield _Span(points.at(start), len(text))
                return
            if end > start:
                yield _Span(points.at(start), points.at(end))


_Finder = _CatalogueFinder | _OwnFinder


class _CodePoints:
    """From byte offsets in UTF-8 to code points, a step at a time: all of a text's cost one pass."""

    def __init__(self, data: bytes, length: int) -> None:
        self._data = data
        self._is_ascii = len(data) == length
        self._byte = self._point = 0

    def at(self, byte: int) -> int:
        """The code point that begins at `byte`."""
        if self._is_ascii:
            return byte
        low, high = sorted((self._byte, byte))
        points = len(self._data[low:high].decode())
        self._point += points if byte >= self._byte else -points
        self._byte = byte
        return self._point


def _finder(name: str, rule: PatternRule, catalogue: Mapping[str, Pattern]) -> _Finder:
    if rule.regex is not None:
        fault = check_regex(rule.regex)
        if fault is not None:
            raise ValueError(f"pattern `{name}`: {fault}")
        return _OwnFinder(name, rule.regex)
    if name not in catalogue:
        raise ValueError(f"pattern `{name}` is not in the catalogue and has no `regex`")
    return _catalogued(name, catalogue[name])


@cache
def _catalogued(name: str, pattern: Pattern) -> _CatalogueFinder:
    """One finder for all policies: the longest expressions take tens of megabytes when they run."""
    return _CatalogueFinder(name, pattern)


def _set(finders: tuple[_Finder, ...]) -> Any:
    """All regexes in one automaton; None where it would be too large or empty, and each is run by itself."""
    if not finders:
        return None
    options = _options()
    options.max_mem = _SET_MEMORY
    options.never_capture = True
    together = re2.Set.SearchSet(options)
    for finder in finders:
        together.Add(finder.regex)
    try:
        together.Compile()
    except re2.error:
        return None
    return together


def _options() -> Any:
    options = re2.Options()
    options.log_errors = False
    return options


def _compiled(pattern: str, memory: int | None = None) -> Any:
    """The pattern over bytes; raises ValueError in RE2's words."""
    options = _options()
    if memory is not None:
        options.max_mem = memory
    try:
        return re2.compile(pattern.encode(), options)
    except UnicodeEncodeError as exc:
        raise ValueError("it holds a lone surrogate") from exc
    except re2.error as exc:
        reason = exc.args[0] if exc.args else "it does not compile"
        raise ValueError(reason.decode() if isinstance(reason, bytes) else str(reason)) from exc


def _stands_free(text: str, span: _Span) -> bool:
    """Whether no letter or digit touches an end of the span that is itself one."""
    if span.start > 0 and text[span.start].isalnum() and _in_word(text[span.start - 1]):
        return False
    return not (span.end < len(text) and text[span.end - 1].isalnum() and _in_word(text[span.end]))


def _in_word(character: str) -> bool:
    # Chinese, Japanese and Thai put no space between a number and the text around it.
    return character.isalnum() and character < _FIRST_UNSPACED


def _is_tied(text: str, span: _Span) -> bool:
    before, after = text[max(0, span.start - 2) : span.start], text[span.end : span.end + 2]
    return (len(before) == 2 and before[1] in _JOINTS and before[0].isdigit()) or (
        len(after) == 2 and after[0] in _JOINTS and after[1].isdigit()
    )
