"""Doubles for tests of Guard, and of what is built on it: public, and kept like the rest.

a_policy()      a small valid policy, changed by keywords
ScriptedJudge   a judge that answers what it was told to, and remembers what it was asked
FixedScreen     a screen with given scores
SteppingClock   a clock that only the test moves
Recorder        a listener that keeps every event
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from guard.errors import JudgeFailed
from guard.judge import Answers, Inquiry
from guard.policy import Policy, PolicySpec
from guard.policy.calibration import Model
from guard.question import Answer
from guard.screen import Material
from guard.telemetry import Event
from guard.verdict import Assessment, Score

__all__ = ["FixedScreen", "Recorder", "ScriptedJudge", "SteppingClock", "a_policy"]

_CATEGORY: Mapping[str, Any] = {
    "title": "Hate",
    "definition": "The text attacks people for a trait that the law protects.",
    "group": "hateful",
    "thresholds": {"flag": 0.5, "review": 0.7, "block": 0.9},
    "doubt": [0.3, 0.8],
}


def a_policy(
    categories: Sequence[str] = ("hate", "violence"), *, category: Mapping[str, Any] | None = None, **changes: Any
) -> Policy:
    """A policy with these categories, all alike.

    `category` replaces keys of each category, `changes` keys of the policy.
    """
    spec: dict[str, Any] = {
        "version": 1,
        "name": "test",
        "description": "A policy for tests.",
        "categories": {name: {**_CATEGORY, "title": name.capitalize(), **(category or {})} for name in categories},
    }
    return Policy(msgspec.convert(spec | changes, PolicySpec))


class ScriptedJudge:
    """Answers each category with the probability that `answers` gives it, or by `answers(inquiry)`.

    `fail` makes every call raise JudgeFailed, `delay` makes it slow. `asked` holds every inquiry.
    """

    def __init__(
        self,
        answers: Mapping[str, float] | Callable[[Inquiry], Answers],
        *,
        fail: str | None = None,
        delay: float = 0.0,
    ) -> None:
        self.name = "scripted"
        self.fingerprint = "scripted-1"
        self.asked: list[Inquiry] = []
        self._answers = answers
        self._fail = fail
        self._delay = delay

    async def answer(self, inquiries: Sequence[Inquiry], *, deadline: float | None) -> list[Answers]:
        """See `Judge.answer`."""
        self.asked += inquiries
        await asyncio.sleep(self._delay)
        if self._fail is not None:
            raise JudgeFailed(self._fail)
        return [self._one(inquiry) for inquiry in inquiries]

    async def close(self) -> None:
        """Nothing to give back."""

    def _one(self, inquiry: Inquiry) -> Answers:
        if callable(self._answers):
            return self._answers(inquiry)
        found = [self._answers[name] for name in inquiry.categories]
        return Answers(tuple([Answer((value, 1.0 - value)) for value in found]), tokens=10)


class FixedScreen:
    """Gives every text the same scores, or those of `scores(text)`; counts what it was asked."""

    def __init__(self, scores: Mapping[str, float] | Callable[[str], Mapping[str, float]]) -> None:
        self.name = "fixed"
        self.fingerprint = "fixed-1"
        self.model = Model(name="fixed", fingerprint="fixed-1")
        self.texts: list[str] = []
        self._scores = scores

    def prepare(self, policy: Policy) -> None:
        """Nothing to compile."""

    async def assess(
        self, materials: Sequence[Material], policy: Policy, *, deadline: float | None = None
    ) -> list[Assessment]:
        """See `Screen.assess`."""
        self.texts += [material.normalised.text for material in materials]
        return [self._one(material.normalised.text) for material in materials]

    def _one(self, text: str) -> Assessment:
        scores = self._scores(text) if callable(self._scores) else self._scores
        return Assessment({name: Score(value, "encoder") for name, value in scores.items()})


class SteppingClock:
    """Seconds that pass only by `step`; call it to read."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def step(self, seconds: float) -> None:
        """Lets time pass."""
        self.now += seconds


class Recorder:
    """A listener that keeps every event, in order."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)
