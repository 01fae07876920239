"""The policy language: one frozen struct per mapping of `policy.yaml`.

Every field is a key of the language; `policies/README.md` is its reference, and a test fails when
a key is missing there. Structure and ranges are declared here; what relates two keys to each other
(thresholds that climb, a term list's category that exists) is checked in `validate`.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from guard.content import Rail
from guard.verdict import Action

__all__ = [
    "ActionWord",
    "BlockStyle",
    "Category",
    "Chat",
    "Examples",
    "Maps",
    "PatternRule",
    "PolicySpec",
    "Redaction",
    "Refusals",
    "Streaming",
    "TermList",
    "Thresholds",
]

Probability = Annotated[float, Meta(ge=0.0, le=1.0)]
Text = Annotated[str, Meta(min_length=1)]
ActionWord = Literal["flag", "redact", "review", "block"]
FailureAction = Literal["allow", "review", "block"]
BlockStyle = Literal["openai", "openai_error", "mistral", "azure"]


class _Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A mapping of the language: immutable, keywords only, unknown keys refused."""


class Thresholds(_Spec, frozen=True):
    """Scores at which a category's actions start; an absent action never starts from a score."""

    flag: Probability | None = None
    redact: Probability | None = None
    review: Probability | None = None
    block: Probability | None = None

    def steps(self) -> tuple[tuple[Action, float], ...]:
        """The configured `(action, threshold)` pairs, mildest action first."""
        pairs = (
            (Action.FLAG, self.flag),
            (Action.REDACT, self.redact),
            (Action.REVIEW, self.review),
            (Action.BLOCK, self.block),
        )
        return tuple((action, value) for action, value in pairs if value is not None)


class Examples(_Spec, frozen=True):
    """Short texts on both sides of a category's line; a judge reads them."""

    violates: tuple[Text, ...] = ()
    allowed: tuple[Text, ...] = ()


class Maps(_Spec, frozen=True):
    """The category's names in other taxonomies."""

    openai: tuple[Text, ...] = ()
    mistral: tuple[Text, ...] = ()
    llama_guard: tuple[Text, ...] = ()
    perspective: tuple[Text, ...] = ()
    azure: tuple[Text, ...] = ()


class Category(_Spec, frozen=True):
    """One kind of harm: what it is (for the judge), where its actions start (for `decide`)."""

    title: Text
    definition: Annotated[str, Meta(min_length=20)]
    group: Text
    thresholds: Thresholds
    doubt: tuple[Probability, Probability] | None = None
    examples: Examples = Examples()
    rails: Annotated[tuple[Rail, ...], Meta(min_length=1)] = (Rail.INPUT, Rail.OUTPUT)
    enabled: bool = True
    maps: Maps = Maps()


class TermList(_Spec, frozen=True):
    """Words and phrases that decide on their own."""

    category: Text
    action: ActionWord
    words: Annotated[tuple[Text, ...], Meta(min_length=1)]
    allow_in: tuple[Text, ...] = ()
    match: Literal["word", "substring"] = "word"
    rails: Annotated[tuple[Rail, ...], Meta(min_length=1)] = (Rail.INPUT, Rail.OUTPUT)


class PatternRule(_Spec, frozen=True):
    """A pattern of the catalogue, by its name, or a regular expression (RE2) of the policy's own."""

    category: Text
    action: ActionWord
    regex: Text | None = None
    rails: Annotated[tuple[Rail, ...], Meta(min_length=1)] = (Rail.INPUT, Rail.OUTPUT)


class Redaction(_Spec, frozen=True):
    """How redacted characters are replaced: `[EMAIL_1]` or `•••••`.

    `restore` puts the originals back into a chat's answer.
    """

    style: Literal["placeholder", "mask"] = "placeholder"
    restore: bool = False


class Streaming(_Spec, frozen=True):
    """When an answer's text may leave: once vetted, at once, or all together."""

    mode: Literal["hold", "through", "buffer"] = "hold"
    hold_back_characters: Annotated[int, Meta(ge=0, le=100_000)] = 240
    hold_back_ms: Annotated[int, Meta(ge=0, le=60_000)] = 1_000


class Refusals(_Spec, frozen=True):
    """What a chat's user reads instead of a blocked prompt or answer."""

    input: Text = "I can't help with that request."
    output: Text = "I can't continue with this answer."


class Chat(_Spec, frozen=True):
    """The guarded chat under this policy."""

    system_prompt: str = ""
    scope: Literal["last_turn", "last_k", "all"] = "last_turn"
    last_k: Annotated[int, Meta(ge=1, le=1_000)] = 4
    speculative: bool = False
    uninspected: Literal["allow", "refuse"] = "allow"
    block_style: BlockStyle = "openai"
    streaming: Streaming = Streaming()
    refusals: Refusals = Refusals()


class PolicySpec(_Spec, frozen=True):
    """One `policy.yaml`, after `extends` has been resolved."""

    version: Literal[1]
    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$(?!\n)")]
    description: Text
    categories: Annotated[dict[str, Category], Meta(min_length=1)]
    extends: str | None = None
    terms: dict[str, TermList] = {}
    patterns: dict[str, PatternRule] = {}
    redaction: Redaction = Redaction()
    chat: Chat = Chat()
    mode: Literal["questions", "self_reflection"] = "questions"
    long_text: Literal["windows", "whole"] = "windows"
    when_judge_fails: FailureAction = "review"
    when_screen_fails: FailureAction = "block"
    deadline_ms: Annotated[int, Meta(ge=1, le=600_000)] = 10_000
    store_verdicts: Literal["none", "flagged", "all"] = "none"
    store_texts: bool = False
    retention_days: Annotated[int, Meta(ge=1, le=3_650)] = 30
    when_store_fails: Literal["answer", "refuse"] = "answer"
