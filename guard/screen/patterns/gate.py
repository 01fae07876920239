"""What a regex cannot match without: words read off the expression itself, looked for in one pass.

An alternation over twenty languages is dear on every text that RE2 has not met before, since it
builds the automaton's states as they are needed. Most texts hold no such sentence's words, and the
gate keeps them from it. The words come from the regex, so nobody has to keep a list in step, and a
doubt lets texts through: where an alternative needs no word, every text passes.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from itertools import product
from typing import NamedTuple

import ahocorasick

__all__ = ["Gate", "gate_for", "needs"]

# Beyond these a set of words is kept in parts, and a class stands for anything.
_MOST_STRINGS = 160
_MOST_IN_CLASS = 6
# Where words are looked for in their order: what a crafted text can cost stays below the regexes' own cost.
_MOST_ORDERED = 16
_LONGEST_ORDERED = 4_000
# A second set of such common words would cost more than it keeps out.
_TOO_COMMON = 0.03
_OPENINGS = ("(?:", "(?i)", "(?i:", "(?m:", "(?P<")

_Needs = tuple[frozenset[str], ...]


class _Shape(NamedTuple):
    """What is known of a part: all its strings, or sets of which each match holds one string."""

    strings: frozenset[str] | None
    needs: _Needs = ()
    alternatives: tuple["_Shape", ...] = ()


_ANYTHING = _Shape(None)
_NOTHING = _Shape(frozenset({""}))


@cache
def needs(regex: str) -> tuple[_Needs, ...]:
    """For each alternative of `regex` the sets, case folded, of which a match holds a word each, in this order.

    Empty where there is an alternative of which nothing is known.
    """
    shape = _Reader(regex).read()
    found = tuple(dict.fromkeys(_sets(alternative) for alternative in shape.alternatives or (shape,)))
    return found if all(found) else ()


class Gate:
    """Which of some regexes a text may match; those of which nothing is known always may."""

    def __init__(self, regexes: Iterable[str]) -> None:
        self._alternatives: list[tuple[int, _Needs]] = []
        self._open: set[int] = set()
        masks: dict[str, tuple[int, int]] = {}
        self._unasked = 0
        for owner, regex in enumerate(regexes):
            alternatives = needs(regex)
            if not alternatives:
                self._open.add(owner)
            for sets in alternatives:
                bit = 1 << len(self._alternatives)
                self._alternatives.append((owner, sets))
                rarest, *others = sorted(sets, key=_commonness)
                second = others[0] if others and _commonness(others[0]) < _TOO_COMMON else frozenset()
                if not second:
                    self._unasked |= bit
                for word in rarest | second:
                    one, two = masks.get(word, (0, 0))
                    masks[word] = (one | bit if word in rarest else one, two | bit if word in second else two)
        self._automaton = _automaton(masks)
        # The automaton tries a node's letters one by one: without the other scripts' its root is short.
        self._ascii = _automaton({word: both for word, both in masks.items() if word.isascii()})

    def passed(self, text: str) -> set[int]:
        """The places of the regexes that `text` may match."""
        passed = set(self._open)
        if not self._alternatives:
            return passed
        folded = text.casefold()
        rarest, second = 0, self._unasked
        automaton = self._ascii if folded.isascii() else self._automaton
        for _, (one, two) in automaton.iter(folded) if len(automaton) else ():
            rarest |= one
            second |= two
        held = rarest & second
        in_order = held.bit_count() <= _MOST_ORDERED and len(folded) <= _LONGEST_ORDERED
        while held:
            lowest = held & -held
            owner, sets = self._alternatives[lowest.bit_length() - 1]
            if owner not in passed and (not in_order or _holds(folded, sets)):
                passed.add(owner)
            held ^= lowest
        return passed


@cache
def gate_for(regexes: tuple[str, ...]) -> Gate:
    """The gate for these regexes; policies with the same patterns share one."""
    return Gate(regexes)


def _automaton(masks: Mapping[str, tuple[int, int]]) -> ahocorasick.Automaton:
    automaton = ahocorasick.Automaton()
    for word in sorted(masks):
        automaton.add_word(word, masks[word])
    automaton.make_automaton()
    return automaton


def _holds(folded: str, sets: _Needs) -> bool:
    """Whether a word of each set is there, each after the one before."""
    place = 0
    for words in sets:
        ends = [start + len(word) for word in words if (start := folded.find(word, place)) >= 0]
        if not ends:
            return False
        place = min(ends)
    return True


class _Reader:
    """Reads a regex of the catalogue; raises ValueError at syntax that the catalogue does not use."""

    def __init__(self, regex: str) -> None:
        self._regex = regex
        self._place = 0

    def read(self) -> _Shape:
        shape = self._alternation()
        if self._place < len(self._regex):
            raise ValueError(f"a bracket too many at {self._place}")
        return shape

    def _next(self) -> str:
        return self._regex[self._place : self._place + 1]

    def _alternation(self) -> _Shape:
        branches = [self._sequence()]
        while self._next() == "|":
            self._place += 1
            branches.append(self._sequence())
        known = [branch for branch in branches if branch is not None]
        return _either(known) if len(known) != 1 else known[0]

    def _sequence(self) -> _Shape | None:
        """One branch; None where it is an `unless`, by which nothing is found."""
        parts: list[_Shape] = []
        while self._next() not in ("", "|", ")"):
            part = self._item()
            if part is None:
                self._sequence()
                return None
            parts.append(part)
        return _after(parts)

    def _item(self) -> _Shape | None:
        character = self._next()
        part: _Shape | None
        if character == "(":
            part = self._group()
        elif character == "[":
            part = self._class()
        elif character == "\\":
            part = self._escape()
        else:
            self._place += 1
            part = _NOTHING if character in "^$" else _ANYTHING if character == "." else _word(character)
        least, most = self._repeat()
        if part is None or (least, most) == (1, 1):
            return part
        if least:
            return _Shape(None, _sets(part))
        if most == 1 and part.strings is not None:
            return _Shape(part.strings | {""})
        return _ANYTHING

    def _group(self) -> _Shape | None:
        opening = next((known for known in _OPENINGS if self._regex.startswith(known, self._place)), "(")
        self._place += len(opening)
        if opening == "(?i)":
            return _NOTHING
        name = ""
        if opening == "(?P<":
            end = self._regex.index(">", self._place)
            name, self._place = self._regex[self._place : end], end + 1
        elif opening == "(" and self._next() == "?":
            raise ValueError(f"a group not known at {self._place}")
        shape = self._alternation()
        if self._next() != ")":
            raise ValueError(f"a bracket missing at {self._place}")
        self._place += 1
        return None if name == "unless" else shape

    def _class(self) -> _Shape:
        start = self._place + 1
        end = self._regex.index("]", start + (self._regex[start] in "]^"))
        while self._regex[end - 1] == "\\":
            end = self._regex.index("]", end + 1)
        self._place = end + 1
        inside = self._regex[start:end]
        if inside.startswith("^") or len(inside) > _MOST_IN_CLASS or set(inside) & set("\\-["):
            return _ANYTHING
        return _Shape(frozenset(inside.casefold()))

    def _escape(self) -> _Shape:
        character = self._regex[self._place + 1]
        self._place += 2
        if character == "b":
            return _NOTHING
        if character.isalnum() and character not in "swdn":
            raise ValueError(f"an escape not known at {self._place}")
        return _ANYTHING if character.isalnum() else _word(character)

    def _repeat(self) -> tuple[int, int]:
        sign = self._next()
        least, most = {"?": (0, 1), "*": (0, 2), "+": (1, 2)}.get(sign, (1, 1))
        if sign == "{":
            end = self._regex.index("}", self._place)
            low, _, high = self._regex[self._place + 1 : end].partition(",")
            least, most = int(low), int(high or low)
            self._place = end
        elif (least, most) == (1, 1):
            return 1, 1
        self._place += 1
        if self._next() == "?":
            self._place += 1
        return least, most


def _word(character: str) -> _Shape:
    return _Shape(frozenset({character.casefold()}))


def _sets(shape: _Shape) -> _Needs:
    return shape.needs + (() if shape.strings is None or "" in shape.strings else (_shortest(shape.strings),))


@cache
def _shortest(words: frozenset[str]) -> frozenset[str]:
    """Without the words that hold another of them."""
    return frozenset(word for word in words if not any(other in word for other in words if other != word))


def _either(branches: list[_Shape]) -> _Shape:
    """Any of the branches: where all strings are known, these; else the rarest need of each, together."""
    strings: frozenset[str] | None = frozenset()
    best: frozenset[str] | None = frozenset()
    for branch in branches:
        strings = None if strings is None or branch.strings is None else strings | branch.strings
        sets = _sets(branch)
        rarest = min(sets, key=_commonness, default=None)
        best = None if best is None or rarest is None else best | rarest
    alternatives = tuple(inner for branch in branches for inner in (branch.alternatives or (branch,)))
    if strings is not None and len(strings) <= _MOST_STRINGS:
        return _Shape(strings, (), alternatives)
    return _Shape(None, (_shortest(best),) if best else (), alternatives)


def _after(parts: list[_Shape]) -> _Shape:
    """One part after the other; words that touch are one word."""
    if len(parts) == 1:
        return parts[0]
    while parts and parts[-1] == _NOTHING:
        parts = parts[:-1]
    if parts and parts[-1].alternatives and parts[-1].strings is None:
        # `(?:ignore|forget)(?:… instructions|… rules)`: each ending needs words of its own.
        *before, last = parts
        ends = tuple(_joined([*before, ending]) for ending in last.alternatives)
        return _joined(parts)._replace(alternatives=ends)
    return _joined(parts)


def _joined(parts: Iterable[_Shape]) -> _Shape:
    found: list[frozenset[str]] = []
    run: frozenset[str] | None = frozenset({""})
    whole = True
    for part in parts:
        if part.strings is not None and run is not None and len(run) * len(part.strings) <= _MOST_STRINGS:
            run = frozenset(map("".join, product(run, part.strings)))
            continue
        whole = False
        found.extend(_sets(_Shape(run)))
        found.extend(part.needs)
        run = part.strings if part.strings is not None else frozenset({""})
    if whole:
        return _Shape(run)
    found.extend(_sets(_Shape(run)))
    return _Shape(None, tuple(found))


@cache
def _commonness(words: frozenset[str]) -> float:
    """A guess at how often ordinary text holds one of the words: by the letters each has."""
    return sum(_chance(word) for word in words)


@cache
def _chance(word: str) -> float:
    chance = 1.0
    for character in word:
        chance /= 6 if character < "\u0e00" else 12 if character < "\u1100" else 60
    return chance
