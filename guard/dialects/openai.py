"""OpenAI's moderation results: always the thirteen categories of its models of 2024 and later."""

from collections.abc import Mapping

import msgspec

from guard.dialects.taxonomy import exactly, flagged
from guard.policy import Policy
from guard.verdict import Verdict

__all__ = ["CATEGORIES", "OpenAIResult", "openai_result"]

CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "sexual",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm/intent",
    "self-harm/instructions",
    "self-harm",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
_INPUT_TYPES = dict.fromkeys(CATEGORIES, ("text",))


class OpenAIResult(msgspec.Struct, frozen=True):
    """One text's result. Typed clients know the first four fields; `guard` is our own verdict, which has the policy's
    own categories, spans, and what could not be inspected."""

    flagged: bool
    categories: Mapping[str, bool]
    category_scores: Mapping[str, float]
    category_applied_input_types: Mapping[str, tuple[str, ...]]
    guard: Verdict


def openai_result(policy: Policy, verdict: Verdict, *, refused: bool = False) -> OpenAIResult:
    """A verdict as OpenAI's result. `refused`: something could not be inspected, and the policy refuses that."""
    found = exactly(policy, "openai", CATEGORIES, verdict)
    return OpenAIResult(
        flagged=refused or flagged(verdict, found.values()),
        categories={name: category.violated for name, category in found.items()},
        category_scores={name: category.score for name, category in found.items()},
        category_applied_input_types=_INPUT_TYPES,
        guard=verdict,
    )
