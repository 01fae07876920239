"""The judge: an instruct model that reads a policy's own words and a text, and answers with probabilities.

This page is the contract; it imports no model runtime. A judge is asked only about the categories
whose screen score lies in the policy's doubtful band.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from guard.content import Content
from guard.policy import Policy

__all__ = ["Answer", "Judge", "Question"]


class Question(msgspec.Struct, frozen=True):
    """Does `content` violate these categories of `policy`? One answer per category, in their order."""

    content: Content
    policy: Policy
    categories: tuple[str, ...]


class Answer(msgspec.Struct, frozen=True):
    """The probability of each asked category, in the question's order, and the tokens it cost."""

    probabilities: tuple[float, ...]
    tokens: int = 0


class Judge(Protocol):
    """Answers batches of questions.

    Answers come in the order of the questions. An answer depends on its question alone, never on
    the batch. The call may be cancelled; nothing is answered half.
    """

    @property
    def name(self) -> str:
        """The model's name, as verdicts show it."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever answers may change; part of the cache key."""

    async def answer(self, questions: Sequence[Question], *, deadline: float | None) -> list[Answer]:
        """One answer per question. `deadline` is a reading of `time.monotonic`; None is no hurry.

        Raises:
            JudgeFailed: no answers, or not before the deadline.
        """
