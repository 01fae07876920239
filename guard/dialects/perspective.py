"""Perspective's scores: a probability for each attribute that is asked for.

Perspective answers nothing but scores, so that an attribute's is the highest among the categories behind it, whatever
the policy does about them. Its SEVERE_TOXICITY is TOXICITY with fewer mild texts, and so is ours (`severe`).
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from guard.dialects.taxonomy import parts_of
from guard.policy import Policy
from guard.text.offsets import Offsets
from guard.verdict import CategoryVerdict, Span, Verdict

__all__ = [
    "ATTRIBUTES",
    "LANGUAGES",
    "STANDS_FOR",
    "AttributeScores",
    "PerspectiveScore",
    "SpanScore",
    "attribute_named",
    "attribute_scores",
    "foreign_to",
    "reads",
    "served",
    "severe",
]

ATTRIBUTES = (
    "TOXICITY",
    "SEVERE_TOXICITY",
    "IDENTITY_ATTACK",
    "INSULT",
    "PROFANITY",
    "THREAT",
    "SEXUALLY_EXPLICIT",
    "FLIRTATION",
)
"""Those that can be asked for; the last two are experimental ones of Perspective's."""
LANGUAGES = ("en",)
"""Those that the shipped encoder was made for; others need a judge."""
STANDS_FOR: Mapping[str, str] = {"FLIRTATION": "SEXUALLY_EXPLICIT"}
"""What is answered for an attribute that no category of a policy goes by."""

_EXPERIMENTAL = ATTRIBUTES[:6]
"""Those that Perspective had another model for in some languages, by their name and `_EXPERIMENTAL`."""
_OWN_SOURCES = ("judge", "terms", "patterns")
"""Who reads other languages than the encoder's."""


class PerspectiveScore(msgspec.Struct, frozen=True):
    """A probability; it is Perspective's only kind of score."""

    value: float
    type: Literal["PROBABILITY"] = "PROBABILITY"


class SpanScore(msgspec.Struct, frozen=True):
    """What carries a score: from `begin` to `end` (exclusive) of the comment as it was sent, in UTF-16 code units."""

    begin: int
    end: int
    score: PerspectiveScore


class AttributeScores(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One attribute's scores, without those below the threshold that was asked for."""

    span_scores: tuple[SpanScore, ...] = ()
    summary_score: PerspectiveScore | None = None


def attribute_named(name: str) -> str | None:
    """The attribute that a requested name means: `TOXICITY_EXPERIMENTAL` and `TOXICITY@6` are `TOXICITY`; None: none
    that is served."""
    plain, at, version = name.partition("@")
    if at and not (version.isascii() and version.isdigit()):
        return None
    experimental = plain.removesuffix("_EXPERIMENTAL")
    if experimental in _EXPERIMENTAL:
        return experimental
    return plain if plain in ATTRIBUTES else None


def reads(language: str) -> bool:
    """Whether the encoder reads a language (ISO 639-1 or BCP 47)."""
    return language.lower().replace("_", "-").partition("-")[0] in LANGUAGES


def severe(score: float) -> float:
    """SEVERE_TOXICITY of a text whose TOXICITY is `score`: never more, and the same only at 0 and at 1.

    Fitted by least squares to Perspective's own pairs of both scores for 6,939 English texts (RealToxicityPrompts,
    continuations, and prompts that provoke, as DecodingTrust has them, CC BY-SA 4.0); it misses them by 0.098 (root of
    the mean square). Most pairs follow the first term; the second one leads to 1 what is sure.
    """
    return 0.62 * score + 0.38 * score**74


def served(policy: Policy, verdict: Verdict) -> dict[str, tuple[str, ...]]:
    """The attributes that a policy can tell, each with the categories of the verdict behind it. A category that
    nobody could score says nothing, whatever the policy makes of a stage that failed: there is no score to answer."""
    parts = parts_of(policy, "perspective")
    told = {}
    for attribute in ATTRIBUTES:
        behind = parts.get(attribute) or parts.get(STANDS_FOR.get(attribute, ""), ())
        scored = tuple([name for name in behind if _scored(verdict, name)])
        if scored:
            told[attribute] = scored
    return told


def foreign_to(verdict: Verdict, categories: Iterable[str]) -> bool:
    """Whether one of these categories was scored by the encoder alone, whose word on another language means little."""
    return any(verdict.categories[name].source not in _OWN_SOURCES for name in categories)


def attribute_scores(
    attribute: str,
    policy: Policy,
    verdict: Verdict,
    categories: Iterable[str],
    *,
    comment: str,
    offsets: Offsets | None = None,
    threshold: float = 0.0,
    spans: bool = False,
) -> AttributeScores:
    """An attribute's scores from the `categories` behind it (`served`). `spans`: of what carries them; else, and where
    nothing does by itself, of the whole comment. `offsets` lead from the text that was read to the comment.

    Raises:
        KeyError: the verdict has no such category.
    """
    mild = parts_of(policy, "perspective").get("TOXICITY", ()) if attribute == "SEVERE_TOXICITY" else ()
    score = 0.0
    carrying: dict[tuple[int, int], float] = {}
    for name in categories:
        category = verdict.categories[name]
        score = max(score, _seen(category.score, name in mild))
        for span in category.spans if spans else ():
            place = (span.start, span.end) if offsets is None else offsets.back(span.start, span.end)
            carrying[place] = max(carrying.get(place, 0.0), _seen(span.score, name in mild))
    found = [Span(*place, value) for place, value in sorted(carrying.items())] or [Span(0, len(comment), score)]
    wide = [index for index, letter in enumerate(comment) if letter > "\uffff"] if not comment.isascii() else []
    return AttributeScores(
        span_scores=tuple(
            [
                SpanScore(
                    span.start + bisect_left(wide, span.start),
                    span.end + bisect_left(wide, span.end),
                    PerspectiveScore(span.score),
                )
                for span in found
                if span.score >= threshold
            ]
        ),
        summary_score=PerspectiveScore(score) if score >= threshold else None,
    )


def _scored(verdict: Verdict, name: str) -> bool:
    category: CategoryVerdict | None = verdict.categories.get(name)
    return category is not None and category.source != "none"


def _seen(score: float, as_severe: bool) -> float:
    return round(severe(score), 6) if as_severe else score
