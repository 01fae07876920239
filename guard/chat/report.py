"""What the rails found, as answers tell it: Guard's own field, and those of other vendors."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from guard.chat.options import Guardrail
from guard.dialects.azure import SEVERITIES
from guard.dialects.taxonomy import flagged, hardest, under
from guard.policy import Policy
from guard.verdict import Action, ActionWord, CategoryVerdict, Verdict

__all__ = ["CategoryReport", "RailReport", "azure_results", "mistral_results", "moderated", "shown"]

_AZURE_WORDS = {0: "safe", 2: "low", 4: "medium", 6: "high"}
_AZURE_HARMS = frozenset({"hate", "self_harm", "sexual", "violence"})


class CategoryReport(msgspec.Struct, frozen=True):
    """A violated category: its score, where its action starts, and the action."""

    score: float
    threshold: float
    action: ActionWord


class RailReport(msgspec.Struct, frozen=True):
    """What one rail found: the action, the violated categories, what could not be looked at."""

    action: ActionWord
    categories: dict[str, CategoryReport] = {}
    uninspected: tuple[str, ...] = ()
    degraded: bool = False

    @classmethod
    def of(cls, verdicts: Sequence[Verdict]) -> "RailReport":
        """Of several texts the hardest action, and every category that was violated."""
        found = {
            name: CategoryReport(category.score, category.threshold, category.action)
            for name, category in hardest(verdicts).items()
            if category.violated
        }
        action = max((Action.of(verdict.action) for verdict in verdicts), default=Action.ALLOW)
        uninspected = tuple(part for verdict in verdicts for part in verdict.uninspected)
        return cls(action.word, found, uninspected, any(verdict.degraded for verdict in verdicts))


def shown(policy: Policy, prompt: RailReport, answer: RailReport | None) -> dict[str, Any]:
    """The `guard` field of an answer."""
    return {
        "policy": {"name": policy.name, "fingerprint": policy.fingerprint},
        "input": prompt,
        "output": answer,
    }


def moderated(
    policy: Policy, model: str, prompt: Sequence[Verdict], answers: Sequence[Sequence[Verdict]] | None
) -> dict[str, Any]:
    """OpenAI's `moderation` of a chat's answer: the prompt's result, and one for each choice.

    `answers` is None where the prompt was blocked. `model` is what the request called the moderation's model.
    """
    told: dict[str, Any] = {"input": _openai_results(policy, model, [prompt])}
    if answers is None:
        message = "The prompt was blocked: there is no answer to moderate."
        told["output"] = {"type": "error", "code": "not_generated", "message": message}
    else:
        told["output"] = _openai_results(policy, model, answers)
    return told


def azure_results(policy: Policy, verdicts: Iterable[Verdict]) -> dict[str, Any]:
    """Azure's `content_filter_results`.

    A severity says what the policy does about it: flag is low, redact and review are medium, block is high.
    """
    results: dict[str, Any] = {}
    for name, category in under(policy, "azure", hardest(verdicts)).items():
        filtered = category.action == "block"
        if name in _AZURE_HARMS:
            results[name] = {"filtered": filtered, "severity": _AZURE_WORDS[SEVERITIES[category.action]]}
        else:
            results[name] = {"filtered": filtered, "detected": category.violated}
    return results


def mistral_results(policy: Policy, verdicts: Sequence[Verdict], guardrails: Sequence[Guardrail]) -> dict[str, Any]:
    """Mistral's `guardrails.results`: what the policy blocks, and what the request's own guardrails do."""
    blocking = {name: category for name, category in hardest(verdicts).items() if category.action == "block"}
    results = {}
    for guardrail in guardrails:
        found = {name: category for verdict in verdicts for name, category in guardrail.found(verdict).items()}
        if found or guardrail.on_failure:
            results[guardrail.name] = _mistral_result(policy, under(policy, "mistral", found))
    return results or {"guard": _mistral_result(policy, blocking)}


def _openai_results(policy: Policy, model: str, texts: Sequence[Sequence[Verdict]]) -> dict[str, Any]:
    reasons = [reason for verdicts in texts for verdict in verdicts for reason in verdict.reasons]
    if any(reason.startswith("screen_failed") for reason in reasons):
        return {"type": "error", "code": "moderation_failed", "message": "A stage of the moderation failed."}
    return {
        "type": "moderation_results",
        "model": model,
        "results": [_openai_result(policy, model, verdicts) for verdicts in texts],
    }


def _openai_result(policy: Policy, model: str, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    found = under(policy, "openai", hardest(verdicts))
    return {
        "type": "moderation_result",
        "model": model,
        "flagged": any(flagged(verdict, found.values()) for verdict in verdicts),
        "categories": {name: category.violated for name, category in found.items()},
        "category_scores": {name: category.score for name, category in found.items()},
        "category_applied_input_types": {name: ["text"] for name in found},
    }


def _mistral_result(policy: Policy, found: Mapping[str, CategoryVerdict]) -> dict[str, Any]:
    decisions = {
        name: {"threshold": category.threshold, "score": category.score, "violated": True}
        for name, category in found.items()
    }
    return {"model_name": policy.name, "decisions": decisions, "violated": True, "action": "block"}
