"""Scores in, actions out: the values that travel from the screen and the judge to the caller.

An `Assessment` holds everything that was found out about one text, and no decision: it is what the
cache keeps, so that an edited threshold takes effect at once. A `Verdict` is an assessment seen
through a policy. None of them can be part of a reference cycle, so the garbage collector is told not to
look at them (`gc=False`). Spans inside an assessment point into the *normalised* text (the same normalised
text can come from different originals); spans inside a verdict point into the original.
"""

from enum import IntEnum
from typing import Literal, cast

import msgspec

__all__ = [
    "Action",
    "ActionWord",
    "Assessment",
    "CategoryVerdict",
    "Cut",
    "Explanation",
    "Hit",
    "Reading",
    "RuleMatch",
    "Score",
    "Source",
    "Span",
    "Verdict",
]


ActionWord = Literal["allow", "flag", "redact", "review", "block"]
"""An action as it is spelt on the wire."""


class Action(IntEnum):
    """What to do with a text, from mildest to hardest. The order is the meaning."""

    ALLOW = 0
    FLAG = 1
    REDACT = 2
    REVIEW = 3
    BLOCK = 4

    def __init__(self, _: int) -> None:
        self.word: ActionWord = cast(ActionWord, self.name.lower())
        """The action as policies and answers spell it, e.g. ``"block"``."""

    @classmethod
    def of(cls, word: str) -> "Action":
        """The action for its word; raises KeyError for anything else."""
        return _ACTIONS[word]


_ACTIONS: dict[str, Action] = {action.word: action for action in Action}

Source = Literal["none", "static", "encoder", "examples", "terms", "patterns", "judge"]
"""Who gave a score. ``none``: nobody can score this category here (a custom one without a judge).
``static``: the static tier, which says of all categories together that they are low; the value is their usual one.
``examples``: how near the text is to the policy's own examples; what a custom category has without a judge."""


class Span(msgspec.Struct, frozen=True, gc=False):
    """Characters ``start`` to ``end`` (exclusive, code points) carry ``score``."""

    start: int
    end: int
    score: float


class Score(msgspec.Struct, frozen=True, gc=False):
    """The calibrated probability of one category, who gave it, and the characters that carry it."""

    value: float
    source: Source
    spans: tuple[Span, ...] = ()


class Hit(msgspec.Struct, frozen=True, gc=False):
    """A term list or pattern of the policy that matched, by the list's or pattern's name in the policy."""

    kind: Literal["terms", "patterns"]
    name: str
    start: int
    end: int


class Assessment(msgspec.Struct, frozen=True, gc=False):
    """All that was found out about one text.

    `scores` has the categories that the screen or the judge scored; `hits` the rules that
    matched; `windows` how many overlapping pieces a long text was cut into; `judged` how many
    questions the judge answered, for `judge_tokens` tokens; `unread` which share of the text's words
    the encoder does not know, `language_supported` whether the screen was made for the text's language, as far as
    one can tell; `failures` the stages that did not answer (`screen`, `judge`), with
    the `error` of one: the policy says what follows from that. An assessment with failures is never
    cached.
    """

    scores: dict[str, Score]
    hits: tuple[Hit, ...] = ()
    windows: int = 1
    judged: int = 0
    judge_tokens: int = 0
    unread: float = 0.0
    language_supported: bool = True
    failures: tuple[str, ...] = ()
    error: str = ""


class CategoryVerdict(msgspec.Struct, frozen=True, gc=False):
    """One category of a verdict, as the native API answers it.

    `threshold` is the score at which the category's action starts; where nothing was violated,
    the lowest at which anything would have started.
    """

    score: float
    threshold: float
    violated: bool
    action: ActionWord
    source: Source
    spans: tuple[Span, ...] = ()


class Reading(msgspec.Struct, frozen=True):
    """Another reading of a text that was screened too: a decoded block, a text without its disguise."""

    kind: str
    text: str


class RuleMatch(msgspec.Struct, frozen=True):
    """A rule of the policy that matched, with the characters of the original."""

    kind: Literal["terms", "patterns"]
    name: str
    category: str
    action: str
    start: int
    end: int


class Explanation(msgspec.Struct, frozen=True):
    """Why a verdict is what it is, for callers that ask: it quotes from the text."""

    normalised_text: str
    readings: tuple[Reading, ...]
    rules: tuple[RuleMatch, ...]
    doubtful: tuple[str, ...]


class Cut(msgspec.Struct, frozen=True, gc=False):
    """Characters ``start`` to ``end`` of the original that are to be replaced; `label` is the name of what they are."""

    start: int
    end: int
    label: str


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """The decision on one text: the object in `results` of the native API, and of a scan's output.

    `flagged` is true for every action but allow, whatever it came from. `language_supported` is false where
    the text is in a language that the screen was not made for: its scores then mean little. `cuts`, what `redacted`
    leaves out, is there for callers inside Guard that ask for it.
    """

    action: ActionWord
    flagged: bool
    categories: dict[str, CategoryVerdict]
    redacted: str | None = None
    normalised: tuple[str, ...] = ()
    uninspected: tuple[str, ...] = ()
    windows: int = 1
    language_supported: bool = True
    cached: bool = False
    degraded: bool = False
    reasons: tuple[str, ...] = ()
    explanation: Explanation | msgspec.UnsetType = msgspec.UNSET
    cuts: tuple[Cut, ...] | msgspec.UnsetType = msgspec.UNSET
