"""What the rails found, as an answer's `guard` field tells it."""

from collections.abc import Sequence
from typing import Any

import msgspec

from guard.policy import Policy
from guard.verdict import Action, ActionWord, Verdict

__all__ = ["CategoryReport", "RailReport", "shown"]


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
        found: dict[str, CategoryReport] = {}
        for verdict in verdicts:
            for name, category in verdict.categories.items():
                if category.violated and (name not in found or found[name].score < category.score):
                    found[name] = CategoryReport(category.score, category.threshold, category.action)
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
