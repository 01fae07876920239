"""Mistral's moderation results: the categories of one of its two models."""

from collections.abc import Mapping

import msgspec

from guard.dialects.taxonomy import exactly
from guard.policy import Policy
from guard.verdict import Verdict

__all__ = ["FIRST_CATEGORIES", "SECOND_CATEGORIES", "MistralResult", "is_mistrals", "mistral_result"]

_FIRST = "mistral-moderation-2411"
FIRST_CATEGORIES = (
    "sexual",
    "hate_and_discrimination",
    "violence_and_threats",
    "dangerous_and_criminal_content",
    "selfharm",
    "health",
    "financial",
    "law",
    "pii",
)
"""Those of the model of 2024, by its name."""
SECOND_CATEGORIES = (
    "sexual",
    "hate_and_discrimination",
    "violence_and_threats",
    "dangerous",
    "criminal",
    "selfharm",
    "health",
    "financial",
    "law",
    "pii",
    "jailbreaking",
)
"""Those of the model of 2026, and of any other."""


class MistralResult(msgspec.Struct, frozen=True):
    """One text's result; `guard` is our own verdict, which Mistral's clients leave alone."""

    categories: Mapping[str, bool]
    category_scores: Mapping[str, float]
    guard: Verdict


def is_mistrals(model: str | None) -> bool:
    """Whether a model's name asks for Mistral's answer where OpenAI's would be given."""
    return model is not None and model.startswith("mistral-moderation")


def mistral_result(policy: Policy, verdict: Verdict, model: str | None) -> MistralResult:
    """A verdict as Mistral's result, with the categories that `model` has, and those of the policy that none of
    them speaks for: there is no other word in it that a client could refuse a text by."""
    names = FIRST_CATEGORIES if model == _FIRST else SECOND_CATEGORIES
    found = exactly(policy, "mistral", names, verdict, own=True)
    return MistralResult(
        categories={name: category.violated for name, category in found.items()},
        category_scores={name: category.score for name, category in found.items()},
        guard=verdict,
    )
