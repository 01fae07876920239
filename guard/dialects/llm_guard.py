"""LLM Guard's answers: its scanners' risk scores, and whether a text is valid.

Its scanners are the operator's choice there, and the policy's categories here: which scanner speaks for which category
is said in `SCANNERS`, against the categories of the `default` policy, since a policy's `maps` have no such names. What
no scanner there is for, a policy's own categories among it, is a banned topic. A scanner none of whose categories the
policy checks is left out of the answer, so nothing that was not looked for is told to be absent.

A text is invalid where the policy redacts, wants a person to look, or blocks: LLM Guard's clients have no word for a
text that is only noted, and refuse what is not valid.
"""

from collections.abc import Iterable, Mapping

import msgspec

from guard.content import Rail
from guard.dialects.taxonomy import scored
from guard.policy import Policy
from guard.verdict import Action, CategoryVerdict, RuleMatch, Verdict

__all__ = [
    "PERSONAL_DATA",
    "REST",
    "SCANNERS",
    "SECRET_PATTERNS",
    "Scanned",
    "checked",
    "parts_by_scanner",
    "risk",
    "scanned",
]

SCANNERS: Mapping[Rail, Mapping[str, tuple[str, ...]]] = {
    Rail.INPUT: {
        "Anonymize": ("pii",),
        "PromptInjection": ("jailbreak",),
        "Secrets": ("pii",),
        "Toxicity": ("hate", "harassment", "violence", "sexual"),
    },
    Rail.OUTPUT: {
        "Sensitive": ("pii",),
        "Toxicity": ("hate", "harassment", "violence", "sexual"),
    },
}
"""The scanners of prompts and of outputs, by LLM Guard's names, and the categories that each speaks for."""

REST = "BanTopics"
"""The scanner of every category that none of the others speaks for."""

PERSONAL_DATA, _SECRETS = "Anonymize", "Secrets"
"""On prompts one category has two scanners: `Secrets` tells of its rules that are secrets, `Anonymize` of the rest."""

SECRET_PATTERNS = frozenset(
    {
        "anthropic_key",
        "aws_access_key",
        "aws_secret_key",
        "connection_string",
        "github_token",
        "gitlab_token",
        "google_api_key",
        "high_entropy",
        "jwt",
        "npm_token",
        "openai_key",
        "password_assignment",
        "private_key",
        "pypi_token",
        "slack_token",
        "slack_webhook",
        "stripe_key",
    }
)
"""The catalogue's patterns for what opens something for whoever reads it."""

_STOPS = frozenset({"redact", "review", "block"})


class Scanned(msgspec.Struct, frozen=True):
    """Whether a text may go on, and each scanner's risk: above 0 where it may not, at most 0 where it may."""

    is_valid: bool
    scanners: dict[str, float]


def checked(policy: Policy, rail: Rail, suppressed: Iterable[str]) -> frozenset[str]:
    """The policy's categories that some scanner speaks for that is not suppressed; empty where none is left."""
    off = frozenset(suppressed)
    return frozenset(
        {own for scanner, parts in parts_by_scanner(policy, rail).items() if scanner not in off for own in parts}
    )


def risk(score: float, stops_at: float) -> float:
    """LLM Guard's risk: how far a score is beyond where it is invalid, from -1 to 1, with one decimal.

    With `stops_at` 0.8, the scores 0, 0.4, 0.8, 0.9 and 1 are the risks -1, -0.5, 0, 0.5 and 1.
    """
    if score >= stops_at:
        return round((score - stops_at) / (1 - stops_at), 1) if stops_at < 1 else 1.0
    # Without the sign of what is rounded to 0.
    return round((score - stops_at) / stops_at, 1) + 0.0


def scanned(policy: Policy, verdict: Verdict, rail: Rail, suppressed: Iterable[str]) -> Scanned:
    """An explained verdict as the scanners tell it, without those that are suppressed."""
    if not isinstance(verdict.explanation, msgspec.Struct):
        raise ValueError("a verdict without an explanation does not tell which rules matched")
    off = frozenset(suppressed)
    found: dict[str, tuple[bool, float]] = {}
    for scanner, parts in parts_by_scanner(policy, rail).items():
        told = [own for own in parts if scored(verdict, own) is not None]
        if scanner in off or not told:
            continue
        results = [_result(policy, scanner, rail, own, verdict, verdict.explanation.rules) for own in told]
        found[scanner] = (all(valid for valid, _ in results), max(level for _, level in results))
    return Scanned(all(valid for valid, _ in found.values()), {name: level for name, (_, level) in found.items()})


def parts_by_scanner(policy: Policy, rail: Rail) -> dict[str, tuple[str, ...]]:
    """The scanners in their order, with the categories that the policy checks on this rail."""
    active = [category.name for category in policy.active(rail)]
    table = SCANNERS[rail]
    parts = {scanner: tuple([own for own in owns if own in active]) for scanner, owns in table.items()}
    known = {own for owns in table.values() for own in owns}
    parts[REST] = tuple([own for own in active if own not in known])
    return {scanner: owns for scanner, owns in parts.items() if owns}


def _result(
    policy: Policy, scanner: str, rail: Rail, own: str, verdict: Verdict, rules: Iterable[RuleMatch]
) -> tuple[bool, float]:
    """Whether a scanner lets a category of a text pass, and its risk."""
    category = verdict.categories[own]
    if rail is Rail.INPUT and scanner in (PERSONAL_DATA, _SECRETS):
        stopping = [rule for rule in rules if rule.category == own and rule.action in _STOPS]
        secrets = [rule for rule in stopping if rule.name in SECRET_PATTERNS]
        if scanner == _SECRETS:
            return not secrets, 1.0 if secrets else -1.0
        if secrets and len(secrets) == len(stopping) and category.source == "patterns":
            # The secret gave the score; what it would be without, nobody can tell.
            return True, 0.0
    return _judged(policy, own, category)


def _judged(policy: Policy, own: str, category: CategoryVerdict) -> tuple[bool, float]:
    steps = policy.spec.categories[own].thresholds.steps()
    stops_at = min((start for action, start in steps if action >= Action.REDACT), default=1.0)
    level = risk(category.score, stops_at)
    if category.action in _STOPS:
        # Clients go by the sign too.
        return False, max(level, 0.1)
    return True, min(level, 0.0)
